"""Times as the API writes and reads them: ISO 8601, answered in UTC to the millisecond."""

import re
from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_MOMENT = r"^(19[7-9]\d|20\d\d)-\d\d-\d\d[Tt]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:\d\d)$"
_matches = re.compile(_MOMENT, re.ASCII).match
_DAY = r"^(19[7-9]\d|20\d\d)-\d\d-\d\d$"
_is_day = re.compile(_DAY, re.ASCII).match
_DAY_WORDS = "a day is written 2026-11-21, between 1970 and 2099"
_WORDS = "a time is written 2026-11-21T06:30:00Z or with an offset, 2026-11-21T07:30:00+01:00, between 1970 and 2099"


def iso(at: datetime) -> str:
    """`2026-11-21T20:30:00.123Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _parse(text: object) -> object:
    # A bare number would be read as seconds since 1970.
    if not isinstance(text, str):
        raise ValueError(_WORDS)  # noqa: TRY004  pydantic tells a ValueError alone
    # In a query string a bare + is a space; nobody means one there.
    written = text.replace(" ", "+")
    if not _matches(written):
        raise ValueError(_WORDS)
    try:
        return datetime.fromisoformat(written.upper()).astimezone(UTC)
    except ValueError as error:
        raise ValueError(f"{_WORDS}: {error}") from error


Time = Annotated[
    datetime,
    PlainSerializer(iso, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""In an answer."""

Moment = Annotated[
    datetime, BeforeValidator(_parse), WithJsonSchema({"type": "string", "format": "date-time", "pattern": _MOMENT})
]
"""In a request."""


def _parse_day(text: object) -> object:
    # A bare number would be read as seconds since 1970.
    if not isinstance(text, str) or not _is_day(text):
        raise ValueError(_DAY_WORDS)
    return text


Day = Annotated[
    date, BeforeValidator(_parse_day), WithJsonSchema({"type": "string", "format": "date", "pattern": _DAY})
]
"""A day in a request."""
