"""The snapshot of a route: its line, the stops along it, and the cells that time is measured and learned in."""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, NamedTuple

from eta.engine.geometry import Line, Plane, kept, simplified

type CellKey = tuple[str, str, int]
"""What a duration is learned under: (stop, next stop, part of the leg), or (stop, "", 0) for the stop itself. It names
stops and not distances, so that a route drawn anew, or another route over the same leg, finds what was learned."""

_CELL_M = 150.0  # about two traffic lights of a town street: finer cells hold noise, coarser ones blur the progress
_BEFORE_STOP_M = 15.0  # arrival is here: the GPS and the length of a vehicle
_AFTER_STOP_M = 35.0
_REACH_M = 250.0  # a stop further from the line than this is placed by its neighbours
_UNPLANNED_SERVICE_S = 12.0
_SIMPLER_M = 3.0  # half a lane: far below what GPS can tell


class Stop(NamedTuple):
    stop_id: str
    lat: float
    lon: float
    planned_service_s: float | None = None
    radius_m: float = 50.0
    polygon: tuple[tuple[float, float], ...] = ()
    """(latitude, longitude) of the corners of its area; without it, that is the circle"""
    quantity: float | None = None
    """what is to be collected there, in the tenant's own unit"""


@dataclass(frozen=True, slots=True)
class Route:
    """A route as trips are followed on it. Distances in metres along `line`."""

    route_id: str
    plane: Plane
    line: Line
    source: Literal["shape", "learned", "stops"]
    stops: tuple[Stop, ...]
    stop_xy: tuple[tuple[float, float], ...]
    stop_at: tuple[float, ...]
    bounds: tuple[float, ...]
    """boundaries of the cells: cell k lies between bounds[k] and bounds[k + 1]"""
    keys: tuple[CellKey, ...]
    arrivals: tuple[int, ...]
    """index in `bounds` of the arrival at each stop"""
    priors_s: tuple[float, ...]
    """what each cell takes before anything was learned"""
    grades: "tuple[Grade, ...]"
    """of each segment of the line"""

    def segment_at(self, distance: float) -> int:
        return min(max(bisect.bisect_right(self.line.along, distance) - 1, 0), len(self.line.segments) - 1)


class Path(NamedTuple):
    """The road of one leg as an earlier trip drove it: (latitude, longitude), and the usual distance of its fixes."""

    points: tuple[tuple[float, float], ...]
    spacing_m: float


class Grade(NamedTuple):
    """How far a stretch of line may be trusted."""

    weight: float
    """cost of a squared metre beside it"""
    leap: float
    """cost of a metre by which a move along it differs from the move over ground"""
    tolerance_m: float
    """further from it than this is off the route; infinite where the road is not known"""
    doubt: float
    """log of the spread around it, so that a vague stretch does not win by being vague"""

    @classmethod
    def of(cls, spread_m: float, leap_m: float, tolerance_m: float) -> "Grade":
        return cls(0.5 / spread_m**2, 1.0 / leap_m, tolerance_m, math.log(spread_m))


_ROAD = Grade.of(20.0, 100.0, 60.0)
_CHORD = Grade.of(150.0, 400.0, math.inf)


def drawn(
    route_id: str,
    stops: Sequence[Stop],
    shape: Sequence[tuple[float, float]],
    shape_s: Sequence[float] = (),
    guessed: Sequence[int] = (),
) -> Route:
    """The route on a road polyline of (latitude, longitude), from a routing engine or a timetable.

    `shape_s`: driving seconds from its beginning to each of its points, where the engine told them. They take the
    place of the guess until trips have shown better. `guessed`: n stands for the stretch from its point n to the next,
    where no road is known and nobody is off it.
    """
    plane = Plane.around(stops[0].lat, stops[0].lon)
    points = [plane.xy(lat, lon) for lat, lon in shape]
    vertices = _vertices(points, guessed)
    line = Line([points[i] for i in vertices])
    places = _places(line, [plane.xy(stop.lat, stop.lon) for stop in stops])
    grades = _grades(points, vertices, guessed) or [_ROAD] * len(line.segments)
    route = _built(route_id, stops, plane, line, "shape", places, [True] * len(stops), grades)
    if len(shape_s) != len(shape):
        return route
    # The line holds a vertex once where the polyline names it twice in a row.
    times = [shape_s[i] for n, i in enumerate(vertices) if n == 0 or points[i] != points[vertices[n - 1]]]
    return replace(route, priors_s=_told(route, times))


def _vertices(points: Sequence[tuple[float, float]], guessed: Sequence[int]) -> list[int]:
    """The points that draw the line well enough, the ends of what is guessed among them."""
    cuts = sorted({0, len(points) - 1, *guessed, *(n + 1 for n in guessed)})
    found = [0]
    for first, last in pairwise(cuts):
        found += [first + i for i in kept(points[first : last + 1], _SIMPLER_M)[1:]]
    return found


def _grades(points: Sequence[tuple[float, float]], vertices: Sequence[int], guessed: Sequence[int]) -> list[Grade]:
    """Of each segment of the line through these vertices."""
    pairs = ((i, j) for i, j in pairwise(vertices) if points[i] != points[j])
    return [_CHORD if i in guessed else _ROAD for i, _ in pairs]


