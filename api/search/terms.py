"""What a search can ask, pure: terms about a device, joined by All, Either and Not."""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta


class Op(enum.StrEnum):
    """How a value is compared."""

    EQUAL = "="
    UNEQUAL = "!="
    BELOW = "<"
    AT_MOST = "<="
    ABOVE = ">"
    AT_LEAST = ">="


class Kind(enum.Enum):
    """What a field holds, and what it is compared with."""

    TEXT = "a text in double quotes"
    NUMBER = "a number"
    FLAG = "true or false"
    TIME = 'a time such as "2026-08-01T06:00:00Z"'
    AGE = "a duration such as 10m (ms, s, m, h, d)"
    ANY = "a text in double quotes, a number, true or false"


@dataclass(frozen=True, slots=True)
class Fact:
    """A field that every device has, or has not yet: see FACTS."""

    name: str


FACTS = {
    "id": Kind.TEXT,
    "type": Kind.TEXT,
    "status": Kind.TEXT,
    "online": Kind.FLAG,
    "presence.since": Kind.TIME,
    "presence.age": Kind.AGE,
    "last_seen": Kind.TIME,
    "last_seen.age": Kind.AGE,
    "position.at": Kind.TIME,
    "position.age": Kind.AGE,
    "position.lat": Kind.NUMBER,
    "position.lon": Kind.NUMBER,
    "position.speed": Kind.NUMBER,
}
SECTIONS = ("reported", "desired", "delta")


@dataclass(frozen=True, slots=True)
class Label:
    """A label, by its key."""

    key: str


@dataclass(frozen=True, slots=True)
class State:
    """A place in a shadow; `shadow` is empty for the classic one, an empty path is the section as a whole."""

    shadow: str
    section: str
    path: tuple[str, ...]


type Field = Fact | Label | State
type Value = str | float | bool | datetime | timedelta


@dataclass(frozen=True, slots=True)
class Compare:
    """The field is there and has this relation to the value. Of an array one element is enough, for != none may equal.

    Values of different kinds are unequal, and neither is below the other.
    """

    field: Field
    op: Op
    value: Value


@dataclass(frozen=True, slots=True)
class OneOf:
    """The field is one of these."""

    field: Field
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Like:
    """The field is a text of this pattern: `*` stands for any characters, `?` for one."""

    field: Field
    pattern: str


@dataclass(frozen=True, slots=True)
class Exists:
    """There is a value at the field or below it."""

    field: Field


@dataclass(frozen=True, slots=True)
class Near:
    """The last position is within so many metres of a place."""

    lat: float
    lon: float
    radius_m: float


@dataclass(frozen=True, slots=True)
class Within:
    """The last position lies in a box of degrees; west beyond east spans the 180th meridian."""

    west: float
    south: float
    east: float
    north: float


@dataclass(frozen=True, slots=True)
class All:
    of: "tuple[Term, ...]"


@dataclass(frozen=True, slots=True)
class Either:
    of: "tuple[Term, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    of: "Term"


type Term = Compare | OneOf | Like | Exists | Near | Within | All | Either | Not
