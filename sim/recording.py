"""Recorded trips: reads the backtest dataset format and plays it as if its vehicles were out now.

A dataset is a folder: `positions.csv` or `positions.csv.gz`, `trips.csv`, `stops.csv`, and optionally `shapes.csv`,
each with a header line. `Dataset` is the whole of it in typed records; `replay` turns it into messages.
"""

import csv
import gzip
import hashlib
import heapq
import math
import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, TextIO

from core.errors import Invalid
from sim.truck import Emission

_POSITION_COLUMNS = ("trip_id", "vehicle_id", "ts", "lat", "lon")
_OPTIONAL_COLUMNS = ("speed_mps", "odometer_m", "door_open")
_TRIP_COLUMNS = ("trip_id", "route_id", "vehicle_id", "start")
_STOP_COLUMNS = ("route_id", "seq", "stop_id", "name", "lat", "lon")
_SHAPE_COLUMNS = ("route_id", "seq", "lat", "lon")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class RecordingInvalid(Invalid):
    """A dataset does not follow the format; the message names file and line, and says what is allowed."""

    code = "recording_invalid"


@dataclass(frozen=True, slots=True)
class Fix:
    """One recorded position. `at` is UTC; what the recording does not tell is None."""

    trip_id: str
    vehicle_id: str
    at: datetime
    lat: float
    lon: float
    speed_mps: float | None
    odometer_m: float | None
    door_open: bool | None


@dataclass(frozen=True, slots=True)
class Trip:
    """One run of a vehicle over a route; `start` as the plan had it, UTC."""

    trip_id: str
    route_id: str
    vehicle_id: str
    start: datetime


@dataclass(frozen=True, slots=True)
class RouteStop:
    """One stop of a route; `seq` rises in driving order."""

    route_id: str
    seq: int
    stop_id: str
    name: str
    lat: float
    lon: float


@dataclass(frozen=True, slots=True)
class Dataset:
    """A recording, checked. Positions per trip in time order; stops and shapes (lat, lon) per route in driving order.

    `ignored_columns` are columns of the positions file that the format does not know.
    """

    trips: Mapping[str, Trip]
    stops: Mapping[str, tuple[RouteStop, ...]]
    shapes: Mapping[str, tuple[tuple[float, float], ...]]
    positions: Mapping[str, tuple[Fix, ...]]
    ignored_columns: tuple[str, ...]

    @property
    def begins_at(self) -> datetime:
        return min(fixes[0].at for fixes in self.positions.values())

    @property
    def ends_at(self) -> datetime:
        return max(fixes[-1].at for fixes in self.positions.values())

    def in_time_order(self) -> Iterator[Fix]:
        """All positions of all trips as the world saw them."""
        return heapq.merge(*self.positions.values(), key=lambda fix: fix.at)

    def devices(self) -> dict[str, str]:
        """Trip id -> a device id fit for a thing name: the vehicle's, for no vehicle is in two places at once.

        Where two trips of one vehicle overlap in time, the later one gets `{vehicle}-2` (then `-3` ...).
        """
        by_vehicle: dict[str, list[str]] = defaultdict(list)
        for trip_id in sorted(self.positions, key=lambda trip_id: (self.positions[trip_id][0].at, trip_id)):
            by_vehicle[self.trips[trip_id].vehicle_id].append(trip_id)
        taken: set[str] = set()
        homes = {vehicle_id: _fresh(vehicle_id, taken) for vehicle_id in sorted(by_vehicle, key=_misfit)}
        devices = {}
        for vehicle_id, trip_ids in by_vehicle.items():
            busy_until = {homes[vehicle_id]: datetime.min.replace(tzinfo=UTC)}
            for trip_id in trip_ids:
                fixes = self.positions[trip_id]
                free = next((device for device, until in busy_until.items() if until < fixes[0].at), None)
                devices[trip_id] = free or _fresh(homes[vehicle_id], taken)
                busy_until[devices[trip_id]] = fixes[-1].at
        return devices


def load(folder: Path) -> Dataset:
    """Read and check a dataset. Raises RecordingInvalid with file, line and what is allowed there."""
    trips = {row.id("trip_id"): _trip(row) for row in _rows(folder / "trips.csv", _TRIP_COLUMNS, unique=("trip_id",))}
    stops: dict[str, tuple[RouteStop, ...]] = {}
    for row in _rows(folder / "stops.csv", _STOP_COLUMNS, unique=("route_id", "seq")):
        stop = RouteStop(row.id("route_id"), row.whole("seq"), row.id("stop_id"), row["name"], row.lat(), row.lon())
        stops[stop.route_id] = (*stops.get(stop.route_id, ()), stop)
    for trip in trips.values():
        if trip.route_id not in stops:
            raise RecordingInvalid(f"stops.csv: no stop of route {trip.route_id!r}, which trip {trip.trip_id!r} drives")
    positions, ignored = _positions(folder, trips)
    return Dataset(
        trips=trips,
        stops={route: tuple(sorted(rows, key=lambda stop: stop.seq)) for route, rows in stops.items()},
        shapes=_shapes(folder / "shapes.csv"),
        positions=positions,
        ignored_columns=ignored,
    )


