import pytest

from eta.engine.route import drawn
from eta.engine.track import Fix, Track
from eta.engine.visits import StopState
from tests.eta.roads import ROAD, STARTS_AT, STOPS, bend, drive, point

ROUTE = drawn("r", STOPS, ROAD)


def followed(fixes):
    track = Track(ROUTE)
    for fix in fixes:
        track.add(fix)
    return track


def test_each_stop_of_a_round_is_reached_and_left_once():
    track = followed(drive(waits_s=60.0))
    arrived = [e.stop for e in track.events if e.state is StopState.ARRIVED]
    served = [e.stop for e in track.events if e.state is StopState.SERVED]
    assert arrived == sorted(set(arrived)) == list(range(11))
    assert served == list(range(10))
    assert not any(e.is_out_of_order for e in track.events)


def test_the_time_of_arrival_is_that_of_the_entry_and_the_service_lasts_until_the_exit():
    track = followed(drive(service_s=300.0))
    visits = track.visits
    stood = visits.departed_at[4] - visits.arrived_at[4]
    assert 300.0 <= stood <= 340.0


def test_driving_through_without_a_stop_is_passing():
    track = followed(drive(skipped=[4], every_s=2.0))
    assert track.visits.states[4] is StopState.PASSED
    assert track.visits.states[5] is StopState.SERVED


def test_a_stop_the_truck_never_came_near_is_skipped():
    fixes = [Fix(f.at, f.lat + 0.002, f.lon) if 3300 < (f.lon - 9.5) * 75_830 < 3900 else f for f in drive(skipped=[4])]
    track = followed(fixes)
    assert track.visits.states[4] is StopState.SKIPPED


def test_a_skipped_stop_that_is_visited_after_all_counts_out_of_order():
    fixes = [Fix(f.at, f.lat + 0.002, f.lon) if 3300 < (f.lon - 9.5) * 75_830 < 3900 else f for f in drive(skipped=[4])]
    back = [Fix(fixes[-1].at + 300.0 + 10.0 * n, STOPS[4].lat, STOPS[4].lon) for n in range(6)]
    track = followed([*fixes, *back])
    assert track.visits.states[4] is StopState.ARRIVED
    assert next(e for e in track.events if e.stop == 4 and e.state is StopState.ARRIVED).is_out_of_order


@pytest.mark.parametrize("wander_m", [40.0, 60.0])
def test_wandering_across_the_radius_is_one_visit(wander_m):
    x, y = bend(5000.0)
    fixes = [Fix(STARTS_AT + 20.0 * n, *point(x, y + (wander_m if n % 2 else 0.0))) for n in range(30)]
    track = followed(fixes)
    assert [e.state for e in track.events if e.stop == 5] == [StopState.ARRIVED]


def test_a_polygon_is_the_area_of_a_stop_and_not_the_circle_around_it():
    stop = STOPS[4]
    lat, lon = stop.lat, stop.lon

    def area(north, south):
        return (
            (lat + north, lon - 0.002),
            (lat + north, lon + 0.002),
            (lat + south, lon + 0.002),
            (lat + south, lon - 0.002),
        )

    on_the_road, beside_it = area(0.0003, -0.0003), area(0.0013, 0.0006)
    for polygon, state in ((on_the_road, StopState.SERVED), (beside_it, StopState.SKIPPED)):
        stops = [s._replace(polygon=polygon, radius_m=300.0) if s is stop else s for s in STOPS]
        track = Track(drawn("r", stops, ROAD))
        for fix in drive(waits_s=60.0):
            track.add(fix)
        assert track.visits.states[4] is state
        assert track.visits.states[5] is StopState.SERVED
