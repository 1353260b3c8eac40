"""A made-up round: a road with bends, stops along it, and trucks that drive it at speeds of their own."""

import math
from collections.abc import Sequence

from eta.engine.route import Stop
from eta.engine.track import Fix

LAT, LON = 47.0, 9.5
_M = 111_195.0
STARTS_AT = 1_790_000_000.0


def point(x: float, y: float) -> tuple[float, float]:
    """Latitude and longitude of metres east and north of the depot."""
    return LAT + y / _M, LON + x / (_M * math.cos(math.radians(LAT)))


def bend(s: float) -> tuple[float, float]:
    """Metres east and north after `s` metres of road."""
    return s * 0.9, 400.0 * math.sin(s / 1500.0)


ROAD = [point(*bend(s)) for s in range(0, 10_001, 50)]
STOPS = tuple(Stop(f"farm-{n}", *point(*bend(s))) for n, s in enumerate(range(0, 10_001, 1000)))


def drive(
    speed_mps: float = 10.0,
    service_s: float = 60.0,
    every_s: float = 10.0,
    start: float = STARTS_AT,
    skipped: Sequence[int] = (),
    waits_s: float = 0.0,
) -> list[Fix]:
    """A trip along the road: stands at each stop for its service, then goes on."""
    fixes, s, at = [], 0.0, start
    stands_until = start + waits_s
    served = 0
    while s < 10_000.0 or at <= stands_until:
        fixes.append(Fix(at, *point(*bend(min(s, 10_000.0)))))
        at += every_s
        if at > stands_until:
            s += speed_mps * every_s
            if served < 10 and s >= 1000.0 * (served + 1):
                served += 1
                if served not in skipped:
                    s = 1000.0 * served
                    stands_until = at + service_s
    fixes.append(Fix(at, *point(*bend(10_000.0))))
    return fixes
