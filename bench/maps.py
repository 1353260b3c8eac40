"""OSRM in this process: how long a map takes to build and open, and a question to be answered; memory of it."""

import asyncio
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from bench.figures import machine, spread
from eta.routing.engines.graph import build
from eta.routing.engines.local import LocalOsrm
from eta.routing.errors import NoRoad
from eta.routing.model import LatLon
from sim import district

_COUNTRY = Path(os.environ.get("BENCH_MAPS_OSM", "../shared/data/osm/liechtenstein.osm.pbf"))
# A box inside the country; of places drawn in it those count that lie at a road.
_BOX = ((47.06, 9.48), (47.26, 9.62))
_PLACES = 150
_ROUTES = 300
_ROUNDS = 60
_STOPS = 20
_BUILDS = 3
_AT_MOST_S = 60.0


def main(console: Console) -> None:
    console.print(f"bench maps on {machine()}")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        drawn = district.generate(7)
        farms = [(place.lat, place.lon) for place in (drawn.depot, *drawn.farms)]
        osm_file = district.write_osm(drawn, home / "district.osm")
        _build(console, "made-up district", osm_file, home / "district")
        asyncio.run(_measure(console, osm_file, home / "district", farms))
        if not _COUNTRY.is_file():
            console.print(f"a real map: not measured, {_COUNTRY} is not here (BENCH_MAPS_OSM names one)")
            return
        _build(console, _COUNTRY.name, _COUNTRY, home / "country")
        asyncio.run(_measure(console, _COUNTRY, home / "country", ()))


def _build(console: Console, name: str, osm_file: Path, graphs: Path) -> None:
    builds = []
    for n in range(_BUILDS):
        begun = time.perf_counter()
        graph = build(osm_file, graphs / str(n))
        builds.append(1000.0 * (time.perf_counter() - begun))
    size = sum(file.stat().st_size for file in graph.parent.iterdir()) / 1e6
    console.print(
        f"{name}, {osm_file.stat().st_size / 1e6:.1f} MB: built in {spread(builds)} ms, {size:.0f} MB on disk"
    )


async def _measure(console: Console, osm_file: Path, graphs: Path, places: Sequence[LatLon]) -> None:
    engine = LocalOsrm(osm_file, graphs / "0")
    before = _memory_mb()
    begun = time.perf_counter()
    await engine.open()
    opened = time.perf_counter() - begun
    console.print(f"  opened in {1000.0 * opened:.0f} ms, {_memory_mb() - before:.0f} MB more in memory")
    places = places or await _at_roads(engine)
    rng = random.Random(1)
    await _ask(console, engine, "a leg", [rng.sample(list(places), 2) for _ in range(_ROUTES)])
    await _ask(
        console, engine, f"a round of {_STOPS} stops", [rng.sample(list(places), _STOPS) for _ in range(_ROUNDS)]
    )
    engine.close()


async def _ask(console: Console, engine: LocalOsrm, what: str, questions: Sequence[Sequence[LatLon]]) -> None:
    took, points, until = [], 0, time.perf_counter() + _AT_MOST_S
    for question in questions:
        begun = time.perf_counter()
        try:
            legs = await engine.route(question)
        except NoRoad:
            continue
        took.append(time.perf_counter() - begun)
        points += sum(len(leg.points) for leg in legs)
        if begun > until:
            break
    took.sort()
    half, high = took[len(took) // 2], took[int(len(took) * 0.95)]
    kilobytes = len(msgspec.msgpack.encode(legs)) / 1e3
    console.print(
        f"  {what}: median {1000 * half:.2f} ms, p95 {1000 * high:.2f} ms of {len(took)} "
        f"({points / len(took):.0f} points each; {kilobytes:.0f} kB the last one)"
    )


async def _at_roads(engine: LocalOsrm) -> list[LatLon]:
    rng, found = random.Random(2), list[LatLon]()
    (south, west), (north, east) = _BOX
    while len(found) < _PLACES:
        place = (rng.uniform(south, north), rng.uniform(west, east))
        try:
            found.append((await engine.nearest(place)).place)
        except NoRoad:
            continue
    return found


def _memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3
