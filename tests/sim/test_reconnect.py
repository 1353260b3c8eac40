"""How a device comes back: later each time, never twice in a second, and not all at once."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from core.mqtt import ConnectionLost, ConnectOptions, MqttConnection, codec, keep_connected
from sim.link import LinkOptions

LEAST_S, FIRST_S, LONGEST_S = 0.1, 0.1, 0.8
CONNACK = bytes([codec.CONNACK << 4, 3, 0, 0, 0])


@asynccontextmanager
async def scripted(manner: str) -> AsyncIterator[tuple[int, list[float]]]:
    """A broker of bad manners, and when it was connected to."""
    came: list[float] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(time.monotonic())
        with contextlib.suppress(ConnectionError):
            if manner == "reset":
                writer.transport.abort()
                return
            await reader.read(100)
            if manner == "drops after CONNACK":
                writer.write(CONNACK)
                await writer.drain()
            elif manner == "no CONNACK":
                await reader.read()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], came


async def _hold(connection: MqttConnection) -> None:
    await asyncio.shield(connection.lost)


@pytest.mark.parametrize("manner", ["closes", "reset", "drops after CONNACK", "no CONNACK"])
async def test_pauses_grow_to_their_longest_and_are_never_shorter_than_the_least(manner):
    attempts = 7
    async with scripted(manner) as (port, came):
        options = ConnectOptions(host="127.0.0.1", port=port, client_id="a:b", tls=None, timeout_s=0.05)
        coming = asyncio.create_task(
            keep_connected(
                lambda: MqttConnection.open(options),
                _hold,
                report=lambda _error: None,
                least_pause_s=LEAST_S,
                first_pause_s=FIRST_S,
                longest_pause_s=LONGEST_S,
            )
        )
        async with asyncio.timeout(30):
            while len(came) < attempts:  # noqa: ASYNC110  another task fills it
                await asyncio.sleep(0.01)
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
    for number, (earlier, later) in enumerate(itertools.pairwise(came)):
        grown = min(LONGEST_S, FIRST_S * 2**number)
        assert later - earlier > LEAST_S + 0.2 * grown - 0.01, (number, later - earlier)


async def test_pauses_are_drawn_so_that_a_fleet_does_not_come_back_as_one(monkeypatch):
    """The pauses themselves, of 200 devices that all lose the broker in one instant."""
    slept: list[list[float]] = []

    async def lost() -> MqttConnection:
        raise ConnectionLost("there is no broker")

    async def one_device() -> None:
        mine: list[float] = []
        slept.append(mine)

        async def sleep(seconds: float) -> None:
            mine.append(seconds)
            if len(mine) == 8:
                raise asyncio.CancelledError

        monkeypatch.setattr("core.mqtt.client.asyncio.sleep", sleep)
        with contextlib.suppress(asyncio.CancelledError):
            options = LinkOptions(host="", port=0)
            await keep_connected(
                lost,
                _hold,
                report=lambda _error: None,
                least_pause_s=options.least_pause_s,
                first_pause_s=options.first_pause_s,
                longest_pause_s=options.longest_pause_s,
            )

    for _ in range(200):
        await one_device()
    options = LinkOptions(host="", port=0)
    for number, pauses in enumerate(zip(*slept, strict=True)):
        grown = min(options.longest_pause_s, options.first_pause_s * 2**number)
        assert min(pauses) >= max(1.0, options.least_pause_s + 0.2 * grown), "AWS IoT: one connect a second"
        assert max(pauses) <= options.least_pause_s + grown
        # Spread over most of the range, in each tenth of it some.
        tenths = {int((pause - options.least_pause_s - 0.2 * grown) / (0.8 * grown) * 10) for pause in pauses}
        assert len(tenths & set(range(10))) == 10
    assert max(sum(pauses) for pauses in slept) < 3 * 60 + 130
