"""Leaves an engine alone that fails, tries it again one call at a time, and waits longer each time it still fails."""

from datetime import datetime, timedelta

from eta.routing.errors import EngineDown, OverQuota

_LONGEST = timedelta(minutes=10)


class Breaker:
    """Of one engine. Closed while it answers; after `failures` in a row open for `open_s`, doubling up to 10 minutes.

    When that is over one call may try; the others are refused until it has come back.
    """

    def __init__(self, name: str, failures: int, open_s: float) -> None:
        self._name = name
        self._most = failures
        self._first = timedelta(seconds=open_s)
        self._failed = 0
        self._opened = 0
        self._until: datetime | None = None
        self._is_trying = False
        self._why = ""

    @property
    def is_open(self) -> bool:
        """It is being left alone, or tried."""
        return self._until is not None

    def enter(self, now: datetime) -> None:
        """Before a call. Raises EngineDown while the engine is left alone. Each `enter` needs a `leave`."""
        if self._until is None:
            return
        if now < self._until or self._is_trying:
            left = max((self._until - now).total_seconds(), 0.0)
            raise EngineDown(f"{self._name} is left alone for {left:.0f} s more: {self._why}")
        self._is_trying = True

    def leave(self, now: datetime, failure: Exception | None, *, is_known: bool = True) -> None:
        """After a call. `is_known` false: it ended without telling anything of the engine, such as by cancellation."""
        self._is_trying = False
        if not is_known:
            return
        if failure is None:
            self._failed = self._opened = 0
            self._until = None
            return
        self._failed += 1
        self._why = str(failure)
        if isinstance(failure, OverQuota):
            self._open(now, failure.retry_after_s)
        elif self._failed >= self._most or self._until is not None:
            self._open(now, None)

    def _open(self, now: datetime, asked_s: float | None) -> None:
        # Never shorter than ours, however impatient the engine's own word; a day of rest at most.
        wait = min(self._first * 2**self._opened, _LONGEST)
        if asked_s is not None:
            wait = max(wait, timedelta(seconds=min(asked_s, 86_400.0)))
        self._opened = min(self._opened + 1, 16)
        self._until = now + wait
