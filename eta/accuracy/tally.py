"""Sums of errors that add up over stops, trips and days. Pure.

Times are epoch seconds; an error is arrival minus prediction, so late is positive.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from eta.alerts import THRESHOLD_S, Kind

HORIZONS_MIN = ((0, 5), (5, 10), (10, 15), (15, 30), (30, 45))
# The public ETA Accuracy Benchmark: minutes to the arrival, and the seconds that it may come before and after the
# time that was told.
BENCHMARK = ((0, 3, 30, 90), (3, 6, 60, 150), (6, 10, 60, 210), (10, 15, 90, 270))
JUDGED_ALERTS = (Kind.TEN_MINUTES, Kind.FIVE_MINUTES)
_ON_TIME_S = 120.0
_SHARE_FROM_S = 60.0  # relative errors of an arrival in sight say nothing


class Said(NamedTuple):
    """One prediction for one stop. `stop` is any name that the arrivals use too."""

    stop: object
    made_at: float
    eta: float
    p10: float
    p90: float
    method: str


class Told(NamedTuple):
    """One alert for one stop."""

    stop: object
    kind: Kind
    fired_at: float


class HorizonSums(msgspec.Struct):
    """Of predictions made so long before the arrival."""

    count: int = 0
    abs_s: float = 0.0
    error_s: float = 0.0
    shares: int = 0
    share: float = 0.0
    within: int = 0
    in_band: int = 0


class AlertSums(msgspec.Struct):
    """Of alerts of one kind. Lead = time from the alert to the arrival; its error is against the promise."""

    fired: int = 0
    reached: int = 0
    abs_s: float = 0.0
    error_s: float = 0.0
    on_time: int = 0
    late: int = 0
    early: int = 0
    due: int = 0
    missed: int = 0
    repeated: int = 0


class Tally(msgspec.Struct):
    """All of it, of any number of trips."""

    trips: int = 0
    arrivals: int = 0
    predictions: int = 0
    judged: int = 0
    in_band: int = 0
    horizons: list[HorizonSums] = msgspec.field(default_factory=lambda: [HorizonSums() for _ in HORIZONS_MIN])
    benchmark: list[tuple[int, int]] = msgspec.field(default_factory=lambda: [(0, 0) for _ in BENCHMARK])
    """(predictions, those within the bounds) of each bucket"""
    alerts: dict[str, AlertSums] = msgspec.field(
        default_factory=lambda: {kind.value: AlertSums() for kind in JUDGED_ALERTS}
    )
    methods: dict[str, int] = msgspec.field(default_factory=dict)
    map_calls: int = 0

    def add(self, other: "Tally") -> None:
        """Take the sums of other trips in."""
        self.trips += other.trips
        self.arrivals += other.arrivals
        self.predictions += other.predictions
        self.judged += other.judged
        self.in_band += other.in_band
        self.map_calls += other.map_calls
        for mine, theirs in zip(self.horizons, other.horizons, strict=True):
            _add(mine, theirs)
        self.benchmark = [(a + c, b + d) for (a, b), (c, d) in zip(self.benchmark, other.benchmark, strict=True)]
        for kind, sums in other.alerts.items():
            _add(self.alerts.setdefault(kind, AlertSums()), sums)
        for method, count in other.methods.items():
            self.methods[method] = self.methods.get(method, 0) + count


def of_trip(
    said: Iterable[Said], told: Iterable[Told], reached: Mapping[object, float], begun_at: float, *, map_calls: int = 0
) -> Tally:
    """The sums of one trip. `reached`: when each stop was; `begun_at`: since when the trip was seen."""
    tally = Tally(trips=1, arrivals=len(reached), map_calls=map_calls)
    for each in said:
        tally.predictions += 1
        tally.methods[each.method] = tally.methods.get(each.method, 0) + 1
        arrival = reached.get(each.stop)
        if arrival is not None and arrival > each.made_at:
            _judge(tally, each, arrival)
    fired = list(told)
    for kind in JUDGED_ALERTS:
        tally.alerts[kind.value] = _alerts(kind, [t for t in fired if t.kind is kind], reached, begun_at)
    return tally


def _judge(tally: Tally, said: Said, arrival: float) -> None:
    ahead, error = arrival - said.made_at, arrival - said.eta
    is_in_band = said.p10 <= arrival <= said.p90
    tally.judged += 1
    tally.in_band += is_in_band
    for (low, high), sums in zip(HORIZONS_MIN, tally.horizons, strict=True):
        if not low * 60.0 <= ahead <= high * 60.0:
            continue
        sums.count += 1
        sums.abs_s += abs(error)
        sums.error_s += error
        sums.within += abs(error) <= _ON_TIME_S
        sums.in_band += is_in_band
        if ahead >= _SHARE_FROM_S:
            sums.shares += 1
            sums.share += abs(error) / ahead
    for n, (low, high, early, late) in enumerate(BENCHMARK):
        if low * 60.0 <= ahead <= high * 60.0:
            count, good = tally.benchmark[n]
            tally.benchmark[n] = (count + 1, good + (-early <= error <= late))


def _alerts(kind: Kind, told: list[Told], reached: Mapping[object, float], begun_at: float) -> AlertSums:
    threshold = THRESHOLD_S[kind]
    stops = {each.stop for each in told}
    sums = AlertSums(fired=len(told), repeated=len(told) - len(stops))
    for each in told:
        if each.stop not in reached:
            continue
        error = reached[each.stop] - each.fired_at - threshold
        sums.reached += 1
        sums.abs_s += abs(error)
        sums.error_s += error
        sums.on_time += abs(error) <= _ON_TIME_S
        sums.late += error < -0.5 * threshold
        sums.early += error > 0.5 * threshold
    for stop, at in reached.items():
        if at - begun_at >= threshold:
            sums.due += 1
            sums.missed += stop not in stops
    return sums


def _add(mine: msgspec.Struct, theirs: msgspec.Struct) -> None:
    for name in mine.__struct_fields__:
        setattr(mine, name, getattr(mine, name) + getattr(theirs, name))
