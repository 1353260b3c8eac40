"""Google Routes v2, for the durations of now and nothing else.

Its terms (Routes API policies, "caching") let nothing be stored but place ids, and want what is drawn to be drawn on a
Google map. So it is never asked for roads, and what it answers lives in the memory of the trip it was asked for.
"""

import math
from collections.abc import Sequence

import msgspec

from eta.routing.engines import web
from eta.routing.errors import EngineWrong, NoRoad, NotOffered
from eta.routing.model import Engine, LatLon, Leg, Nearest, Terms

MAX_INTERMEDIATES = 25
_PATH = "/directions/v2:computeRoutes"


class _Leg(msgspec.Struct):
    duration: str


class _Route(msgspec.Struct):
    legs: list[_Leg] = []


class _Answer(msgspec.Struct):
    routes: list[_Route] = []


class GoogleRoutes:
    """`url` is https://routes.googleapis.com but for tests. The key travels in a header, never in a URL or a log."""

    engine = Engine.GOOGLE
    terms = Terms(may_keep=False, is_paid=True)
    edition = "v2"
    unready = ""

    def __init__(self, key: str, url: str, *, timeout_s: float) -> None:
        self._headers = {"X-Goog-Api-Key": key, "X-Goog-FieldMask": "routes.legs.duration"}
        self._url = url.rstrip("/") + _PATH
        self._http = web.client(timeout_s)

    async def close(self) -> None:
        await self._http.aclose()

    async def route(self, points: Sequence[LatLon]) -> tuple[Leg, ...]:
        """Its roads may not be kept."""
        raise NotOffered(f"Google's road through {len(points)} places may not be kept, so it is not asked for")

    async def nearest(self, point: LatLon) -> Nearest:
        """A product of its own, which is not used."""
        raise NotOffered(f"Google is not asked for the road beside {point[0]:.5f},{point[1]:.5f}")

    async def traffic_s(self, points: Sequence[LatLon]) -> tuple[float, ...]:
        """Of the first 26 legs at most: one call holds no more."""
        near = points[: MAX_INTERMEDIATES + 2]
        stops = [_waypoint(point) for point in near]
        question = {
            "origin": stops[0],
            "destination": stops[-1],
            "intermediates": stops[1:-1],
            "travelMode": "DRIVE",
            "routingPreference": "TRAFFIC_AWARE",
        }
        request = self._http.build_request("POST", self._url, json=question, headers=self._headers)
        answer = await web.asked(self._http, request, _Answer)
        if not answer.routes:
            raise NoRoad(f"Google knows no road through {len(near)} places")
        durations = tuple(_seconds(leg.duration) for leg in answer.routes[0].legs)
        if len(durations) != len(near) - 1:
            raise EngineWrong(f"Google answered {len(durations)} legs for {len(near)} places")
        return durations


def _waypoint(point: LatLon) -> dict[str, object]:
    return {"location": {"latLng": {"latitude": point[0], "longitude": point[1]}}}


def _seconds(text: str) -> float:
    """A protobuf duration in JSON: "165s", "12.5s"."""
    try:
        seconds = float(text.removesuffix("s")) if text.endswith("s") else math.nan
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0.0):
        raise EngineWrong(f"Google answered {text[:40]!r} where a duration such as '165s' is due")
    return seconds
