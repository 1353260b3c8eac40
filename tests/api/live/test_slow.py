"""Clients that do not keep up: positions are conflated, then the connection is cut; others notice nothing."""

import asyncio
import json
import socket

import pytest

from api.access import Role
from core.settings import LiveSettings
from tests.api.live.wire import Live

NAMES = [f"truck-{n}" for n in range(50)]


@pytest.fixture
def live_settings() -> LiveSettings:
    return LiveSettings(tick_ms=10, conflate_above_bytes=16_384, queue_bytes=65_536, stall_s=30, drain_s=0)


async def lazy(api) -> Live:
    """A client that takes little before the server has to wait for it."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    host, port = api.url.removeprefix("http://").split(":")
    await asyncio.get_running_loop().sock_connect(raw, (host, int(port)))
    live = await Live.open(api, api.tokens.of("acme", Role.VIEWER), sock=raw, max_queue=1)
    await live.subscribe()
    return live


async def flood(fleet, events: int) -> None:
    for _ in range(events // (10 * len(NAMES))):
        await fleet.fix([(name, 47.0, 9.5) for name in NAMES] * 10)


async def test_positions_wait_as_the_latest_of_each_device_and_other_events_all(api, fleet):
    await fleet.add(*NAMES)
    slow = await lazy(api)
    quick = await Live.open(api, api.tokens.of("acme", Role.VIEWER))
    first = await quick.subscribe()
    taken: list[dict] = []

    async def take() -> None:
        while True:
            taken.append(await quick.until("events", 60))

    taking = asyncio.create_task(take())
    for n in range(20):
        await flood(fleet, 1000)
        await fleet.presence(NAMES[n], online=True, at=1_790_000_000_000 + n)
    frames: list[dict] = []
    async with asyncio.timeout(60):
        while not frames or frames[-1]["offset"] < first["offset"] + 20_020:
            frames.append(await slow.until("events", 60))
        while taken[-1]["offset"] < first["offset"] + 20_020:  # noqa: ASYNC110  the other client's own pace
            await asyncio.sleep(0.05)
    taking.cancel()
    # The quick one got everything ...
    everything = [event for frame in taken for event in frame["events"]]
    assert [event["offset"] for event in everything] == list(range(first["offset"] + 1, first["offset"] + 20_021))
    assert not any("conflated" in frame for frame in taken)
    # ... the slow one every presence, the last position of every device, in order, and was told that some are left out.
    events = [event for frame in frames for event in frame["events"]]
    assert [event["offset"] for event in events] == sorted({event["offset"] for event in events})
    assert len(events) < len(everything)
    assert any(frame.get("conflated") for frame in frames)
    assert [e for e in events if e["type"] == "presence"] == [e for e in everything if e["type"] == "presence"]

    def last(told):
        return {event["data"]["device"]: event["data"] for event in told if event["type"] == "position"}

    assert last(events) == last(everything)
    # Its position counts what was left out as told.
    again = await slow.subscribe(epoch=frames[-1]["epoch"], offset=frames[-1]["offset"])
    assert (again["recovered"], again["missed"]) == (True, 0)
    await slow.close()
    await quick.close()


async def test_a_client_that_takes_nothing_is_cut_when_its_queue_is_full(api, fleet):
    await fleet.add(*NAMES)
    slow = await lazy(api)
    quick = await Live.open(api, api.tokens.of("acme", Role.VIEWER))
    await quick.subscribe()
    # Discrete events are not conflated, so they fill the queue.
    text = "x" * 1000
    for _ in range(40):
        for name in NAMES:
            await fleet.status(name, "active")
        await fleet.conn.execute("UPDATE device SET labels = %s", (json.dumps({"note": text}),))
        await asyncio.sleep(0)
        if slow.socket.close_code is not None or not api.services.live.guard.open > 1:
            break
    assert await slow.closed() == 4008
    await quick.send(type="ping", at=1)
    assert (await quick.until("pong"))["at"] == 1
    await quick.close()


class TestStalled:
    @pytest.fixture
    def live_settings(self) -> LiveSettings:
        return LiveSettings(tick_ms=10, conflate_above_bytes=4096, stall_s=1, recheck_s=0.2, drain_s=0)

    async def test_a_client_that_takes_nothing_for_too_long_is_cut(self, api, fleet):
        await fleet.add(*NAMES)
        slow = await lazy(api)
        idle = await Live.open(api, api.tokens.of("acme", Role.VIEWER))
        await idle.subscribe("events")
        await flood(fleet, 20_000)
        await asyncio.sleep(3)
        assert api.services.live.guard.open == 1
        assert await slow.closed(20) in {4008, 1006}  # its close may lie behind more than the server waits for
        # Who has nothing to take is not slow.
        await idle.send(type="ping", at=1)
        assert (await idle.until("pong"))["at"] == 1
        await idle.close()
