"""Sites and routes as files have them: CSV with a header, or GeoJSON. Read to lines; a line that is wrong says why.

docs/trips.md describes the columns. What a file does not say of something that is there already stays.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import time
from typing import Any, Literal

from core.tenancy import DeviceId, InvalidName, device_id
from eta.sites.model import Contact, RouteStop, SiteKind, Weekday, Window
from eta.trips.errors import InvalidImport

MAX_LINES = 10_000

type Format = Literal["csv", "geojson"]
type Fields = dict[str, Any]

_SPAN = re.compile(r"(\d\d:\d\d)\s*-\s*(\d\d:\d\d)\Z")
_TOO_MANY = " "  # no column is called so
_DELIMITERS = (",", ";", "\t")


@dataclass(slots=True)
class Line:
    """One line or feature: its number in the file, what it says, and what is wrong with it."""

    number: int
    code: str
    fields: Fields = field(default_factory=dict)
    error: str = ""


def sites(content: bytes, format_: Format) -> list[Line]:
    """A line for each site; its fields are those of SiteFacts. Raises InvalidImport."""
    if format_ == "csv":
        return [_site_line(number, row) for number, row in _rows(content, _SITE_COLUMNS, needed={"code"})]
    return [_site_feature(number, feature) for number, feature in _features(content)]


def routes(content: bytes, format_: Format) -> list[Line]:
    """CSV: a line for each stop, with `stop` among its fields. GeoJSON: one for each route, with `stops`.

    The other fields are those of RouteFacts. Raises InvalidImport.
    """
    if format_ == "csv":
        rows = _rows(content, _ROUTE_COLUMNS, needed={"route", "site"})
        return [_route_line(number, row) for number, row in rows]
    return [_route_feature(number, feature) for number, feature in _features(content)]


def windows(value: object) -> tuple[Window, ...]:
    """`mon-fri 05:30-09:00; sat 06:00-08:00`, or the list that the API takes. Raises ValueError."""
    if isinstance(value, str):
        return tuple(_window(part.strip()) for part in value.split(";") if part.strip())
    return tuple(
        Window(tuple(Weekday(day) for day in each["days"]), str(each["from"]), str(each["to"])) for each in _list(value)
    )


def weekdays(value: object) -> tuple[Weekday, ...]:
    """`mon-fri`, `mon wed fri`, `mon,tue`, or a list. Raises ValueError."""
    parts = re.split(r"[\s,|+]+", value.strip().lower()) if isinstance(value, str) else _list(value)
    every = tuple(Weekday)
    found: list[Weekday] = []
    for part in filter(None, parts):
        first, dash, last = str(part).partition("-")
        if dash:
            found += every[every.index(Weekday(first)) : every.index(Weekday(last)) + 1]
        else:
            found.append(Weekday(first))
    return tuple(found)


def _window(text: str) -> Window:
    days, _, span = text.rpartition(" ")
    match = _SPAN.match(span.strip())
    if match is None or not days:
        raise ValueError(f"{text[:60]!r} is no window: write days and a time span, such as mon-fri 05:30-09:00")
    return Window(weekdays(days), match[1], match[2])


def _after(value: object) -> int:
    if isinstance(value, str) and ":" in value:
        hours, minutes, *seconds = (int(part) for part in value.split(":"))
        return hours * 3600 + minutes * 60 + sum(seconds[:1])
    return int(float(str(value)))


def _starts_at(value: object) -> time:
    try:
        return time.fromisoformat(str(value).zfill(5))
    except ValueError:
        raise ValueError(f"{str(value)[:20]!r} is no time of day: write HH:MM") from None


def _kind(value: object) -> SiteKind:
    try:
        return SiteKind(str(value).strip().lower())
    except ValueError:
        raise ValueError(f"kind {str(value)[:40]!r} is not one of {', '.join(SiteKind)}") from None


def _device(value: object) -> DeviceId:
    try:
        return device_id(str(value))
    except InvalidName as error:
        raise ValueError(str(error)) from None


def _number(value: object) -> float:
    if isinstance(value, bool):
        raise ValueError("a number is wanted, not true or false")  # noqa: TRY004  reported as what is wrong with the line
    try:
        return float(str(value))
    except ValueError:
        raise ValueError(f"{str(value)[:40]!r} is no number") from None


def _list(value: object) -> Sequence[Any]:
    if not isinstance(value, list):
        raise ValueError("a list is wanted")  # noqa: TRY004  reported as what is wrong with the line
    return value


_SITE_FIELDS: Mapping[str, Callable[[object], Any]] = {
    "name": str,
    "kind": _kind,
    "lat": _number,
    "lon": _number,
    "radius_m": _number,
    "timezone": str,
    "windows": windows,
}
_CONTACT = ("contact", "email", "phone")
_SITE_COLUMNS = {"code", *_SITE_FIELDS, *_CONTACT}
_ROUTE_FIELDS: Mapping[str, Callable[[object], Any]] = {
    "name": str,
    "weekdays": weekdays,
    "starts_at": _starts_at,
    "timezone": str,
    "device": _device,
}
_STOP_FIELDS: Mapping[str, Callable[[object], Any]] = {
    "site": str,
    "after_s": _after,
    "service_s": _number,
    "quantity": _number,
}
_ROUTE_COLUMNS = {"route", *_ROUTE_FIELDS, *_STOP_FIELDS}


def _site_line(number: int, row: Mapping[str, str]) -> Line:
    line = Line(number, row.get("code", ""))
    _read(line, row, _SITE_FIELDS)
    labels = {name.partition(":")[2]: value for name, value in row.items() if name.startswith("label:")}
    if labels:
        line.fields["labels"] = labels
    _contact(line, row)
    return line


def _site_feature(number: int, feature: Mapping[str, Any]) -> Line:
    said = feature["properties"]
    line = Line(number, str(said.get("code") or ""))
    _read(line, said, _SITE_FIELDS)
    if isinstance(said.get("labels"), dict):
        line.fields["labels"] = {str(key): str(value) for key, value in said["labels"].items()}
    _contact(line, {name: str(said.get(name) or "") for name in _CONTACT})
    try:
        line.fields = {**_place(feature.get("geometry")), **line.fields}
    except (ValueError, TypeError, KeyError, IndexError):
        line.error = line.error or "its geometry is neither a Point nor a Polygon with numbers, longitude first"
    return line


def _place(geometry: Any) -> Fields:
    if geometry is None:
        return {}
    if geometry["type"] == "Point":
        lon, lat = (float(part) for part in geometry["coordinates"][:2])
        return {"lat": lat, "lon": lon, "polygon": ()}
    if geometry["type"] != "Polygon":
        raise ValueError(geometry["type"])
    ring = [(float(lat), float(lon)) for lon, lat, *_ in geometry["coordinates"][0]]
    corners = ring[:-1] if ring[0] == ring[-1] else ring
    middle = [sum(part) / len(corners) for part in zip(*corners, strict=True)]
    return {"lat": middle[0], "lon": middle[1], "polygon": tuple(corners)}


def _route_line(number: int, row: Mapping[str, str]) -> Line:
    line = Line(number, row.get("route", ""))
    _read(line, row, _ROUTE_FIELDS)
    stop = Line(number, line.code)
    _read(stop, row, _STOP_FIELDS)
    line.error = line.error or stop.error
    if not stop.fields.get("site"):
        line.error = line.error or "it names no site"
    elif not line.error:
        line.fields["stop"] = RouteStop(**stop.fields)
    return line


def _route_feature(number: int, feature: Mapping[str, Any]) -> Line:
    said = feature["properties"]
    line = Line(number, str(said.get("code") or ""))
    _read(line, said, _ROUTE_FIELDS)
    if "stops" in said:
        try:
            line.fields["stops"] = tuple(_stop(stop) for stop in _list(said["stops"]))
        except ValueError as error:
            line.error = line.error or f"stops: {error}"
    try:
        line.fields |= _shape(feature.get("geometry"))
    except (ValueError, TypeError, KeyError):
        line.error = line.error or "its geometry is no LineString with numbers, longitude first"
    return line


def _shape(geometry: Any) -> Fields:
    if geometry is None:
        return {}
    if geometry["type"] != "LineString":
        raise ValueError(geometry["type"])
    return {"shape": tuple((float(lat), float(lon)) for lon, lat, *_ in geometry["coordinates"])}


def _stop(said: object) -> RouteStop:
    if isinstance(said, str):
        return RouteStop(site=said)
    if not isinstance(said, dict) or not said.get("site") or not said.keys() <= _STOP_FIELDS.keys():
        raise ValueError(f"a stop is a site's code, or an object of {', '.join(_STOP_FIELDS)}")
    return RouteStop(**{name: _STOP_FIELDS[name](value) for name, value in said.items() if value is not None})


def _contact(line: Line, row: Mapping[str, str]) -> None:
    name, email, phone = (row.get(part, "") for part in _CONTACT)
    if name or email or phone:
        line.fields["contacts"] = (Contact(name or email or phone, email, phone),)


def _read(line: Line, said: Mapping[str, Any], fields: Mapping[str, Callable[[object], Any]]) -> None:
    """Take what is said into the line; the first thing that is wrong is its error."""
    if _TOO_MANY in said:
        line.error = f"it has {said[_TOO_MANY]} cells, which is more than there are columns"
    for name, convert in fields.items():
        value = said.get(name)
        if value is None or value == "":
            continue
        try:
            line.fields[name] = convert(value)
        except (ValueError, TypeError, KeyError) as error:
            line.error = line.error or f"{name}: {error}"


def _rows(content: bytes, columns: set[str], *, needed: set[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Number and cells of each line, by column, without those that are empty."""
    text = _text(content)
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(_DELIMITERS, key=head.count), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        unknown = [name for name in header if name not in columns and not _is_label(name, columns)]
        if unknown or not needed <= set(header) or len(set(header)) != len(header):
            raise InvalidImport(
                f"the first line names the columns: {', '.join(sorted(needed))} and any of "
                f"{', '.join(sorted(columns - needed))}, each once; it is {', '.join(header)[:200] or 'empty'}"
            )
        yield from _cells(reader, header)
    except csv.Error as error:
        raise InvalidImport(f"line {reader.line_num} is not CSV: {error}") from error