def assembled(route_id: str, stops: Sequence[Stop], paths: Sequence[Path | None]) -> Route:
    """The route leg by leg, each as it was driven before, or straight where nobody has driven it yet."""
    plane = Plane.around(stops[0].lat, stops[0].lon)
    points = [plane.xy(stops[0].lat, stops[0].lon)]
    ends, grades = [0], []
    for stop, path in zip(stops[1:], paths, strict=True):
        leg = [plane.xy(stop.lat, stop.lon)]
        grade = _CHORD
        if path is not None:
            leg = simplified([plane.xy(lat, lon) for lat, lon in path.points], _SIMPLER_M)
            # Between two fixes the road may bulge: the sparser the track, the less a distance from it means.
            tolerance = max(_ROAD.tolerance_m, 0.5 * path.spacing_m)
            grade = Grade.of(20.0 + 0.1 * path.spacing_m, 100.0, tolerance)
        for point in leg:
            if point != points[-1]:
                points.append(point)
                grades.append(grade)
        ends.append(len(points) - 1)
    line = Line(points)
    if len(points) == 1:
        grades.append(_CHORD)
    source: Literal["learned", "stops"] = "learned" if any(paths) else "stops"
    places = tuple(line.along[end] for end in ends)
    return _built(route_id, stops, plane, line, source, places, [path is not None for path in paths], grades)


def _built(
    route_id: str,
    stops: Sequence[Stop],
    plane: Plane,
    line: Line,
    source: Literal["shape", "learned", "stops"],
    at: tuple[float, ...],
    is_road: Sequence[bool],
    grades: Sequence[Grade],
) -> Route:
    xy = tuple(plane.xy(stop.lat, stop.lon) for stop in stops)
    bounds: list[float] = []
    keys: list[CellKey] = []
    priors: list[float] = []
    arrivals = []
    for i, stop in enumerate(stops):
        before, after = at[max(i - 1, 0)], at[min(i + 1, len(at) - 1)]
        zone_from = max(at[i] - min(_BEFORE_STOP_M, 0.4 * (at[i] - before)), 0.0)
        zone_to = at[i] + min(_AFTER_STOP_M, 0.4 * (after - at[i]))
        arrivals.append(len(bounds))
        bounds.append(zone_from)
        keys.append((stop.stop_id, "", 0))
        chord = math.dist(xy[i], xy[min(i + 1, len(xy) - 1)])
        speed = usual_speed(chord)
        priors.append(_planned_service(stop) + (zone_to - zone_from) / speed)
        if i + 1 == len(stops):
            break
        leg_to = at[i + 1] - min(_BEFORE_STOP_M, 0.4 * (at[i + 1] - at[i]))
        parts = max(1, round(chord / _CELL_M))
        road = max(leg_to - zone_to, 0.0) * (1.0 if is_road[i] else 1.25)
        for part in range(parts):
            bounds.append(zone_to + (leg_to - zone_to) * part / parts)
            keys.append((stop.stop_id, stops[i + 1].stop_id, part))
            priors.append(road / parts / speed)
    return Route(
        route_id, plane, line, source, tuple(stops), xy, at, tuple(bounds), tuple(keys), tuple(arrivals),
        tuple(priors), tuple(grades),
    )  # fmt: skip


def _planned_service(stop: Stop) -> float:
    return _UNPLANNED_SERVICE_S if stop.planned_service_s is None else stop.planned_service_s


def usual_speed(leg_m: float) -> float:
    """m/s between stops, standing at them left out: 25 km/h where they are close, 55 km/h on long rural legs."""
    return 5.5 + 10.0 * (1.0 - math.exp(-leg_m / 3500.0))


def _told(route: Route, times: Sequence[float]) -> tuple[float, ...]:
    """The priors of a route by an engine's own times at the vertices of its line."""
    along = route.line.along[: len(times)]
    bounds = [_between(along, times, bound) for bound in route.bounds]
    priors = []
    for k, (key, guess) in enumerate(zip(route.keys, route.priors_s, strict=True)):
        if k + 1 == len(bounds):
            priors.append(guess)
            continue
        drive = bounds[k + 1] - bounds[k]
        priors.append(drive if key[1] else _planned_service(route.stops[bisect.bisect_left(route.arrivals, k)]) + drive)
    return tuple(priors)


def _between(along: Sequence[float], times: Sequence[float], place: float) -> float:
    if len(along) < 2:
        return 0.0
    i = min(max(bisect.bisect_right(along, place), 1), len(along) - 1)
    length = along[i] - along[i - 1]
    share = min(max((place - along[i - 1]) / length, 0.0), 1.0) if length > 0.0 else 0.0
    return times[i - 1] + share * (times[i] - times[i - 1])


def _places(line: Line, stops: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    """Where each stop lies along the line, in driving order: the order-keeping choice with the least squared distance.

    A road driven twice passes a stop twice, so the nearest place of each stop alone may be the wrong one.
    """
    last = len(line.segments) - 1
    best: list[tuple[float, float, int]] = [(0.0, 0.0, -1)]  # cost, place, index of the choice before
    layers: list[list[tuple[float, float, int]]] = []
    for x, y in stops:
        near = [(off, s) for off, s in line.near(x, y, 0, last) if off < _REACH_M]
        places = sorted({round(s, 2): off for off, s in sorted(near, reverse=True)}.items())
        layer = []
        j, cheapest, of = 0, math.inf, -1
        for s, off in places:
            while j < len(best) and best[j][1] <= s + 1.0:
                if best[j][0] < cheapest:
                    cheapest, of = best[j][0], j
                j += 1
            if of >= 0:
                layer.append((cheapest + off * off, s, of))
        if not layer:  # no place in order: the stop takes that of the one before, at a cost that loses to any other
            layer = [(cost + _REACH_M * _REACH_M, s, i) for i, (cost, s, _) in enumerate(best)]
        layers.append(layer)
        best = layer
    chosen = []
    at = min(range(len(best)), key=lambda i: best[i][0])
    for layer in reversed(layers):
        chosen.append(layer[at][1])
        at = layer[at][2]
    return tuple(reversed(chosen))
