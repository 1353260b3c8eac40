"""When a running trip is worth a call for the traffic of now. Pure.

Most of the time it is not: the trip's own pace and the history say more than a map. It is when what was said has gone
wrong by much, and then not often.
"""

from dataclasses import dataclass
from typing import NamedTuple

_DRIFT_S = 180.0
_DRIFT_SHARE = 0.15
_APART_S = 900.0
_WORTH_S = 1200.0  # less than this ahead, the truck is there before the call has paid
_STANDS_S = 600.0


class Facts(NamedTuple):
    """What is known of a trip at one moment. Epoch seconds."""

    now: float
    last_eta: float
    """the arrival at its last stop"""
    is_off_route: bool
    standing_s: float
    """how long it has stood where no stop is"""


@dataclass(slots=True)
class Recalibration:
    """Of one trip: against what drift is measured, and when it last asked."""

    expected: float | None = None
    """the arrival at the last stop as it was first said, or said after the last call"""
    asked_at: float | None = None

    def due(self, facts: Facts) -> str:
        """Why the traffic should be asked for now, or empty."""
        left = facts.last_eta - facts.now
        if self.expected is None:
            self.expected = facts.last_eta
            return ""
        if left < _WORTH_S or (self.asked_at is not None and facts.now - self.asked_at < _APART_S):
            return ""
        if facts.is_off_route:
            return "off the route"
        drift = facts.last_eta - self.expected
        if abs(drift) > max(_DRIFT_S, _DRIFT_SHARE * left):
            return f"{drift / 60.0:+.0f} min against what was said"
        return f"stands for {facts.standing_s / 60.0:.0f} min" if facts.standing_s >= _STANDS_S else ""

    def asked(self, now: float) -> None:
        """A call is made: drift is measured anew by the first estimate after it."""
        self.asked_at, self.expected = now, None
