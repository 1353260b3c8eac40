"""Traffic that was asked for: what arrival times make of it, for how long, and when it is worth asking."""

from itertools import pairwise

import pytest

from eta.engine.estimate import Method
from eta.engine.track import Fix
from eta.routing.recalibrate import Facts, Recalibration
from tests.eta.roads import STARTS_AT, drive, point
from tests.eta.test_fleet import fleet_that_knows, said, week


def driven(fleet, at):
    """(seconds of driving expected to the last stop, the estimate) at a fix of an ordinary day."""
    estimate = said(fleet, drive(), at)
    estimator = fleet.trips["trip"].estimator
    _, behind, _ = estimator._here()
    return estimator.profile.until[-1][0] - behind, estimate


def test_in_twice_the_traffic_the_drive_ahead_takes_twice_as_long():
    fleet = fleet_that_knows(*week())
    ahead_s, before = driven(fleet, 30)
    now = before.made_at
    fleet.heed("trip", [2.0 * ahead_s / len(before.arrivals)] * len(before.arrivals), now)
    after = fleet.estimate("trip", now)
    assert (after.method, after.reason) == (Method.TRAFFIC, "the traffic of 0 min ago")
    assert after.arrivals[-1].p50 - before.arrivals[-1].p50 == pytest.approx(ahead_s, rel=0.25)
    for arrival in after.arrivals:
        assert now <= arrival.p10 <= arrival.eta <= arrival.p50 <= arrival.p90


def test_traffic_to_the_next_stops_tells_of_those_behind_them_too():
    fleet = fleet_that_knows(*week())
    ahead_s, before = driven(fleet, 30)
    stops = len(before.arrivals)
    fleet.heed("trip", [2.0 * ahead_s / stops] * 3, before.made_at)
    after = fleet.estimate("trip", before.made_at)
    assert after.arrivals[-1].p50 > before.arrivals[-1].p50 + 0.5 * ahead_s


def test_traffic_fades_and_after_half_an_hour_nothing_of_it_is_left():
    later = fleet_that_knows(*week())
    ahead_s, before = driven(later, 30)
    later.heed("trip", [3.0 * ahead_s], before.made_at - 1801.0)
    assert later.estimate("trip", before.made_at) == before
    fresh, old = fleet_that_knows(*week()), fleet_that_knows(*week())
    for fleet, age_s in ((fresh, 0.0), (old, 1200.0)):
        driven(fleet, 30)
        fleet.heed("trip", [3.0 * ahead_s / len(before.arrivals)] * len(before.arrivals), before.made_at - age_s)
    last = [fleet.estimate("trip", before.made_at).arrivals[-1].p50 for fleet in (fresh, old)]
    assert last[0] > last[1] > before.arrivals[-1].p50


def test_traffic_says_nothing_of_a_truck_that_is_silent_or_elsewhere():
    fleet = fleet_that_knows(*week())
    ahead_s, before = driven(fleet, 30)
    fleet.heed("trip", [3.0 * ahead_s], before.made_at)
    assert fleet.estimate("trip", before.made_at + 91.0).method is Method.AGED
    last = drive()[29]
    off = [Fix(last.at + 10.0 * n, *point(2000.0, 3000.0 + 10 * n)) for n in range(1, 5)]
    fleet.take("trip", off)
    assert fleet.estimate("trip", off[-1].at).method is Method.DETOUR


def test_a_word_on_almost_nothing_is_not_heeded():
    fleet = fleet_that_knows(*week())
    fixes = drive()
    before = said(fleet, fixes, len(fixes) - 3)
    fleet.heed("trip", [5000.0], before.made_at)
    assert fleet.estimate("trip", before.made_at) == before


def facts(at_s, eta_s, *, off=False, standing_s=0.0):
    return Facts(STARTS_AT + at_s, STARTS_AT + eta_s, off, standing_s)


def test_a_trip_that_keeps_its_word_is_never_asked_for():
    trip = Recalibration()
    assert [trip.due(facts(at, 7200 + 0.02 * at)) for at in range(0, 6000, 30)] == [""] * 200


def test_a_trip_that_drifts_is_asked_for_once_in_a_while_and_measured_anew():
    trip, asked = Recalibration(), []
    for at in range(0, 5400, 30):
        slips = 0.0 if at < 600 else 3600.0 if at > 3600 else float(at - 600) * 1.2
        if trip.due(facts(at, 7200 + slips)):
            trip.asked(STARTS_AT + at)
            asked.append(at)
    assert asked
    assert len(asked) <= 4
    assert all(b - a >= 900 for a, b in pairwise(asked))


@pytest.mark.parametrize(
    ("later", "why"),
    [
        (facts(60, 7200, off=True), "off the route"),
        (facts(60, 7200, standing_s=600.0), "stands for 10 min"),
        (facts(60, 7200 + 1300), "+22 min against what was said"),
        (facts(60, 1200, off=True), ""),
        (facts(60, 7200 + 170), ""),
    ],
)
def test_what_makes_a_call_worth_it(later, why):
    trip = Recalibration()
    assert not trip.due(facts(0, 7200))
    assert trip.due(later) == why
