"""A device's stored track as a file: CSV, GeoJSON or GPX, read through the tenant door and streamed.

Server-side cursors keep memory flat whatever the length of the track. The files:

- CSV: a line a sample; times ISO 8601 UTC, SI units, empty cells where nothing was reported.
- GeoJSON (RFC 7946): a FeatureCollection with a Point a fix; what was measured there is in its properties.
- GPX 1.1: one track, a new segment after each gap of over ten minutes; elevation, time, satellites and hdop.
"""

import csv
import io
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from xml.sax.saxutils import escape

from psycopg.rows import DictRow, dict_row

from core import sql
from core.db import TenantTx
from core.errors import NotFound
from core.tenancy import DeviceId, Thing

QUERIES = sql.load("ingest.history")
SEGMENT_GAP = timedelta(minutes=10)

_FIX = ("lat", "lon", "alt", "speed", "heading", "acc", "sats", "hdop")
_FETCH = 5000
_GPX_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<gpx version="1.1" creator="Milkrun" xmlns="http://www.topografix.com/GPX/1/1" \
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" \
xsi:schemaLocation="http://www.topografix.com/GPX/1/1 http://www.topografix.com/GPX/1/1/gpx.xsd">
"""


class NoSuchDevice(NotFound):
    """The tenant has no such device; whether another has one is not told."""

    code = "device_not_found"


@dataclass(frozen=True, slots=True)
class Span:
    """Which part of a device's history: from `since` on, until before `until`."""

    device: DeviceId
    since: datetime
    until: datetime

    def params(self) -> dict[str, Any]:
        return {"device": self.device, "since": self.since, "until": self.until}


@dataclass(frozen=True, slots=True)
class Point:
    """One stored sample. `fix` holds the columns of the position, None for a sample without one; `m` its metrics."""

    ts: datetime
    boot: str
    seq: int
    fix: DictRow | None
    m: dict[str, float | str]


type Points = AsyncIterator[Point]


async def require_device(tx: TenantTx, device: DeviceId) -> None:
    """Raises NoSuchDevice unless the tenant has it."""
    if await tx.one(QUERIES["find_device"], {"device": device}) is None:
        raise NoSuchDevice(f"there is no device {Thing(tx.tenant, device)}")


async def metric_names(tx: TenantTx, span: Span) -> list[str]:
    return [row["name"] for row in await tx.all(QUERIES["export_metric_names"], span.params())]


async def read(tx: TenantTx, span: Span, *, with_metrics: bool) -> AsyncGenerator[Point]:
    """The span's samples in order of time; with metrics also those that have no position."""
    fixes = _stream(tx, "export_positions", QUERIES["export_positions"], span)
    if not with_metrics:
        async for row in fixes:
            yield Point(*_key(row), row, {})
        return
    metrics = _by_sample(_stream(tx, "export_metrics", QUERIES["export_metrics"], span))
    fix, named = await anext(fixes, None), await anext(metrics, None)
    while fix is not None or named is not None:
        key = min(_key(row) for row in (fix, named[0] if named else None) if row is not None)
        here = fix if fix is not None and _key(fix) == key else None
        m = {row["name"]: row["text"] if row["value"] is None else row["value"] for row in _of(named, key)}
        yield Point(*key, here, m)
        if here is not None:
            fix = await anext(fixes, None)
        if m:
            named = await anext(metrics, None)


async def as_csv(points: Points, names: Sequence[str] = ()) -> AsyncGenerator[str]:
    """`names` are the metrics that get a column, called `m.NAME`."""
    yield _csv_line(("ts", "boot", "seq", *_FIX, *(f"m.{name}" for name in names)))
    async for point in points:
        fix = (None,) * len(_FIX) if point.fix is None else (point.fix[column] for column in _FIX)
        cells = (*fix, *(point.m.get(name) for name in names))
        yield _csv_line((_time(point.ts), point.boot, _seq(point), *map(_plain, cells)))


async def as_geojson(points: Points) -> AsyncGenerator[str]:
    """Samples without a position have no place here and are left out."""
    yield '{"type":"FeatureCollection","features":['
    separator = "\n"
    async for point in points:
        if (fix := point.fix) is None:
            continue
        told = {name: _plain(fix[name]) for name in _FIX[3:] if fix[name] is not None}
        place = [fix["lon"], fix["lat"], *([fix["alt"]] if fix["alt"] is not None else [])]
        name = {"ts": _time(point.ts), "boot": point.boot, "seq": _seq(point)}
        feature = {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": place},
            "properties": {**name, **told, **{f"m.{name}": _plain(value) for name, value in point.m.items()}},
        }
        yield separator + json.dumps(feature, ensure_ascii=False, separators=(",", ":"))
        separator = ",\n"
    yield "\n]}\n"


async def as_gpx(points: Points, name: str) -> AsyncGenerator[str]:
    """`name` is the track's. Samples without a position are left out."""
    yield f"{_GPX_HEAD}  <trk>\n    <name>{escape(name)}</name>\n"
    last: datetime | None = None
    async for point in points:
        if (fix := point.fix) is None:
            continue
        if last is None or point.ts - last > SEGMENT_GAP:
            yield "    <trkseg>\n" if last is None else "    </trkseg>\n    <trkseg>\n"
        last = point.ts
        # The schema takes longitudes below 180 only; its meridian has two names.
        lon = -180.0 if fix["lon"] >= 180.0 else fix["lon"]
        # In the order the schema has.
        parts = (("ele", fix["alt"]), ("time", _time(point.ts)), ("sat", fix["sats"]), ("hdop", fix["hdop"]))
        inner = "".join(f"<{tag}>{_plain(value)}</{tag}>" for tag, value in parts if value is not None)
        yield f'      <trkpt lat="{fix["lat"]:.7f}" lon="{lon:.7f}">{inner}</trkpt>\n'
    yield f"{'    </trkseg>\n' if last is not None else ''}  </trk>\n</gpx>\n"


async def _stream(tx: TenantTx, name: str, query: LiteralString, span: Span) -> AsyncGenerator[DictRow]:
    async with tx.conn.cursor(name, row_factory=dict_row) as cursor:
        cursor.itersize = _FETCH
        await cursor.execute(query, span.params())
        async for row in cursor:
            yield row


async def _by_sample(rows: AsyncIterator[DictRow]) -> AsyncGenerator[list[DictRow]]:
    """Neighbouring rows of the same sample, together."""
    group: list[DictRow] = []
    async for row in rows:
        if group and _key(row) != _key(group[0]):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _key(row: DictRow) -> tuple[datetime, str, int]:
    return row["ts"], row["boot"], row["seq"]


def _of(named: list[DictRow] | None, key: tuple[datetime, str, int]) -> list[DictRow]:
    return named if named is not None and _key(named[0]) == key else []


def _csv_line(cells: Sequence[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _seq(point: Point) -> int | None:
    """The device's own; a sample that came without one is named by its content, which is nobody's business."""
    return point.seq if point.seq >= 0 else None


def _plain(value: object) -> object:
    """A whole number without its `.0`: flags and counters are stored as numbers."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
