"""Names for new sites, routes, trips and stops: in the order of their making, and not to be guessed."""

import secrets
from datetime import datetime

from core.clock import epoch_ms


def new_id(prefix: str, at: datetime) -> str:
    """`trip_` and 22 of 0-9 a-f: 12 say when it was made, 10 are random."""
    return f"{prefix}_{epoch_ms(at):012x}{secrets.token_hex(5)}"