def _is_label(name: str, columns: set[str]) -> bool:
    return name.startswith("label:") and "code" in columns


def _cells(reader: Any, header: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    count = 0
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        count += 1
        if count > MAX_LINES:
            raise InvalidImport(f"more than {MAX_LINES:,} lines: divide the file")
        named = {name: cell.strip() for name, cell in zip(header, cells, strict=False) if cell.strip()}
        yield reader.line_num, named | ({_TOO_MANY: str(len(cells))} if len(cells) > len(header) else {})


def _features(content: bytes) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        found = json.loads(_text(content))
    except (ValueError, RecursionError) as error:
        raise InvalidImport(f"this is not JSON: {error}") from error
    features = found.get("features") if isinstance(found, dict) else None
    if not isinstance(features, list) or found.get("type") != "FeatureCollection":
        raise InvalidImport("this is no GeoJSON FeatureCollection")
    if len(features) > MAX_LINES:
        raise InvalidImport(f"more than {MAX_LINES:,} features: divide the file")
    for number, feature in enumerate(features, 1):
        is_one = isinstance(feature, dict) and isinstance(feature.get("properties"), dict)
        yield number, feature if is_one else {"properties": {}}


def _text(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidImport(f"this is not UTF-8: byte {error.start} cannot be read") from error
    if "\0" in text:
        raise InvalidImport("this holds a NUL character, which no text does")
    return text
