"""A polyline in local metres: lengths along it, projection on to it, and simplification."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

METRES_PER_DEGREE = 111_195.0  # of latitude, on the sphere of mean radius 6,371 km


@dataclass(frozen=True, slots=True)
class Plane:
    """Local metres around a point: x east, y north. Good to 0.1 % within 100 km."""

    lat: float
    lon: float
    east: float
    """metres per degree of longitude here"""

    @classmethod
    def around(cls, lat: float, lon: float) -> "Plane":
        return cls(lat, lon, METRES_PER_DEGREE * max(math.cos(math.radians(lat)), 0.01))

    def xy(self, lat: float, lon: float) -> tuple[float, float]:
        return ((lon - self.lon + 540.0) % 360.0 - 180.0) * self.east, (lat - self.lat) * METRES_PER_DEGREE

    def degrees(self, x: float, y: float) -> tuple[float, float]:
        """Latitude and longitude of a place on the plane."""
        return self.lat + y / METRES_PER_DEGREE, self.lon + x / self.east


class Line:
    """A polyline with the distance along it at each vertex. Metres; at least two vertices."""

    __slots__ = ("along", "segments", "xs", "ys")

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        kept = [point for i, point in enumerate(points) if i == 0 or point != points[i - 1]]
        if len(kept) == 1:
            kept.append((kept[0][0] + 0.01, kept[0][1]))
        self.xs = [x for x, _ in kept]
        self.ys = [y for _, y in kept]
        self.along = [0.0]
        self.segments: list[tuple[float, float, float, float, float, float]] = []
        """per segment: x, y, unit vector, length, distance along at its start"""
        for (ax, ay), (bx, by) in pairwise(kept):
            length = math.hypot(bx - ax, by - ay)
            self.segments.append((ax, ay, (bx - ax) / length, (by - ay) / length, length, self.along[-1]))
            self.along.append(self.along[-1] + length)

    @property
    def length(self) -> float:
        return self.along[-1]

    def near(self, x: float, y: float, first: int, last: int) -> list[tuple[float, float]]:
        """Of each segment from `first` to `last`: (distance from the point, distance along) of its nearest place."""
        found = []
        for ax, ay, ux, uy, length, start in self.segments[first : last + 1]:
            dx, dy = x - ax, y - ay
            t = dx * ux + dy * uy
            t = 0.0 if t < 0.0 else min(t, length)
            ex, ey = dx - t * ux, dy - t * uy
            found.append((math.sqrt(ex * ex + ey * ey), start + t))
        return found


def simplified(points: Sequence[tuple[float, float]], tolerance_m: float) -> list[tuple[float, float]]:
    """The polyline with the vertices that lie within the tolerance of it left out (Douglas-Peucker)."""
    return [points[i] for i in kept(points, tolerance_m)]


def kept(points: Sequence[tuple[float, float]], tolerance_m: float) -> list[int]:
    """Which vertices `simplified` keeps, by index."""
    keep = {0, len(points) - 1}
    spans = [(0, len(points) - 1)]
    while spans:
        first, last = spans.pop()
        ax, ay = points[first]
        bx, by = points[last]
        length = math.hypot(bx - ax, by - ay)
        worst, at = tolerance_m, -1
        for i in range(first + 1, last):
            px, py = points[i]
            if length < 1e-9:
                off = math.hypot(px - ax, py - ay)
            else:
                t = min(max(((px - ax) * (bx - ax) + (py - ay) * (by - ay)) / (length * length), 0.0), 1.0)
                off = math.hypot(px - ax - t * (bx - ax), py - ay - t * (by - ay))
            if off > worst:
                worst, at = off, i
        if at > 0:
            keep.add(at)
            spans += [(first, at), (at, last)]
    return sorted(keep)


def outside_m(area: Sequence[tuple[float, float]], x: float, y: float) -> float:
    """How far a place lies outside of a polygon with these corners; 0 within."""
    is_within, nearest = False, math.inf
    ax, ay = area[-1]
    for bx, by in area:
        if (ay > y) != (by > y) and x < ax + (bx - ax) * (y - ay) / (by - ay):
            is_within = not is_within
        dx, dy = bx - ax, by - ay
        square = dx * dx + dy * dy
        t = 0.0 if square == 0.0 else min(max(((x - ax) * dx + (y - ay) * dy) / square, 0.0), 1.0)
        nearest = min(nearest, math.hypot(x - ax - t * dx, y - ay - t * dy))
        ax, ay = bx, by
    return 0.0 if is_within else nearest
