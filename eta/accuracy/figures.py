"""What the sums of errors come to: the figures people read. Pure."""

from dataclasses import asdict, dataclass

from eta.accuracy.tally import BENCHMARK, HORIZONS_MIN, AlertSums, HorizonSums, Tally


@dataclass(frozen=True, slots=True)
class Horizon:
    """Predictions made this long before the arrival. Seconds; error = arrival - prediction, so late is positive."""

    minutes: str
    predictions: int
    mae_s: float
    bias_s: float
    mape_pct: float
    """of arrivals at least a minute ahead"""
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


def figures(tally: Tally) -> Report:
    """Ratios of nothing are 0; the counts beside them tell."""
    benchmark = {
        f"{low}-{high} min": _pct(good, count)
        for (low, high, *_), (count, good) in zip(BENCHMARK, tally.benchmark, strict=True)
    }
    horizons = tuple(_horizon(*bounds, sums) for bounds, sums in zip(HORIZONS_MIN, tally.horizons, strict=True))
    return Report(
        tally.trips,
        tally.arrivals,
        tally.predictions,
        horizons[1].mae_s,
        sum(benchmark.values()) / len(benchmark),
        benchmark,
        _pct(tally.in_band, tally.judged),
        horizons,
        tuple(_alerts(kind, sums) for kind, sums in tally.alerts.items()),
        dict(tally.methods),
        tally.map_calls,
        tally.map_calls / max(tally.trips, 1),
    )


def _horizon(low: int, high: int, sums: HorizonSums) -> Horizon:
    return Horizon(
        f"{low}-{high}",
        sums.count,
        _mean(sums.abs_s, sums.count),
        _mean(sums.error_s, sums.count),
        100.0 * _mean(sums.share, sums.shares),
        _pct(sums.within, sums.count),
        _pct(sums.in_band, sums.count),
    )


def _alerts(kind: str, sums: AlertSums) -> AlertFigures:
    return AlertFigures(
        kind,
        sums.fired,
        _mean(sums.abs_s, sums.reached),
        _mean(sums.error_s, sums.reached),
        _pct(sums.on_time, sums.reached),
        _pct(sums.late, sums.reached),
        _pct(sums.early, sums.reached),
        _pct(sums.missed, sums.due),
        sums.repeated,
    )


def _mean(total: float, count: int) -> float:
    return total / count if count else 0.0


def _pct(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 0.0
