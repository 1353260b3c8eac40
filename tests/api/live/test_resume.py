"""What must never happen to a stream: a gap, a repetition, a part of a replay, silence after a loss."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable

import pytest
import redis.asyncio

from api.access import Role
from core.channels import Channel, Channels, Position
from core.settings import LiveSettings, Settings
from core.tenancy import TenantId
from tests.api.live.wire import Follower, Live

VEHICLES = Channel(TenantId("acme"), "vehicles")


@pytest.fixture
def live_settings() -> LiveSettings:
    # Fewer frames: here three hundred clients and the server share one loop.
    return LiveSettings(tick_ms=200, recover_events=1000, connections_per_principal=1000, drain_s=0)


@pytest.fixture
async def channels(api_settings: Settings) -> AsyncIterator[Channels]:
    channels = Channels(api_settings.redis, api_settings.live)
    yield channels
    await channels.close()


async def server_log(channels: Channels) -> tuple[Position, dict[int, dict]]:
    """The log as Redis has it, and where it ends."""
    end = await channels.open(VEHICLES)
    batches = await channels.missed(VEHICLES, Position(end.epoch, 0), end.offset, most=10**6)
    assert batches is not None
    return end, {
        batch.first + n: {"offset": batch.first + n, **json.loads(b"{" + event)}
        for batch in batches
        for n, event in enumerate(batch.events)
    }


async def settled(channels: Channels) -> Position:
    """Where the log ends once nothing is on its way to it any more."""
    last = await channels.open(VEHICLES)
    while True:
        await asyncio.sleep(0.5)
        now = await channels.open(VEHICLES)
        if now == last:
            return now
        last = now


async def passed(channels: Channels, events: int) -> None:
    """Returns when that many more events are in the log."""
    until = (await channels.open(VEHICLES)).offset + events
    async with asyncio.timeout(60):
        while (await channels.open(VEHICLES)).offset < until:  # noqa: ASYNC110  Redis tells nobody
            await asyncio.sleep(0.05)


async def all_of(followers: list[Follower], condition: Callable[[Follower], bool]) -> None:
    async with asyncio.timeout(60):
        while not all(condition(each) for each in followers):  # noqa: ASYNC110  many clients, one condition
            await asyncio.sleep(0.05)


async def database_state(fleet) -> dict[str, dict]:
    rows = await (
        await fleet.conn.execute(
            "SELECT device_id, (extract(epoch FROM ts) * 1000)::bigint, lat, lon FROM device_state "
            "WHERE tenant_id = %s",
            (fleet.tenant,),
        )
    ).fetchall()
    return {device: {"ts": ts, "lat": lat, "lon": lon} for device, ts, lat, lon in rows}


def shown(follower: Follower) -> dict[str, dict]:
    return {
        device: {key: line["position"][key] for key in ("ts", "lat", "lon")}
        for device, line in follower.state.items()
        if line["position"] is not None
    }


async def test_three_hundred_clients_dropped_at_random_have_the_servers_log_in_the_end(api, moving, channels):
    token = api.tokens.of("acme", Role.VIEWER)
    start = await channels.open(VEHICLES)
    followers = [Follower(lambda: Live.open(api, token)).start() for _ in range(300)]
    await all_of(followers, lambda each: bool(each.snapshots))
    chance = random.Random(7)
    for _ in range(10):
        for each in chance.sample(followers, 60):
            each.drop()
        await passed(channels, 30)
    await moving.stop()
    end = await settled(channels)
    await asyncio.gather(*(each.reaches(f"{end.epoch:x}", end.offset, 60) for each in followers))
    end, log = await server_log(channels)
    assert end.epoch == start.epoch
    assert end.offset > 300
    for each in followers:
        assert each.wrong == []
        assert each.snapshots == [None]  # all came back by replay, none by a second snapshot
        assert list(each.log) == sorted(each.log)
        assert each.log == {offset: log[offset] for offset in range(min(each.log), end.offset + 1)}
    assert sum(each.resumed for each in followers) > 300
    await asyncio.gather(*(each.stop() for each in followers))


async def test_clients_that_join_late_see_what_the_others_see(api, moving, fleet, channels):
    token = api.tokens.of("acme", Role.VIEWER)
    followers: list[Follower] = []
    for _ in range(30):
        followers.append(Follower(lambda: Live.open(api, token)).start())
        await asyncio.sleep(0.1)
    await moving.stop()
    end = await settled(channels)
    await asyncio.gather(*(each.reaches(f"{end.epoch:x}", end.offset) for each in followers))
    truth = await database_state(fleet)
    assert len(truth) == 10
    for each in followers:
        assert each.wrong == []
        assert shown(each) == truth
    await asyncio.gather(*(each.stop() for each in followers))


async def test_when_redis_is_emptied_every_client_is_told_and_starts_over(api, moving, fleet, channels, redis_url):
    token = api.tokens.of("acme", Role.VIEWER)
    followers = [Follower(lambda: Live.open(api, token)).start() for _ in range(20)]
    await all_of(followers, lambda each: len(each.log) >= 50)
    away = followers[0]
    before = away.epoch
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        away.drop()
        await client.flushall()
    await asyncio.sleep(2)
    await moving.stop()
    end = await settled(channels)
    await asyncio.gather(*(each.reaches(f"{end.epoch:x}", end.offset) for each in followers))
    truth = await database_state(fleet)
    for each in followers:
        assert each.wrong == []
        assert each.epoch != before
        assert each.snapshots == [None, "epoch"]
        assert shown(each) == truth
    await asyncio.gather(*(each.stop() for each in followers))


async def test_when_redis_is_emptied_and_nothing_moves_clients_are_told_all_the_same(api, fleet, redis_url):
    await fleet.add("truck-1")
    live = await Live.open(api, api.tokens.of("acme", Role.VIEWER))
    first = await live.subscribe()
    await fleet.move("truck-1")
    await live.events(1)
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        await client.flushall()
    again = await live.until("subscribed")
    assert (again["recovered"], again["reason"]) == (False, "epoch")
    assert again["epoch"] != first["epoch"]
    assert again["snapshot"][0]["position"]["ts"] == fleet.ts["truck-1"]
    await fleet.move("truck-1")
    (event,) = await live.events(1)
    assert event["offset"] == again["offset"] + 1
    await live.close()


async def test_more_than_is_replayed_is_a_snapshot_and_none_of_it(api_settings, api, fleet):
    await fleet.add("truck-1")
    live = await Live.open(api, api.tokens.of("acme", Role.VIEWER))
    first = await live.subscribe()
    await fleet.fix([("truck-1", 47.0, 9.5)] * (api_settings.live.recover_events + 1))
    events = []
    while len(events) <= api_settings.live.recover_events:
        events += (await live.until("events"))["events"]
    place = {"epoch": first["epoch"], "offset": first["offset"]}
    again = await live.subscribe(**place)
    assert (again["recovered"], again["reason"]) == (False, "too_far")
    assert again["snapshot"][0]["position"]["ts"] == fleet.ts["truck-1"]
    again = await live.subscribe(**place | {"offset": first["offset"] + 1})
    assert (again["recovered"], again["missed"]) == (True, api_settings.live.recover_events)
    replayed = []
    while len(replayed) < again["missed"]:
        frame = await live.until("events")
        replayed += frame["events"]
        assert frame["offset"] == frame["events"][-1]["offset"]
    assert replayed == events[1:]
    await live.close()


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"epoch": "123abc"}, "epoch"), ({"epoch": "no epoch of ours"}, "epoch"), ({"offset": 999}, "ahead")],
)
async def test_a_position_that_never_was_is_not_resumed(api, fleet, change, reason):
    await fleet.add("truck-1")
    live = await Live.open(api, api.tokens.of("acme", Role.VIEWER))
    first = await live.subscribe()
    again = await live.subscribe(**{"epoch": first["epoch"], "offset": first["offset"]} | change)
    assert (again["recovered"], again["reason"]) == (False, reason)
    assert [line["device"] for line in again["snapshot"]] == ["truck-1"]
    await live.close()


async def test_what_is_no_longer_kept_is_not_resumed_from(api, fleet, channels, redis_url):
    await fleet.add("truck-1")
    live = await Live.open(api, api.tokens.of("acme", Role.VIEWER))
    first = await live.subscribe()
    await live.close()
    # As after the history's time: the log is gone, its position is not, and this process remembers nothing.
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        await fleet.move("truck-1")
        await settled(channels)
        await client.delete(VEHICLES.keys[0])
    api.services.live.hub._feeds.clear()
    live = await Live.open(api, api.tokens.of("acme", Role.VIEWER))
    again = await live.subscribe(epoch=first["epoch"], offset=first["offset"])
    assert (again["epoch"], again["recovered"], again["reason"]) == (first["epoch"], False, "gone")
    assert again["snapshot"][0]["position"]["ts"] == fleet.ts["truck-1"]
    await live.close()


async def test_late_data_and_repeated_news_make_no_event(api, fleet):
    await fleet.add("truck-1")
    live = await Live.open(api, api.tokens.of("acme", Role.VIEWER))
    await live.subscribe()
    await fleet.fix([("truck-1", 48.0, 9.5)], live=False)
    await fleet.move("truck-1", lat=47.5)
    (event,) = await live.events(1)
    assert event["data"]["lat"] == 47.5
    await live.close()
