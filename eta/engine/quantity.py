"""By how much a stop takes longer for what is collected there: a rate of its own, leaning on the fleet's.

Milk is pumped at some rate, crates are carried one by one: within one stop, more takes longer by about so much a unit.
How much is learned from how visits differ from their own stop's usual one, so that a slow yard is not taken for a
large collection.
"""

from dataclasses import dataclass

_LEANS = 4.0  # the fleet's rate weighs as much as this many usual visits of a stop, no rate as many of the fleet's
_CAP, _CAP_S = 3.0, 120.0  # a visit that took longer than this was a talk, or a breakdown


@dataclass(slots=True)
class _Site:
    """Running means, and the sums of squares and products around them."""

    visits: int = 0
    quantity: float = 0.0
    seconds: float = 0.0
    qq: float = 0.0
    qs: float = 0.0


class Rates:
    """Seconds a unit of quantity takes, of a fleet and of each stop. The unit is the tenant's own."""

    def __init__(self) -> None:
        self._sites: dict[str, _Site] = {}
        self._all = _Site()

    def take(self, stop: str, quantity: float, seconds: float) -> None:
        """One visit: what was collected and how long it took."""
        site = self._sites.setdefault(stop, _Site())
        if site.visits > 2:
            seconds = min(seconds, _CAP * site.seconds + _CAP_S)
        site.visits += 1
        dq = quantity - site.quantity
        site.quantity += dq / site.visits
        site.seconds += (seconds - site.seconds) / site.visits
        qq, qs = dq * (quantity - site.quantity), dq * (seconds - site.seconds)
        site.qq += qq
        site.qs += qs
        every = self._all
        every.visits += 1
        every.quantity += (quantity - every.quantity) / every.visits
        every.qq += qq
        every.qs += qs

    def more_s(self, stop: str, quantity: float) -> float:
        """Seconds by which this quantity takes longer at the stop than its usual one; negative when it takes less."""
        every = self._all
        if every.qq <= 0.0:
            return 0.0
        spread = every.qq / every.visits
        usual = max(every.qs / (every.qq + _LEANS * spread), 0.0)
        site = self._sites.get(stop)
        if site is None:
            return usual * (quantity - every.quantity)
        rate = (site.qs + _LEANS * spread * usual) / (site.qq + _LEANS * spread)
        return max(rate, 0.0) * (quantity - site.quantity)
