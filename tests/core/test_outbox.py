"""State and news share a transaction, and every row of the outbox reaches the bus, whoever dies on the way."""

import asyncio
import collections

import psycopg
import pytest
from redis.asyncio import Redis

from core import events, outbox
from core.bus import Bus, BusUnavailable, Entry, stream_key
from core.db import Database
from core.settings import RedisSettings
from core.tenancy import tenant_id

pytestmark = [pytest.mark.db, pytest.mark.redis]

ACME = tenant_id("acme")


def news(n: int) -> events.DeviceRegistered:
    return events.DeviceRegistered(thing="acme:truck-1", type=f"t{n}")


async def waiting(db: Database) -> int:
    async with db.unscoped(reason="to count") as tx:
        row = await tx.one("SELECT count(*) AS n FROM outbox")
        return int(row["n"])


async def published(redis_url: str, partitions: int = 2) -> list[str]:
    found = []
    async with Redis.from_url(redis_url) as redis:
        for n in range(partitions):
            for _, fields in await redis.xrange(stream_key("device", n)):
                event = events.decode(fields[b"e"])
                assert isinstance(event, events.DeviceRegistered)
                found.append(event.type)
    return found


async def test_news_of_a_committed_transaction_waits_and_of_a_failed_one_never_was(app_db, ingest_db):
    async with app_db.tenant(ACME) as tx:
        await outbox.add(tx, [news(1), news(2)])
    with pytest.raises(psycopg.errors.DivisionByZero):  # noqa: PT012  the transaction is what fails
        async with app_db.tenant(ACME) as tx:
            await outbox.add(tx, [news(3)])
            await tx.execute("SELECT 1 / 0")
    async with app_db.tenant(ACME) as tx:
        await outbox.add(tx, [])
    assert await waiting(ingest_db) == 1


async def test_the_relay_publishes_in_order_and_deletes_what_it_published(app_db, ingest_db, bus, redis_url):
    for n in range(250):
        async with app_db.tenant(ACME) as tx:
            await outbox.add(tx, [news(n)])
    relay = outbox.Relay(ingest_db, bus)
    counts = [await relay.relay_once() for _ in range(4)]
    assert counts == [100, 100, 50, 0]
    assert await published(redis_url) == [f"t{n}" for n in range(250)]
    assert await waiting(ingest_db) == 0


async def test_a_commit_wakes_the_relay_which_does_not_wait_for_its_next_look(app_db, ingest_db, bus, redis_url):
    relay = asyncio.create_task(outbox.Relay(ingest_db, bus, every_s=3600).run())
    for n in range(3):
        async with app_db.tenant(ACME) as tx:
            await outbox.add(tx, [news(n)])
        async with asyncio.timeout(30):
            while len(await published(redis_url)) <= n:  # noqa: ASYNC110  Redis tells nobody
                await asyncio.sleep(0.01)
    relay.cancel()
    await asyncio.gather(relay, return_exceptions=True)


async def test_a_row_that_is_not_due_is_left_to_its_writer(ingest_db, bus, redis_url):
    entries = outbox.pack([Entry("device", "k", events.encode(news(1)))])
    async with ingest_db.unscoped(reason="as ingest writes it") as tx:
        await tx.execute(
            "INSERT INTO outbox (entries, due_at) VALUES (%s, clock_timestamp() + interval '1 hour')", (entries,)
        )
    assert await outbox.Relay(ingest_db, bus).relay_once() == 0
    async with ingest_db.unscoped(reason="its time comes") as tx:
        await tx.execute("UPDATE outbox SET due_at = now()")
    assert await outbox.Relay(ingest_db, bus).relay_once() == 1
    assert await published(redis_url) == ["t1"]


async def test_a_relay_that_dies_between_publishing_and_deleting_repeats_and_loses_nothing(
    app_db, ingest_db, bus, redis_url
):
    async with app_db.tenant(ACME) as tx:
        await outbox.add(tx, [news(1), news(2)])

    class Dying:
        async def publish(self, entries) -> None:
            await bus.publish(entries)
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await outbox.Relay(ingest_db, Dying()).relay_once()
    assert await waiting(ingest_db) == 1
    assert await outbox.Relay(ingest_db, bus).relay_once() == 1
    assert await published(redis_url) == ["t1", "t2", "t1", "t2"]


async def test_relays_side_by_side_publish_every_row_and_lose_none(app_db, database, make_bus, redis_url):
    for n in range(300):
        async with app_db.tenant(ACME) as tx:
            await outbox.add(tx, [news(n)])
    async with Database(database.ingest) as one, Database(database.ingest) as two:
        relays = [outbox.Relay(db, make_bus(), every_s=0.01) for db in (one, two, one)]

        async def drain(relay: outbox.Relay) -> None:
            while await waiting(one):
                await relay.relay_once(most=7)

        await asyncio.gather(*(drain(relay) for relay in relays))
    counts = collections.Counter(await published(redis_url))
    assert counts == {f"t{n}": 1 for n in range(300)}, "with nobody dying, once each"


async def test_while_the_bus_is_away_news_wait_and_the_relay_goes_on_when_it_is_back(
    app_db, ingest_db, durable_redis, bus_settings
):
    settings = RedisSettings(url=durable_redis.url)
    bus = Bus(settings, bus_settings)
    durable_redis.child.kill()
    async with app_db.tenant(ACME) as tx:
        await outbox.add(tx, [news(1)])
    relay = outbox.Relay(ingest_db, bus, every_s=0.02)
    with pytest.raises(BusUnavailable):
        await relay.relay_once()
    task = asyncio.create_task(relay.run())
    await asyncio.sleep(0.2)
    assert not task.done()
    assert await waiting(ingest_db) == 1
    durable_redis.start()
    async with asyncio.timeout(30):
        while await waiting(ingest_db):  # noqa: ASYNC110  the condition is in the database
            await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await published(durable_redis.url) == ["t1"]
    await bus.close()


async def test_the_app_login_writes_news_and_can_neither_read_nor_take_them_back(app_db):
    async with app_db.tenant(ACME) as tx:
        await outbox.add(tx, [news(1)])
    for statement in ("SELECT * FROM outbox", "DELETE FROM outbox"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with app_db.tenant(ACME) as tx:
                await tx.execute(statement)