def replay(dataset: Dataset, *, start_at_ms: int, speed: float = 1.0) -> Iterator[tuple[str, Emission]]:
    """(device id, message) in time order, one fix each, the first at second 0 with `ts` = `start_at_ms` (epoch).

    `due_s` is divided by `speed`; `ts` keeps the recorded spacing, so that speeds over ground stay true. With a speed
    above 1 the recording's clock overtakes the wall's: begin it early enough with `start_at_ms_for`.
    """
    _check_speed(speed)
    devices = dataset.devices()
    counts: dict[str, int] = defaultdict(int)
    begins_at = dataset.begins_at
    for fix in dataset.in_time_order():
        device = devices[fix.trip_id]
        counts[device] += 1
        after = (fix.at - begins_at) / timedelta(milliseconds=1)
        sample = {"ts": start_at_ms + round(after), "boot": _boot(device, start_at_ms), "seq": counts[device]}
        yield device, Emission(after / 1000 / speed, [sample | _measured(fix)])


def start_at_ms_for(dataset: Dataset, *, now_ms: int, speed: float) -> int:
    """The start that lets the last fix of a replay begun now carry the wall's time, and none before it a later one."""
    _check_speed(speed)
    length_ms = (dataset.ends_at - dataset.begins_at) / timedelta(milliseconds=1)
    return now_ms - max(0, round(length_ms * (1 - 1 / speed)))


class _Row:
    """One line of a file, read field by field; every error says where and what is allowed."""

    def __init__(self, place: str, cells: Mapping[str, str]) -> None:
        self.place = place
        self._cells = cells

    def __getitem__(self, column: str) -> str:
        return self._cells[column]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self._cells)

    def wrong(self, column: str, allowed: str) -> RecordingInvalid:
        return RecordingInvalid(f"{self.place}: {column} is {self._cells[column]!r}; allowed is {allowed}")

    def id(self, column: str) -> str:
        if not self._cells[column]:
            raise self.wrong(column, "any text but none")
        return self._cells[column]

    def whole(self, column: str) -> int:
        return self._parsed(column, int, "a whole number")

    def at(self, column: str) -> datetime:
        allowed = "an ISO 8601 time with its offset, such as 2020-09-23T16:48:27.369Z"
        at = self._parsed(column, datetime.fromisoformat, allowed)
        if at.tzinfo is None:
            raise self.wrong(column, allowed)
        return at.astimezone(UTC)

    def lat(self) -> float:
        return self._degrees("lat", 90)

    def lon(self) -> float:
        return self._degrees("lon", 180)

    def measure(self, column: str) -> float | None:
        """A number not below 0; None where the column is absent or the cell empty."""
        if not self._cells.get(column):
            return None
        allowed = "a number from 0 to 1e12, or nothing"
        number = self._parsed(column, float, allowed)
        if not 0 <= number <= 1e12:
            raise self.wrong(column, allowed)
        return number

    def flag(self, column: str) -> bool | None:
        if not self._cells.get(column):
            return None
        flag = _BOOLEANS.get(self._cells[column].lower())
        if flag is None:
            raise self.wrong(column, "True, False, 1, 0 or nothing")
        return flag

    def _degrees(self, column: str, reach: int) -> float:
        allowed = f"degrees from -{reach} to {reach}"
        degrees = self._parsed(column, float, allowed)
        if not -reach <= degrees <= reach:
            raise self.wrong(column, allowed)
        return degrees

    def _parsed[T](self, column: str, parse: Callable[[str], T], allowed: str) -> T:
        try:
            return parse(self._cells[column])
        except ValueError:
            raise self.wrong(column, allowed) from None


def _rows(path: Path, columns: Sequence[str], *, unique: Sequence[str] = ()) -> Iterator[_Row]:
    """The rows of a CSV file with at least these columns; `unique` columns together must not repeat."""
    seen: set[tuple[str, ...]] = set()
    for row in _lines(path, columns):
        key = tuple(row[column] for column in unique)
        if unique and key in seen:
            raise RecordingInvalid(f"{row.place}: {', '.join(unique)} {', '.join(key)} is there twice; allowed is once")
        seen.add(key)
        yield row


