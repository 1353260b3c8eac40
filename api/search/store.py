"""Terms as SQL about `device d`: text of this page alone, every value a parameter.

Each term is a set of device ids that an index finds; All, Either and Not join the sets. Only operators that are
leakproof narrow them, since beneath row level security an index serves no other.
"""

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from api.search.terms import (
    All,
    Compare,
    Either,
    Exists,
    Fact,
    Label,
    Like,
    Near,
    Not,
    OneOf,
    Op,
    State,
    Term,
    Value,
    Within,
)
from shadow.algebra import BETWEEN, leaf_key

EARTH_M = 6_371_008.8
_DEGREE_M = math.pi * EARTH_M / 180
_MOST_CELLS = 2000
_LAST_CHARACTER = chr(0x10FFFF)

_REGISTRY = {"id": "d.device_id", "type": "d.type", "status": "d.status"}
_TIMES = {"presence.since": "presence", "last_seen": "last_seen", "position.at": "position"}
_AGES = {"presence.age": "presence", "last_seen.age": "last_seen", "position.age": "position"}
_MIRRORED = {Op.BELOW: Op.ABOVE, Op.AT_MOST: Op.AT_LEAST, Op.ABOVE: Op.BELOW, Op.AT_LEAST: Op.AT_MOST}
_OPERATORS = {Op.EQUAL: "=", Op.UNEQUAL: "<>", Op.BELOW: "<", Op.AT_MOST: "<=", Op.ABOVE: ">", Op.AT_LEAST: ">="}
_COLUMNS = {"presence": "p.since", "last_seen": "s.last_seen_at", "position": "s.ts"}
_NUMBERS = {"position.lat": "s.lat", "position.lon": "s.lon", "position.speed": "s.speed::float8"}
_SETS = {
    "p": "d.device_id IN (SELECT p.device_id FROM presence p WHERE p.tenant_id = %(tenant)s AND {})",
    "s": "d.device_id IN (SELECT s.device_id FROM device_state s WHERE s.tenant_id = %(tenant)s AND {})",
    "label": "d.device_id IN (SELECT l.device_id FROM device_label l WHERE l.tenant_id = %(tenant)s AND {})",
    "leaf": "d.device_id IN (SELECT l.device_id FROM shadow_leaf l WHERE l.tenant_id = %(tenant)s AND {})",
}
_DISTANCE = (
    "2 * 6371008.8 * asin(least(1, sqrt(sin(radians(s.lat - {lat}) / 2) ^ 2"
    " + cos(radians({lat})) * cos(radians(s.lat)) * sin(radians(s.lon - {lon}) / 2) ^ 2)))"
)


@dataclass(frozen=True, slots=True)
class Clause:
    """A condition on `device d`, in parentheses, and the values it is bound to; `%(tenant)s` comes from the query."""

    text: str
    params: dict[str, object]


def clause(term: Term, at: datetime) -> Clause:
    """`at` is now: ages are told from it."""
    writer = _Writer(at)
    text = writer.write(term)
    # Made of this file's text and of names of parameters that it numbers, never of what came in.
    return Clause(f"({text})", writer.params)


