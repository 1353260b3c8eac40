"""OSRM in this process, on a map file of our own: no call leaves the machine."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import osrm
import structlog

from core.errors import MilkrunError
from eta.routing.engines.graph import build
from eta.routing.engines.osrm import NO_ROAD, Answer, Waypoint, legs_of, snapped
from eta.routing.errors import EngineWrong, NoRoad, NotOffered, NotReady
from eta.routing.model import Engine, LatLon, Leg, Nearest, Terms

_log = structlog.get_logger()


class LocalOsrm:
    """Holds the graph in memory (about 70 MB for a small country). `open` builds it first where it is not built yet."""

    engine = Engine.OSRM_LOCAL
    terms = Terms(may_keep=True, is_paid=False)

    def __init__(self, osm_file: Path, folder: Path) -> None:
        self.edition = ""
        self._osm_file = osm_file
        self._folder = folder
        self._roads: osrm.OSRM | None = None
        self.unready = "the map is being built"
        # Queries hold the interpreter for a moment each; two threads keep a long one from blocking all others.
        self._threads = ThreadPoolExecutor(2, "osrm")

    async def open(self) -> None:
        """Build the graph if need be, and read it. Never raises: until it is done, and if it fails, others answer."""
        try:
            graph = await self._in_thread(lambda: build(self._osm_file, self._folder))
            self._roads = await self._in_thread(lambda: _opened(graph))
        except (MilkrunError, OSError, RuntimeError) as error:
            self.unready = f"the map cannot be used: {error}"
            _log.error("map_unusable", file=str(self._osm_file), error=str(error))
            return
        self.edition, self.unready = graph.parent.name, ""
        _log.info("map_open", file=str(self._osm_file), edition=self.edition)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def route(self, points: Sequence[LatLon]) -> tuple[Leg, ...]:
        """Turns round at a stop where that is the way on."""
        roads = self._open_roads()
        question = osrm.RouteParameters(
            coordinates=_lonlat(points),
            annotations=["duration", "distance"],
            geometries="geojson",
            overview="full",
            continue_straight=False,
        )
        return await self._in_thread(lambda: legs_of(_asked(lambda: roads.Route(question)), points))

    async def nearest(self, point: LatLon) -> Nearest:
        """Raises NoRoad where none lies within 500 m."""
        roads = self._open_roads()
        question = osrm.NearestParameters(coordinates=_lonlat([point]))
        return await self._in_thread(lambda: _place(_asked(lambda: roads.Nearest(question)), point))

    async def traffic_s(self, points: Sequence[LatLon]) -> tuple[float, ...]:
        """A map file knows no traffic."""
        raise NotOffered(f"a map file knows nothing of the traffic between {len(points)} places")

    def _open_roads(self) -> osrm.OSRM:
        if self._roads is None:
            raise NotReady(self.unready)
        return self._roads

    async def _in_thread[T](self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _opened(graph: Path) -> osrm.OSRM:
    return osrm.OSRM(storage_config=str(graph), algorithm="MLD", use_shared_memory=False)


def _asked(call: Callable[[], osrm.Object]) -> Answer:
    try:
        return msgspec.convert(_plain(call()), Answer)
    except RuntimeError as error:
        kind = NoRoad if str(error).startswith(tuple(NO_ROAD)) else EngineWrong
        raise kind(f"OSRM: {error}") from error
    except msgspec.ValidationError as error:
        raise EngineWrong(f"OSRM's answer has another form than it should: {error}") from error


def _place(answer: Answer, point: LatLon) -> Nearest:
    found: Waypoint = snapped(answer, [point])[0]
    return Nearest((found.location[1], found.location[0]), found.distance, Engine.OSRM_LOCAL)


def _plain(value: object) -> object:
    """The binding's own objects and arrays as dicts and lists."""
    if isinstance(value, osrm.Object):
        return {key: _plain(value[key]) for key in _WANTED if key in value}
    if isinstance(value, osrm.Array):
        # Most of what there is are numbers in long rows: asking each for its kind first halves the time.
        return [item if type(item) is float else _plain(item) for item in value]
    return value


_WANTED = (
    "routes", "waypoints", "legs", "geometry", "coordinates", "annotation", "distance", "duration", "location",
)  # fmt: skip


def _lonlat(points: Sequence[LatLon]) -> list[tuple[float, float]]:
    return [(lon, lat) for lat, lon in points]