def _lines(path: Path, columns: Sequence[str]) -> Iterator[_Row]:
    try:
        with _open(path) as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            if missing := [column for column in columns if column not in header]:
                raise RecordingInvalid(f"{path.name}: line 1: no column {', '.join(missing)}; there is {header}")
            for cells in reader:
                place = f"{path.name}: line {reader.line_num}"
                if len(cells) != len(header):
                    raise RecordingInvalid(f"{place}: {len(cells)} fields; the header has {len(header)}")
                yield _Row(place, dict(zip(header, cells, strict=True)))
    except FileNotFoundError:
        raise RecordingInvalid(f"{path}: no such file; a dataset has positions.csv, trips.csv, stops.csv") from None
    except (csv.Error, UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise RecordingInvalid(f"{path.name}: not readable as CSV in UTF-8: {error}") from error


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _trip(row: _Row) -> Trip:
    return Trip(row.id("trip_id"), row.id("route_id"), row.id("vehicle_id"), row.at("start"))


def _positions(folder: Path, trips: Mapping[str, Trip]) -> tuple[dict[str, tuple[Fix, ...]], tuple[str, ...]]:
    plain, packed = folder / "positions.csv", folder / "positions.csv.gz"
    path = packed if packed.exists() and not plain.exists() else plain
    positions: dict[str, tuple[Fix, ...]] = {}
    columns: Sequence[str] = ()
    for trip_id, rows in groupby(_lines(path, _POSITION_COLUMNS), key=lambda row: row["trip_id"]):
        fixes = []
        for row in rows:
            columns = row.columns
            if trip_id not in trips:
                raise row.wrong("trip_id", "a trip of trips.csv")
            if trip_id in positions:
                raise row.wrong("trip_id", "one block of lines for each trip")
            if row["vehicle_id"] != trips[trip_id].vehicle_id:
                raise row.wrong("vehicle_id", f"{trips[trip_id].vehicle_id!r}, which trips.csv has for this trip")
            fixes.append(_fix(row))
            if len(fixes) > 1 and fixes[-1].at < fixes[-2].at:
                raise row.wrong("ts", f"no time before the line above ({fixes[-2].at.isoformat()})")
        positions[trip_id] = tuple(fixes)
    if not positions:
        raise RecordingInvalid(f"{path.name}: no position; a recording has at least one")
    known = {*_POSITION_COLUMNS, *_OPTIONAL_COLUMNS}
    return positions, tuple(column for column in columns if column not in known)


def _fix(row: _Row) -> Fix:
    return Fix(
        trip_id=row["trip_id"],
        vehicle_id=row["vehicle_id"],
        at=row.at("ts"),
        lat=row.lat(),
        lon=row.lon(),
        speed_mps=row.measure("speed_mps"),
        odometer_m=row.measure("odometer_m"),
        door_open=row.flag("door_open"),
    )


def _shapes(path: Path) -> dict[str, tuple[tuple[float, float], ...]]:
    if not path.exists():
        return {}
    points: dict[str, list[tuple[int, float, float]]] = defaultdict(list)
    for row in _rows(path, _SHAPE_COLUMNS, unique=("route_id", "seq")):
        points[row.id("route_id")].append((row.whole("seq"), row.lat(), row.lon()))
    return {route: tuple((lat, lon) for _, lat, lon in sorted(rows)) for route, rows in points.items()}


def _measured(fix: Fix) -> dict[str, Any]:
    pos = {"lat": fix.lat, "lon": fix.lon}
    if fix.speed_mps is not None:
        pos["speed"] = fix.speed_mps
    signals = {"odometer_m": fix.odometer_m, "door_open": fix.door_open}
    told = {name: value for name, value in signals.items() if value is not None}
    return {"pos": pos, "m": told} if told else {"pos": pos}


def _check_speed(speed: float) -> None:
    if not 0 < speed < math.inf:
        raise RecordingInvalid(f"a recording is played at a speed above 0, not {speed}")


def _boot(device: str, start_at_ms: int) -> str:
    """Another replay is another boot, so that its counter may begin at 1 again."""
    return hashlib.blake2s(f"{device}:{start_at_ms}".encode(), digest_size=4).hexdigest()


def _misfit(vehicle_id: str) -> tuple[bool, str]:
    """Sorts the ids that may stay as they are before those that must change, so that these make way."""
    return _fit(vehicle_id) != vehicle_id, vehicle_id


def _fit(vehicle_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", vehicle_id)[:60]


def _fresh(name: str, taken: set[str]) -> str:
    """Take the name, or where it is taken the first of `name-2`, `name-3` ... that is not."""
    base = _fit(name)
    names = (base if number == 1 else f"{base}-{number}" for number in range(1, len(taken) + 2))
    fresh = next(name for name in names if name not in taken)
    taken.add(fresh)
    return fresh
