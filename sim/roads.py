"""Roads to drive on: OSRM in this process, on a graph that `eta.routing.engines.graph` built of an OSM extract.

The profile is a car's; `sim.truck` then caps its speeds to what a truck does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import osrm

from core.errors import NotFound

type LatLon = tuple[float, float]

MAX_SNAP_M = 500.0


class NoRoute(NotFound):
    """There is no road between two points, or none near one of them."""

    code = "no_route"


@dataclass(frozen=True, slots=True)
class Leg:
    """The drive from one point to the next. n + 1 points (lat, lon), n segments: length in metres, time in seconds.

    `duration_s` is the engine's own total: the segments and what it adds for turns.
    """

    points: tuple[LatLon, ...]
    distances_m: tuple[float, ...]
    durations_s: tuple[float, ...]
    distance_m: float
    duration_s: float


class Router:
    """Shortest drives over one road graph. Holds the graph in memory (about 70 MB for a small country)."""

    def __init__(self, graph: Path) -> None:
        """Open a graph that `build` made."""
        self._engine = osrm.OSRM(storage_config=str(graph), algorithm="MLD", use_shared_memory=False)

    def route(self, points: Sequence[LatLon]) -> list[Leg]:
        """One leg for each pair of neighbouring points, turning round at a point where that is the way on.

        Raises NoRoute where a point is farther than 500 m from any road, or no road joins two of them.
        """
        return [self._leg(start, end) for start, end in pairwise(points)]

    def durations_s(self, points: Sequence[LatLon]) -> list[list[float]]:
        """Driving seconds from every point (row) to every point (column)."""
        answer = self._ask("Table", osrm.TableParameters(coordinates=_lonlat(points), annotations=["duration"]), points)
        return [[float(cell) for cell in row] for row in answer["durations"]]

    def _leg(self, start: LatLon, end: LatLon) -> Leg:
        question = osrm.RouteParameters(
            coordinates=_lonlat((start, end)),
            annotations=["duration", "distance"],
            geometries="geojson",
            overview="full",
        )
        route = self._ask("Route", question, (start, end))["routes"][0]
        leg = route["legs"][0]
        points = tuple((float(lat), float(lon)) for lon, lat in route["geometry"]["coordinates"])
        distances = tuple(float(metres) for metres in leg["annotation"]["distance"])
        durations = tuple(float(seconds) for seconds in leg["annotation"]["duration"])
        return Leg(points, distances, durations, float(route["distance"]), float(route["duration"]))

    def _ask(self, service: str, question: object, points: Sequence[LatLon]) -> osrm.Object:
        try:
            answer = getattr(self._engine, service)(question)
        except RuntimeError as error:
            raise NoRoute(f"no road joins {_names(points)}: {error}") from error
        snapped = answer["waypoints"] if service == "Route" else answer["sources"]
        for point, waypoint in zip(points, snapped, strict=True):
            if waypoint["distance"] > MAX_SNAP_M:
                away = f"{waypoint['distance']:.0f} m from the nearest road; allowed is {MAX_SNAP_M:.0f} m"
                raise NoRoute(f"{_names([point])} is {away}")
        return answer


def _lonlat(points: Sequence[LatLon]) -> list[tuple[float, float]]:
    return [(lon, lat) for lat, lon in points]


def _names(points: Sequence[LatLon]) -> str:
    return " and ".join(f"{lat:.5f},{lon:.5f}" for lat, lon in points[:3])
