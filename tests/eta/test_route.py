import pytest

from eta.engine.route import Path, Stop, assembled, drawn
from tests.eta.roads import ROAD, STOPS, point


def test_stops_lie_along_the_shape_in_driving_order():
    route = drawn("r", STOPS, ROAD)
    assert list(route.stop_at) == sorted(route.stop_at)
    assert route.stop_at[-1] == pytest.approx(route.line.length, abs=5.0)


def test_a_road_driven_out_and_back_passes_its_stops_on_the_way_they_are_served():
    out = [point(x, 0.0) for x in range(0, 3001, 100)]
    stops = [Stop("a", *point(0, 0)), Stop("b", *point(2000, 5)), Stop("c", *point(1000, 5))]
    assert drawn("r", stops, [*out, *reversed(out)]).stop_at == pytest.approx((0.0, 2000.0, 5000.0), abs=1.0)


def test_a_stop_far_from_the_shape_does_not_break_the_order():
    stops = [STOPS[0], Stop("lost", *point(500.0, 5000.0)), STOPS[2]]
    at = drawn("r", stops, ROAD).stop_at
    assert at[0] <= at[1] <= at[2]


def test_cells_cover_the_route_from_the_first_stop_to_the_last_without_overlap():
    route = drawn("r", STOPS, ROAD)
    assert list(route.bounds) == sorted(route.bounds)
    assert len(route.keys) == len(route.bounds) == len(route.priors_s)
    assert [route.keys[b] for b in route.arrivals] == [(stop.stop_id, "", 0) for stop in STOPS]


def test_cells_keep_their_names_when_the_road_becomes_known():
    paths = [Path((point(0, 0), point(500, 300), point(*[900.0, 247.0])), 200.0), *[None] * (len(STOPS) - 2)]
    assert (
        assembled("r", STOPS, [None] * (len(STOPS) - 1)).keys
        == assembled("r", STOPS, paths).keys
        == drawn("r", STOPS, ROAD).keys
    )


def test_a_leg_nobody_has_driven_is_straight_and_knows_no_off_route():
    route = assembled("r", STOPS, [None] * (len(STOPS) - 1))
    assert route.source == "stops"
    assert all(grade.tolerance_m == float("inf") for grade in route.grades)


def test_a_planned_service_time_is_the_guess_until_something_was_learned():
    stops = [stop._replace(planned_service_s=600.0) for stop in STOPS]
    route = drawn("r", stops, ROAD)
    assert route.priors_s[route.arrivals[3]] > 600.0


def test_stops_at_one_place_are_no_error():
    stops = [STOPS[0], STOPS[1], STOPS[1]._replace(stop_id="twin"), STOPS[2]]
    route = drawn("r", stops, ROAD)
    assert list(route.bounds) == sorted(route.bounds)
