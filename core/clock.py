"""The one clock. It is passed in, so that a test can hold it still."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

type Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


def epoch_ms(at: datetime) -> int:
    """Milliseconds since 1970-01-01 UTC, as telemetry timestamps carry them."""
    return int(at.timestamp() * 1000)


def from_epoch_ms(ms: int) -> datetime:
    """The UTC time of an epoch in milliseconds; raises OverflowError or ValueError outside years 1 to 9999."""
    return datetime.fromtimestamp(ms / 1000, UTC)


class ReplayClock:
    """The time of a recording that is played faster than it was made; the wall's own where none is.

    `file` is there while it is played: `play` writes it. The recording's time never overtakes the wall's.
    """

    def __init__(self, file: Path, wall: Clock = utc_now) -> None:
        self._file = file
        self._wall = wall
        self._seen: tuple[int, int] | None = None
        self._played: tuple[float, float, float] | None = None

    def __call__(self) -> datetime:
        now = self._wall()
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return now
        if self._seen != (found.st_mtime_ns, found.st_ino):
            told = json.loads(self._file.read_bytes())
            self._played = told["began_at_ms"], told["at_ms"], told["speed"]
            self._seen = found.st_mtime_ns, found.st_ino
        assert self._played is not None
        began_ms, at_ms, speed = self._played
        played_ms = at_ms + (now.timestamp() * 1000 - began_ms) * speed
        return min(now, datetime.fromtimestamp(played_ms / 1000, UTC))


def play(file: Path, *, began_at_ms: int, at_ms: int, speed: float) -> None:
    """From the wall's `began_at_ms` on, what was recorded at `at_ms` and later is played at this speed."""
    beside = file.with_suffix(".new")
    beside.write_text(json.dumps({"began_at_ms": began_at_ms, "at_ms": at_ms, "speed": speed}))
    beside.replace(file)
