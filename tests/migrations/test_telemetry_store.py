"""What ingest and maintenance rely on, the same on native partitions and on TimescaleDB's hypertables."""

import psycopg
import pytest

from core.migrate import has_timescale
from tests.conftest import DatabaseUrls

pytestmark = pytest.mark.db


@pytest.fixture
def ingest(database: DatabaseUrls):
    with psycopg.connect(database.ingest, autocommit=True) as conn:
        conn.execute("SELECT telemetry.ensure_partitions(now() - interval '40 days', now())")
        yield conn


def add(conn: psycopg.Connection, days: float, seq: int = 1, tenant: str = "acme") -> None:
    at = (days * 24 * 60, seq, tenant)
    conn.execute(
        "INSERT INTO telemetry.position (ts, seq, lat, lon, received_at, speed, tenant_id, device_id, boot)"
        " SELECT date_trunc('minute', now()) - make_interval(mins => %s::int), %s, 47, 9, now(), 3, %s, 'd', 'b'"
        " ON CONFLICT DO NOTHING",
        at,
    )
    conn.execute(
        "INSERT INTO telemetry.metric (ts, seq, value, received_at, tenant_id, device_id, boot, name)"
        " SELECT date_trunc('minute', now()) - make_interval(mins => %s::int), %s, 5, now(), %s, 'd', 'b', 'x'"
        " ON CONFLICT DO NOTHING",
        at,
    )


def count(url: str, table: str) -> int:
    with psycopg.connect(url) as conn:
        return int(conn.execute(f"SELECT count(*) FROM telemetry.{table}").fetchone()[0])


def test_ingest_copies_straight_in_and_a_repeated_row_fails_the_copy_whole(database, ingest):
    copy = "COPY telemetry.position (ts, seq, lat, lon, received_at, tenant_id, device_id, boot) FROM STDIN"

    def write(*seqs: int) -> None:
        with ingest.transaction(), ingest.cursor().copy(copy) as into:
            for seq in seqs:
                into.write_row(("2026-01-02T00:00:00Z", seq, 47, 9, "2026-01-02T00:00:00Z", "acme", "d", "b"))

    ingest.execute("SELECT telemetry.ensure_partitions('2026-01-02Z', '2026-01-02Z')")
    write(1, 2)
    with pytest.raises(psycopg.errors.UniqueViolation):
        write(3, 2)
    write(3)
    assert count(database.owner, "position") == 3


