"""How good predictions and alerts were, against the truth of the recording."""

from collections import defaultdict

from eta.accuracy import truth
from eta.accuracy.figures import Report, figures
from eta.accuracy.tally import Said, Tally, Told, of_trip
from eta.backtest.dataset import Dataset
from eta.backtest.run import FiredAlert, Played, Prediction

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
    said, told = _by_trip(played.predictions), _by_trip(played.alerts)
    arrivals: dict[str, dict[object, float]] = defaultdict(dict)
    for (trip_id, stop), at in reached.items():
        arrivals[trip_id][stop] = at
    total = Tally(map_calls=played.map_calls)
    for trip in dataset.trips:
        name = trip.trip_id
        total.add(
            of_trip(
                (Said(p.stop, p.made_at, p.eta, p.p10, p.p90, p.method) for p in said[name]),
                (Told(a.stop, a.kind, a.fired_at) for a in told[name]),
                arrivals[name],
                trip.fixes[0].at,
            )
        )
    return figures(total)


def _by_trip[V: (Prediction, FiredAlert)](values: list[V]) -> dict[str, list[V]]:
    found: dict[str, list[V]] = defaultdict(list)
    for value in values:
        found[value.trip_id].append(value)
    return found
