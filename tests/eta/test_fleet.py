import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eta.engine.estimate import Method
from eta.engine.fleet import Fleet
from eta.engine.track import Fix
from tests.eta.roads import ROAD, STARTS_AT, STOPS, drive, point

DAY_S = 86_400.0


def fleet_that_knows(*trips, shape=ROAD):
    fleet = Fleet()
    fleet.add_route("r", STOPS, shape)
    for n, fixes in enumerate(trips):
        fleet.begin(f"known-{n}", "r", fixes[0].at, fixes[0].at)
        fleet.take(f"known-{n}", fixes)
        fleet.finish(f"known-{n}")
    return fleet


def said(fleet, fixes, upto):
    """What is said of a trip at its fix number `upto`."""
    fleet.begin("trip", "r", fixes[0].at, fixes[0].at)
    fleet.take("trip", fixes[:upto])
    return fleet.estimate("trip", fixes[upto - 1].at)


def week(**trip):
    return [drive(start=STARTS_AT - n * DAY_S, **trip) for n in range(7, 0, -1)]


def test_a_round_driven_as_always_is_foretold_to_the_minute():
    fleet = fleet_that_knows(*week())
    fixes = drive()
    estimate = said(fleet, fixes, 20)
    assert estimate.method is Method.HISTORY
    truth = fleet.trips["trip"].track
    fleet.take("trip", fixes)
    for arrival in estimate.arrivals:
        reached = truth.crossed[truth.route.arrivals[arrival.stop]]
        assert arrival.p50 == pytest.approx(reached, abs=60.0)


