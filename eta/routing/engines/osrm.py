"""What OSRM answers, in this process or over HTTP: the same document, read the same way."""

import math
from collections.abc import Sequence
from itertools import accumulate

import msgspec

from eta.routing.errors import EngineWrong, NoRoad
from eta.routing.model import LatLon, Leg

MAX_SNAP_M = 500.0
# The codes by which OSRM says that there is no way, and not that something is wrong.
NO_ROAD = frozenset({"NoRoute", "NoSegment"})


class _Annotation(msgspec.Struct):
    distance: list[float]
    duration: list[float]


class OsrmLeg(msgspec.Struct):
    annotation: _Annotation
    duration: float


class _Geometry(msgspec.Struct):
    coordinates: list[tuple[float, float]]


class OsrmRoute(msgspec.Struct):
    legs: list[OsrmLeg]
    geometry: _Geometry


class Waypoint(msgspec.Struct):
    distance: float
    location: tuple[float, float]


class Answer(msgspec.Struct):
    """Of the services route and nearest."""

    code: str = "Ok"
    message: str = ""
    routes: list[OsrmRoute] = []
    waypoints: list[Waypoint] = []


def legs_of(answer: Answer, points: Sequence[LatLon]) -> tuple[Leg, ...]:
    """The legs of the first route. Raises NoRoad, EngineWrong."""
    snapped(answer, points)
    if not answer.routes:
        raise EngineWrong("the answer holds no route")
    route = answer.routes[0]
    coordinates = route.geometry.coordinates
    if sum(len(leg.annotation.distance) for leg in route.legs) + 1 != len(coordinates):
        raise EngineWrong(f"the line has {len(coordinates)} points, which is not what its legs have")
    legs, at = [], 0
    for leg in route.legs:
        steps = len(leg.annotation.distance)
        if steps != len(leg.annotation.duration):
            raise EngineWrong("a leg has not as many lengths as times")
        line = tuple((lat, lon) for lon, lat in coordinates[at : at + steps + 1])
        legs.append(Leg(line, _sums(leg.annotation.distance), _timed(leg)))
        at += steps
    return tuple(legs)


def snapped(answer: Answer, points: Sequence[LatLon]) -> list[Waypoint]:
    """Where the points lie on roads. Raises NoRoad when one is too far from any, EngineWrong when one is missing."""
    if answer.code in NO_ROAD:
        raise NoRoad(f"no road joins {len(points)} places: {answer.message or answer.code}")
    if answer.code != "Ok":
        raise EngineWrong(f"OSRM answered {answer.code[:40]!r}: {answer.message[:200]}")
    if len(answer.waypoints) != len(points):
        raise EngineWrong(f"{len(answer.waypoints)} places answered for {len(points)} asked")
    for (lat, lon), waypoint in zip(points, answer.waypoints, strict=True):
        if waypoint.distance > MAX_SNAP_M:
            away = f"{waypoint.distance:.0f} m from the nearest road; allowed is {MAX_SNAP_M:.0f} m"
            raise NoRoad(f"{lat:.5f},{lon:.5f} is {away}")
    return answer.waypoints


def _timed(leg: OsrmLeg) -> tuple[float, ...]:
    """Time at each point. What the engine adds for turns is spread over the leg."""
    driven = sum(leg.annotation.duration)
    share = leg.duration / driven if driven > 0.0 else 1.0
    if not (math.isfinite(share) and share > 0.0):
        raise EngineWrong(f"a leg of {driven} s in parts takes {leg.duration} s as a whole")
    return _sums([share * seconds for seconds in leg.annotation.duration])


def _sums(steps: list[float]) -> tuple[float, ...]:
    return tuple(accumulate(steps, initial=0.0))
