"""An OSRM server over HTTP."""

import hashlib
from collections.abc import Sequence

from eta.routing.engines import web
from eta.routing.engines.osrm import Answer, legs_of, snapped
from eta.routing.errors import NotOffered
from eta.routing.model import Engine, LatLon, Leg, Nearest, Terms

# What OSRM cannot answer it says with status 400 and a code.
_SAYS_WHY = frozenset({400})


class OsrmServer:
    """`url` without a path, such as http://osrm:5000; `profile` as the server was built with, such as driving."""

    engine = Engine.OSRM_HTTP
    terms = Terms(may_keep=True, is_paid=False)
    unready = ""

    def __init__(self, url: str, profile: str, *, timeout_s: float) -> None:
        self._url = url.rstrip("/")
        self._profile = profile
        self.edition = hashlib.sha256(f"{self._url} {profile}".encode()).hexdigest()[:20]
        self._http = web.client(timeout_s)

    async def close(self) -> None:
        await self._http.aclose()

    async def route(self, points: Sequence[LatLon]) -> tuple[Leg, ...]:
        """Turns round at a stop where that is the way on."""
        params = {
            "annotations": "duration,distance",
            "geometries": "geojson",
            "overview": "full",
            "continue_straight": "false",
        }
        return legs_of(await self._asked("route", points, params), points)

    async def nearest(self, point: LatLon) -> Nearest:
        """Raises NoRoad where none lies within 500 m."""
        found = snapped(await self._asked("nearest", [point], {"number": "1"}), [point])[0]
        return Nearest((found.location[1], found.location[0]), found.distance, self.engine)

    async def traffic_s(self, points: Sequence[LatLon]) -> tuple[float, ...]:
        """What the server knows of traffic is in its roads already."""
        raise NotOffered(f"OSRM knows nothing of the traffic between {len(points)} places")

    async def _asked(self, service: str, points: Sequence[LatLon], params: dict[str, str]) -> Answer:
        places = ";".join(f"{lon:.6f},{lat:.6f}" for lat, lon in points)
        url = f"{self._url}/{service}/v1/{self._profile}/{places}"
        request = self._http.build_request("GET", url, params=params)
        return await web.asked(self._http, request, Answer, also_read=_SAYS_WHY)
