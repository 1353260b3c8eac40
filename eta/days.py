"""Spans of days that reports are asked for. Pure."""

from datetime import date

from core.errors import Invalid

MOST_DAYS = 366


class InvalidDays(Invalid):
    """The days asked for are none, or too many."""

    code = "invalid_days"


def checked_days(since: date, until: date) -> None:
    """Raises InvalidDays unless these are 1 to 366 days in their order, both included."""
    if not 0 <= (until - since).days < MOST_DAYS:
        raise InvalidDays(f"{since} to {until}: allowed are 1 to {MOST_DAYS} days, the first of them first")
