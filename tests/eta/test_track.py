import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eta.engine.route import assembled, drawn
from eta.engine.track import Fix, Track
from eta.engine.visits import StopState
from tests.eta.roads import ROAD, STARTS_AT, STOPS, bend, drive, point

ROUTE = drawn("r", STOPS, ROAD)
fixes_anywhere = st.lists(
    st.builds(
        lambda t, x, y: Fix(STARTS_AT + t, *point(x, y)),
        st.integers(0, 3600),
        st.floats(-500, 9500),
        st.floats(-800, 800),
    ),
    max_size=40,
)


def followed(fixes, route=ROUTE):
    track = Track(route)
    for fix in fixes:
        track.add(fix)
    return track


def state(track):
    return (
        track.distance, track.place, track.next, track.at, track.fixes(), track.is_off_route, track.standing_s,
        [None if math.isnan(at) else at for at in track.crossed], track.visits.states, track.events,
    )  # fmt: skip


def test_a_trip_reaches_the_end_and_passes_every_boundary_in_order_of_time():
    track = followed(drive())
    assert track.distance == pytest.approx(ROUTE.line.length, abs=20.0)
    passed = [at for at in track.crossed if not math.isnan(at)]
    assert len(passed) >= len(track.crossed) - 2
    assert passed == sorted(passed)


def test_a_constant_speed_gives_crossings_as_far_apart_in_time_as_in_distance():
    track = followed(drive(service_s=0.0))
    a, b = ROUTE.arrivals[3], ROUTE.arrivals[7]
    assert track.crossed[b] - track.crossed[a] == pytest.approx(400.0, abs=15.0)


@settings(max_examples=150, deadline=None)
@given(fixes_anywhere)
def test_progress_never_goes_back_whatever_the_fixes(fixes):
    """But for a vehicle that is at its first stop and has been at no other: its round begins there."""
    track, furthest = Track(ROUTE), 0.0
    for fix in sorted({f.at: f for f in fixes}.values()):
        track.add(fix)
        if track.progress_m < furthest:
            assert track.progress_m == ROUTE.stop_at[0]
            assert track.visits.states[0] is StopState.ARRIVED
            assert set(track.visits.states[1:]) <= {StopState.AHEAD}
        furthest = track.progress_m


@settings(max_examples=100, deadline=None)
@given(fixes_anywhere, st.randoms(use_true_random=False))
def test_permuted_and_repeated_fixes_give_the_same_end_state(fixes, shuffler):
    muddled = [*fixes, *fixes[:10]]
    shuffler.shuffle(muddled)
    at_once = Track(ROUTE)
    at_once.absorb(fixes)
    assert state(followed(muddled)) == state(followed(fixes)) == state(at_once)


def test_a_buffered_batch_that_comes_late_leaves_the_state_of_one_that_came_in_time():
    fixes = drive()
    late, rest = fixes[40:80], fixes[:40] + fixes[80:]
    track = followed(rest)
    assert track.absorb(late) == 40
    assert state(track) == state(followed(fixes))


def test_a_real_trip_shuffled_ends_where_it_did():
    fixes = drive(every_s=30.0)
    shuffled = random.Random(4).sample(fixes, len(fixes))
    assert state(followed(shuffled)) == state(followed(fixes))


def test_a_known_fix_is_no_news():
    fixes = drive()
    track = followed(fixes)
    assert not track.add(fixes[10])


def test_positions_that_are_no_numbers_are_not_taken():
    track = followed(drive()[:5])
    assert not track.add(Fix(STARTS_AT + 500.0, math.nan, 9.5))
    assert len(track) == 5


def test_gps_wander_at_a_stand_moves_the_progress_by_metres_only():
    noise = random.Random(1)
    x, y = bend(2500.0)
    track = followed([Fix(STARTS_AT + n, *point(x + noise.gauss(0, 5), y + noise.gauss(0, 5))) for n in range(600)])
    assert track.distance == pytest.approx(ROUTE.line.along[-1] * 0.25, abs=60.0)


def test_leaving_the_route_is_noticed_within_half_a_minute_and_so_is_the_return():
    fixes = drive(service_s=0.0, every_s=10.0)
    aside = [Fix(f.at, f.lat + 0.003, f.lon) if 3000 < 10 * n * 10 < 6000 else f for n, f in enumerate(fixes)]
    track, noticed = Track(ROUTE), []
    for fix in aside:
        track.add(fix)
        if track.is_off_route:
            noticed.append(fix.at - STARTS_AT)
    assert 300.0 < noticed[0] <= 340.0
    assert noticed[-1] <= 610.0
    assert not track.is_off_route
    assert track.distance == pytest.approx(ROUTE.line.length, abs=20.0)


