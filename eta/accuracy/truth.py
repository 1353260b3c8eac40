"""When each stop was really reached: worked out from the whole recording, without the engine that is measured by it."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from eta.engine.geometry import Plane
from eta.engine.route import Stop
from eta.engine.track import Fix

_NEAR_M = 100.0  # a vehicle that stays further away than this was not there
_AT_M = 30.0
_MORE_M = 10.0


class _Leg(NamedTuple):
    since: float
    until: float
    ax: float
    ay: float
    bx: float
    by: float


class _Visit(NamedTuple):
    at: float
    nearest_m: float


class _Choice(NamedTuple):
    cost: float
    at: float
    reached: tuple[float | None, ...]


def arrivals(fixes: Sequence[Fix], stops: Sequence[Stop]) -> list[float | None]:
    """Epoch seconds of the arrival at each stop, None where the vehicle never was.

    An arrival is the entry into 30 m around the stop (or 10 m more than the nearest approach), straight lines between
    the fixes. Of several visits the order-keeping choice with the least squared distance counts.
    """
    plane = Plane.around(stops[0].lat, stops[0].lon)
    at = [(fix.at, *plane.xy(fix.lat, fix.lon)) for fix in fixes]
    legs = [_Leg(a[0], b[0], a[1], a[2], b[1], b[2]) for a, b in pairwise(at)]
    choices = [_Choice(0.0, -math.inf, ())]
    for stop in stops:
        visits = _visits(legs, *plane.xy(stop.lat, stop.lon))
        fresh = [_Choice(c.cost + 2.0 * _NEAR_M**2, c.at, (*c.reached, None)) for c in choices]
        for visit in visits:
            before = min((c for c in choices if c.at <= visit.at), key=lambda c: c.cost)
            fresh.append(_Choice(before.cost + visit.nearest_m**2, visit.at, (*before.reached, visit.at)))
        # Whoever is later and dearer than another can never win.
        choices, least = [], math.inf
        for choice in sorted(fresh, key=lambda c: (c.at, c.cost)):
            if choice.cost < least:
                choices.append(choice)
                least = choice.cost
    return list(min(choices, key=lambda c: c.cost).reached)


def _visits(legs: Sequence[_Leg], x: float, y: float) -> list[_Visit]:
    visits, run = [], list[tuple[float, float, _Leg]]()
    for leg in legs:
        nearest, part = _nearest(leg, x, y)
        if nearest <= _NEAR_M:
            run.append((nearest, part, leg))
        elif run:
            visits.append(_visit(run, x, y))
            run = []
    return [*visits, _visit(run, x, y)] if run else visits


def _visit(run: list[tuple[float, float, _Leg]], x: float, y: float) -> _Visit:
    nearest = min(found for found, _, _ in run)
    radius = max(_AT_M, nearest + _MORE_M)
    _, part, leg = next(entry for entry in run if entry[0] <= radius)
    low, high = 0.0, part
    for _ in range(24):
        middle = 0.5 * (low + high)
        inside = _off(leg, middle, x, y) <= radius
        low, high = (low, middle) if inside else (middle, high)
    return _Visit(leg.since + high * (leg.until - leg.since), nearest)


def _nearest(leg: _Leg, x: float, y: float) -> tuple[float, float]:
    """Distance of the leg's nearest place, and how far along the leg that is, 0 to 1."""
    dx, dy = leg.bx - leg.ax, leg.by - leg.ay
    square = dx * dx + dy * dy
    part = max(0.0, min(1.0, ((x - leg.ax) * dx + (y - leg.ay) * dy) / square)) if square else 0.0
    return _off(leg, part, x, y), part


def _off(leg: _Leg, part: float, x: float, y: float) -> float:
    return math.hypot(leg.ax + part * (leg.bx - leg.ax) - x, leg.ay + part * (leg.by - leg.ay) - y)
