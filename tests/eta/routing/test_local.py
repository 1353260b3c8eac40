"""OSRM in this process: graphs built once, on the made-up district and on a real country."""

import asyncio
import math
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from core.settings import MapsSettings
from eta.engine.route import Route, Stop, drawn
from eta.engine.track import Fix, Track
from eta.routing.checks import checked_legs
from eta.routing.engines.graph import build
from eta.routing.engines.local import LocalOsrm
from eta.routing.errors import MapUnbuildable, NoRoad, NotOffered, NotReady
from eta.routing.ladder import Ladder
from eta.routing.model import Engine, LatLon, Leg
from eta.routing.process import opened
from sim.district import District, generate, write_osm
from tests.eta.routing.conftest import ASKER

COUNTRY = Path(__file__).parents[4] / "shared/data/osm/liechtenstein.osm.pbf"
VADUZ, RUGGELL, TRIESEN = (47.1397, 9.5219), (47.2390, 9.5260), (47.1050, 9.5270)


@pytest.fixture(scope="module")
def district() -> District:
    return generate(7)


@pytest.fixture(scope="module")
def osm_file(district, tmp_path_factory) -> Path:
    return write_osm(district, tmp_path_factory.mktemp("osm") / "district.osm")


@pytest.fixture(scope="module")
def graphs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture
def country() -> Path:
    if not COUNTRY.is_file():
        pytest.skip("NOT PROVEN: OSRM on a real country, since no extract lies in shared/data/osm beside this checkout")
    return COUNTRY


async def ready(osm_file: Path, graphs: Path) -> LocalOsrm:
    engine = LocalOsrm(osm_file, graphs)
    await engine.open()
    return engine


def test_the_same_file_is_built_once_and_a_changed_one_anew(osm_file, tmp_path):
    graphs = tmp_path / "graphs"
    first = build(osm_file, graphs)
    made_at = first.with_name("roads.osrm.mldgr").stat().st_mtime_ns
    copied = shutil.copy(osm_file, tmp_path / "copy.osm")
    assert build(tmp_path / "copy.osm", graphs) == first
    assert first.with_name("roads.osrm.mldgr").stat().st_mtime_ns == made_at
    write_osm(generate(8), tmp_path / "copy.osm")
    assert build(copied, graphs) != first
    assert len(list(graphs.iterdir())) == 2


def test_a_build_that_died_half_way_is_made_again(osm_file, tmp_path):
    graph = build(osm_file, tmp_path)
    (graph.parent / "done").unlink()
    graph.with_name("roads.osrm.mldgr").unlink()
    assert build(osm_file, tmp_path) == graph
    assert graph.with_name("roads.osrm.mldgr").exists()


def test_a_file_that_is_no_map_is_refused_with_the_engines_words(tmp_path):
    broken = tmp_path / "broken.osm"
    broken.write_text("<osm")
    with pytest.raises(MapUnbuildable, match=r"osrm-extract ended with .*XML parsing error"):
        build(broken, tmp_path / "graphs")
    assert list((tmp_path / "graphs").iterdir()) == []


def test_a_folder_whose_name_the_engine_would_cut_is_refused(osm_file, tmp_path):
    with pytest.raises(MapUnbuildable, match=r"no '\.osm' or '\.osrm' in its path"):
        build(osm_file, tmp_path / "country.osm.graphs")


@pytest.mark.parametrize(("name", "words"), [("map.txt", "ends in one of"), ("gone.osm.pbf", "no such file")])
def test_a_wrong_or_missing_file_is_refused(tmp_path, name, words):
    with pytest.raises(MapUnbuildable, match=words):
        build(tmp_path / name, tmp_path)


async def test_a_round_of_the_district_is_one_call_and_every_leg_adds_up(district, osm_file, graphs):
    engine = await ready(osm_file, graphs)
    places = [(place.lat, place.lon) for place in (district.depot, *district.farms[:12], district.depot)]
    legs = await engine.route(places)
    checked_legs(places, legs)
    assert all(a.points[-1] == b.points[0] for a, b in pairwise(legs))
    assert all(4 < leg.distance_m / leg.duration_s < 25 for leg in legs)
    engine.close()