def test_ingest_can_neither_delete_nor_change_what_is_stored(ingest):
    add(ingest, 1)
    for statement in (
        "DELETE FROM telemetry.position",
        "UPDATE telemetry.position SET lat = 0",
        "TRUNCATE telemetry.metric",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ingest.execute(statement)


def test_retention_drops_what_is_old_for_all_and_what_is_old_for_one_tenant(database, ingest):
    for tenant in ("acme", "globex"):
        for days in (1, 12, 35):
            add(ingest, days, tenant=tenant)
    dropped = ingest.execute("SELECT telemetry.apply_retention(20, 730, ARRAY['acme'], ARRAY[5])").fetchone()[0]
    assert dropped > 0
    with psycopg.connect(database.owner) as conn:
        for table in ("position", "metric"):
            rows = conn.execute(
                f"SELECT tenant_id, (now()::date - ts::date) / 10 FROM telemetry.{table} ORDER BY 1, 2"
            ).fetchall()
            assert rows == [("acme", 0), ("globex", 0), ("globex", 1)], table
    again = ingest.execute("SELECT telemetry.apply_retention(20, 730, ARRAY['acme'], ARRAY[5])").fetchone()[0]
    assert again == 0


def test_a_tenant_that_keeps_more_does_not_make_the_others_keep_more(database, ingest):
    for tenant in ("acme", "globex"):
        for days in (1, 35):
            add(ingest, days, tenant=tenant)
    ingest.execute("SELECT telemetry.apply_retention(20, 730, ARRAY['acme'], ARRAY[60])")
    with psycopg.connect(database.owner) as conn:
        for table in ("position", "metric"):
            rows = conn.execute(f"SELECT tenant_id, count(*) FROM telemetry.{table} GROUP BY 1 ORDER BY 1").fetchall()
            assert rows == [("acme", 2), ("globex", 1)], table


def test_rollups_hold_each_tenants_minutes_and_hours_and_late_data_reaches_them(database, ingest):
    for seq in range(3):
        add(ingest, 2, seq)
    refresh(database, ingest)
    with psycopg.connect(database.app) as app:
        app.execute("SELECT set_config('app.tenant_id', 'acme', false)")
        for view in ("metrics_1m", "metrics_1h"):
            assert app.execute(f"SELECT samples, avg, min, max, last FROM {view}").fetchall() == [(3, 5, 5, 5, 5)], view
        for view in ("positions_1m", "positions_1h"):
            assert app.execute(f"SELECT fixes, max_speed, last_lat FROM {view}").fetchall() == [(3, 3, 47)], view
        app.commit()
        add(ingest, 2, seq=9)
        refresh(database, ingest)
        for view, column in (("metrics_1m", "samples"), ("metrics_1h", "samples"), ("positions_1h", "fixes")):
            assert app.execute(f"SELECT {column} FROM {view}").fetchall() == [(4,)], view


def refresh(database: DatabaseUrls, ingest: psycopg.Connection) -> None:
    ingest.execute(
        "SELECT telemetry.touch_minutes(array_agg(DISTINCT date_trunc('minute', ts))) FROM telemetry.position"
    )
    ingest.execute("SELECT telemetry.claim_rollups(1000)")
    ingest.execute("SELECT telemetry.refresh_rollups()")
    if has_timescale(database.owner):
        with psycopg.connect(database.owner, autocommit=True) as conn:
            jobs = conn.execute(
                "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name LIKE 'policy_refresh%' ORDER BY job_id"
            ).fetchall()
            assert len(jobs) == 4
            for (job,) in jobs:  # as the policies do, not by hand: their windows are part of what is tested
                conn.execute("CALL run_job(%s)", (job,))


@pytest.fixture
def columnar(database: DatabaseUrls, ingest: psycopg.Connection) -> DatabaseUrls:
    """Rows of nine days, the oldest already as columns, as the policy makes them."""
    if not has_timescale(database.owner):
        pytest.skip("this server has no TimescaleDB: there are no columnar chunks here")
    for days in range(1, 12):
        add(ingest, days)
    with psycopg.connect(database.owner, autocommit=True) as conn:
        jobs = conn.execute(
            "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_compression' ORDER BY 1"
        ).fetchall()
        for (job,) in jobs:
            conn.execute("CALL run_job(%s)", (job,))
        made = conn.execute("SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed").fetchone()[0]
    assert made >= 4
    return database


def test_late_data_and_its_repeats_land_once_in_a_columnar_chunk(columnar, ingest):
    before = count(columnar.owner, "position"), count(columnar.owner, "metric")
    for _ in range(3):
        add(ingest, 10, seq=1)
        add(ingest, 10, seq=2)
    assert (count(columnar.owner, "position"), count(columnar.owner, "metric")) == (before[0] + 1, before[1] + 1)


def test_a_repeat_copied_into_a_columnar_chunk_is_a_unique_violation_too(columnar, ingest):
    row = ingest.execute("SELECT ts FROM telemetry.position ORDER BY ts LIMIT 1").fetchone()
    copy = "COPY telemetry.position (ts, seq, lat, lon, received_at, tenant_id, device_id, boot) FROM STDIN"
    with pytest.raises(psycopg.errors.UniqueViolation), ingest.transaction(), ingest.cursor().copy(copy) as into:
        into.write_row((row[0], 1, 47.0, 9.0, row[0], "acme", "d", "b"))


def test_retention_of_one_tenant_reaches_into_columnar_chunks(columnar, ingest):
    add(ingest, 10, tenant="globex")
    ingest.execute("SELECT telemetry.apply_retention(90, 730, ARRAY['acme'], ARRAY[5])")
    with psycopg.connect(columnar.owner) as conn:
        rows = conn.execute(
            "SELECT tenant_id, max(now()::date - ts::date) FROM telemetry.position GROUP BY 1 ORDER BY 1"
        ).fetchall()
    assert rows[0][1] <= 5
    assert rows[1] == ("globex", 10)
