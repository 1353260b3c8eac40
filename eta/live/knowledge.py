"""What a tenant's finished trips have taught, as it is kept and as it is known: a lesson a trip, in their order."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from eta.engine import history
from eta.engine.bands import binned
from eta.engine.fleet import Fleet
from eta.engine.paths import legs
from eta.engine.route import Path
from eta.engine.track import Track


class Lesson(msgspec.Struct, frozen=True, array_like=True):
    """All that one finished trip teaches, as `trip_lesson.lesson` holds it. Sites by their place in `sites`."""

    at: float
    lon: float
    sites: list[str]
    cells: list[tuple[int, int, int, float]]
    """from site, to site (-1: the stop itself), part of the leg, seconds"""
    pace: float | None
    start: float | None
    idle: tuple[float, float]
    errors: list[list[float]]
    quantities: list[tuple[int, float]]
    """site, what was collected there"""


class LegRoad(NamedTuple):
    """The road from one site to the next, as a trip drove it."""

    start: str
    end: str
    path: Path


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Lesson).decode


def drawn_from(fleet: Fleet, trip_id: str, track: Track, planned_start: float | None) -> tuple[Lesson, list[LegRoad]]:
    """The lesson of a finished trip for a fleet that does not know it yet, and the roads it shows better than before.

    The fleet knows it afterwards. The track has one fix at least.
    """
    roads = [LegRoad(*each) for each in legs(track)]
    better = [road for road in roads if fleet.paths.take(*road)]
    taught = history.lesson(trip_id, track, planned_start)
    fleet.history.take(taught)
    errors = binned(fleet.errors(trip_id, track, planned_start))
    fleet.bands.take(trip_id, errors)
    sites = sorted({site for (start, end, _), _ in taught.cells for site in (start, end) if site})
    place = {"": -1, **{site: n for n, site in enumerate(sites)}}
    cells = [(place[start], place[end], part, round(seconds, 2)) for (start, end, part), seconds in taught.cells]
    idle = (round(taught.idle[0], 1), round(taught.idle[1], 1))
    errors = [[round(z, 3) for z in each] for each in errors]
    quantities = [(place[site], round(each, 3)) for site, each in taught.quantities.items() if site in place]
    return Lesson(taught.at, taught.lon, sites, cells, taught.pace, taught.start, idle, errors, quantities), better


def take(fleet: Fleet, trip_id: str, route_id: str, lesson: Lesson) -> None:
    """Let a fleet know what a trip taught."""
    names = [*lesson.sites, ""]  # -1 is the last one
    cells = [((names[start], names[end], part), seconds) for start, end, part, seconds in lesson.cells]
    quantities = {names[site]: each for site, each in lesson.quantities}
    fleet.history.take(
        history.Lesson(
            trip_id, route_id, lesson.at, lesson.lon, cells, lesson.pace, lesson.start, lesson.idle, quantities
        )
    )
    fleet.bands.take(trip_id, lesson.errors)


def take_roads(fleet: Fleet, roads: Iterable[LegRoad]) -> None:
    """Draw these legs so, whatever was known: the database has judged already."""
    for road in roads:
        fleet.paths.put(*road)
