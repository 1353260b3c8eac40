"""The worker loop on a real Redis and database: order, retries with an end, poison, takeover, FLUSHALL."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

import psycopg
import pytest
from redis.asyncio import Redis

from core import events
from core.bus import Entry, stream_key
from core.settings import BusSettings
from core.worker import Worker, until_stopped

pytestmark = [pytest.mark.db, pytest.mark.redis]


@pytest.fixture
def bus_settings() -> BusSettings:
    return BusSettings(partitions=2, max_lag=100, retry_limit=3, reclaim_after_s=1.0)


def entry(n: int) -> Entry:
    return Entry("device", "#0", events.encode(events.DeviceRegistered(thing="acme:truck-1", type=f"t{n}")))


class Running:
    """A worker at work, ended as a process is by cancelling it."""

    def __init__(self, bus, database, settings, handler=None, group: str = "shadow", batch=None, concern=None) -> None:
        handlers = {} if handler is None else {events.DeviceRegistered: handler}
        batches = {} if batch is None else {events.DeviceRegistered: batch}
        self.worker = Worker(
            group=group,
            handlers=handlers,
            batches=batches,
            concerns={} if concern is None else {events.DeviceRegistered: concern},
            bus=bus,
            database=database,
            settings=settings,
        )

    async def __aenter__(self) -> None:
        self.task = asyncio.create_task(self.worker.run())

    async def __aexit__(self, *exc: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def until(true: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while True:
            answer = true()
            if await answer if isinstance(answer, Awaitable) else answer:
                return
            await asyncio.sleep(0.01)


def letters(url: str) -> list[tuple[str, str, str, bytes]]:
    with psycopg.connect(url) as conn:
        return conn.execute("SELECT source, reason, detail, payload FROM dead_letter ORDER BY id").fetchall()


async def acknowledged(redis_url: str, group: str = "shadow") -> None:
    """Wait for it: a handler has returned before what it handled is acknowledged."""
    async with Redis.from_url(redis_url) as redis:

        async def is_so() -> bool:
            return (await redis.xpending(stream_key("device", 0), group))["pending"] == 0

        await until(is_so)


async def test_events_are_handled_in_order_and_acknowledged(bus, ingest_db, bus_settings, redis_url):
    seen: list[str] = []

    async def handler(event, _delivery) -> None:
        seen.append(event.type)

    async with Running(bus, ingest_db, bus_settings, handler):
        await bus.publish([entry(n) for n in range(60)])
        await until(lambda: len(seen) == 60)
        await acknowledged(redis_url)
    assert seen == [f"t{n}" for n in range(60)]


async def test_a_handler_that_fails_is_tried_again_before_what_comes_after(bus, ingest_db, bus_settings, database):
    seen: list[tuple[str, int]] = []
    ids: set[str] = set()

    async def handler(event, delivery) -> None:
        seen.append((event.type, len(seen)))
        if event.type == "t0":
            ids.add(delivery.id)
            if len(seen) < 3:
                raise RuntimeError("not yet")

    async with Running(bus, ingest_db, bus_settings, handler):
        await bus.publish([entry(0), entry(1)])
        await until(lambda: len(seen) == 4)
    assert [name for name, _ in seen] == ["t0", "t0", "t0", "t1"]
    assert len(ids) == 1, "an entry keeps its id over all deliveries"
    assert letters(database.owner) == []


async def test_after_the_limit_it_is_a_dead_letter_and_the_partition_goes_on(
    bus, ingest_db, bus_settings, database, redis_url
):
    tried: list[str] = []

    async def handler(event, _delivery) -> None:
        tried.append(event.type)
        if event.type == "t0":
            raise RuntimeError("never")

    async with Running(bus, ingest_db, bus_settings, handler):
        await bus.publish([entry(0), entry(1)])
        await until(lambda: "t1" in tried)
        await acknowledged(redis_url)
    assert tried == ["t0"] * bus_settings.retry_limit + ["t1"]
    assert letters(database.owner) == [
        ("bus:shadow", "handler_failed", "DeviceRegistered: given up after 3 deliveries", entry(0).body)
    ]


async def test_what_was_read_at_once_is_handled_at_once_in_order(bus, ingest_db, bus_settings, redis_url):
    taken: list[list[str]] = []

    async def batch(several) -> None:
        taken.append([event.type for event, _ in several])

    await bus.publish([entry(n) for n in range(60)])
    async with Running(bus, ingest_db, bus_settings, batch=batch):
        await until(lambda: sum(map(len, taken)) == 60)
        await acknowledged(redis_url)
    assert [name for each in taken for name in each] == [f"t{n}" for n in range(60)]
    assert len(taken) == 2


async def test_what_does_not_concern_a_group_is_passed_by_unread(bus, ingest_db, bus_settings, redis_url):
    taken: list[str] = []

    async def batch(several) -> None:
        taken.extend(event.type for event, _ in several)

    await bus.publish([entry(n) for n in range(10)])
    async with Running(bus, ingest_db, bus_settings, batch=batch, concern=lambda body: body != entry(4).body):
        await until(lambda: "t9" in taken)
        await acknowledged(redis_url)
    assert taken == [f"t{n}" for n in range(10) if n != 4]


async def test_of_a_batch_that_fails_only_what_is_to_blame_becomes_a_dead_letter(
    bus, ingest_db, bus_settings, database, redis_url
):
    alone: list[str] = []

    async def batch(several) -> None:
        names = [event.type for event, _ in several]
        if "t1" in names:
            raise RuntimeError("never")
        alone.extend(names)

    await bus.publish([entry(n) for n in range(4)])
    async with Running(bus, ingest_db, bus_settings, batch=batch):
        await until(lambda: "t3" in alone)
        await acknowledged(redis_url)
    assert alone == ["t0", "t2", "t3"]
    assert [body for *_, body in letters(database.owner)] == [entry(1).body]


async def test_what_is_no_event_is_a_dead_letter_at_once(bus, ingest_db, bus_settings, database):
    seen: list[str] = []

    async def handler(event, _delivery) -> None:
        seen.append(event.type)

    poison = [b"", b"\xff\xfe", b"\x80", events.encode(events.DeviceRegistered(thing="a", type="b"))[:-3]]
    async with Running(bus, ingest_db, bus_settings, handler):
        await bus.publish([*(Entry("device", "#0", body) for body in poison), entry(1)])
        await until(lambda: seen == ["t1"])
    found = letters(database.owner)
    assert [row[3] for row in found] == poison
    assert all(row[2].startswith("not an event of ours") for row in found)


async def test_events_without_a_handler_are_acknowledged_and_do_not_stay(bus, ingest_db, bus_settings, redis_url):
    seen: list[str] = []

    async def handler(event, _delivery) -> None:
        seen.append(event.type)

    other = events.DeviceStatusChanged(thing="acme:truck-1", status="active")
    async with Running(bus, ingest_db, bus_settings, handler):
        await bus.publish([Entry("device", "#0", events.encode(other)), entry(1)])
        await until(lambda: seen == ["t1"])
        await acknowledged(redis_url)


async def test_what_a_killed_consumer_held_is_taken_over_in_order(bus, make_bus, ingest_db, bus_settings, redis_url):
    key = stream_key("device", 0)
    await bus.join(key, "shadow")
    await bus.publish([entry(n) for n in range(5)])
    assert await bus.lease(key, "shadow", "dead", 1.0)
    assert len(await bus.read(key, "shadow", "dead", most=3, wait_ms=10)) == 3
    seen: list[str] = []

    async def handler(event, _delivery) -> None:
        seen.append(event.type)

    async with Running(make_bus(), ingest_db, bus_settings, handler):
        await until(lambda: len(seen) == 5)
        await acknowledged(redis_url)
    assert seen == [f"t{n}" for n in range(5)]


async def test_two_workers_of_a_group_share_the_work_and_keep_the_order(bus, make_bus, ingest_db, bus_settings):
    seen: list[str] = []
    inside = 0

    async def handler(event, _delivery) -> None:
        nonlocal inside
        inside += 1
        assert inside == 1, "two workers were in one partition at a time"
        await asyncio.sleep(0)
        seen.append(event.type)
        inside -= 1

    first = Running(make_bus(), ingest_db, bus_settings, handler)
    async with first, Running(make_bus(), ingest_db, bus_settings, handler):
        await bus.publish([entry(n) for n in range(40)])
        await until(lambda: len(seen) == 40)
        first.task.cancel()  # whoever held the partition, the other one goes on
        await bus.publish([entry(n) for n in range(40, 80)])
        await until(lambda: len(seen) == 80)
    assert seen == [f"t{n}" for n in range(80)]


async def test_after_flushall_the_worker_goes_on(bus, ingest_db, bus_settings, redis_url):
    seen: list[str] = []

    async def handler(event, _delivery) -> None:
        seen.append(event.type)

    async with Running(bus, ingest_db, bus_settings, handler):
        await bus.publish([entry(1)])
        await until(lambda: seen == ["t1"])
        async with Redis.from_url(redis_url) as redis:
            await redis.flushall()
        await bus.publish([entry(2)])
        await until(lambda: seen == ["t1", "t2"])


async def test_until_stopped_ends_on_sigterm_lets_work_finish_first_and_waits_for_it():
    order: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.01)
            order.append("cleaned up")

    async def finish() -> None:
        order.append("finished what was begun")

    asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(until_stopped(work(), work(), before_cancel=finish), 10)
    assert order == ["finished what was begun", "cleaned up", "cleaned up"]


async def test_until_stopped_passes_on_what_failed_and_cancels_the_rest():
    ended: list[str] = []

    async def steady() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("steady")

    async def failing() -> None:
        await asyncio.sleep(0.01)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await until_stopped(steady(), failing())
    assert ended == ["steady"]


async def test_whoever_reads_a_partition_is_told_when_that_begins_and_ends(make_bus, ingest_db, bus_settings):
    told: list[tuple[str, str, bool]] = []

    async def handle(event, delivery):
        pass

    def worker(name: str) -> Worker:
        return Worker(
            group="shadow",
            handlers={events.DeviceRegistered: handle},
            bus=make_bus(),
            database=ingest_db,
            settings=bus_settings,
            on_lease=lambda key, is_ours: told.append((name, key, is_ours)),
        )

    first, second = (asyncio.create_task(worker(name).run()) for name in ("one", "two"))
    await until(lambda: len(told) == 2)
    assert {key for _, key, _ in told} == {stream_key("device", n) for n in range(2)}
    assert all(is_ours for _, _, is_ours in told)
    for task in (first, second):
        task.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    for n in range(2):
        mine = [is_ours for _, key, is_ours in told if key == stream_key("device", n)]
        assert mine == [True, False] * (len(mine) // 2)
