"""The one clock. It is passed in, so that a test can hold it still."""

from collections.abc import Callable
from datetime import UTC, datetime

type Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


def epoch_ms(at: datetime) -> int:
    """Milliseconds since 1970-01-01 UTC, as telemetry timestamps carry them."""
    return int(at.timestamp() * 1000)


def from_epoch_ms(ms: int) -> datetime:
    """The UTC time of an epoch in milliseconds; raises OverflowError or ValueError outside years 1 to 9999."""
    return datetime.fromtimestamp(ms / 1000, UTC)