async def test_two_stops_at_one_place_are_a_leg_of_nothing(district, osm_file, graphs):
    engine = await ready(osm_file, graphs)
    farm = (district.farms[0].lat, district.farms[0].lon)
    legs = await engine.route([farm, farm, (district.depot.lat, district.depot.lon)])
    assert (legs[0].distance_m, legs[0].duration_s) == (0.0, 0.0)
    checked_legs([farm, farm, (district.depot.lat, district.depot.lon)], legs)
    engine.close()


async def test_the_engines_times_are_what_an_unknown_road_is_expected_to_take(district, osm_file, graphs):
    engine = await ready(osm_file, graphs)
    places = [(place.lat, place.lon) for place in (district.depot, *district.farms[:8])]
    legs = await engine.route(places)
    stops = [Stop(str(n), lat, lon, 300.0) for n, (lat, lon) in enumerate(places)]
    shape = [legs[0].points[0], *(point for leg in legs for point in leg.points[1:])]
    times, before = [0.0], 0.0
    for leg in legs:
        times += [before + seconds for seconds in leg.along_s[1:]]
        before += leg.duration_s
    told, guessed = drawn("r", stops, shape, times), drawn("r", stops, shape)
    assert told.bounds == guessed.bounds
    driven = sum(told.priors_s) - 300.0 * len(stops)
    assert driven == pytest.approx(before, rel=0.03)
    assert min(told.priors_s) >= 0.0
    assert sum(guessed.priors_s) - 300.0 * len(stops) != pytest.approx(before, rel=0.03)
    engine.close()


async def test_a_stop_off_the_map_leaves_the_rest_of_the_trip_on_its_roads(district, osm_file, graphs, operator, clock):
    engine = await ready(osm_file, graphs)
    ladder = Ladder([engine], operator, MapsSettings(), clock)
    farms = [(place.lat, place.lon) for place in district.farms[:4]]
    island = (max(lat for lat, _ in farms) + 0.3, farms[0][1])
    places = [(district.depot.lat, district.depot.lon), *farms[:2], island, *farms[2:]]
    found = await ladder.snapshot(ASKER, places)
    map_, line = Engine.OSRM_LOCAL, Engine.STRAIGHT
    assert found.engines == (map_, map_, line, line, map_)
    assert (found.engine, found.drawn_by, found.roadless) == (line, map_, {2, 3})
    to_island, from_island = found.guessed
    assert found.shape[to_island + 1] == found.shape[from_island] == island
    assert len(found.shape) == len(found.shape_s)
    again = await ladder.snapshot(ASKER, places)
    assert (again.calls, again.roadless, again.guessed) == (0, found.roadless, found.guessed)
    assert sum(again.shape, ()) == pytest.approx(sum(found.shape, ()), abs=1e-6)

    route = drawn(
        "r", [Stop(str(n), *place) for n, place in enumerate(places)], found.shape, found.shape_s, found.guessed
    )
    vague = [grade.tolerance_m == math.inf for grade in route.grades]
    assert vague.count(True) == 2
    assert list(route.stop_at) == sorted(route.stop_at)
    assert route.stop_at[3] == pytest.approx(route.line.along[vague.index(True) + 1])
    assert min(route.priors_s) >= 0.0
    # Half a kilometre beside the straight line nobody is off the route; half a kilometre beside a road he is.
    assert not _is_off(route, found.legs[:2], (farms[1], island))
    assert _is_off(route, found.legs[:1], (farms[0], farms[1]))
    engine.close()


