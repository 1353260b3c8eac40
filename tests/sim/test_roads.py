from itertools import pairwise

import pytest

from eta.routing.engines.graph import build
from sim.journey import distance_m
from sim.roads import NoRoute, Router


def test_every_farm_is_reached_from_the_depot_and_the_other_way(district, router):
    depot = (district.depot.lat, district.depot.lon)
    for farm in district.farms:
        there, back = router.route([depot, (farm.lat, farm.lon), depot])
        for leg, start, end in ((there, depot, (farm.lat, farm.lon)), (back, (farm.lat, farm.lon), depot)):
            assert distance_m(leg.points[0], start) < 2
            assert distance_m(leg.points[-1], end) < 2
            assert distance_m(start, end) <= leg.distance_m < 60_000
            assert 4 < leg.distance_m / leg.duration_s < 25


def test_a_leg_has_one_length_and_one_time_for_each_segment(district, router):
    places = (district.depot, *district.farms[:10])
    for leg in router.route([(place.lat, place.lon) for place in places]):
        assert len(leg.points) == len(leg.distances_m) + 1 == len(leg.durations_s) + 1
        assert sum(leg.distances_m) == pytest.approx(leg.distance_m, rel=0.01)
        assert sum(leg.durations_s) <= leg.duration_s + 1
        for (a, b), metres in zip(pairwise(leg.points), leg.distances_m, strict=True):
            assert metres == pytest.approx(distance_m(a, b), rel=0.02, abs=0.5)


def test_the_way_follows_roads_of_the_district(district, router):
    leg = router.route([(farm.lat, farm.lon) for farm in (district.farms[0], district.farms[30])])[0]
    assert len(leg.points) > 20
    # The engine keeps six decimals of the file's seven: a tenth of a metre.
    assert max(min(distance_m(point, node) for node in district.nodes) for point in leg.points[1:-1]) < 0.15


def test_the_table_agrees_with_the_routes(district, router):
    points = [(place.lat, place.lon) for place in (district.depot, *district.farms[:5])]
    table = router.durations_s(points)
    assert [table[i][i] for i in range(6)] == [0.0] * 6
    for (i, a), (j, b) in pairwise(enumerate(points)):
        assert table[i][j] == pytest.approx(router.route([a, b])[0].duration_s, abs=1)


def test_a_point_far_from_any_road_has_no_route(district, router):
    with pytest.raises(NoRoute, match=r"0\.00000,0\.00000 is \d+ m from the nearest road; allowed is 500 m"):
        router.route([(0.0, 0.0), (district.depot.lat, district.depot.lon)])


def test_a_real_extract_routes_too(shared_data, graphs):
    router = Router(build(shared_data / "osm" / "liechtenstein.osm.pbf", graphs))
    vaduz, ruggell, triesen = (47.1397, 9.5219), (47.2390, 9.5260), (47.1050, 9.5270)
    legs = router.route([vaduz, ruggell, triesen])
    assert [10_000 < leg.distance_m < 22_000 for leg in legs] == [True, True]
    assert all(len(leg.points) == len(leg.distances_m) + 1 for leg in legs)
