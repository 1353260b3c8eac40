"""Whether places may be asked about, and whether what an engine answered can be."""

import math
from collections.abc import Sequence
from itertools import pairwise

from core.errors import Invalid
from eta.engine.geometry import Plane
from eta.routing.errors import EngineWrong
from eta.routing.model import LatLon, Leg

_MOST_PLACES = 500
_SNAP_M = 600.0  # a stop may lie this far from the road, with what decimals lose
_LONGER = 1.05  # of a polyline and its own length; an engine rounds both
_SLACK_M = 60.0
_FASTEST_MPS = 70.0
_MOST_S = 86_400.0


class InvalidPlaces(Invalid):
    """The places cannot be asked about; the message says which and why."""

    code = "invalid_places"


def checked_places(points: Sequence[LatLon], least: int = 2) -> None:
    """Raises InvalidPlaces unless these are `least` to 500 latitudes and longitudes."""
    if not least <= len(points) <= _MOST_PLACES:
        raise InvalidPlaces(f"{len(points)} places; allowed are {least} to {_MOST_PLACES}")
    for lat, lon in points:
        if not _is_place(lat, lon):
            raise InvalidPlaces(f"{lat}, {lon} is no latitude and longitude")


def checked_legs(points: Sequence[LatLon], legs: Sequence[Leg]) -> None:
    """Raises EngineWrong with what cannot be true of these legs."""
    if len(legs) != len(points) - 1:
        raise EngineWrong(f"{len(legs)} legs answered for {len(points)} places")
    for i, ((start, end), leg) in enumerate(zip(pairwise(points), legs, strict=True)):
        if fault := _malformed(leg) or _impossible(start, end, leg):
            raise EngineWrong(f"leg {i + 1} of {len(legs)} {fault}")


def checked_seconds(points: Sequence[LatLon], seconds: Sequence[float]) -> None:
    """Raises EngineWrong unless each leg has a duration in which it can be driven."""
    if not 0 < len(seconds) < len(points):
        raise EngineWrong(f"{len(seconds)} durations answered for {len(points)} places")
    for (start, end), took in zip(pairwise(points), seconds, strict=False):
        chord = max(_metres(start, end) - 2.0 * _SNAP_M, 0.0)
        if not (math.isfinite(took) and 0.0 <= took <= _MOST_S and chord <= _FASTEST_MPS * took):
            raise EngineWrong(f"{chord / 1000.0:.1f} km in {took} s cannot be")


def checked_place(point: LatLon, found: LatLon, away_m: float) -> None:
    """Raises EngineWrong unless the place lies as far from the point as is said."""
    if not (_is_place(*found) and away_m >= 0.0 and abs(_metres(point, found) - away_m) <= _SLACK_M):
        raise EngineWrong(f"{found} is said to be {away_m} m from {point}")


def _malformed(leg: Leg) -> str:
    if not 2 <= len(leg.points) == len(leg.along_m) == len(leg.along_s):
        return "has not a length and a time at each of its points"
    if not all(_is_place(*point) for point in leg.points):
        return "leads over places that are none"
    for what, along in (("length", leg.along_m), ("time", leg.along_s)):
        if along[0] != 0.0 or not all(math.isfinite(a) for a in along) or any(b < a for a, b in pairwise(along)):
            return f"has a {what} that is negative or no number"
    return ""


def _impossible(start: LatLon, end: LatLon, leg: Leg) -> str:
    if _metres(start, leg.points[0]) > _SNAP_M or _metres(end, leg.points[-1]) > _SNAP_M:
        return "does not lead from where to where it was asked"
    drawn = sum(_metres(a, b) for a, b in pairwise(leg.points))
    if not drawn / _LONGER - _SLACK_M <= leg.distance_m <= drawn * _LONGER + _SLACK_M:
        return f"is drawn {drawn:.0f} m long and said to be {leg.distance_m:.0f} m"
    if leg.duration_s > _MOST_S or leg.distance_m > _FASTEST_MPS * leg.duration_s + _SLACK_M:
        return f"is {leg.distance_m:.0f} m in {leg.duration_s:.0f} s"
    return ""


def _is_place(lat: float, lon: float) -> bool:
    # NaN fails every comparison.
    return -90.0 <= lat <= 90.0 and -180.0 <= lon <= 180.0


def _metres(a: LatLon, b: LatLon) -> float:
    x, y = Plane.around(*a).xy(*b)
    return math.hypot(x, y)