def _is_off(route: Route, legs: Sequence[Leg], chord: tuple[LatLon, LatLon]) -> bool:
    """Whether a truck that drove these legs, and then on some way beside the straight line, has left its route."""
    track, at = Track(route), 0.0
    for point in (point for leg in legs for point in leg.points):
        track.add(Fix(at := at + 3.0, *point))
    (lat, lon), (to_lat, to_lon) = chord
    for n in range(1, 30):
        beside = (lat + (to_lat - lat) * n / 200 + 0.0045, lon + (to_lon - lon) * n / 200 + 0.0065)
        track.add(Fix(at := at + 10.0, *beside))
    return track.is_off_route


async def test_a_map_with_no_road_at_all_draws_none(district, osm_file, graphs, operator, clock):
    engine = await ready(osm_file, graphs)
    ladder = Ladder([engine], operator, MapsSettings(), clock)
    found = await ladder.snapshot(ASKER, [(10.0, 10.0), (10.1, 10.1), (10.2, 10.0)])
    assert (found.shape, found.guessed, found.roadless) == ((), (), {0, 1})
    engine.close()


async def test_the_event_loop_goes_on_while_a_graph_is_built_and_asked(district, osm_file, tmp_path):
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    heart = asyncio.create_task(beat())
    engine = LocalOsrm(osm_file, tmp_path)
    with pytest.raises(NotReady, match="is being built"):
        await engine.nearest((47.0, 9.0))
    await engine.open()
    assert beats > 10
    heart.cancel()
    engine.close()


async def test_a_real_country_is_driven_through(country, graphs):
    engine = await ready(country, graphs)
    legs = await engine.route([VADUZ, RUGGELL, TRIESEN])
    checked_legs([VADUZ, RUGGELL, TRIESEN], legs)
    assert [10_000 < leg.distance_m < 22_000 for leg in legs] == [True, True]
    assert [600 < leg.duration_s < 2400 for leg in legs] == [True, True]
    nearest = await engine.nearest(VADUZ)
    assert nearest.away_m < 50
    engine.close()


async def test_a_place_off_the_map_has_no_road_and_a_map_has_no_traffic(country, graphs):
    engine = await ready(country, graphs)
    with pytest.raises(NoRoad, match=r"0\.00000,0\.00000 is \d+ m from the nearest road; allowed is 500 m"):
        await engine.route([VADUZ, (0.0, 0.0)])
    with pytest.raises(NoRoad):
        await engine.nearest((0.0, 0.0))
    with pytest.raises(NotOffered):
        await engine.traffic_s([VADUZ, RUGGELL])
    engine.close()


async def test_a_ladder_with_a_map_file_answers_at_once_and_by_the_map_when_it_is_ready(
    osm_file, district, operator, clock, tmp_path
):
    settings = MapsSettings(osm_file=osm_file, folder=tmp_path)
    places = [(place.lat, place.lon) for place in (district.depot, *district.farms[:3])]
    async with opened(operator, settings, clock) as ladder, asyncio.timeout(60):
        first = await ladder.snapshot(ASKER, places)
        assert first.engine is Engine.STRAIGHT
        assert "the map is being built" in first.reason
        # However often it is asked meanwhile, none of it counts against the trip's budget.
        while (await ladder.snapshot(ASKER, places)).engine is not Engine.OSRM_LOCAL:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    async with opened(operator, settings, clock) as ladder:
        kept = await ladder.snapshot(ASKER, places)
    assert (kept.engine, kept.calls) == (Engine.OSRM_LOCAL, 0)


async def test_a_map_that_cannot_be_used_leaves_the_rest_of_the_ladder(operator, clock, tmp_path):
    broken = tmp_path / "broken.osm"
    broken.write_text("<osm")
    engine = await ready(broken, tmp_path / "graphs")
    snapshot = await Ladder([engine], operator, MapsSettings(), clock).snapshot(ASKER, [VADUZ, RUGGELL])
    assert snapshot.engine is Engine.STRAIGHT
    assert "the map cannot be used: osrm-extract ended with" in snapshot.reason
    engine.close()
