"""Choosing which fixes of a track to show: so many at most, with place and time both kept. Pure.

A fix that is left out was, at its time, as near as can be to where the thinned track is at that time (TD-TR: Meratnia &
de By 2004, Douglas-Peucker with time). So a halt stays a halt of its length, and a bend stays where and when it was.
"""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from operator import gt

GAP_S = 600.0
"""After so long without a fix a new stretch begins; both ends of the gap are kept."""

LOOKED_AT = 64


def thin(ts_s: Sequence[float], lat: Sequence[float], lon: Sequence[float], most: int) -> list[int]:
    """Indices of at most `most` (2 or more) of the fixes, in order; the first and the last are always among them.

    Times (seconds) are in order. Between two that are kept at most LOOKED_AT others are looked at, evenly spread:
    so the work grows with `most` and hardly with the length of the track.
    """
    if len(ts_s) <= most:
        return list(range(len(ts_s)))
    chosen = _anchors(ts_s, most)
    track = _Track.of(ts_s, lat, lon)
    waiting = [entry for low, high in pairwise(chosen) for entry in track.farthest(low, high)]
    heapq.heapify(waiting)
    while waiting and len(chosen) < most:
        _, at, low, high = heapq.heappop(waiting)
        chosen.append(at)
        for entry in (*track.farthest(low, at), *track.farthest(at, high)):
            heapq.heappush(waiting, entry)
    return sorted(chosen)


def is_in_order(ts_s: Sequence[float]) -> bool:
    return not any(map(gt, ts_s, islice(ts_s, 1, None)))


def _anchors(ts_s: Sequence[float], most: int) -> list[int]:
    """First, last, and both ends of as many gaps as there is room for, the longest first."""
    last = len(ts_s) - 1
    gaps: list[tuple[float, int]] = []
    for low, high in pairwise([*range(0, last, LOOKED_AT), last]):
        if ts_s[high] - ts_s[low] > GAP_S:
            lasts = [(ts_s[at] - ts_s[at - 1], at) for at in range(low + 1, high + 1)]
            gaps += [each for each in lasts if each[0] > GAP_S]
    kept = {0, last}
    for _, after in sorted(gaps, reverse=True):
        ends = {after - 1, after} - kept
        if len(kept) + len(ends) > most:
            break
        kept |= ends
    return sorted(kept)


@dataclass(frozen=True, slots=True)
class _Track:
    """Times, degrees east (unbroken at the 180th meridian) and north; `narrow` is a degree east over one north."""

    t: Sequence[float]
    x: Sequence[float]
    y: Sequence[float]
    narrow: float

    @staticmethod
    def of(ts_s: Sequence[float], lat: Sequence[float], lon: Sequence[float]) -> "_Track":
        some_lon, some_lat = lon[::LOOKED_AT], lat[::LOOKED_AT]
        if max(some_lon) - min(some_lon) > 180.0:
            lon = [degrees % 360.0 for degrees in lon]
        return _Track(ts_s, lon, lat, math.cos(math.radians((max(some_lat) + min(some_lat)) / 2)))

    def farthest(self, low: int, high: int) -> Iterator[tuple[float, int, int, int]]:
        """(minus its squared distance, index, low, high) of the worst fix between two kept ones, if any is off."""
        between = high - low - 1
        if between < 1:
            return
        inner = slice(low + 1, high, -(-between // LOOKED_AT))
        t0, x0, y0 = self.t[low], self.x[low], self.y[low]
        lasts = (self.t[high] - t0) or 1.0
        vx, vy = (self.x[high] - x0) / lasts, (self.y[high] - y0) / lasts
        narrow = self.narrow
        off = [
            ((x0 + (at - t0) * vx - east) * narrow) ** 2 + (y0 + (at - t0) * vy - north) ** 2
            for at, east, north in zip(self.t[inner], self.x[inner], self.y[inner], strict=True)
        ]
        worst = max(off)
        if worst > 0.0:
            yield -worst, low + 1 + off.index(worst) * inner.step, low, high
