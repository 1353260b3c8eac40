"""Partitions ahead of the writers, rollups equal to the rows they sum up, retention by partition and by tenant."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from core.db import Database
from core.settings import TelemetrySettings
from ingest.history.maintenance import Maintenance
from ingest.store import QUERIES
from tests.faults import until
from tests.ingest.feed import minutes_ago, register, sample
from tests.ingest.writer import Writer, execute, query

pytestmark = pytest.mark.db

TRUCK, VAN = "acme:truck-1", "beta:van-1"

_DIRECT = {
    "position": """
        SELECT tenant_id, device_id, date_trunc('{unit}', ts), count(*), max(speed),
               (array_agg(lat ORDER BY ts DESC, seq DESC))[1], (array_agg(lon ORDER BY ts DESC, seq DESC))[1]
        FROM telemetry.position GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""",
    "metric": """
        SELECT tenant_id, device_id, name, date_trunc('{unit}', ts), count(*), round(sum(value)::numeric, 6),
               min(value), max(value), (array_agg(value ORDER BY ts DESC, seq DESC))[1]
        FROM telemetry.metric WHERE value IS NOT NULL GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4""",
}
_ROLLED = {
    "position": """
        SELECT tenant_id, device_id, bucket, fixes, max_speed, last_lat, last_lon FROM telemetry.position_{table}
        ORDER BY 1, 2, 3""",
    "metric": """
        SELECT tenant_id, device_id, name, bucket, samples, round(total::numeric, 6), min, max, last
        FROM telemetry.metric_{table} ORDER BY 1, 2, 3, 4""",
}


def assert_rollups_are_the_rows(urls) -> None:
    for kind in ("position", "metric"):
        for table, unit in (("1m", "minute"), ("1h", "hour")):
            rolled = query(urls, _ROLLED[kind].format(table=table))
            assert rolled == query(urls, _DIRECT[kind].format(unit=unit)), f"{kind}_{table}"
            assert rolled


@pytest.fixture
async def maintenance(database):
    async with Database(database.ingest, pool_size=4) as pool:
        yield Maintenance(pool, TelemetrySettings(), lambda: datetime.now(UTC))


def days_there(urls, table: str) -> set[str]:
    found = query(urls, "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", table)
    return {name[-8:] for (name,) in found}


def day(ago: float) -> str:
    return f"{datetime.now(UTC) - timedelta(days=ago):%Y%m%d}"


async def test_partitions_are_made_for_the_accepted_past_and_days_ahead(database):
    in_a_week = datetime.now(UTC) + timedelta(days=7)
    async with Database(database.ingest, pool_size=1) as pool:
        later = Maintenance(pool, TelemetrySettings(), lambda: in_a_week)
        for _ in range(2):
            await later.ensure_partitions()
            for table in ("telemetry.position", "telemetry.metric"):
                assert days_there(database, table) == {day(ago) for ago in range(-10, 9)}


async def test_two_workers_may_make_the_same_partitions_at_once(database, maintenance):
    for table in ("position", "metric"):
        for ago in (2, 3, 4):
            execute(database, f"DROP TABLE telemetry.{table}_{day(ago)}")
    await asyncio.gather(*(maintenance.ensure_partitions() for _ in range(4)))
    assert {day(ago) for ago in (2, 3, 4)} <= days_there(database, "telemetry.metric")


async def test_rollups_follow_late_data_and_writers_that_write_meanwhile(database, maintenance):
    register(database, TRUCK, VAN)
    rng = random.Random(5)
    seqs = dict.fromkeys((TRUCK, VAN), 0)
    async with Writer(database, batch_rows=20, batch_wait_ms=1) as writer:
        for _ in range(8):
            for _ in range(60):
                thing = rng.choice((TRUCK, VAN))
                seqs[thing] += 1
                one = sample(
                    minutes_ago(rng.uniform(0, 300)), seqs[thing], m={"x": round(rng.uniform(-9, 9), 2), "t": "a"}
                )
                one["pos"]["speed"] = round(rng.uniform(0, 30), 1)
                one["ts"] += seqs[thing]
                writer.offer(thing, one)
            await maintenance.refresh_rollups()
        await writer.settled()
    assert await maintenance.refresh_rollups() > 0
    assert_rollups_are_the_rows(database)
    assert await maintenance.refresh_rollups() == 0


@pytest.mark.parametrize("minute", [1, 2], ids=["the same minute", "another minute of the hour"])
async def test_two_workers_that_refresh_at_the_same_time_leave_nothing_out(database, maintenance, minute):
    """While one is in the middle of a refresh, held up by a lock, more is written and another begins."""
    register(database, TRUCK)
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)

    async def write(minute: int, seq: int) -> None:
        async with Writer(database) as writer:
            writer.offer(TRUCK, sample(hour + timedelta(minutes=minute, seconds=seq), seq, m={"x": seq}))
            await writer.settled()

    await write(1, 1)
    with psycopg.connect(database.owner) as holder:
        holder.execute("LOCK TABLE telemetry.position_1m IN SHARE MODE")
        one = asyncio.create_task(maintenance.refresh_rollups())
        await until(lambda: is_waiting_for_a_lock(database))
        await write(minute, 2)
        other = asyncio.create_task(maintenance.refresh_rollups())
        await asyncio.sleep(0.3)
    await asyncio.gather(one, other)
    await maintenance.refresh_rollups()
    assert_rollups_are_the_rows(database)


def is_waiting_for_a_lock(urls) -> bool:
    waiting = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'telemetry.position_1m'::regclass"
    return len(query(urls, waiting)) > 0


async def test_a_claim_whose_worker_died_is_finished_by_the_next(database, maintenance):
    register(database, TRUCK)
    async with Writer(database) as writer:
        writer.offer(TRUCK, sample(minutes_ago(5), 1, m={"x": 1}))
        await writer.settled()
    async with Database(database.ingest, pool_size=1) as pool, pool.unscoped(reason="a worker that dies") as tx:
        await tx.execute(QUERIES["claim_rollups"], (30,))
    assert query(database, "SELECT count(*) FROM telemetry.rollup_pending") == [(0,)]
    assert await maintenance.refresh_rollups() == 1
    assert_rollups_are_the_rows(database)


def put(urls, tenant: str, ago: int) -> None:
    at = datetime.now(UTC) - timedelta(days=ago)
    execute(urls, "SELECT telemetry.ensure_partitions(%s, %s)", at, at)
    execute(
        urls,
        "INSERT INTO telemetry.position (ts, seq, lat, lon, received_at, tenant_id, device_id, boot) "
        "VALUES (%s, 1, 47, 9, now(), %s, 'd', 'b')",
        at,
        tenant,
    )
    execute(
        urls,
        "INSERT INTO telemetry.metric (ts, seq, value, received_at, tenant_id, device_id, boot, name) "
        "VALUES (%s, 1, 1, now(), %s, 'd', 'b', 'x')",
        at,
        tenant,
    )


def kept(urls, table: str) -> set[tuple[str, int]]:
    found = query(urls, f"SELECT tenant_id, round(extract(epoch FROM now() - ts) / 86400)::int FROM telemetry.{table}")
    return {(tenant, ago) for tenant, ago in found}


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, {("aa", 2), ("aa", 10), ("bb", 2), ("bb", 10)}),
        ({"bb": 5}, {("aa", 2), ("aa", 10), ("bb", 2)}),
        ({"bb": 60}, {("aa", 2), ("aa", 10), ("bb", 2), ("bb", 10), ("bb", 40)}),
    ],
)
async def test_each_tenant_keeps_its_own_days_and_the_rest_the_settings(database, own, expected):
    for tenant in ("aa", "bb"):
        register(database, f"{tenant}:d")
        for ago in (2, 10, 40, 100):
            put(database, tenant, ago)
    for tenant, days in own.items():
        execute(database, "UPDATE tenant SET retention_days = %s WHERE tenant_id = %s", days, tenant)
    async with Database(database.ingest, pool_size=1) as pool:
        settings = TelemetrySettings(retention_days=30)
        assert await Maintenance(pool, settings, lambda: datetime.now(UTC)).apply_retention() >= 2
    assert kept(database, "position") == expected
    assert kept(database, "metric") == expected
    assert day(100) not in days_there(database, "telemetry.position")
