import gzip
from dataclasses import replace

import pytest

from core.errors import Invalid
from eta.accuracy import truth
from eta.alerts import Kind
from eta.backtest import alter
from eta.backtest.dataset import read
from eta.backtest.report import report, true_arrivals
from eta.backtest.run import FiredAlert, Played, Prediction, Protocol, play
from tests.eta.conftest import written
from tests.eta.roads import ROAD, STARTS_AT, STOPS, drive


def test_a_dataset_is_read_whole_plain_or_zipped(rounds):
    plain = read(rounds)
    text = (rounds / "positions.csv").read_bytes()
    (rounds / "positions.csv").unlink()
    (rounds / "positions.csv.gz").write_bytes(gzip.compress(text))
    assert read(rounds) == plain
    assert len(plain.trips) == 3
    assert [stop.stop_id for stop in plain.stops["r"]] == [stop.stop_id for stop in STOPS]
    assert len(plain.shapes["r"]) == len(ROAD)


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("positions.csv", "t0,v,20", "t0,v,x20", "positions.csv line 2: .* is no ISO 8601 time"),
        ("stops.csv", "47.0", "abc", "stops.csv line 2: lat 'abc' is no number"),
        ("stops.csv", "47.0", "97.0", "is no latitude and longitude"),
        ("trips.csv", "trip_id", "trip", "trips.csv lacks the columns trip_id"),
        ("trips.csv", "t0,r", "t0,elsewhere", "route 'elsewhere' has no stops"),
    ],
)
def test_what_is_wrong_with_a_dataset_is_said_with_its_line(rounds, file, old, new, said):
    text = (rounds / file).read_text()
    (rounds / file).write_text(text.replace(old, new, 1))
    with pytest.raises(Invalid, match=said):
        read(rounds)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(Invalid, match=r"has no stops\.csv"):
        read(tmp_path)


def test_the_true_arrival_is_the_entry_into_30_metres():
    fixes = drive(service_s=60.0)
    reached = truth.arrivals(fixes, STOPS)
    assert reached[3] == pytest.approx(STARTS_AT + 300.0 + 120.0, abs=15.0)
    assert reached == sorted(reached)


def test_a_stop_never_visited_has_no_true_arrival():
    assert truth.arrivals(drive()[:50], STOPS)[-1] is None


def test_predictions_use_nothing_that_was_not_received_yet(rounds):
    """Cutting the recording off at any moment changes nothing that was said before."""
    recorded = read(rounds)
    cut_at = STARTS_AT + 86_400.0 + 700.0
    known = replace(
        recorded,
        trips=tuple(
            replace(trip, fixes=tuple(f for f in trip.fixes if f.at <= cut_at))
            for trip in recorded.trips
            if trip.fixes[0].at <= cut_at
        ),
    )
    whole, cut = play(recorded), play(known)
    assert [p for p in whole.predictions if p.made_at <= cut_at] == cut.predictions
    assert [a for a in whole.alerts if a.fired_at <= cut_at] == cut.alerts


def test_a_trip_under_way_tells_another_nothing_before_it_has_ended(tmp_path):
    """Causal means: trips that ended earlier."""
    later = drive(start=STARTS_AT + 300.0)
    slow, fast = (read(written(tmp_path / str(speed), [drive(speed_mps=speed), later], ROAD)) for speed in (5.0, 9.0))
    said = [
        [p for p in play(recorded).predictions if p.trip_id == "t1" and p.made_at < STARTS_AT + 1000.0]
        for recorded in (slow, fast)
    ]
    assert said[0] == said[1] != []


def test_leave_one_out_knows_the_other_trips_and_not_the_future_of_its_own(rounds):
    recorded = read(rounds)
    first = recorded.trips[0]
    short = replace(recorded, trips=(replace(first, fixes=first.fixes[:60]), *recorded.trips[1:]))
    said = [
        [p for p in play(data, Protocol.LEAVE_ONE_OUT).predictions if p.trip_id == "t0"] for data in (recorded, short)
    ]
    assert said[0][: len(said[1])] == said[1] != []
    assert {p.method for p in said[1]} == {"history"}


def test_rows_come_at_most_every_30_s_and_reach_45_minutes(rounds):
    predictions = play(read(rounds)).predictions
    by_stop = {}
    for p in predictions:
        assert p.made_at <= p.p10 <= p.eta <= p.p90
        assert p.eta - p.made_at <= 2700.0
        assert p.made_at - by_stop.get((p.trip_id, p.stop), 0.0) >= 30.0
        by_stop[p.trip_id, p.stop] = p.made_at


