"""Arithmetic of state trees, pure: merging, difference, and the tree of timestamps beside a tree of values.

Nothing given is changed; what a result shares with its arguments must not be changed either.
"""

from collections.abc import Iterator
from math import inf
from typing import Any

type Tree = dict[str, Any]
"""A JSON object."""

type Leaf = tuple[str, str, float | None]
"""A value as search knows it: its field, the value as text, and as a number where it is one."""

BETWEEN = "\x01"
"""Stands between the names of a field: no name that can be asked for has it."""
MOST_FIELD_BYTES, MOST_VALUE_CHARS = 512, 256


def merge(state: Tree, patch: Tree) -> Tree:
    """`state` with `patch` laid over it: objects go deep, null removes, anything else, arrays too, replaces whole."""
    merged = dict(state)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            before = merged.get(key)
            if isinstance(before, dict):
                merged[key] = merge(before, value)
            elif (fresh := merge({}, value)) or not value or before is not None:
                # An object of nothing but nulls puts nothing where nothing was; an empty one is a value.
                merged[key] = fresh
        else:
            merged[key] = value
    return merged


def stamp(value: Any, at_s: int) -> Any:
    """The timestamps of a patch: each leaf, null too, as `{"timestamp": at_s}`; arrays element by element."""
    if isinstance(value, dict):
        return {key: stamp(each, at_s) for key, each in value.items()}
    if isinstance(value, list):
        return [stamp(each, at_s) for each in value]
    return {"timestamp": at_s}


def restamp(state: Tree, stamps: Tree, patch: Tree, at_s: int) -> Tree:
    """The timestamps of `state`, which is what `patch` has made, from those before it: only what it names is new."""
    after = dict(stamps)
    for key, value in patch.items():
        now = state.get(key)
        if now is None:
            after.pop(key, None)
        elif isinstance(value, dict) and isinstance(now, dict):
            before = after.get(key)
            after[key] = restamp(now, _inner(before), value, at_s)
        else:
            after[key] = stamp(now, at_s)
    return after


def delta(desired: Tree, reported: Tree) -> Tree:
    """All of `desired` that `reported` does not have or has differently, by its path from the root."""
    differing: Tree = {}
    for key, wanted in desired.items():
        if key not in reported:
            differing[key] = wanted
            continue
        given = reported[key]
        if isinstance(wanted, dict) and isinstance(given, dict):
            if inner := delta(wanted, given):
                differing[key] = inner
        elif not equal(wanted, given):
            differing[key] = wanted
    return differing


def project(stamps: Any, shape: Any) -> Any:
    """The part of a tree of timestamps that belongs to `shape`, a part of its tree of values."""
    if isinstance(shape, dict) and isinstance(stamps, dict):
        return {key: project(stamps.get(key, {}), value) for key, value in shape.items()}
    return stamps


def equal(one: Any, other: Any) -> bool:
    """JSON's equality: numbers by value, and true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def depth(value: Any) -> int:
    """Levels of nesting: an object or array that holds anything is one more than what it holds."""
    if isinstance(value, dict) and value:
        return 1 + max(map(depth, value.values()))
    if isinstance(value, list) and value:
        return 1 + max(map(depth, value))
    return 0


def is_storable(value: Any, *, in_array: bool = False) -> bool:
    """Whether no array holds a null, and no text or name the character NUL, which PostgreSQL cannot keep."""
    if isinstance(value, dict):
        return all("\0" not in key and is_storable(each, in_array=in_array) for key, each in value.items())
    if isinstance(value, list):
        return all(is_storable(each, in_array=True) for each in value)
    if isinstance(value, str):
        return "\0" not in value
    return not (value is None and in_array)


def leaves(field: str, value: Any) -> Iterator[Leaf]:
    """The values of a tree below `field`, those of an array's elements at the array's own field.

    Left out are fields longer than MOST_FIELD_BYTES. A text is cut where nothing that is asked for is that long.
    """
    if isinstance(value, dict) and value:
        for name, each in value.items():
            if BETWEEN not in name:
                yield from leaves(f"{field}{BETWEEN}{name}", each)
    elif isinstance(value, list) and value:
        for each in value:
            yield from leaves(field, each)
    elif len(field.encode()) <= MOST_FIELD_BYTES:
        yield field, leaf_key(value), _number(value)


def leaf_key(value: Any) -> str:
    """A value as text, different ones differently; numbers by value."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value[: MOST_VALUE_CHARS + 1]}'
        case int() | float():
            number = _number(value)
            return f"#{value if number in {inf, -inf} else number}"[: MOST_VALUE_CHARS + 1]
        case _:
            return "{}" if isinstance(value, dict) else "[]"


def _number(value: Any) -> float | None:
    """None for what is no number; infinity for an integer beyond a float's range."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) + 0.0  # no -0.0, which reads differently and is the same
    except OverflowError:
        return inf if value > 0 else -inf


def _inner(stamps: Any) -> Tree:
    """The timestamps of an object's parts; none where they are those of a value that the object has replaced.

    An object with the one key `timestamp` looks like a leaf from above, but its timestamp is a tree again.
    """
    return stamps if isinstance(stamps, dict) and not isinstance(stamps.get("timestamp"), int) else {}
