"""Recordings as files: positions.csv(.gz), trips.csv, stops.csv and, where there is one, shapes.csv."""

import csv
import gzip
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from core.errors import Invalid
from eta.engine.route import Stop
from eta.engine.track import Fix


@dataclass(frozen=True, slots=True)
class RecordedTrip:
    trip_id: str
    route_id: str
    vehicle_id: str
    planned_start: float | None
    fixes: tuple[Fix, ...]
    """in order of time"""


@dataclass(frozen=True, slots=True)
class Dataset:
    trips: tuple[RecordedTrip, ...]
    """in order of their first fix; trips without one are left out"""
    stops: dict[str, tuple[Stop, ...]]
    """by route, in driving order"""
    shapes: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    """(latitude, longitude) along the road, by route"""


def read(folder: Path) -> Dataset:
    """The recording in a folder. Raises Invalid with file and line where it is not of the format."""
    stops = {
        route: tuple(stop for _, stop in sorted(found, key=lambda pair: pair[0]))
        for route, found in _grouped(
            (row["route_id"], (_number(at, row, "seq"), Stop(row["stop_id"], *_place(at, row))))
            for at, row in _rows(_file(folder, "stops.csv"), ("route_id", "seq", "stop_id", "lat", "lon"))
        ).items()
    }
    shapes: dict[str, tuple[tuple[float, float], ...]] = {}
    if (folder / "shapes.csv").is_file():
        points = _grouped(
            (row["route_id"], (_number(at, row, "seq"), _place(at, row)))
            for at, row in _rows(folder / "shapes.csv", ("route_id", "seq", "lat", "lon"))
        )
        shapes = {route: tuple(p for _, p in sorted(found)) for route, found in points.items()}
    name = "positions.csv" if (folder / "positions.csv").is_file() else "positions.csv.gz"
    fixes = _grouped(
        (row["trip_id"], Fix(moment(at, row["ts"]), *_place(at, row)))
        for at, row in _rows(_file(folder, name), ("trip_id", "ts", "lat", "lon"))
    )
    trips = []
    for at, row in _rows(_file(folder, "trips.csv"), ("trip_id", "route_id", "vehicle_id", "start")):
        if row["route_id"] not in stops:
            raise Invalid(f"{at}: route {row['route_id']!r} has no stops in stops.csv")
        seen = tuple(sorted(fixes.get(row["trip_id"], ())))
        if seen:
            start = moment(at, row["start"]) if row["start"] else None
            trips.append(RecordedTrip(row["trip_id"], row["route_id"], row["vehicle_id"], start, seen))
    return Dataset(tuple(sorted(trips, key=lambda trip: (trip.fixes[0].at, trip.trip_id))), stops, shapes)


def moment(at: str, text: str) -> float:
    """Epoch seconds of an ISO 8601 time, which is UTC unless it says otherwise."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{at}: {text[:60]!r} is no ISO 8601 time such as 2026-11-21T06:30:00Z") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _file(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        raise Invalid(f"{folder} has no {name}: a dataset is positions.csv (or .gz), trips.csv and stops.csv")
    return folder / name


def _rows(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """("file line N", row) of a CSV file that has these columns."""
    with closing(_open(file)) as text:
        reader = csv.DictReader(text)
        missing = set(columns) - set(reader.fieldnames or ())
        if missing:
            raise Invalid(f"{file.name} lacks the columns {', '.join(sorted(missing))}; it has {reader.fieldnames}")
        for row in reader:
            yield f"{file.name} line {reader.line_num}", row


def _open(file: Path) -> TextIO:
    if file.suffix == ".gz":
        return gzip.open(file, "rt", encoding="utf-8-sig", newline="")
    return file.open(encoding="utf-8-sig", newline="")


def _number(at: str, row: dict[str, str], column: str) -> float:
    try:
        return float(row[column])
    except (TypeError, ValueError):
        raise Invalid(f"{at}: {column} {row[column]!r} is no number") from None


def _place(at: str, row: dict[str, str]) -> tuple[float, float]:
    lat, lon = _number(at, row, "lat"), _number(at, row, "lon")
    if not (-90.0 <= lat <= 90.0 and -180.0 <= lon <= 180.0):
        raise Invalid(f"{at}: {lat}, {lon} is no latitude and longitude")
    return lat, lon


def _grouped[V](pairs: Iterator[tuple[str, V]]) -> dict[str, list[V]]:
    found: dict[str, list[V]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found
