"""Lists in pages: `{"items": [...], "next": "cursor"}`. A cursor holds the key of the last row, so rows that come or go
between two pages neither repeat nor hide others. It is checked strictly and needs no signature: a made-up one names
another place in a list that the caller may read anyway.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import Query
from pydantic import BaseModel, Field

from api.http.errors import InvalidCursor

Limit = Annotated[int, Query(ge=1, le=1000, description="Items a page holds at most")]
"""In a route: `limit: Limit = DEFAULT_LIMIT`."""
DEFAULT_LIMIT = 100

Cursor = Annotated[
    str | None, Query(max_length=1024, description="`next` of the page before; leave it out for the first page")
]
"""In a route: `cursor: Cursor = None`."""

_BIGINT = 2**63


class Page[Item](BaseModel):
    """One page of a list."""

    items: list[Item]
    next: str | None = Field(description="Cursor of the next page; null when this is the last")


def page[Row, Item](
    rows: Sequence[Row], limit: int, *, key: Callable[[Row], tuple[Any, ...]], item: Callable[[Row], Item]
) -> Page[Item]:
    """The page of `rows`, of which the store was asked for `limit + 1`. `key` is what the list is ordered by."""
    shown = rows[:limit]
    has_more = len(rows) > limit
    return Page(items=[item(row) for row in shown], next=encode(*key(shown[-1])) if has_more else None)


def encode(*key: Any) -> str:
    """The cursor after the row with this key: strings, integers, floats and times."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def decode(cursor: str | None, *types: Any) -> tuple[Any, ...] | None:
    """The key in a cursor, its parts of these types; None for the first page. Raises InvalidCursor."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        key: tuple[Any, ...] = msgspec.json.decode(raw, type=tuple[types])  # type: ignore[valid-type]
    except (binascii.Error, ValueError) as error:
        raise InvalidCursor("this is no cursor of this list: take `next` of the page before, or none") from error
    if not all(map(_can_be_asked_for, key)) or encode(*key) != cursor.rstrip("="):
        raise InvalidCursor("this is no cursor of this list: take `next` of the page before, or none")
    return key


def _can_be_asked_for(part: object) -> bool:
    """PostgreSQL's text holds no NUL and its bigint 64 bits; a time needs its zone."""
    match part:
        case str():
            return "\0" not in part
        case int():
            return -_BIGINT <= part < _BIGINT
        case datetime():
            return part.tzinfo is not None
        case _:
            return True
