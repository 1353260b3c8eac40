"""How good predictions and alerts were, against the truth of the recording."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from eta.alerts import THRESHOLD_S, Kind
from eta.backtest import truth
from eta.backtest.dataset import Dataset
from eta.backtest.run import FiredAlert, Played, Prediction

HORIZONS_MIN = ((0, 5), (5, 10), (10, 15), (15, 30), (30, 45))
# The public ETA Accuracy Benchmark: minutes to the arrival, and the seconds that it may come before and after the
# time that was told.
BENCHMARK = ((0, 3, 30, 90), (3, 6, 60, 150), (6, 10, 60, 210), (10, 15, 90, 270))
_ON_TIME_S = 120.0
_SHARE_FROM_S = 60.0  # relative errors of an arrival in sight say nothing


@dataclass(frozen=True, slots=True)
class Horizon:
    """Predictions made this long before the arrival. Seconds; error = arrival - prediction, so late is positive."""

    minutes: str
    predictions: int
    mae_s: float
    bias_s: float
    mape_pct: float
    within_2_min_pct: float
    band_coverage_pct: float


@dataclass(frozen=True, slots=True)
class AlertFigures:
    """Of the alerts of one kind. Lead = time from the alert to the arrival; its error is against the promise."""

    kind: str
    fired: int
    lead_mae_s: float
    lead_bias_s: float
    on_time_pct: float
    """within 2 minutes of the promise, of all that were fired and followed by an arrival"""
    late_pct: float
    """less than half the promised time was left"""
    early_pct: float
    """more than one and a half times the promised time was left"""
    missed_pct: float
    """of the stops reached that the trip was seen approaching for at least the promised time: no alert"""
    repeated: int


@dataclass(frozen=True, slots=True)
class Report:
    trips: int
    arrivals: int
    predictions: int
    mae_5_to_10_min_s: float
    benchmark_score: float
    benchmark: dict[str, float]
    band_coverage_pct: float
    """of all predictions up to 45 minutes ahead"""
    horizons: tuple[Horizon, ...]
    alerts: tuple[AlertFigures, ...]
    methods: dict[str, int]
    map_calls: int
    map_calls_per_trip: float

    def as_json(self) -> dict[str, object]:
        return asdict(self)


class _Judged(NamedTuple):
    ahead_s: float
    error_s: float
    is_in_band: bool


def _is_between(low: float, high: float) -> Callable[[_Judged], bool]:
    return lambda judged: low <= judged.error_s <= high


type Truth = dict[tuple[str, int], float]


def true_arrivals(dataset: Dataset) -> Truth:
    """Epoch seconds by (trip, index of the stop)."""
    return {
        (trip.trip_id, i): at
        for trip in dataset.trips
        for i, at in enumerate(truth.arrivals(trip.fixes, dataset.stops[trip.route_id]))
        if at is not None
    }


def report(dataset: Dataset, played: Played, reached: Truth | None = None) -> Report:
    """Judge a run. `reached` is the truth where the recording was altered before it was played."""
    reached = true_arrivals(dataset) if reached is None else reached
    judged = [_judge(p, reached[p.trip_id, p.stop]) for p in played.predictions if _is_ahead(p, reached)]
    benchmark = {
        f"{low}-{high} min": _pct(
            (j for j in judged if low * 60.0 <= j.ahead_s <= high * 60.0),
            _is_between(-early, late),
        )
        for low, high, early, late in BENCHMARK
    }
    methods: dict[str, int] = {}
    for p in played.predictions:
        methods[p.method] = methods.get(p.method, 0) + 1
    horizons = tuple(_horizon(low, high, judged) for low, high in HORIZONS_MIN)
    return Report(
        len(dataset.trips),
        len(reached),
        len(played.predictions),
        horizons[1].mae_s,
        sum(benchmark.values()) / len(benchmark),
        benchmark,
        _pct(judged, lambda j: j.is_in_band),
        horizons,
        tuple(_alerts(kind, dataset, played.alerts, reached) for kind in (Kind.TEN_MINUTES, Kind.FIVE_MINUTES)),
        methods,
        played.map_calls,
        played.map_calls / max(len(dataset.trips), 1),
    )


def _is_ahead(p: Prediction, reached: Truth) -> bool:
    return reached.get((p.trip_id, p.stop), 0.0) > p.made_at


def _judge(p: Prediction, arrival: float) -> _Judged:
    return _Judged(arrival - p.made_at, arrival - p.eta, p.p10 <= arrival <= p.p90)


def _horizon(low: int, high: int, judged: Iterable[_Judged]) -> Horizon:
    found = [j for j in judged if low * 60.0 <= j.ahead_s < high * 60.0 or j.ahead_s == high * 60.0]
    relative = [abs(j.error_s) / j.ahead_s for j in found if j.ahead_s >= _SHARE_FROM_S]
    return Horizon(
        f"{low}-{high}",
        len(found),
        _mean([abs(j.error_s) for j in found]),
        _mean([j.error_s for j in found]),
        100.0 * _mean(relative),
        _pct(found, lambda j: abs(j.error_s) <= _ON_TIME_S),
        _pct(found, lambda j: j.is_in_band),
    )


def _alerts(kind: Kind, dataset: Dataset, fired: Iterable[FiredAlert], reached: Truth) -> AlertFigures:
    threshold = THRESHOLD_S[kind]
    of_kind = [a for a in fired if a.kind is kind]
    where = {(a.trip_id, a.stop) for a in of_kind}
    errors = [reached[a.trip_id, a.stop] - a.fired_at - threshold for a in of_kind if (a.trip_id, a.stop) in reached]
    begun = {trip.trip_id: trip.fixes[0].at for trip in dataset.trips}
    due = [key for key, at in reached.items() if at - begun[key[0]] >= threshold]
    return AlertFigures(
        kind.value,
        len(of_kind),
        _mean([abs(e) for e in errors]),
        _mean(errors),
        _pct(errors, lambda e: abs(e) <= _ON_TIME_S),
        _pct(errors, lambda e: e < -0.5 * threshold),
        _pct(errors, lambda e: e > 0.5 * threshold),
        _pct(due, lambda key: key not in where),
        len(of_kind) - len(where),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _pct[V](values: Iterable[V], holds: Callable[[V], bool]) -> float:
    judged = [holds(value) for value in values]
    return 100.0 * sum(judged) / len(judged) if judged else 0.0
