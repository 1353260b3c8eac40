"""Redis Streams as the bus, on a real Redis."""

import asyncio

import pytest
from redis.asyncio import Redis

from core import events
from core.bus import _UNREAD_TAIL, STREAMS, Bus, BusUnavailable, Entry, stream_key
from core.settings import BusSettings, RedisSettings

pytestmark = pytest.mark.redis

GROUP = "shadow"


def entries(*bodies: bytes, key: str = "#0") -> list[Entry]:
    return [Entry("device", key, body) for body in bodies]


async def bodies(bus: Bus, consumer: str, *, key: str = stream_key("device", 0), group: str = GROUP) -> list[bytes]:
    return [d.body for d in await bus.read(key, group, consumer, most=50, wait_ms=20)]


async def test_a_partition_is_read_in_the_order_it_was_published(bus):
    key = stream_key("device", 0)
    await bus.join(key, GROUP)
    wanted = [str(n).encode() for n in range(120)]
    for start in range(0, 120, 7):
        await bus.publish(entries(*wanted[start : start + 7]))
    found: list[bytes] = []
    while len(found) < 120:
        found += await bodies(bus, "a")
    assert found == wanted


async def test_a_thing_stays_in_its_partition_and_things_spread_over_all_of_them(redis_url):
    bus = Bus(RedisSettings(url=redis_url), BusSettings(partitions=16))
    again = Bus(RedisSettings(url=redis_url), BusSettings(partitions=16))
    names = [f"acme:truck-{n}" for n in range(1000)]
    assert [bus.partition(name) for name in names] == [again.partition(name) for name in names]
    counts = [sum(bus.partition(name) == n for name in names) for n in range(16)]
    assert min(counts) > 30
    assert bus.partition("#5") == 5
    await bus.close()
    await again.close()


async def test_every_group_gets_every_entry_and_within_a_group_each_goes_to_one_consumer(bus):
    key = stream_key("device", 0)
    for group in ("shadow", "rules"):
        await bus.join(key, group)
    await bus.publish(entries(b"1", b"2"))
    assert await bodies(bus, "a", group="shadow") == [b"1", b"2"]
    assert await bodies(bus, "b", group="shadow") == []
    assert await bodies(bus, "c", group="rules") == [b"1", b"2"]


async def test_joining_twice_keeps_the_place_and_a_late_group_reads_what_is_kept(bus):
    key = stream_key("device", 0)
    await bus.publish(entries(b"before"))
    await bus.join(key, GROUP)
    assert await bodies(bus, "a") == [b"before"]
    await bus.join(key, GROUP)
    assert await bodies(bus, "a") == []


async def test_one_consumer_of_a_group_holds_a_partition_until_its_lease_ends_or_is_given_back(bus, make_bus):
    key, other = stream_key("device", 0), make_bus()
    assert await bus.lease(key, GROUP, "a", 30)
    assert await bus.lease(key, GROUP, "a", 30), "a holder renews"
    assert not await other.lease(key, GROUP, "b", 30)
    assert await other.lease(key, "rules", "b", 30), "another group reads on its own"
    await other.release(key, GROUP, "b")
    assert not await other.lease(key, GROUP, "b", 30), "only the holder gives it back"
    await bus.release(key, GROUP, "a")
    assert await other.lease(key, GROUP, "b", 0.05)
    await asyncio.sleep(0.2)
    assert await bus.lease(key, GROUP, "a", 30), "a dead holder's lease ends by itself"


async def test_what_a_dead_consumer_held_is_handed_over_in_order_with_its_count(bus, make_bus):
    key, other = stream_key("device", 0), make_bus()
    await bus.join(key, GROUP)
    await bus.publish(entries(b"1", b"2", b"3"))
    first = await bus.read(key, GROUP, "dead", most=50, wait_ms=20)
    await bus.acknowledge(key, GROUP, [first[1].id])
    held = await other.held(key, GROUP, "alive")
    assert [(d.body, d.times) for d in held] == [(b"1", 2), (b"3", 2)]
    assert [(d.id) for d in held] == [first[0].id, first[2].id], "an entry keeps its id"
    assert [d.times for d in await other.held(key, GROUP, "alive")] == [3, 3]
    await other.acknowledge(key, GROUP, [d.id for d in held])
    assert await other.held(key, GROUP, "alive") == []


async def test_entries_trimmed_by_hand_are_dropped_from_what_is_held(bus, redis_url):
    key = stream_key("device", 0)
    await bus.join(key, GROUP)
    await bus.publish(entries(b"1", b"2"))
    first = await bus.read(key, GROUP, "dead", most=50, wait_ms=20)
    async with Redis.from_url(redis_url) as redis:
        await redis.xdel(key, first[0].id)
    assert [d.body for d in await bus.held(key, GROUP, "alive")] == [b"2"]
    assert [d.body for d in await bus.held(key, GROUP, "alive")] == [b"2"]