@dataclass(slots=True)
class _Writer:
    at: datetime
    params: dict[str, object] = field(default_factory=dict)

    def write(self, term: Term) -> str:
        match term:
            case All(of):
                return " AND ".join(f"({self.write(each)})" for each in of)
            case Either(of):
                return " OR ".join(f"({self.write(each)})" for each in of)
            case Not(of):
                return f"NOT ({self.write(of)})"
            case Near() | Within():
                return self._in("s", self._near(term) if isinstance(term, Near) else self._within(term))
            case Exists(of):
                return self._exists(of)
            case Compare() | OneOf() | Like():
                return self._test(term)

    def _bind(self, value: object) -> str:
        name = f"where_{len(self.params)}"
        self.params[name] = value
        return f"%({name})s"

    @staticmethod
    def _in(table: str, condition: str) -> str:
        return _SETS[table].format(condition)

    # --- tests of one field ---------------------------------------------------------------------------------------

    def _test(self, term: Compare | OneOf | Like) -> str:
        match term.field:
            case State() as state:
                return self._state(state, term)
            case Label(key):
                bound = f"l.key = {self._bind(key)} AND "
                return self._in("label", bound + self._text("l.value", term))
            case Fact(name) if name in _REGISTRY:
                return self._text(_REGISTRY[name], term)
            case Fact("online"):
                return self._online(term)
            case Fact(name) if name in _NUMBERS:
                return self._in("s", self._number(_NUMBERS[name], term))
            case Fact(name):
                return self._time(name, term)

    def _text(self, column: str, term: Compare | OneOf | Like) -> str:
        match term:
            case OneOf(_, values):
                return f"{column} = ANY({self._bind(list(values))})"
            case Like(_, pattern):
                return f"{column} LIKE {self._bind(_like(pattern))}"
            case Compare(_, Op.EQUAL | Op.UNEQUAL as op, value):
                return f"{column} {_OPERATORS[op]} {self._bind(value)}"
            case Compare(_, op, value):
                return f'{column} COLLATE "C" {_OPERATORS[op]} {self._bind(value)}'

    def _number(self, column: str, term: Compare | OneOf | Like) -> str:
        if isinstance(term, OneOf):
            return f"{column} = ANY({self._bind(list(term.values))}::float8[])"
        assert isinstance(term, Compare)
        return f"{column} {_OPERATORS[term.op]} {self._bind(term.value)}::float8"

    def _online(self, term: Compare | OneOf | Like) -> str:
        assert isinstance(term, Compare)
        connected = self._in("p", "p.online")
        return connected if (term.op is Op.EQUAL) == term.value else f"NOT ({connected})"

    def _time(self, name: str, term: Compare | OneOf | Like) -> str:
        assert isinstance(term, Compare)
        column = _COLUMNS[_TIMES.get(name) or _AGES[name]]
        if isinstance(term.value, timedelta):
            # Older than so long is earlier than that long ago.
            moment, op = self.at - term.value, _MIRRORED[term.op]
        else:
            assert isinstance(term.value, datetime)
            moment, op = term.value, term.op
        return self._in(column[0], f"{column} {_OPERATORS[op]} {self._bind(moment)}")

    # --- shadows --------------------------------------------------------------------------------------------------

    def _state(self, state: State, term: Compare | OneOf | Like) -> str:
        at = f"l.name = {self._bind(state.shadow)} AND l.field = {self._bind(_field(state))}"
        match term:
            case OneOf(_, values):
                return self._in("leaf", f"{at} AND l.key = ANY({self._bind([leaf_key(each) for each in values])})")
            case Like(_, pattern):
                return self._in("leaf", f"{at} AND {self._like(pattern)}")
            case Compare(_, Op.EQUAL, value):
                return self._in("leaf", f"{at} AND l.key = {self._bind(leaf_key(value))}")
            case Compare(_, Op.UNEQUAL, value):
                # Of an array no element may be equal.
                equal = self._in("leaf", f"{at} AND l.key = {self._bind(leaf_key(value))}")
                return f"{self._in('leaf', at)} AND NOT ({equal})"
            case Compare(_, op, value):
                return self._in("leaf", f"{at} AND {self._ordered(op, value)}")

    def _ordered(self, op: Op, value: Value) -> str:
        if isinstance(value, str):
            # A text's key begins with a quotation mark, whose successor is the number sign.
            bounds = "l.key >= '\"' AND l.key < '#'"
            return f"{bounds} AND l.key {_OPERATORS[op]} {self._bind(leaf_key(value))}"
        return f"l.number {_OPERATORS[op]} {self._bind(value)}::float8"

    def _like(self, pattern: str) -> str:
        """Bounds that the index knows, from what stands before the first wildcard, and then the pattern itself."""
        fixed = leaf_key(pattern[: min((pattern + "*?").index("*"), (pattern + "*?").index("?"))])
        low, high = self._bind(fixed), self._bind(fixed + _LAST_CHARACTER if len(fixed) > 1 else "#")
        return f"l.key >= {low} AND l.key < {high} AND l.key LIKE {self._bind(_like(leaf_key(pattern)))}"

    def _exists(self, of: Fact | Label | State) -> str:
        match of:
            case State() as state:
                whole = _field(state)
                name, equal = self._bind(state.shadow), self._bind(whole)
                low, high = self._bind(whole + BETWEEN), self._bind(whole + chr(ord(BETWEEN) + 1))
                below = f"l.field >= {low} AND l.field < {high}"
                return self._in("leaf", f"l.name = {name} AND (l.field = {equal} OR ({below}))")
            case Label(key):
                return self._in("label", f"l.key = {self._bind(key)}")
            case Fact(name):
                column = _NUMBERS.get(name) or _COLUMNS.get(name.partition(".")[0])
                return self._in(column[0], f"{column} IS NOT NULL") if column else "true"

    # --- places ---------------------------------------------------------------------------------------------------

    def _near(self, near: Near) -> str:
        degrees = near.radius_m / _DEGREE_M + 1e-9
        south, north = max(-90.0, near.lat - degrees), min(90.0, near.lat + degrees)
        # The widest of the circle's longitudes, all of them where it holds a pole.
        reach = math.sin(math.radians(min(degrees, 90.0))) / max(1e-12, math.cos(math.radians(near.lat)))
        wide = 180.0 if reach >= 1 else math.degrees(math.asin(reach)) + 1e-9
        box = Within(_wrapped(near.lon - wide), south, _wrapped(near.lon + wide), north)
        if wide >= 180 or south <= -90 or north >= 90:
            box = Within(-180.0, south, 180.0, north)
        distance = _DISTANCE.format(lat=self._bind(near.lat) + "::float8", lon=self._bind(near.lon) + "::float8")
        return f"{self._within(box)} AND {distance} <= {self._bind(near.radius_m)}::float8"

    def _within(self, box: Within) -> str:
        south, north = self._bind(box.south), self._bind(box.north)
        west, east = self._bind(box.west), self._bind(box.east)
        joined = "AND" if box.west <= box.east else "OR"
        across = f"(s.lon >= {west}::float8 {joined} s.lon <= {east}::float8)"
        lies = f"s.lat >= {south}::float8 AND s.lat <= {north}::float8 AND {across}"
        covering = cells(box)
        return lies if covering is None else f"s.cell = ANY({self._bind(covering)}::int[]) AND {lies}"


def cells(box: Within) -> list[int] | None:
    """Numbers of the tenths of a degree (0009_search.sql) that a box touches; None where they are too many."""
    rows = range(math.floor((box.south + 90) * 10), math.floor((box.north + 90) * 10) + 1)
    spans = [(box.west, box.east)] if box.west <= box.east else [(box.west, 180.0), (-180.0, box.east)]
    columns = [range(math.floor((west + 180) * 10), math.floor((east + 180) * 10) + 1) for west, east in spans]
    if len(rows) * sum(map(len, columns)) > _MOST_CELLS:
        return None
    return sorted({row * 3600 + column for row in rows for each in columns for column in each})


def _field(state: State) -> str:
    return BETWEEN.join((state.section, *state.path))


def _wrapped(lon: float) -> float:
    return (lon + 180) % 360 - 180


def _like(pattern: str) -> str:
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%").replace("?", "_")
