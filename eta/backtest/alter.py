"""Recordings made worse: sparser, without shapes, with gaps, waits and detours, to see what the method can bear."""

import math
import random
from collections.abc import Callable
from dataclasses import replace

from eta.backtest.dataset import Dataset, RecordedTrip
from eta.engine.geometry import METRES_PER_DEGREE
from eta.engine.track import Fix

type Alteration = Callable[[Dataset], Dataset]


def thinned(dataset: Dataset, every_s: float) -> Dataset:
    """At most one fix in so many seconds."""

    def thin(trip: RecordedTrip) -> tuple[Fix, ...]:
        kept: list[Fix] = []
        for fix in trip.fixes:
            if not kept or fix.at - kept[-1].at >= every_s:
                kept.append(fix)
        return tuple(kept)

    return _each(dataset, thin)


def without_shapes(dataset: Dataset) -> Dataset:
    return replace(dataset, shapes={})


def with_gaps(dataset: Dataset, gaps: int = 3, each_s: float = 240.0, seed: int = 1) -> Dataset:
    """Without the fixes of a few stretches of time in each trip."""
    random_ = random.Random(seed)

    def gap(trip: RecordedTrip) -> tuple[Fix, ...]:
        starts = [random_.uniform(trip.fixes[0].at, trip.fixes[-1].at) for _ in range(gaps)]
        return tuple(f for f in trip.fixes if not any(s <= f.at < s + each_s for s in starts))

    return _each(dataset, gap)


def with_waits(dataset: Dataset, up_to_s: float = 900.0, seed: int = 2) -> Dataset:
    """Each trip stands at its start for a while first, reporting once in 30 s, and all of it comes that much later."""
    random_ = random.Random(seed)

    def wait(trip: RecordedTrip) -> tuple[Fix, ...]:
        first = trip.fixes[0]
        stands_s = random_.uniform(0.0, up_to_s)
        standing = [Fix(first.at + 30.0 * n, first.lat, first.lon) for n in range(int(stands_s / 30.0))]
        return (*standing, *(Fix(f.at + stands_s, f.lat, f.lon) for f in trip.fixes))

    return _each(dataset, wait)


def with_detours(dataset: Dataset, share: float = 0.5, aside_m: float = 300.0, seed: int = 3) -> Dataset:
    """Some trips leave the road for the length of a tenth of their fixes and come back two minutes later than else."""
    random_ = random.Random(seed)

    def detour(trip: RecordedTrip) -> tuple[Fix, ...]:
        if random_.random() >= share or len(trip.fixes) < 30:
            return trip.fixes
        length = len(trip.fixes) // 10
        begin = random_.randrange(len(trip.fixes) // 5, len(trip.fixes) - 2 * length)
        out = []
        for i, fix in enumerate(trip.fixes):
            way = min(max((i - begin) / length, 0.0), 1.0)
            aside = aside_m * min(1.0, 4.0 * math.sin(math.pi * way))
            out.append(Fix(fix.at + 120.0 * way, fix.lat + aside / METRES_PER_DEGREE, fix.lon))
        return tuple(out)

    return _each(dataset, detour)


def _each(dataset: Dataset, change: Callable[[RecordedTrip], tuple[Fix, ...]]) -> Dataset:
    trips = tuple(replace(trip, fixes=change(trip)) for trip in dataset.trips)
    return replace(dataset, trips=tuple(trip for trip in trips if trip.fixes))


# What `python -m bench eta` measures beside the recording as it is. The second of each pair tells whether arrivals
# are to be taken from the altered recording, because what was altered is the driving and not what was seen of it.
ALTERATIONS: dict[str, tuple[Alteration, bool]] = {
    "as recorded": (lambda d: d, False),
    "30 s between fixes": (lambda d: thinned(d, 30.0), False),
    "60 s between fixes": (lambda d: thinned(d, 60.0), False),
    "three gaps of 4 min": (with_gaps, False),
    "waits at the start": (with_waits, True),
    "detours": (with_detours, True),
    "60 s, gaps, detours": (lambda d: with_gaps(thinned(with_detours(d), 60.0)), True),
}