def test_one_stray_fix_is_no_detour():
    fixes = drive(service_s=0.0)
    stray = fixes[20]
    fixes[20] = stray._replace(lat=stray.lat + 0.01)
    track = followed(fixes[:21])
    assert not track.is_off_route


def test_a_gap_is_bridged():
    fixes = drive()
    track = followed([f for f in fixes if not 400.0 < f.at - STARTS_AT < 900.0])
    assert track.distance == pytest.approx(followed(fixes).distance)


def test_a_trip_that_is_joined_half_way_starts_there():
    fixes = drive(service_s=0.0)[50:]
    track = followed(fixes)
    assert track.crossed[ROUTE.arrivals[7]] > fixes[0].at
    assert math.isnan(track.crossed[ROUTE.arrivals[2]])


@pytest.mark.parametrize("due_from", [0, 1])
def test_a_truck_on_its_way_to_the_first_stop_along_the_road_of_later_ones_has_left_none_out(due_from):
    track = Track(ROUTE, due_from)
    for n, s in enumerate(range(4500, 1000 * due_from, -100)):
        track.add(Fix(STARTS_AT + 10.0 * n, *point(*bend(s))))
        away = math.dist(bend(s), bend(1000.0 * due_from))
        if away > STOPS[0].radius_m:
            assert track.approach_m == pytest.approx(away, abs=1.0)
            assert (track.progress_m, track.is_on_route) == (0.0, False)
            assert set(track.visits.states[:5]) == {StopState.AHEAD}
    at = track.at
    for n in range(1, 8):
        track.add(Fix(at + 10.0 * n, *point(*bend(1000.0 * due_from))))
    assert track.visits.states[due_from] is StopState.ARRIVED
    assert set(track.visits.states[due_from + 1 :]) == {StopState.AHEAD}
    for n in range(8, 40):
        track.add(Fix(at + 10.0 * n, *point(*bend(1000.0 * due_from + 100.0 * (n - 8)))))
    assert track.is_on_route
    assert track.progress_m == pytest.approx(1000.0 * due_from + 3100.0, rel=0.1)


def test_who_drives_on_or_stops_at_a_later_stop_has_left_the_ones_before_out():
    driving = followed([Fix(STARTS_AT + 10.0 * n, *point(*bend(3500.0 + 100.0 * n))) for n in range(14)])
    assert driving.is_bound_for_first is False
    assert driving.visits.states[1:4] == [StopState.SKIPPED] * 3
    standing = followed([Fix(STARTS_AT + 10.0 * n, *point(*bend(4000.0))) for n in range(5)])
    assert standing.visits.states[4] is StopState.ARRIVED
    assert standing.is_on_route
    just_seen = followed([Fix(STARTS_AT + 10.0 * n, *point(*bend(3500.0 + 100.0 * n))) for n in range(4)])
    assert just_seen.is_bound_for_first
    assert StopState.SKIPPED not in just_seen.visits.states


def test_the_stops_alone_are_enough_to_follow_a_trip():
    straight = assembled("r", STOPS, [None] * (len(STOPS) - 1))
    known, blind = followed(drive()), followed(drive(), straight)
    for stop in range(1, 10):
        a, b = known.crossed[ROUTE.arrivals[stop]], blind.crossed[straight.arrivals[stop]]
        assert a == pytest.approx(b, abs=30.0)


def test_fixes_on_another_snapshot_are_as_if_it_had_always_been_that_one():
    straight = assembled("r", STOPS, [None] * (len(STOPS) - 1))
    moved = followed(drive(), straight).on(ROUTE)
    assert moved.distance == pytest.approx(followed(drive()).distance, abs=0.01)


def test_a_device_that_sleeps_while_it_stands_is_moving_when_it_wakes():
    moving = [Fix(STARTS_AT + n, *point(*bend(10.0 * n))) for n in range(60)]
    woken = followed([*moving, Fix(moving[-1].at + 120.0, moving[-1].lat, moving[-1].lon)])
    awake = followed([*moving, *(Fix(moving[-1].at + n, moving[-1].lat, moving[-1].lon) for n in range(1, 120))])
    assert woken.standing_s == 0.0
    assert awake.standing_s > 100.0
