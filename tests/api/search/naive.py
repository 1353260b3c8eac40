"""The language, told once more and in the plainest way: one device at a time, in memory. And terms written as text."""

import json
import math
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from api.search.store import EARTH_M
from api.search.terms import (
    All,
    Compare,
    Either,
    Exists,
    Fact,
    Field,
    Label,
    Like,
    Near,
    Not,
    OneOf,
    Op,
    State,
    Term,
    Within,
)
from shadow import algebra


@dataclass
class Device:
    """What a search may ask of a device. Shadows by name: (desired, reported)."""

    id: str
    type: str = "tracker"
    status: str = "active"
    labels: dict[str, str] = field(default_factory=dict)
    online: bool | None = None
    since: datetime | None = None
    last_seen: datetime | None = None
    at: datetime | None = None
    lat: float | None = None
    lon: float | None = None
    speed: float | None = None
    shadows: dict[str, tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=dict)


def holds(term: Term, device: Device, now: datetime) -> bool:  # noqa: C901, PLR0911  a case for each kind of term
    match term:
        case All(of):
            return all(holds(each, device, now) for each in of)
        case Either(of):
            return any(holds(each, device, now) for each in of)
        case Not(of):
            return not holds(of, device, now)
        case Near(lat, lon, radius_m):
            return device.lat is not None and distance_m(lat, lon, device.lat, device.lon) <= radius_m
        case Within(west, south, east, north):
            if device.lat is None or not south <= device.lat <= north:
                return False
            return west <= device.lon <= east if west <= east else device.lon >= west or device.lon <= east
        case Exists(of):
            return exists(of, device)
        case OneOf(of, wanted):
            return any(same(value, each) for value in values(of, device, now) for each in wanted)
        case Like(of, pattern):
            shape = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern)
            found = (v for v in values(of, device, now) if isinstance(v, str))
            return any(re.fullmatch(shape, v, re.DOTALL) for v in found)
        case Compare(of, Op.UNEQUAL, wanted):
            found = values(of, device, now)
            return bool(found) and not any(same(value, wanted) for value in found)
        case Compare(of, op, wanted):
            return any(related(value, op, wanted) for value in values(of, device, now))


def values(of: Field, device: Device, now: datetime) -> list[Any]:
    """All that stands at a field: of an array its elements."""
    match of:
        case Label(key):
            return [device.labels[key]] if key in device.labels else []
        case State(_, _, path):
            found = [section(of, device)]
            for name in path:
                found = [each[name] for each in spread(found) if isinstance(each, dict) and name in each]
            return [each for each in spread(found) if not (isinstance(each, dict) and each)]
        case Fact(name):
            facts = {
                "id": device.id,
                "type": device.type,
                "status": device.status,
                "online": bool(device.online),
                "presence.since": device.since,
                "presence.age": device.since and now - device.since,
                "last_seen": device.last_seen,
                "last_seen.age": device.last_seen and now - device.last_seen,
                "position.at": device.at,
                "position.age": device.at and now - device.at,
                "position.lat": device.lat,
                "position.lon": device.lon,
                "position.speed": device.speed,
            }
            return [] if facts[name] is None else [facts[name]]


def exists(of: Field, device: Device) -> bool:
    match of:
        case State(_, _, path):
            found: list[Any] = [section(of, device)]
            for name in path:
                found = [each[name] for each in spread(found) if isinstance(each, dict) and name in each]
            return any(each != {} for each in found) if not path else bool(found)
        case Fact("presence"):
            return device.since is not None
        case Fact("position"):
            return device.at is not None
        case _:
            return bool(values(of, device, datetime.now().astimezone()))


def section(state: State, device: Device) -> dict[str, Any]:
    desired, reported = device.shadows.get(state.shadow, ({}, {}))
    return {"desired": desired, "reported": reported, "delta": algebra.delta(desired, reported)}[state.section]


def spread(found: list[Any]) -> list[Any]:
    """Arrays as their elements, however deep; an empty one stays a value."""
    flat: list[Any] = []
    for each in found:
        flat += spread(each) if isinstance(each, list) and each else [each]
    return flat


def same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def related(value: Any, op: Op, wanted: Any) -> bool:
    if op is Op.EQUAL:
        return same(value, wanted)
    is_number = [isinstance(each, int | float) and not isinstance(each, bool) for each in (value, wanted)]
    if not (all(is_number) or (type(value) is type(wanted) and not isinstance(value, bool))):
        return False
    less, equal = value < wanted, value == wanted
    return {Op.BELOW: less, Op.AT_MOST: less or equal, Op.ABOVE: not less and not equal, Op.AT_LEAST: not less}[op]


def distance_m(lat: float, lon: float, other_lat: float, other_lon: float) -> float:
    half = math.sin(math.radians(other_lat - lat) / 2) ** 2
    half += (
        math.cos(math.radians(lat))
        * math.cos(math.radians(other_lat))
        * (math.sin(math.radians(other_lon - lon) / 2) ** 2)
    )
    return 2 * EARTH_M * math.asin(min(1, math.sqrt(half)))


# --- terms as text -----------------------------------------------------------------------------------------------


def text(term: Term) -> str:  # noqa: PLR0911  a case for each kind of term
    match term:
        case All(of):
            return "(" + " and ".join(map(text, of)) + ")"
        case Either(of):
            return "(" + " or ".join(map(text, of)) + ")"
        case Not(of):
            return f"not {text(of)}"
        case Near(lat, lon, radius_m):
            return f"near({lat}, {lon}, {radius_m})"
        case Within(west, south, east, north):
            return f"within({west}, {south}, {east}, {north})"
        case Exists(of):
            return f"{field_text(of)} exists"
        case OneOf(of, wanted):
            return f"{field_text(of)} in ({', '.join(map(value_text, wanted))})"
        case Like(of, pattern):
            return f"{field_text(of)} like {json.dumps(pattern)}"
        case Compare(of, op, wanted):
            return f"{field_text(of)} {op} {value_text(wanted)}"


def field_text(of: Field) -> str:
    match of:
        case Fact(name):
            return name
        case Label(key):
            return f"label.{json.dumps(key)}"
        case State(shadow, part, path):
            return ".".join((f"shadow.{json.dumps(shadow)}." if shadow else "") + p for p in [part]) + "".join(
                f".{json.dumps(name)}" for name in path
            )


def value_text(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case timedelta():
            return f"{round(value.total_seconds())}s"
        case datetime():
            return json.dumps(value.isoformat())
        case _:
            return json.dumps(value)
