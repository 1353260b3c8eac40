"""Rows packed by hand against the rows a driver writes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.clock import from_epoch_ms
from core.telemetry import Position
from ingest import rows

pytestmark = pytest.mark.db

_NOW = datetime.now(UTC).replace(microsecond=0)
_TS = st.integers(0, 6 * 86_400_000).map(lambda ago: int(_NOW.timestamp() * 1000) - ago)
_REAL = st.none() | st.floats(-1e6, 1e6, width=32) | st.just(-0.0) | st.integers(-500, 20_000)
_BOOT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=64)
_SEQ = st.integers(-(2**62), 2**53 - 1)
positions = st.builds(
    Position,
    lat=st.floats(-90, 90),
    lon=st.floats(-180, 180) | st.integers(-180, 180),
    alt=_REAL,
    speed=_REAL,
    heading=_REAL,
    acc=_REAL,
    hdop=_REAL,
    sats=st.none() | st.integers(0, 100),
)
_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=100)
_NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1) | st.booleans()
named = st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_.:#-]{0,20}", fullmatch=True), _TEXT | _NUMBER, max_size=6)
once = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def conn(module_database):
    with psycopg.connect(module_database.owner) as conn:
        yield conn


def copied(conn, table: str, packed: list[bytes]) -> list[tuple[Any, ...]]:
    conn.execute(f"CREATE TEMP TABLE took (LIKE {table}) ON COMMIT DROP")
    with conn.cursor().copy("COPY took FROM STDIN (FORMAT binary)") as copy:
        copy.write(rows.HEADER + b"".join(packed) + rows.TRAILER)
    found = conn.execute("SELECT * FROM took").fetchall()
    conn.rollback()
    return found


def inserted(conn, table: str, values: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    conn.execute(f"CREATE TEMP TABLE took (LIKE {table}) ON COMMIT DROP")
    for each in values:
        conn.execute(f"INSERT INTO took VALUES ({', '.join(['%s'] * len(each))})", each)
    found = conn.execute("SELECT * FROM took").fetchall()
    conn.rollback()
    return found


def plain(ts_ms: int, boot: str, seq: int, pos: Position) -> tuple[Any, ...]:
    measured = (pos.alt, pos.speed, pos.heading, pos.acc, pos.hdop, pos.sats)
    return (from_epoch_ms(ts_ms), seq, pos.lat, pos.lon, _NOW, *measured, "acme", "truck-1", boot)


def packed(ts_ms: int, boot: str, seq: int, pos: Position) -> bytes:
    ident = rows.text("acme") + rows.text("truck-1")
    return rows.position(ident, boot, seq, ts_ms, rows.timestamp_us(int(_NOW.timestamp() * 1000)), pos)


@once
@given(st.lists(st.tuples(_TS, _BOOT, _SEQ, positions), min_size=1, max_size=20))
def test_a_packed_position_is_the_row_that_an_insert_makes(conn, samples):
    expected = inserted(conn, "telemetry.position", [plain(*each) for each in samples])
    assert copied(conn, "telemetry.position", [packed(*each) for each in samples]) == expected


def test_every_combination_of_missing_values_is_read_back_as_it_was(conn):
    samples = []
    for mask in range(64):
        given = [value if mask & 1 << bit else None for bit, value in enumerate((455.5, 13.5, 182.25, 4.5, 0.75, 11))]
        alt, speed, heading, acc, hdop, sats = given
        pos = Position(47.1, 9.5, alt=alt, speed=speed, heading=heading, acc=acc, hdop=hdop, sats=sats)
        samples.append((int(_NOW.timestamp() * 1000), "b", mask, pos))
    found = copied(conn, "telemetry.position", [packed(*each) for each in samples])
    assert found == [plain(*each) for each in samples]
    assert len(set(found)) == 64


@once
@given(_TS, _BOOT, _SEQ, named)
def test_packed_metrics_are_the_rows_that_inserts_make(conn, ts_ms, boot, seq, m):
    ident = rows.text("acme") + rows.text("truck-1")
    received = rows.timestamp_us(int(_NOW.timestamp() * 1000))
    values = []
    for name, value in m.items():
        number, words = (None, value) if isinstance(value, str) else (float(value), None)
        values.append((from_epoch_ms(ts_ms), seq, _NOW, number, words, "acme", "truck-1", boot, name))
    found = copied(conn, "telemetry.metric", rows.metrics(ident, boot, seq, ts_ms, received, m))
    assert found == inserted(conn, "telemetry.metric", values)


@given(st.integers(0, 4_102_444_800_000))
def test_timestamps_are_exact_to_the_millisecond(ts_ms):
    epoch = datetime(2000, 1, 1, tzinfo=UTC)
    assert epoch + timedelta(microseconds=rows.timestamp_us(ts_ms)) == from_epoch_ms(ts_ms)
