"""Partitions ahead of the writers, rollups equal to the rows they sum up, retention by partition and by tenant."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from core.db import Database
from core.migrate import has_timescale
from core.settings import TelemetrySettings
from ingest.history.maintenance import Maintenance
from ingest.store import QUERIES
from tests.faults import until
from tests.ingest.feed import minutes_ago, register, sample
from tests.ingest.writer import Writer, execute, query

pytestmark = pytest.mark.db

TRUCK, VAN = "acme:truck-1", "beta:van-1"
ROLLUPS = ("position_1m", "position_1h", "metric_1m", "metric_1h")

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


async def refresh(urls, maintenance: Maintenance) -> None:
    """Bring the rollups up to date in the way of the store: our maintenance, or TimescaleDB's own policies."""
    if has_timescale(urls.owner):
        run_policies(urls, "policy_refresh_continuous_aggregate", 4)
    else:
        await maintenance.refresh_rollups()


def run_policies(urls, procedure: str, count: int) -> None:
    """As TimescaleDB's scheduler does, not by hand: their windows are part of what is tested."""
    jobs = query(
        urls, "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = %s ORDER BY job_id", procedure
    )
    assert len(jobs) == count
    with psycopg.connect(urls.owner, autocommit=True) as conn:
        for (job,) in jobs:
            conn.execute("CALL run_job(%s)", (job,))


def days_there(urls, table: str) -> set[str]:
    """The days that have a partition, or a chunk."""
    if has_timescale(urls.owner):
        found = query(
            urls,
            "SELECT to_char(range_start AT TIME ZONE 'UTC', 'YYYYMMDD') FROM timescaledb_information.chunks "
            "WHERE hypertable_schema || '.' || hypertable_name = %s",
            table,
        )
        return {day for (day,) in found}
    found = query(urls, "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", table)
    return {name[-8:] for (name,) in found}


def day(ago: float) -> str:
    return f"{datetime.now(UTC) - timedelta(days=ago):%Y%m%d}"


@pytest.mark.usefixtures("native")
async def test_partitions_are_made_for_the_accepted_past_and_days_ahead(database):
    in_a_week = datetime.now(UTC) + timedelta(days=7)
    async with Database(database.ingest, pool_size=1) as pool:
        later = Maintenance(pool, TelemetrySettings(), lambda: in_a_week)
        for _ in range(2):
            await later.ensure_partitions()
            for table in ("telemetry.position", "telemetry.metric"):
                assert days_there(database, table) == {day(ago) for ago in range(-10, 9)}


@pytest.mark.usefixtures("native")
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
            await refresh(database, maintenance)
        await writer.settled()
    if not has_timescale(database.owner):
        assert query(database, "SELECT count(*) FROM telemetry.rollup_pending") != [(0,)]
    await refresh(database, maintenance)
    assert_rollups_are_the_rows(database)
    assert await maintenance.refresh_rollups() == 0


@pytest.mark.usefixtures("native")
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


@pytest.mark.usefixtures("native")
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


def rolled_up(urls, table: str) -> set[int]:
    """How many days ago the buckets of a rollup are."""
    found = query(urls, f"SELECT round(extract(epoch FROM now() - bucket) / 86400)::int FROM telemetry.{table}")
    return {ago for (ago,) in found}


async def test_rollups_outlive_the_rows_they_sum_up_and_go_in_their_own_time(database, maintenance):
    register(database, "aa:d")
    for ago in (2, 10, 40, 200):
        put(database, "aa", ago)
    is_timescale = has_timescale(database.owner)
    if is_timescale:
        with psycopg.connect(database.owner, autocommit=True) as conn:
            for rollup in ROLLUPS:  # of days that the policies' window has left behind, as they did in their time
                conn.execute(f"CALL refresh_continuous_aggregate('telemetry.{rollup}', NULL, NULL)")
        run_policies(database, "policy_compression", 2)
        columnar = "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed"
        assert query(database, columnar) == [(6,)]
    else:
        minutes = "SELECT telemetry.touch_minutes(array_agg(date_trunc('minute', ts))) FROM telemetry.position"
        execute(database, minutes)
    await refresh(database, maintenance)
    assert {table: rolled_up(database, table) for table in ROLLUPS} == {table: {2, 10, 40, 200} for table in ROLLUPS}
    async with Database(database.ingest, pool_size=1) as pool:
        settings = TelemetrySettings(retention_days=30, rollup_retention_days=100)
        assert await Maintenance(pool, settings, lambda: datetime.now(UTC)).apply_retention() == 4
    if is_timescale:
        # A bucket must not be computed anew from rows that are gone.
        run_policies(database, "policy_refresh_continuous_aggregate", 4)
        run_policies(database, "policy_compression", 2)
    for table in ("position", "metric"):
        assert kept(database, table) == {("aa", 2), ("aa", 10)}
        assert not {day(40), day(200)} & days_there(database, f"telemetry.{table}")
    assert {table: rolled_up(database, table) for table in ROLLUPS} == {table: {2, 10, 40} for table in ROLLUPS}