async def test_trimming_keeps_what_the_slowest_group_needs(bus, redis_url):
    key = stream_key("device", 0)
    for group in ("quick", "slow"):
        await bus.join(key, group)
    await bus.publish(entries(*(str(n).encode() for n in range(20))))
    for delivery in await bus.read(key, "quick", "a", most=50, wait_ms=20):
        await bus.acknowledge(key, "quick", [delivery.id])
    taken = await bus.read(key, "slow", "b", most=10, wait_ms=20)
    await bus.acknowledge(key, "slow", [d.id for d in taken[:5]])
    await bus.trim()
    # Five taken and not acknowledged, ten never read: the slow group can still have all of them.
    assert [d.body for d in await bus.held(key, "slow", "c")] == [str(n).encode() for n in range(5, 10)]
    assert await bodies(bus, "b", group="slow") == [str(n).encode() for n in range(10, 20)]
    async with Redis.from_url(redis_url) as redis:
        assert await redis.xlen(key) == 15


async def test_what_all_groups_acknowledged_is_trimmed_and_a_stream_nobody_reads_keeps_a_tail(bus, redis_url):
    key, unread = stream_key("device", 0), stream_key("device", 1)
    await bus.join(key, GROUP)
    await bus.publish(entries(*[b"x"] * 50))
    await bus.publish(entries(*[b"y"] * 1500, key="#1"))
    done = await bus.read(key, GROUP, "a", most=50, wait_ms=20)
    await bus.acknowledge(key, GROUP, [d.id for d in done])
    await bus.trim()
    async with Redis.from_url(redis_url) as redis:
        assert await redis.xlen(key) <= 1
        assert await redis.xlen(unread) == _UNREAD_TAIL


async def test_a_stream_over_its_lag_refuses_until_its_group_has_caught_up(bus):
    key = stream_key("device", 0)
    await bus.join(key, GROUP)
    await bus.publish(entries(*[b"x"] * 101))
    await bus.trim()
    with pytest.raises(BusUnavailable, match="over 100"):
        await bus.publish(entries(b"more"))
    await bus.publish(entries(b"elsewhere", key="#1"))
    for _ in range(3):
        for delivery in await bus.read(key, GROUP, "a", most=50, wait_ms=20):
            await bus.acknowledge(key, GROUP, [delivery.id])
    await bus.trim()
    await bus.publish(entries(b"more"))
    assert await bodies(bus, "a") == [b"more"]


async def test_after_flushall_a_reader_is_told_joins_again_and_goes_on(bus, redis_url):
    key = stream_key("device", 0)
    await bus.join(key, GROUP)
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
    with pytest.raises(BusUnavailable, match="flushed"):
        await bus.read(key, GROUP, "a", most=1, wait_ms=20)
    with pytest.raises(BusUnavailable, match="flushed"):
        await bus.held(key, GROUP, "a")
    await bus.trim()
    await bus.publish(entries(b"after"))
    await bus.join(key, GROUP)
    assert await bodies(bus, "a") == [b"after"]


async def test_a_redis_that_was_killed_is_bus_unavailable_everywhere_and_back_when_it_is_back(
    durable_redis, bus_settings
):
    bus = Bus(RedisSettings(url=durable_redis.url), bus_settings)
    key = stream_key("device", 0)
    await bus.join(key, GROUP)
    durable_redis.child.kill()
    calls = [
        lambda: bus.publish(entries(b"1")),
        lambda: bus.join(key, GROUP),
        lambda: bus.read(key, GROUP, "a", most=1, wait_ms=10),
        lambda: bus.held(key, GROUP, "a"),
        lambda: bus.lease(key, GROUP, "a", 1),
        lambda: bus.release(key, GROUP, "a"),
        lambda: bus.acknowledge(key, GROUP, ["1-1"]),
        bus.trim,
    ]
    for call in calls:
        with pytest.raises(BusUnavailable):
            await call()
    durable_redis.start()
    await bus.join(key, GROUP)
    await bus.publish(entries(b"2"))
    assert await bodies(bus, "a") == [b"2"]
    await bus.close()


def test_every_stream_of_an_event_is_one_the_bus_trims():
    assert {event.stream for event in events.AnyEvent.__args__} <= set(STREAMS)


async def test_trimming_bears_that_entries_are_acknowledged_meanwhile(bus):
    key = stream_key("device", 0)
    await bus.join(key, GROUP)
    is_over = asyncio.Event()

    async def read() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            await bus.publish(entries(str(number).encode()))
            for delivery in await bus.read(key, GROUP, "a", most=50, wait_ms=20):
                assert delivery.body == str(number).encode()
                await bus.acknowledge(key, GROUP, [delivery.id])

    reading = asyncio.create_task(read())
    for _ in range(300):
        await bus.trim()
    is_over.set()
    await reading