def test_alerts_come_once_and_in_order(rounds):
    alerts = play(read(rounds)).alerts
    keys = [(a.trip_id, a.stop, a.kind) for a in alerts]
    assert len(keys) == len(set(keys))
    fired = {key: a.fired_at for key, a in zip(keys, alerts, strict=True)}
    for (trip, stop, kind), at in fired.items():
        if kind is Kind.TEN_MINUTES:
            assert at < fired.get((trip, stop, Kind.FIVE_MINUTES), float("inf"))


def test_the_report_counts_what_its_names_say(rounds):
    recorded = read(rounds)
    reached = {("t0", 5): STARTS_AT + 1000.0, ("t0", 6): STARTS_AT + 1200.0}
    at = STARTS_AT + 580.0
    said = [
        Prediction("t0", 5, "farm-5", at, STARTS_AT + 900.0, STARTS_AT + 850.0, STARTS_AT + 990.0, "history"),
        Prediction("t0", 6, "farm-6", at, STARTS_AT + 1250.0, STARTS_AT + 900.0, STARTS_AT + 1300.0, "history"),
    ]
    alerts = [FiredAlert("t0", 5, "farm-5", Kind.TEN_MINUTES, STARTS_AT + 720.0, STARTS_AT + 1320.0)]
    figures = report(recorded, Played(said, alerts), reached)
    five_to_ten, ten_to_fifteen = figures.horizons[1:3]
    assert (five_to_ten.mae_s, five_to_ten.bias_s, five_to_ten.band_coverage_pct) == (100.0, 100.0, 0.0)
    assert (ten_to_fifteen.mae_s, ten_to_fifteen.bias_s, ten_to_fifteen.band_coverage_pct) == (50.0, -50.0, 100.0)
    assert figures.benchmark["6-10 min"] == 100.0
    ten = figures.alerts[0]
    assert (ten.fired, ten.late_pct, ten.missed_pct, ten.repeated) == (1, 100.0, 50.0, 0)
    assert ten.lead_bias_s == -320.0


@pytest.mark.parametrize("name", list(alter.ALTERATIONS))
def test_a_worse_recording_is_still_played_to_the_end(rounds, name):
    recorded = alter.ALTERATIONS[name][0](read(rounds))
    played = play(recorded)
    assert played.predictions
    assert {p.trip_id for p in played.predictions} == {"t0", "t1", "t2"}


def test_altering_a_recording_changes_what_it_says_and_no_more(rounds):
    recorded = read(rounds)
    thin = alter.thinned(recorded, 60.0)
    assert all(b.at - a.at >= 60.0 for t in thin.trips for a, b in zip(t.fixes, t.fixes[1:], strict=False))
    assert not alter.without_shapes(recorded).shapes
    assert all(
        len(gappy.fixes) < len(trip.fixes)
        for gappy, trip in zip(alter.with_gaps(recorded).trips, recorded.trips, strict=True)
    )
    waits = alter.with_waits(recorded)
    assert all(w.fixes[-1].at >= t.fixes[-1].at for w, t in zip(waits.trips, recorded.trips, strict=True))


def test_without_shapes_the_third_round_is_foretold_as_well_as_with_them(rounds):
    recorded = read(rounds)
    reached = {key: at for key, at in true_arrivals(recorded).items() if key[0] == "t2"}
    with_shape = report(recorded, play(recorded), reached)
    without = report(recorded, play(alter.without_shapes(recorded)), reached)
    assert without.mae_5_to_10_min_s <= with_shape.mae_5_to_10_min_s + 15.0


def test_the_recorded_bus_line_is_foretold_within_the_bars_once_history_is_there(recording):
    """At 30 s between fixes, which costs a fifth of the time and tells the same."""
    recorded = read(recording)
    figures = report(recorded, play(alter.thinned(recorded, 30.0), Protocol.LEAVE_ONE_OUT), true_arrivals(recorded))
    ten, five = figures.alerts
    assert figures.mae_5_to_10_min_s <= 55.0
    assert figures.benchmark_score >= 90.0
    assert 75.0 <= figures.band_coverage_pct <= 85.0
    assert ten.on_time_pct >= 85.0
    assert five.on_time_pct >= 92.0
    assert ten.late_pct <= 2.0
    assert ten.repeated == five.repeated == figures.map_calls == 0


def test_the_recorded_bus_line_is_foretold_within_the_bars_from_its_first_trip(recording):
    recorded = read(recording)
    figures = report(recorded, play(recorded))
    assert figures.mae_5_to_10_min_s <= 90.0
    assert figures.benchmark_score >= 72.0
    assert figures.map_calls == 0
