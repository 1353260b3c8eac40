"""A morning's collection: what the rounds of simulated and recorded vehicles are to those who wait for them.

Pure: it names the places, routes and trips; whoever has a database keeps them.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal

from core.clock import from_epoch_ms
from sim.journey import METRES_PER_DEGREE, Round, Stop, distance_m
from sim.recording import Dataset
from sim.roads import LatLon, Leg, NoRoute, Router
from sim.truck import Truck

_NO_LETTER = re.compile(r"[^A-Za-z0-9_.-]")
_ASIDE_M = 900.0
_MOST_DETOUR = 3.0
_PLAN_STEP = timedelta(minutes=5)  # nobody plans a round to the minute


@dataclass(frozen=True, slots=True)
class Place:
    """Where vehicles are expected, by its code."""

    code: str
    name: str
    lat: float
    lon: float
    kind: Literal["farm", "warehouse", "other"]
    radius_m: float


@dataclass(frozen=True, slots=True)
class Line:
    """A route by its code: places in driving order, and its road where that is known."""

    code: str
    name: str
    places: tuple[Place, ...]
    shape: tuple[LatLon, ...] = ()


@dataclass(frozen=True, slots=True)
class Due:
    """A place that a vehicle is to reach, and when by plan (UTC)."""

    place: Place
    planned_at: datetime | None


@dataclass(frozen=True, slots=True)
class Drive:
    """A trip to come or under way: its device, its route, and the places it has still to reach.

    `comes_from` is where the vehicle is or was before the first of them; None where nothing is known of that.
    """

    device: str
    line: Line
    starts_at: datetime
    stops: tuple[Due, ...]
    is_under_way: bool
    comes_from: Place | None = None


def straying(truck: Truck, router: Router) -> Truck:
    """The truck on a round whose every leg leads past a place aside of the shortest way, where roads lead there."""
    return replace(truck, round=replace(truck.round, legs=tuple(_detour(leg, router) for leg in truck.round.legs)))


def drives(trucks: Iterable[Truck], start_at_ms: int) -> list[Drive]:
    """What is left at second 0 of the lap each truck is on: its farms and the way home, or the next lap."""
    found = []
    for truck in trucks:
        line = _line(truck.round)
        places = {place.code: place for place in line.places}
        visits = truck.visits(math.inf)
        first = next(visits)
        behind = truck.round.stops.index(first.stop)
        left = len(truck.round.stops) - behind
        coming = [first, *(next(visits) for _ in range(left - 1))]
        now = from_epoch_ms(start_at_ms)
        due = [Due(places[each.stop.id], _planned(now, each.arrive_s)) for each in coming]
        home_s = coming[-1].depart_s + truck.round.legs[-1].duration_s
        due.append(Due(places[truck.round.depot.id], _planned(now, home_s)))
        is_under_way = left < len(truck.round.stops) or first.arrive_s < 0
        starts_at = now if is_under_way else now + timedelta(seconds=max(0.0, first.arrive_s - 1200.0))
        found.append(Drive(truck.id, line, starts_at, tuple(due), is_under_way, line.places[behind]))
    return found


def recorded(dataset: Dataset, start_at_ms: int) -> list[Drive]:
    """The recording's trips, its first fix being made at `start_at_ms` (epoch)."""
    lines = {
        route: Line(_code(route), f"Route {route}", _along(dataset, route), dataset.shapes.get(route, ()))
        for route in {trip.route_id for trip in dataset.trips.values()}
    }
    shift = from_epoch_ms(start_at_ms) - dataset.begins_at
    found = []
    for trip_id, device in dataset.devices().items():
        line = lines[dataset.trips[trip_id].route_id]
        starts_at = dataset.positions[trip_id][0].at + shift
        found.append(
            Drive(device, line, starts_at, tuple(Due(place, None) for place in line.places), is_under_way=False)
        )
    return sorted(found, key=lambda drive: (drive.starts_at, drive.device))


def _detour(leg: Leg, router: Router) -> Leg:
    a, b = leg.points[0], leg.points[-1]
    length = distance_m(a, b)
    if length < _ASIDE_M:
        return leg
    middle = leg.points[len(leg.points) // 2]
    north, east = (b[0] - a[0]) * METRES_PER_DEGREE, (b[1] - a[1]) * METRES_PER_DEGREE * math.cos(math.radians(a[0]))
    for side in (1.0, -1.0):
        lat = middle[0] + side * _ASIDE_M * -east / length / METRES_PER_DEGREE
        lon = middle[1] + side * _ASIDE_M * north / length / (METRES_PER_DEGREE * math.cos(math.radians(a[0])))
        try:
            joined = _joined(router.route([a, (lat, lon), b]))
        except NoRoute:
            continue
        if joined.distance_m <= _MOST_DETOUR * leg.distance_m:
            return joined
    return leg


def _joined(legs: Sequence[Leg]) -> Leg:
    points, distances, durations = list(legs[0].points), list(legs[0].distances_m), list(legs[0].durations_s)
    for before, leg in pairwise(legs):
        if before.points[-1] != leg.points[0]:
            points.append(leg.points[0])
            distances.append(distance_m(before.points[-1], leg.points[0]))
            durations.append(0.1)
        points += leg.points[1:]
        distances += leg.distances_m
        durations += leg.durations_s
    return Leg(
        tuple(points),
        tuple(distances),
        tuple(durations),
        sum(leg.distance_m for leg in legs),
        sum(leg.duration_s for leg in legs),
    )


def _line(plan: Round) -> Line:
    depot = _place(plan.depot, "warehouse")
    places = (depot, *(_place(stop, "farm") for stop in plan.stops), depot)
    # No shape: the engine that draws its road has the map that these trucks drive on.
    return Line(_code(plan.id), f"Round {plan.id.rpartition('-')[2]}", places)


def _place(stop: Stop, kind: Literal["farm", "warehouse"]) -> Place:
    return Place(_code(stop.id), stop.name, stop.lat, stop.lon, kind, 120.0 if kind == "warehouse" else 60.0)


def _along(dataset: Dataset, route: str) -> tuple[Place, ...]:
    return tuple(
        Place(_code(stop.stop_id), stop.name or stop.stop_id, stop.lat, stop.lon, "other", 50.0)
        for stop in dataset.stops[route]
    )


def _code(text: str) -> str:
    """What a recording calls it, in the letters a code may have."""
    return _NO_LETTER.sub("-", text)[:64]


def _planned(now: datetime, after_s: float) -> datetime:
    """To the next five minutes, as a plan has it."""
    at = now + timedelta(seconds=after_s)
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return at + (_PLAN_STEP - since % _PLAN_STEP) % _PLAN_STEP