def test_a_slow_day_is_learned_on_the_way():
    fleet = fleet_that_knows(*week())
    fixes = drive(speed_mps=6.0)
    early = said(fleet, fixes, 10).arrivals[-1].p50
    fleet.take("trip", fixes[: len(fixes) // 2])
    later = fleet.estimate("trip", fixes[len(fixes) // 2 - 1].at).arrivals[-1].p50
    end = fixes[-1].at
    assert abs(later - end) < 0.6 * abs(early - end)


def test_before_anything_is_learned_the_estimate_says_that_it_is_a_guess():
    estimate = said(fleet_that_knows(), drive(), 10)
    assert estimate.method is Method.GUESS
    assert "no earlier trip" in estimate.reason
    assert len(estimate.arrivals) > 5


def test_history_narrows_the_band():
    guess = said(fleet_that_knows(), drive(), 10).arrivals[-1]
    known = said(fleet_that_knows(*week()), drive(), 10).arrivals[-1]
    assert known.p90 - known.p10 < 0.6 * (guess.p90 - guess.p10)


def test_the_service_of_each_stop_is_learned():
    short = said(fleet_that_knows(*week()), drive(), 10).arrivals[-1]
    long = said(fleet_that_knows(*week(service_s=600.0)), drive(service_s=600.0), 10).arrivals[-1]
    assert long.p50 - short.p50 == pytest.approx(540.0 * 9, rel=0.15)


def test_time_spent_at_a_stop_counts_towards_its_service():
    fleet = fleet_that_knows(*week(service_s=600.0))
    fixes = drive(service_s=600.0)
    stop = next(n for n, f in enumerate(fixes) if n > 5 and f[1:] == fixes[n - 1][1:])
    early = said(fleet, fixes, stop + 3)
    fleet.take("trip", fixes[: stop + 30])
    later = fleet.estimate("trip", fixes[stop + 29].at)
    assert later.arrivals[0].p50 == pytest.approx(early.arrivals[0].p50, abs=90.0)
    assert later.arrivals[0].p50 - later.made_at < 0.7 * (early.arrivals[0].p50 - early.made_at)


def test_a_stand_longer_than_any_before_moves_the_arrival_on():
    fleet = fleet_that_knows(*week())
    fixes = drive(waits_s=1800.0)
    estimate = said(fleet, fixes, 150)
    assert estimate.arrivals[0].eta > estimate.made_at + 60.0


def test_a_road_is_learned_from_the_trips_where_there_is_no_shape():
    fleet = fleet_that_knows(*week(), shape=())
    route = fleet.route("r")
    assert route.source == "learned"
    assert all(math.isfinite(grade.tolerance_m) for grade in route.grades)
    assert route.line.length == pytest.approx(fleet_that_knows().route("r").line.length, rel=0.02)


def test_a_trip_under_way_moves_to_the_road_that_another_trip_has_just_shown():
    fleet = fleet_that_knows(shape=())
    fixes = drive()
    first = said(fleet, fixes, 60)
    fleet.begin("other", "r", STARTS_AT - DAY_S)
    fleet.take("other", drive(start=STARTS_AT - DAY_S))
    fleet.finish("other")
    second = fleet.estimate("trip", fixes[59].at)
    assert first.method is Method.GUESS
    assert second.method is Method.HISTORY
    assert fleet.trips["trip"].track.route.source == "learned"


def test_under_lost_coverage_the_estimate_ages_and_says_so():
    fleet = fleet_that_knows(*week())
    fixes = drive()
    fresh = said(fleet, fixes, 60)
    aged = fleet.estimate("trip", fixes[59].at + 600.0)
    assert aged.method is Method.AGED
    assert aged.age_s == 600.0
    assert "600 s" in aged.reason
    assert all(a.eta > aged.made_at for a in aged.arrivals)
    assert aged.arrivals[-1].p90 - aged.arrivals[-1].p10 > fresh.arrivals[-1].p90 - fresh.arrivals[-1].p10


def test_off_the_route_the_way_back_is_counted_and_named():
    fleet = fleet_that_knows(*week())
    fixes = drive()
    on = said(fleet, fixes, 60)
    at = fixes[59].at
    fleet.take("trip", [Fix(at + 10.0 * n, fixes[59].lat + 0.0025 * n, fixes[59].lon) for n in range(1, 6)])
    off = fleet.estimate("trip", at + 50.0)
    assert off.method is Method.DETOUR
    assert off.arrivals[-1].eta > on.arrivals[-1].eta + 60.0


def test_a_stop_that_was_reached_is_no_longer_foretold():
    fleet = fleet_that_knows()
    fixes = drive()
    said(fleet, fixes, len(fixes))
    assert fleet.estimate("trip", fixes[-1].at).arrivals == []


def test_one_trip_with_a_breakdown_does_not_spoil_what_is_known():
    stuck = [f._replace(at=f.at + 3600.0) if n > 60 else f for n, f in enumerate(drive(start=STARTS_AT - DAY_S))]
    usual = said(fleet_that_knows(*week()), drive(), 10).arrivals[-1]
    after = said(fleet_that_knows(*week(), stuck), drive(), 10).arrivals[-1]
    assert after.p50 == pytest.approx(usual.p50, abs=240.0)


def test_late_fixes_leave_the_estimate_of_those_that_came_in_time():
    fixes = drive()[:80]
    in_time = said(fleet_that_knows(*week()), fixes, 80)
    fleet = fleet_that_knows(*week())
    fleet.begin("trip", "r", fixes[0].at, fixes[0].at)
    muddled = random.Random(7).sample(fixes, len(fixes))
    for fix in [*muddled, *muddled[:20]]:
        fleet.take("trip", [fix])
    assert fleet.estimate("trip", fixes[79].at) == in_time


ROUND = fleet_that_knows(drive(start=STARTS_AT - DAY_S))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda t, x, y: Fix(STARTS_AT + t, *point(x, y)),
            st.integers(0, 7200),
            st.floats(-2000, 11_000),
            st.floats(-2000, 2000),
        ),
        min_size=1,
        max_size=30,
    ),
    st.floats(0, 7200),
)
def test_an_estimate_is_finite_ordered_and_never_before_now(fixes, age_s):
    ROUND.begin("any", "r", fixes[0].at, STARTS_AT)
    ROUND.take("any", fixes)
    now = max(f.at for f in fixes) + age_s
    for a in ROUND.estimate("any", now).arrivals:
        assert all(math.isfinite(value) for value in a)
        assert now <= a.p10 <= a.eta <= a.p50 <= a.p90


def test_a_route_of_one_stop_and_one_that_ends_where_it_began_are_followed():
    fleet = fleet_that_knows()
    fleet.add_route("one", STOPS[3:4])
    fleet.add_route("loop", [*STOPS[:4], *STOPS[2::-1]])
    for route_id in ("one", "loop"):
        fleet.begin("trip", route_id, STARTS_AT)
        fleet.take("trip", drive()[:12])
        estimate = fleet.estimate("trip", STARTS_AT + 200.0)
        fleet.due_alerts("trip", estimate)
        assert estimate.arrivals
        fleet.finish("trip")


def test_what_is_remembered_is_bounded():
    fleet = fleet_that_knows()
    for n in range(70):
        fixes = drive(every_s=120.0, start=STARTS_AT + n * 3600.0)
        fleet.begin(f"t{n}", "r", fixes[0].at)
        fleet.take(f"t{n}", fixes)
        trip = fleet.trips.pop(f"t{n}")
        fleet.learn(f"t{n}", trip.track)
    profile = fleet.history.profile(fleet.route("r"), STARTS_AT + 71 * 3600.0)
    assert all(len(longer) <= 60 for longer in profile.longer.values())
    assert profile.trips <= 60.0
