"""How wrong the estimates were, and the p10, p50 and p90 that follow: conformal bands, calibrated as trips finish."""

import bisect
from collections import deque

_EDGES_S = (180.0, 360.0, 600.0, 900.0, 1500.0)
_CENTRES_S = (90.0, 270.0, 480.0, 750.0, 1200.0, 2000.0)
STEPS_A_S = 1.0 / 6.0
_TRIPS = 40
_MOST_ERRORS = 100  # of a trip and a distance ahead: quantiles of more would be no truer
_GUESS_TRIPS = 2.0
# Who is told an arrival time loses about twice as much by a truck before it as by one after it: the quantile to
# announce is then one third (the newsvendor's rule).
_ANNOUNCED = 1.0 / 3.0
_QUANTILES = (0.1, _ANNOUNCED, 0.5, 0.9)
# Before anything is measured: a normal with a longer late side. Standardised errors, late is positive.
_GUESS = tuple(z * (1.25 if z > 0 else 1.0) for z in (-1.64, -1.04, -0.67, -0.39, -0.13, 0.13, 0.39, 0.67, 1.04, 1.64))

type Quantiles = tuple[float, float, float, float]


class Bands:
    """Standardised errors of finished trips by how far ahead the arrival was said to be."""

    def __init__(self) -> None:
        self._errors: list[deque[tuple[str, list[float]]]] = [deque(maxlen=_TRIPS) for _ in _CENTRES_S]
        self._table: list[Quantiles] = []
        self.steps: list[Quantiles] = []
        """the quantiles by tenths of a minute ahead, the last for all beyond: looked up for every stop of every fix"""
        self._refresh()

    def learn(self, trip: str, errors: list[tuple[float, float]]) -> None:
        """Take (seconds ahead, standardised error) of a finished trip. Each trip weighs the same, however long."""
        self.take(trip, binned(errors))

    def take(self, trip: str, errors: list[list[float]]) -> None:
        """Take the errors of a finished trip as `binned` gives them."""
        for kept, new in zip(self._errors, errors, strict=True):
            if len(new) >= 5:
                kept.append((trip, new))
        self._refresh()

    def _refresh(self) -> None:
        self._table = []
        for kept in self._errors:
            weighted = [(z, _GUESS_TRIPS / len(_GUESS)) for z in _GUESS]
            for _, errors in kept:
                weighted += [(z, 1.0 / len(errors)) for z in errors]
            weighted.sort()
            low, announced, middle, high = (_quantile(weighted, q) for q in _QUANTILES)
            self._table.append((low, announced, middle, high))
        self.steps = [self._between(step / STEPS_A_S) for step in range(int(_CENTRES_S[-1] * STEPS_A_S) + 1)]

    def at(self, ahead_s: float) -> Quantiles:
        """The standardised p10, announced, p50 and p90 for an arrival this far ahead."""
        return self.steps[min(max(int(ahead_s * STEPS_A_S), 0), len(self.steps) - 1)]

    def _between(self, ahead_s: float) -> Quantiles:
        i = bisect.bisect_right(_CENTRES_S, ahead_s)
        if i == 0 or i == len(_CENTRES_S):
            return self._table[i and -1]
        share = (ahead_s - _CENTRES_S[i - 1]) / (_CENTRES_S[i] - _CENTRES_S[i - 1])
        low, announced, middle, high = (
            a + share * (b - a) for a, b in zip(self._table[i - 1], self._table[i], strict=True)
        )
        return low, announced, middle, high


def binned(errors: list[tuple[float, float]]) -> list[list[float]]:
    """Standardised errors by how far ahead the arrival was said to be, in order; of very many, an even choice."""
    bins: list[list[float]] = [[] for _ in _CENTRES_S]
    for ahead, z in errors:
        bins[bisect.bisect_right(_EDGES_S, ahead)].append(z)
    return [_chosen(sorted(each)) for each in bins]


def _chosen(in_order: list[float]) -> list[float]:
    count = len(in_order)
    if count <= _MOST_ERRORS:
        return in_order
    return [in_order[(2 * n + 1) * count // (2 * _MOST_ERRORS)] for n in range(_MOST_ERRORS)]


def _quantile(weighted: list[tuple[float, float]], q: float) -> float:
    goal = q * sum(w for _, w in weighted)
    total = 0.0
    for z, w in weighted:
        total += w
        if total >= goal:
            return z
    return weighted[-1][0]
