"""A device's stored track between two instants, thinned to a wished number of fixes.

Up to FIXES_AT_ONCE fixes are read whole, packed by the database: a day at 1 Hz takes 30 ms that way and 180 ms as rows.
Of longer tracks the first fix of each of some thousand equal spans is read, so that memory stays bounded.
"""

import array
import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import batched, pairwise

from psycopg.rows import DictRow, tuple_row

from core.db import TenantTx
from ingest.history.export import QUERIES, Span
from ingest.history.thinning import is_in_order, thin

FIXES_AT_ONCE = 250_000
SPANS_A_POINT, MOST_SPANS = 4, 8000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Fix:
    """A stored position; degrees (WGS 84), metres, m/s, degrees from north. None = not reported."""

    ts: datetime
    lat: float
    lon: float
    alt: float | None
    speed: float | None
    heading: float | None
    acc: float | None


@dataclass(frozen=True, slots=True)
class Track:
    """`recorded` counts the fixes that were received for the span, `fixes` are those chosen."""

    fixes: list[Fix]
    recorded: int

    @property
    def is_simplified(self) -> bool:
        return len(self.fixes) < self.recorded


type _Columns = tuple[Sequence[float], Sequence[float], Sequence[float]]
"""Seconds since 1970, latitudes, longitudes, in order of time."""


async def recorded(tx: TenantTx, span: Span) -> int:
    """How many fixes were received for a span, those that retention has removed since included."""
    row = await tx.one(QUERIES["count_fixes"], span.params())
    return int(row["fixes"]) if row else 0


async def read_thinned(tx: TenantTx, span: Span, points: int) -> Track:
    """The span's track in at most `points` (2 or more) fixes, its first and last among them."""
    count = await recorded(tx, span)
    # A database with many callers has no spare workers for one of them.
    await tx.execute(QUERIES["one_worker"])
    columns = await (_read_whole(tx, span) if count <= FIXES_AT_ONCE else _read_some(tx, span, points))
    if not columns[0]:
        return Track([], 0)
    chosen = await asyncio.to_thread(thin, *columns, points)
    fixes = await _details(tx, span, columns, chosen)
    return Track(fixes, max(count, len(columns[0])))


async def _read_whole(tx: TenantTx, span: Span) -> _Columns:
    async with tx.conn.cursor(row_factory=tuple_row, binary=True) as cursor:
        await cursor.execute(QUERIES["packed_track"], span.params())
        row = await cursor.fetchone()
    assert row is not None
    columns = tuple(_doubles(packed or b"") for packed in row)
    return _in_order((columns[0], columns[1], columns[2]))


def _doubles(packed: bytes) -> "array.array[float]":
    numbers = array.array("d")
    numbers.frombytes(packed)
    numbers.byteswap()
    return numbers


def _in_order(columns: _Columns) -> _Columns:
    """The database packs rows as it meets them, which is in order of time but for a plan with several workers."""
    seconds, lat, lon = columns
    if is_in_order(seconds):
        return columns
    order = sorted(range(len(seconds)), key=seconds.__getitem__)
    return [seconds[i] for i in order], [lat[i] for i in order], [lon[i] for i in order]


async def _read_some(tx: TenantTx, span: Span, points: int) -> _Columns:
    """The first fix of each of many equal spans, and the last before each span without one."""
    spans = min(MOST_SPANS, SPANS_A_POINT * points)
    width = (span.until - span.since) / spans
    rows = await tx.all(QUERIES["spread_track"], span.params() | {"spans": spans, "width": width})
    if rows:
        # Before a gap the last fix is in the span of the one that was read.
        before = [a["ts"] for a, b in pairwise(rows) if b["ts"] - a["ts"] > 2 * width] + [rows[-1]["ts"]]
        stretches = {"device": span.device, "since": before, "until": [min(at + width, span.until) for at in before]}
        rows += await tx.all(QUERIES["last_fixes"], stretches)
    found = sorted({(_seconds(row["ts"]), row["lat"], row["lon"]) for row in rows})
    return [f[0] for f in found], [f[1] for f in found], [f[2] for f in found]


async def _details(tx: TenantTx, span: Span, columns: _Columns, chosen: Sequence[int]) -> list[Fix]:
    """What else was measured at the chosen fixes."""
    seconds, lat, lon = columns
    keys = [(_time(seconds[i]), lat[i], lon[i]) for i in chosen]
    found: dict[tuple[datetime, float, float], DictRow] = {}
    for part in batched(keys, 1000):
        # Bounds of its own let the database skip the partitions that hold nothing of this part.
        here = {"since": part[0][0], "until": part[-1][0] + timedelta(microseconds=1), "ts": [key[0] for key in part]}
        rows = await tx.all(QUERIES["fixes_at"], span.params() | here)
        found |= {(row["ts"], row["lat"], row["lon"]): row for row in rows}
    return [Fix(**found[key]) for key in keys]


def _seconds(at: datetime) -> float:
    return (at - _EPOCH) / timedelta(seconds=1)


def _time(seconds: float) -> datetime:
    return _EPOCH + timedelta(microseconds=round(seconds * 1e6))
