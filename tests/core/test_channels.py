"""The channel log on a real Redis: positions, demand, redelivery, trimming, flush and restart."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import redis

from core.channels import Admission, Channel, Channels, ChannelsUnavailable, Note, Position, Refusal
from core.settings import LiveSettings, RedisSettings
from core.tenancy import TenantId

pytestmark = pytest.mark.redis

ACME, BETA = TenantId("acme"), TenantId("beta")
VEHICLES = Channel(ACME, "vehicles")
SETTINGS = LiveSettings(history_events=100)


@pytest.fixture
async def channels(redis_url) -> AsyncIterator[Channels]:
    channels = Channels(RedisSettings(url=redis_url), SETTINGS)
    yield channels
    await channels.close()


def note(
    id_: str, *events: bytes, channel: Channel = VEHICLES, source: str = "telemetry:000", told: bool = True
) -> Note:
    return Note(channel, source, id_, 1_790_000_000_000, len(events), events if told else None)


def told(batches: Sequence) -> list[tuple[int, bytes]]:
    return [(batch.first + n, event) for batch in batches for n, event in enumerate(batch.events)]


async def test_each_event_of_a_log_has_the_next_offset_and_every_reader_the_same(channels, redis_url):
    start = await channels.open(VEHICLES)
    assert start.offset == 0
    assert await channels.append([note("1-0", b"a", b"b"), note("2-0", b"c")]) == ["kept", "kept"]
    other = Channels(RedisSettings(url=redis_url), SETTINGS)
    for reader in (channels, other):
        assert told(await reader.missed(VEHICLES, start, 3, most=10)) == [(1, b"a"), (2, b"b"), (3, b"c")]
        assert await reader.open(VEHICLES) == Position(start.epoch, 3)
    await other.close()


async def test_tenants_and_channels_are_logs_of_their_own(channels):
    events = Channel(ACME, "events")
    theirs = Channel(BETA, "vehicles")
    for channel in (VEHICLES, events, theirs):
        await channels.open(channel)
    await channels.append([note("1-0", b"a"), note("1-0", b"e", channel=events), note("1-0", b"t", channel=theirs)])
    for channel, event in ((VEHICLES, b"a"), (events, b"e"), (theirs, b"t")):
        position = await channels.open(channel)
        since = Position(position.epoch, 0)
        assert told(await channels.missed(channel, since, position.offset, most=10)) == [(1, event)]


async def test_an_entry_that_is_delivered_again_is_appended_once(channels):
    start = await channels.open(VEHICLES)
    await channels.append([note("5-3", b"a")])
    assert await channels.append([note("5-3", b"a"), note("5-2", b"x"), note("4-9", b"x")]) == ["known"] * 3
    assert await channels.append([note("5-3", b"b", source="telemetry:001"), note("5-4", b"c")]) == ["kept", "kept"]
    assert told(await channels.missed(VEHICLES, start, 3, most=10)) == [(1, b"a"), (2, b"b"), (3, b"c")]


async def test_what_nobody_wants_is_counted_and_not_kept(channels, redis_url):
    start = await channels.open(VEHICLES)
    client = redis.Redis.from_url(redis_url)
    client.delete(VEHICLES.keys[2])
    assert await channels.append([note("1-0", b"a", b"b", told=False)]) == ["counted"]
    assert await channels.append([note("2-0", b"c")]) == ["counted"]
    assert await channels.open(VEHICLES) == Position(start.epoch, 3)
    assert await channels.append([note("3-0", b"d", told=False)]) == ["wanted"]
    assert await channels.append([note("3-0", b"d")]) == ["kept"]
    # What was not kept is never passed over: all, or nothing.
    assert await channels.missed(VEHICLES, start, 4, most=10) is None
    assert told(await channels.missed(VEHICLES, Position(start.epoch, 3), 4, most=10)) == [(4, b"d")]
    client.close()


async def test_a_hole_in_the_middle_of_a_log_is_found(channels, redis_url):
    start = await channels.open(VEHICLES)
    await channels.append([note("1-0", b"a")])
    with redis.Redis.from_url(redis_url) as client:
        client.delete(VEHICLES.keys[2])
    await channels.append([note("2-0", b"b")])
    await channels.open(VEHICLES)
    await channels.append([note("3-0", b"c")])
    assert await channels.missed(VEHICLES, start, 3, most=10) is None


async def test_old_events_go_and_whoever_misses_them_is_told(channels):
    start = await channels.open(VEHICLES)
    for n in range(300):  # Redis trims whole nodes of a stream, 100 entries each
        await channels.append([note(f"{n + 1}-0", b"x", b"y")])
    assert await channels.missed(VEHICLES, start, 600, most=1000) is None
    recent = await channels.missed(VEHICLES, Position(start.epoch, 501), 600, most=1000)
    assert [offset for offset, _ in told(recent) if offset > 501] == list(range(502, 601))


async def test_more_than_a_replay_may_have_is_none_of_it(channels):
    start = await channels.open(VEHICLES)
    await channels.append([note("1-0", *[b"x"] * 20)])
    assert await channels.missed(VEHICLES, start, 20, most=19) is None
    assert len(told(await channels.missed(VEHICLES, start, 20, most=20))) == 20


async def test_a_follower_gets_what_comes_of_each_log_and_can_be_woken(channels):
    theirs = Channel(BETA, "vehicles")
    after = {VEHICLES: await channels.open(VEHICLES), theirs: await channels.open(theirs)}
    waiting = asyncio.create_task(channels.follow(after, wait_ms=20_000))
    await asyncio.sleep(0.05)
    await channels.append([note("1-0", b"a", b"b")])
    news = await waiting
    assert told(news[VEHICLES]) == [(1, b"a"), (2, b"b")]
    waiting = asyncio.create_task(
        channels.follow(after | {VEHICLES: Position(after[VEHICLES].epoch, 2)}, wait_ms=20_000)
    )
    await asyncio.sleep(0.05)
    await channels.wake()
    assert await waiting == {}
    assert await channels.follow({}, wait_ms=10) == {}


async def test_after_a_flush_a_follower_is_given_the_new_life_at_once(channels, redis_url):
    before = await channels.open(VEHICLES)
    await channels.append([note("1-0", *[b"x"] * 50)])
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    assert await channels.want([VEHICLES]) == [None]
    assert await channels.append([note("2-0", b"new")]) == ["kept"]
    (batch,) = (await channels.follow({VEHICLES: Position(before.epoch, 50)}, wait_ms=1000))[VEHICLES]
    assert batch.epoch > before.epoch
    assert told([batch]) == [(1, b"new")]
    assert await channels.missed(VEHICLES, Position(before.epoch, 50), 51, most=10) is None


async def test_a_restart_of_redis_begins_a_new_life(durable_redis):
    channels = Channels(RedisSettings(url=durable_redis.url), SETTINGS)
    before = await channels.open(VEHICLES)
    await channels.append([note("1-0", b"a")])
    durable_redis.stop()
    with pytest.raises(ChannelsUnavailable):
        await channels.open(VEHICLES)
    durable_redis.start()
    assert await channels.append([note("1-0", b"a")]) == ["known"]  # what is known of the sources outlives it
    assert await channels.append([note("2-0", b"b")]) == ["kept"]
    after = await channels.open(VEHICLES)
    assert after.epoch > before.epoch
    assert after.offset == 1
    await channels.close()


async def test_connections_are_counted_over_processes_and_the_dead_forgotten(redis_url, monkeypatch):
    settings = LiveSettings(connections_per_principal=2, connections_per_tenant=3)
    one, two = (Admission(RedisSettings(url=redis_url), settings) for _ in range(2))
    assert await one.enter(ACME, "user:a", "1") is None
    assert await two.enter(ACME, "user:a", "2") is None
    assert await one.enter(ACME, "user:a", "3") is Refusal.PRINCIPAL
    assert await two.enter(ACME, "user:b", "4") is None
    assert await two.enter(ACME, "user:c", "5") is Refusal.TENANT
    assert await two.enter(BETA, "user:a", "6") is None
    await one.leave([(ACME, "user:a", "1")])
    assert await two.enter(ACME, "user:a", "7") is None
    # Nobody stands up for 2, 4 and 7 any more: as if that had been TTL_S ago.
    with redis.Redis.from_url(redis_url) as client:
        for key in client.keys("*:connections*"):
            for member in client.zrange(key, 0, -1):
                client.zadd(key, {member: 1})
    assert await one.enter(ACME, "user:a", "8") is None
    await one.stay([(ACME, "user:a", "8")])
    await one.close()
    await two.close()
