"""How commands show what they found: a table for people, JSON for scripts."""

import json
from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table

_PIPE_WIDTH = 1000


def when(at: datetime | None) -> str:
    """A time for people, in UTC; empty when there is none."""
    return at.strftime("%Y-%m-%d %H:%M:%SZ") if at else ""


def print_json(value: object) -> None:
    """JSON on stdout; times as ISO 8601."""
    print(json.dumps(value, indent=2, default=_iso))


def fields(value: object, *names: str) -> dict[str, object]:
    """The attributes `names` of `value`, for JSON."""
    return {name: getattr(value, name) for name in names}


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table as wide as the terminal; in a pipe nothing is wrapped for want of room."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
