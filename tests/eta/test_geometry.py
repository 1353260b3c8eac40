import math

import pytest

from eta.engine.geometry import Line, Plane, outside_m, simplified


def test_a_degree_of_latitude_is_111_km_and_one_of_longitude_shrinks_with_the_cosine():
    x, y = Plane.around(60.0, 25.0).xy(61.0, 26.0)
    assert y == pytest.approx(111_195.0)
    assert x == pytest.approx(111_195.0 * math.cos(math.radians(60.0)))


def test_a_plane_across_the_date_line_has_no_jump():
    x, _ = Plane.around(0.0, 179.99).xy(0.0, -179.99)
    assert x == pytest.approx(0.02 * 111_195.0, rel=1e-6)


def test_metres_lead_back_to_the_degrees_they_came_from():
    plane = Plane.around(47.0, 9.5)
    assert plane.degrees(*plane.xy(47.02, 9.47)) == pytest.approx((47.02, 9.47))


def test_a_line_counts_its_length_and_leaves_out_repeated_points():
    line = Line([(0, 0), (0, 0), (30, 40), (30, 140)])
    assert line.along == [0.0, 50.0, 150.0]


def test_the_nearest_place_of_each_segment_is_found():
    line = Line([(0, 0), (100, 0), (100, 100)])
    assert line.near(40.0, 30.0, 0, 1) == [(30.0, 40.0), (pytest.approx(60.0), pytest.approx(130.0))]


def test_a_straight_road_with_many_points_becomes_its_two_ends():
    assert simplified([(x, 0.0) for x in range(100)], 3.0) == [(0, 0.0), (99, 0.0)]


def test_a_corner_survives_simplification():
    assert (50.0, 0.0) in simplified([(0.0, 0.0), (25.0, 1.0), (50.0, 0.0), (50.0, 80.0)], 3.0)


def test_how_far_outside_of_an_area_a_place_lies():
    area = ((0.0, 0.0), (100.0, 0.0), (100.0, 50.0), (50.0, 25.0), (0.0, 50.0))
    for place, outside in (((10.0, 10.0), 0.0), ((50.0, 24.0), 0.0), ((110.0, 20.0), 10.0), ((-3.0, -4.0), 5.0)):
        assert outside_m(area, *place) == pytest.approx(outside)
    assert 0.0 < outside_m(area, 50.0, 40.0) < 15.0
