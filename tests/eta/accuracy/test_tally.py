import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eta.accuracy.figures import figures
from eta.accuracy.tally import Said, Tally, Told, of_trip
from eta.alerts import Kind

SECONDS = st.integers(0, 4000)
TRIPS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 4), SECONDS, SECONDS), max_size=12),
        st.dictionaries(st.integers(0, 4), SECONDS),
    ),
    min_size=1,
    max_size=4,
)


def said(stop, made_at, eta, early=60.0, late=60.0):
    return Said(stop, made_at, eta, eta - early, eta + late, "history")


def test_a_prediction_is_counted_at_the_horizon_of_the_arrival_and_late_is_positive():
    tally = of_trip([said("a", 0.0, 400.0)], [], {"a": 430.0}, 0.0)
    report = figures(tally)
    row = report.horizons[1]
    assert (row.minutes, row.predictions, row.mae_s, row.bias_s) == ("5-10", 1, 30.0, 30.0)
    assert row.mape_pct == pytest.approx(100.0 * 30.0 / 430.0)
    assert (row.within_2_min_pct, row.band_coverage_pct, report.benchmark["6-10 min"]) == (100.0, 100.0, 100.0)
    assert sum(h.predictions for h in report.horizons) == 1


@pytest.mark.parametrize(("error", "is_good"), [(-30.0, True), (-31.0, False), (90.0, True), (91.0, False)], ids=str)
def test_the_benchmark_forgives_a_late_truck_more_than_an_early_one(error, is_good):
    tally = of_trip([said("a", 0.0, 120.0 - error)], [], {"a": 120.0}, 0.0)
    assert figures(tally).benchmark["0-3 min"] == 100.0 * is_good


def test_predictions_of_stops_never_reached_or_behind_are_counted_and_not_judged():
    tally = of_trip([said("gone", 0.0, 100.0), said("a", 50.0, 60.0)], [], {"a": 40.0}, 0.0)
    assert (tally.predictions, tally.judged) == (2, 0)


def test_alerts_are_late_early_missed_and_repeated_by_what_was_promised():
    reached = {"late": 1000.0, "early": 2000.0, "missed": 1500.0, "near": 500.0, "twice": 1200.0}
    told = [
        Told("late", Kind.TEN_MINUTES, 750.0),
        Told("early", Kind.TEN_MINUTES, 1050.0),
        Told("twice", Kind.TEN_MINUTES, 600.0),
        Told("twice", Kind.TEN_MINUTES, 610.0),
    ]
    ten = figures(of_trip([], told, reached, 0.0)).alerts[0]
    assert (ten.kind, ten.fired, ten.repeated) == ("10min", 4, 1)
    assert (ten.late_pct, ten.early_pct, ten.on_time_pct) == (25.0, 25.0, 50.0)
    # The near one could not be promised ten minutes; of the other four one was missed.
    assert ten.missed_pct == 25.0


def _of(trips):
    return [
        of_trip([said(s, at, eta) for s, at, eta in predictions], [], reached, 0.0) for predictions, reached in trips
    ]


@given(TRIPS)
def test_sums_add_up_in_any_order_and_survive_being_kept(trips):
    one, other = Tally(), Tally()
    for tally in _of(trips):
        one.add(tally)
    for tally in reversed(_of(trips)):
        other.add(msgspec.json.decode(msgspec.json.encode(tally), type=Tally))
    assert (one.trips, one.predictions, one.judged) == (other.trips, other.predictions, other.judged)
    for a, b in zip(one.horizons, other.horizons, strict=True):
        assert (a.count, a.within, a.in_band) == (b.count, b.within, b.in_band)
        assert a.abs_s == pytest.approx(b.abs_s)
    assert one.benchmark == other.benchmark
