"""Reads `where` into terms. Whatever is wrong is refused with its position and what may stand there.

where   = all { "or" all }              all   = one { "and" one }
one     = "not" one | "(" where ")" | "near" "(" lat "," lon "," radius_m ")"
        | "within" "(" west "," south "," east "," north ")" | field test
test    = op value | "in" "(" value { "," value } ")" | "like" text | "exists"
field   = name { "." name }             name  = letter { letter | digit | "_" | "-" | "$" | ":" } | text
op      = "=" | "!=" | "<" | "<=" | ">" | ">="
value   = text | number | "true" | "false" | duration
"""

import json
import re
from datetime import datetime, timedelta
from typing import NamedTuple, NoReturn

from api.search.terms import (
    FACTS,
    SECTIONS,
    All,
    Compare,
    Either,
    Exists,
    Fact,
    Field,
    Kind,
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
from core.errors import Invalid
from core.topics import is_shadow_name

MOST_CHARS, MOST_TERMS, MOST_DEPTH, MOST_VALUES = 2000, 32, 8, 64
MOST_TEXT, MOST_NAMES = 256, 8
_HALF_ROUND_M = 20_040_000.0
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_MOST_AGE_S = 100 * 365 * 86_400.0
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    | (?P<text>"(?:[^"\\\x00-\x1f]|\\.)*")
    | (?P<duration>\d+(?:\.\d+)?(?:ms|s|m|h|d)\b)
    | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w$:]))
    | (?P<name>[A-Za-z_$][\w$:-]*)
    | (?P<op>!=|<=|>=|=|<|>)
    | (?P<mark>[(),.])""",
    re.VERBOSE | re.ASCII,
)
_WORDS = frozenset({"and", "or", "not", "in", "like", "exists", "true", "false"})
_FIELDS = (
    f"{', '.join(FACTS)}, label.<key>, {', '.join(f'{each}.<path>' for each in SECTIONS)}, "
    "shadow.<name>.reported.<path>, near(lat, lon, metres) or within(west, south, east, north)"
)
_COMPARISON = "=, !=, <, <=, >, >=, in (...), like or exists"
_ORDERED = frozenset({Op.BELOW, Op.AT_MOST, Op.ABOVE, Op.AT_LEAST})


class InvalidWhere(Invalid):
    """The search cannot be read, or asks for more than it may."""

    code = "invalid_where"

    def __init__(self, at: int, wrong: str, allowed: str) -> None:
        super().__init__(f"where, position {at + 1}: {wrong}; allowed here: {allowed}")
        self.at = at


class _Token(NamedTuple):
    kind: str
    text: str
    at: int

    @property
    def shown(self) -> str:
        return "it ends" if self.kind == "end" else f"{self.text[:40]!r} stands there"


def parse(text: str) -> Term:
    """Raises InvalidWhere."""
    if len(text) > MOST_CHARS:
        raise InvalidWhere(MOST_CHARS, f"it has {len(text):,} characters", f"{MOST_CHARS:,} at most")
    reader = _Reader(_tokens(text))
    term = reader.either(0)
    if reader.next.kind != "end":
        reader.refuse("and, or, or the end")
    return term


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            wrong = "a text that does not end" if text[at] == '"' else f"{text[at]!r} cannot be read"
            raise InvalidWhere(at, wrong, f"a field ({_FIELDS}), a value, a comparison, and, or, not, ( and )")
        if match.lastgroup != "space":
            found.append(_Token(match.lastgroup, match[0], at))
        at = match.end()
    return [*found, _Token("end", "", len(text))]


class _Reader:
    """Recursive descent over the tokens, each read once."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._terms = 0

    @property
    def next(self) -> _Token:
        return self._tokens[self._at]

    def refuse(self, allowed: str) -> NoReturn:
        raise InvalidWhere(self.next.at, self.next.shown, allowed)

    def either(self, depth: int) -> Term:
        parts = [self._all(depth)]
        while self._takes("name", "or"):
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _all(self, depth: int) -> Term:
        parts = [self._one(depth)]
        while self._takes("name", "and"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _one(self, depth: int) -> Term:
        if depth > MOST_DEPTH:
            raise InvalidWhere(self.next.at, "it is nested too deeply", f"{MOST_DEPTH} levels of ( and not")
        if self._takes("name", "not"):
            return Not(self._one(depth + 1))
        if self._takes("mark", "("):
            inner = self.either(depth + 1)
            self._need("mark", ")")
            return inner
        self._terms += 1
        if self._terms > MOST_TERMS:
            raise InvalidWhere(self.next.at, f"it has more than {MOST_TERMS} terms", f"{MOST_TERMS} at most")
        follows = self._tokens[self._at + 1 : self._at + 2]
        if self.next.kind == "name" and self.next.text in {"near", "within"} and follows[0].text == "(":
            return self._near() if self.next.text == "near" else self._within()
        return self._test()

    def _near(self) -> Near:
        at = self._take().at
        lat, lon, radius_m = self._numbers(3)
        if not (-90 <= lat <= 90 and -180 <= lon <= 180 and 0 <= radius_m <= _HALF_ROUND_M):
            allowed = f"near(latitude -90 to 90, longitude -180 to 180, metres 0 to {_HALF_ROUND_M:,.0f})"
            raise InvalidWhere(at, "this is no place and radius", allowed)
        return Near(lat, lon, radius_m)

    def _within(self) -> Within:
        at = self._take().at
        west, south, east, north = self._numbers(4)
        if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
            raise InvalidWhere(at, "this is no box", "within(west, south, east, north) in degrees, south below north")
        return Within(west, south, east, north)

    def _numbers(self, count: int) -> list[float]:
        self._need("mark", "(")
        found = []
        for number in range(count):
            if number:
                self._need("mark", ",")
            if self.next.kind != "number":
                self.refuse("a number")
            found.append(float(self._take().text))
        self._need("mark", ")")
        return found

    def _test(self) -> Term:
        field, kind = self._field()
        if self._takes("name", "exists"):
            return Exists(field)
        if kind is None:
            self.refuse("exists: the section as a whole has no one value")
        if kind is Kind.AGE:
            return self._age(field)
        if kind in {Kind.TEXT, Kind.NUMBER, Kind.ANY} and self._takes("name", "in"):
            return OneOf(field, self._values(kind))
        if self.next.kind == "name" and self.next.text == "like":
            if kind not in {Kind.TEXT, Kind.ANY}:
                self.refuse(f"=, !=, <, <=, >, >= and {kind.value}")
            self._take()
            pattern = self._value(Kind.TEXT)
            assert isinstance(pattern, str)
            return Like(field, pattern)
        if self.next.kind != "op":
            self.refuse(_COMPARISON)
        op, at = Op(self._take().text), self.next.at
        value = self._value(kind)
        if op in _ORDERED and isinstance(value, bool):
            raise InvalidWhere(at, "true and false have no order", "= and !=")
        return Compare(field, op, value)

    def _age(self, field: Field) -> Compare:
        if self.next.kind != "op" or Op(self.next.text) not in _ORDERED:
            self.refuse("<, <=, >, >= or exists: an age goes on by itself")
        return Compare(field, Op(self._take().text), self._value(Kind.AGE))

    def _values(self, kind: Kind) -> tuple[Value, ...]:
        self._need("mark", "(")
        values = [self._value(kind)]
        while self._takes("mark", ","):
            if len(values) == MOST_VALUES:
                raise InvalidWhere(self.next.at, f"there are more than {MOST_VALUES} values", f"{MOST_VALUES} at most")
            values.append(self._value(kind))
        self._need("mark", ")")
        return tuple(values)

    def _field(self) -> tuple[Field, Kind | None]:
        """The field and what it holds; None where it is a whole section, which holds no one value."""
        first = self.next
        if first.kind != "name" or first.text in _WORDS:
            self.refuse(f"{_FIELDS}, not, or (")
        names = [self._take().text]
        while self._takes("mark", "."):
            if self.next.kind not in {"name", "text"}:
                self.refuse("a name after the dot; one with other characters in double quotes")
            token = self._take()
            names.append(token.text if token.kind == "name" else _unquoted(token))
        return self._meant(first, names)

    def _meant(self, first: _Token, names: list[str]) -> tuple[Field, Kind | None]:
        full = ".".join(names)
        if full in FACTS:
            return Fact(full), FACTS[full]
        if full in {"presence", "position"}:
            return Fact(full), None
        if names[0] == "label" and len(names) == 2:
            return Label(names[1]), Kind.TEXT
        shadow = ""
        if names[0] == "shadow" and len(names) >= 3:
            shadow, names = names[1], names[2:]
            if not is_shadow_name(shadow):
                raise InvalidWhere(first.at, f"{shadow[:80]!r} names no shadow", "1 to 64 of A-Z a-z 0-9 $ : _ -")
        if names[0] in SECTIONS and len(names) <= 1 + MOST_NAMES:
            path = tuple(names[1:])
            return State(shadow, names[0], path), Kind.ANY if path else None
        raise InvalidWhere(first.at, f"there is no field {full[:80]!r}", _FIELDS)

    def _value(self, kind: Kind) -> Value:
        token = self.next
        if token.kind == "text" and kind in {Kind.TEXT, Kind.ANY}:
            return _unquoted(self._take())
        if token.kind == "text" and kind is Kind.TIME:
            return _time(self._take())
        if token.kind == "number" and kind in {Kind.NUMBER, Kind.ANY}:
            return _number(self._take())
        if token.kind == "duration" and kind is Kind.AGE:
            return _duration(self._take())
        if not (token.kind == "name" and token.text in {"true", "false"} and kind in {Kind.FLAG, Kind.ANY}):
            self.refuse(kind.value)
        return self._take().text == "true"

    def _take(self) -> _Token:
        token = self.next
        self._at += 1
        return token

    def _takes(self, kind: str, text: str) -> bool:
        if (self.next.kind, self.next.text) == (kind, text):
            self._at += 1
            return True
        return False

    def _need(self, kind: str, text: str) -> None:
        if not self._takes(kind, text):
            self.refuse(text)


def _unquoted(token: _Token) -> str:
    try:
        text = str(json.loads(token.text))
        text.encode()
    except ValueError as error:  # an escape that JSON does not know, or half a surrogate pair
        raise InvalidWhere(token.at, "this text cannot be read", "JSON's escapes: \\\" \\\\ \\n \\u00e9") from error
    if len(text) > MOST_TEXT or "\0" in text or "\x01" in text:
        raise InvalidWhere(token.at, "this text is too long or has control characters", f"{MOST_TEXT} characters")
    return text


def _number(token: _Token) -> float:
    number = float(token.text)
    if number in {float("inf"), float("-inf")}:
        raise InvalidWhere(token.at, f"{token.text[:40]} is too large", "numbers up to 1.7e308")
    return number


def _duration(token: _Token) -> timedelta:
    unit = token.text.lstrip("0123456789.")
    seconds = float(token.text.removesuffix(unit)) * _UNITS_S[unit]
    if seconds > _MOST_AGE_S:
        raise InvalidWhere(token.at, f"{token.text[:40]} is too long", "36500d at most")
    return timedelta(seconds=seconds)


def _time(token: _Token) -> datetime:
    at: datetime | None
    try:
        at = datetime.fromisoformat(_unquoted(token))
    except ValueError:
        at = None
    if at is None or at.tzinfo is None or at.year < 1970:
        raise InvalidWhere(token.at, f"{token.text[:40]} is no time", Kind.TIME.value)
    return at
