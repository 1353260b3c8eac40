"""Roads learned from finished trips: the way between two stops, as it was driven."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from eta.engine.route import Path, Stop
from eta.engine.track import Track

_PASSES_M = 60.0  # a trip that stays further from a stop than this does not tell the road to it
_STEP_M = 10.0
_BETTER = 0.6  # a road is drawn anew only from a clearly denser track: each redrawing moves all that is under way


class Paths:
    """The best known road of each leg."""

    def __init__(self) -> None:
        self.version = 0
        self._paths: dict[tuple[str, str], Path] = {}

    def of(self, stops: Sequence[Stop]) -> list[Path | None]:
        return [self._paths.get((a.stop_id, b.stop_id)) for a, b in pairwise(stops)]

    def learn(self, track: Track) -> list[tuple[str, str, Path]]:
        """Keep the legs this trip shows better than any before, and tell which these are."""
        return [(start, end, path) for start, end, path in legs(track) if self.take(start, end, path)]

    def take(self, start: str, end: str, path: Path) -> bool:
        """Keep the road of one leg if it is clearly better than the one there is."""
        known = self._paths.get((start, end))
        if known is not None and path.spacing_m >= _BETTER * known.spacing_m:
            return False
        self.put(start, end, path)
        return True

    def put(self, start: str, end: str, path: Path) -> None:
        """Take this one, whatever there is."""
        self._paths[start, end] = path
        self.version += 1


def legs(track: Track) -> Iterable[tuple[str, str, Path]]:
    """The road of each leg that a trip shows."""
    stops = track.route.stops
    passes = list(_passes(track))
    fixes = track.fixes()
    plane = track.route.plane
    for (a, b), (start, end) in zip(pairwise(stops), pairwise(passes), strict=True):
        if start is None or end is None or end[0] <= start[0]:
            continue
        points = [start[1]]
        for at, x, y in fixes:
            if start[0] < at < end[0] and math.dist(points[-1], (x, y)) >= _STEP_M:
                points.append((x, y))
        points.append(end[1])
        spacing = max(math.dist(p, q) for p, q in pairwise(points))
        yield a.stop_id, b.stop_id, Path(tuple(plane.degrees(x, y) for x, y in points), spacing)


def _passes(track: Track) -> Iterable[tuple[float, tuple[float, float]] | None]:
    """When and where the trip came nearest to each stop, in driving order."""
    route, fixes = track.route, track.fixes()
    for i, (x, y) in enumerate(route.stop_xy):
        since = track.crossed[route.arrivals[i - 1]] if i else track.first_at
        until = track.crossed[route.arrivals[i + 1]] if i + 1 < len(route.stops) else track.at
        since = track.first_at if math.isnan(since) else since
        best: tuple[float, float, tuple[float, float]] | None = None
        for (at, ax, ay), (to, bx, by) in pairwise(fixes):
            if to < since or at > until or math.isnan(until):
                continue
            length = math.hypot(bx - ax, by - ay)
            t = max(0.0, min(1.0, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length**2)) if length else 0.0
            place = (ax + t * (bx - ax), ay + t * (by - ay))
            off = math.dist(place, (x, y))
            if best is None or off < best[0]:
                best = (off, at + t * (to - at), place)
        yield (best[1], best[2]) if best is not None and best[0] <= _PASSES_M else None
