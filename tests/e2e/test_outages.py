"""What ingest stands on is killed, frozen and emptied under load; ingest itself must live through all of it."""

import asyncio
import os
import random
import signal

import psutil
import psycopg
import pytest
import redis

from tests.e2e.convoy import driving
from tests.e2e.platform import assert_once
from tests.faults import frozen, until

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis, pytest.mark.mosquitto]

_CONNECTED = "milkrun_ingest_connected"


@pytest.fixture
def same_ingest(platform):
    """The ingest process that ran before runs afterwards."""
    pid = platform.ingest.child.pid
    yield
    assert platform.ingest.child.pid == pid
    assert platform.ingest.child.exit_code is None


async def more(convoy, count: int) -> None:
    """Wait until `count` further samples are durable."""
    goal = convoy.durable + count
    await until(lambda: convoy.durable >= goal)


async def test_a_broker_killed_hard_loses_nothing_that_devices_keep_until_it_is_durable(
    platform, fleet, boot, same_ingest, record_property
):
    rng = random.Random(4)
    async with driving(platform, fleet(8), boot=boot, rate=800) as convoy:
        for _ in range(4):
            await until(lambda: platform.metric(_CONNECTED) == 1 and all(link.is_connected for link in convoy.links))
            await more(convoy, 100)
            await asyncio.sleep(rng.uniform(0.0, 0.3))
            platform.broker.child.kill()
            await asyncio.sleep(rng.uniform(0.0, 0.5))
            await platform.start_broker()
        await convoy.arrived()
        await until(lambda: all(link.counts.connects >= 5 for link in convoy.links))
        assert convoy.resent > 0
        record_property("messages", len(convoy.sent))
        record_property("sent again", convoy.resent)
    assert_once(platform, boot, convoy.sent)


async def test_a_broker_that_stands_still_for_a_while_only_delays(platform, fleet, boot, same_ingest):
    async with driving(platform, fleet(4), boot=boot, rate=500) as convoy:
        await more(convoy, 100)
        with frozen(platform.broker.child.pid):
            await asyncio.sleep(2)
        await convoy.arrived()
    assert_once(platform, boot, convoy.sent)


async def test_a_database_killed_hard_is_waited_for(platform, fleet, boot, same_ingest, record_property):
    """No device sends again: what is there was held by ingest and the broker until the database had recovered."""
    async with driving(platform, fleet(8), boot=boot, rate=800, resends=False) as convoy:
        for _ in range(3):
            await more(convoy, 200)
            platform.postgres.child.kill()
            await asyncio.sleep(0.7)
            await platform.start_postgres()
        await more(convoy, 200)
        await convoy.arrived()
        assert convoy.resent == 0
        record_property("messages", len(convoy.sent))
    assert_once(platform, boot, convoy.sent)
    await until(lambda: platform.outbox_rows() == 0)
    assert convoy.sent <= platform.announced(boot)


async def test_database_sessions_that_are_killed_or_ended_are_replaced(platform, fleet, boot, same_ingest):
    async with driving(platform, fleet(8), boot=boot, rate=800, resends=False) as convoy:
        with psycopg.connect(platform.postgres.url, autocommit=True) as admin:
            for _ in range(5):
                await more(convoy, 100)
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'milkrun_ingest'")
            await more(convoy, 100)
            row = admin.execute("SELECT pid FROM pg_stat_activity WHERE usename = 'milkrun_ingest' LIMIT 1").fetchone()
        assert row is not None
        assert psutil.Process(row[0]).ppid() == platform.postgres.child.pid
        # PostgreSQL restarts itself when a session dies so: shared memory may be damaged.
        os.kill(row[0], signal.SIGKILL)
        await more(convoy, 400)
        await convoy.arrived()
        assert convoy.resent == 0
    assert_once(platform, boot, convoy.sent)


async def test_a_redis_that_dies_or_is_emptied_does_not_touch_telemetry_and_gets_the_news_later(
    platform, fleet, boot, same_ingest, record_property
):
    async with driving(platform, fleet(8), boot=boot, rate=500, resends=False) as convoy:
        await more(convoy, 100)
        with redis.Redis.from_url(platform.redis.url) as client:
            client.flushall()
        platform.listen()
        since = convoy.sent
        await more(convoy, 300)
        platform.redis.child.kill()
        await more(convoy, 1000)
        assert platform.outbox_rows() > 0
        record_property("outbox rows", platform.outbox_rows())
        await platform.start_redis()
        platform.listen()
        await more(convoy, 300)
        with frozen(platform.redis.child.pid):
            await more(convoy, 500)
        await convoy.arrived()
        assert convoy.resent == 0
    assert_once(platform, boot, convoy.sent)
    await until(lambda: platform.outbox_rows() == 0)
    announced = platform.announced(boot)
    record_property("messages", len(convoy.sent))
    record_property("announced", len(announced))
    assert convoy.sent - since <= announced
