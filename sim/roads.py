"""Roads to drive on: OSRM in this process, built once from an OSM extract and kept on disk.

The profile is the car profile of the `osrm-bindings` wheel; `sim.truck` then caps its speeds to what a truck does.
Building calls the wheel's own programs (extract, partition, customize), for they print and can die; only queries run
in this process.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import osrm

from core.errors import Invalid, NotFound

type LatLon = tuple[float, float]

_PACKAGE = Path(osrm.__file__).parent
_PROFILE = _PACKAGE / "share" / "profiles" / "car.lua"
_SUFFIXES = (".osm", ".osm.pbf", ".osm.bz2")
_GRAPH = "roads.osrm"
# Written last into a finished build; what lacks it is the leftover of a build that died.
_DONE = "done"
MAX_SNAP_M = 500.0


class RoadsUnbuildable(Invalid):
    """OSRM cannot make a road graph of this file."""

    code = "roads_unbuildable"


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


def build(osm_path: Path, out_dir: Path) -> Path:
    """Make (or find) the road graph of an `.osm`, `.osm.pbf` or `.osm.bz2` file; gives the path `Router` opens.

    The graph lies in `out_dir` under a hash of the file, the profile and the engine's version, so a second call with
    the same file is instant and a changed file never meets an old graph. Blocks (about a second for a small country):
    from async code call it in a thread. Raises RoadsUnbuildable with the engine's last words.
    """
    suffix = next((s for s in _SUFFIXES if osm_path.name.endswith(s)), None)
    if suffix is None:
        raise RoadsUnbuildable(f"{osm_path.name}: a road extract ends in one of {', '.join(_SUFFIXES)}")
    if not osm_path.is_file():
        raise RoadsUnbuildable(f"{osm_path}: no such file")
    home = out_dir / _fingerprint(osm_path)
    if (home / _DONE).exists():
        return home / _GRAPH
    out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=out_dir) as workshop:
        shop = Path(workshop)
        source = shop / f"roads{suffix}"
        source.symlink_to(osm_path.resolve())
        _run("osrm-extract", shop, "--profile", str(_PROFILE), source.name)
        _run("osrm-partition", shop, _GRAPH)
        _run("osrm-customize", shop, _GRAPH)
        source.unlink()
        (shop / _DONE).touch()
        _publish(shop, home)
    return home / _GRAPH


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


def _fingerprint(osm_path: Path) -> str:
    digest = hashlib.sha256(f"osrm {version('osrm-bindings')} mld\n".encode())
    digest.update(_PROFILE.read_bytes())
    with osm_path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()[:20]


def _run(program: str, folder: Path, *arguments: str) -> None:
    threads = str(min(4, os.cpu_count() or 1))
    done = subprocess.run(
        [str(_PACKAGE / "bin" / program), "--threads", threads, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        errors="replace",
    )
    if done.returncode != 0:
        last_words = "; ".join(done.stdout.strip().splitlines()[-3:])
        raise RoadsUnbuildable(f"{program} ended with {done.returncode}: {last_words}")


def _publish(shop: Path, home: Path) -> None:
    """Move a finished build into place; where another process was first, its build is the same and stays."""
    if home.exists() and not (home / _DONE).exists():
        shutil.rmtree(home, ignore_errors=True)
    try:
        shop.rename(home)
    except OSError:
        if not (home / _DONE).exists():
            raise
        return
    shop.mkdir()


def _lonlat(points: Sequence[LatLon]) -> list[tuple[float, float]]:
    return [(lon, lat) for lat, lon in points]


def _names(points: Sequence[LatLon]) -> str:
    return " and ".join(f"{lat:.5f},{lon:.5f}" for lat, lon in points[:3])
