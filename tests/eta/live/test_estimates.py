"""Arrival times as they are told: at once, honest about what they rest on, kept, and the same after a crash."""

import itertools
import math

import pytest

from core.errors import MilkrunError
from eta.routing.engines.straight import straight
from eta.routing.model import Engine, Leg, Purpose, Snapshot
from eta.trips.model import TripState
from tests.eta.live.test_states import fixes
from tests.eta.roads import ROAD, STARTS_AT, bend, point

pytestmark = [pytest.mark.db, pytest.mark.redis]


class Drawn:
    """A routing engine by hand: straight roads with many points, or none while it is `down`."""

    def __init__(self) -> None:
        self.asked: list[tuple[Purpose, int]] = []
        self.is_down = False
        self.raises = False
        self.roadless = frozenset[int]()

    async def snapshot(self, asker, points, purpose=Purpose.SNAPSHOT):
        self.asked.append((purpose, len(points)))
        if self.raises:
            raise MilkrunError("wrong")
        engine = Engine.STRAIGHT if self.is_down else Engine.OSRM_LOCAL
        pairs = list(itertools.pairwise(points))
        legs = tuple(straight(*pair) if n in self.roadless else _leg(*pair) for n, pair in enumerate(pairs))
        engines = tuple(Engine.STRAIGHT if n in self.roadless else engine for n in range(len(legs)))
        return Snapshot(legs, engines, made_at=0.0, calls=1, reason="", roadless=self.roadless)


def _leg(a, b):
    length = 1000.0 * max(0.1, math.dist(a, b) * 100.0)
    steps = [n / 20 for n in range(21)]
    points = tuple((a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t) for t in steps)
    return Leg(points, tuple(length * t for t in steps), tuple(length * t / 10.0 for t in steps))


async def settled(morning):
    """Roads that were asked for are drawn."""
    while morning.follower._drawing:
        await next(iter(morning.follower._drawing))


async def test_every_fix_of_a_trip_brings_arrival_times_of_the_stops_ahead(morning):
    trip = await morning.round(shape=ROAD)
    way = fixes()
    await morning.drive(way[:60])
    last = morning.estimates[-1]
    assert (last.trip, last.device) == (trip.id, "truck-1")
    assert len(morning.estimates) == 60
    assert [arrival.stop for arrival in last.arrivals] == [stop.id for stop in (await morning.trip(trip)).ahead]
    for arrival in last.arrivals:
        assert last.made_at <= arrival.p10 <= arrival.eta <= arrival.p50 <= arrival.p90


async def test_progress_never_goes_back_and_no_arrival_is_before_now(morning):
    await morning.round(shape=ROAD)
    await morning.drive(fixes())
    far = [each.progress_m for each in morning.estimates]
    # At its depot a truck may still stand a little this way or that.
    assert far == sorted(far)
    for each in morning.estimates:
        for a in each.arrivals:
            assert all(math.isfinite(time) and time >= each.made_at for time in (a.eta, a.p10, a.p50, a.p90))


async def test_the_newest_estimate_is_kept_and_read_again(morning):
    trip = await morning.round(shape=ROAD)
    await morning.drive(fixes()[:60])
    await morning.follower.pass_time()
    last = morning.estimates[-1]
    ((made_at, method, arrivals),) = morning.rows(
        "SELECT extract(epoch FROM made_at)::float8, method, arrivals FROM trip_estimate"
    )
    assert round(made_at * 1000) == last.made_at
    assert (method, [each["eta"] for each in arrivals]) == (last.method, [a.eta for a in last.arrivals])
    found = await morning.trips.estimates(trip.tenant, [trip.id])
    assert set(found[trip.id].arrivals) == {a.stop for a in last.arrivals}


async def test_a_worker_that_takes_over_says_what_the_first_one_would_have_said(morning):
    await morning.round(shape=ROAD)
    way = fixes()
    await morning.drive(way[:70])
    said = morning.estimates[-1]
    await morning.hear(way[69:70], by=morning.worker())
    assert morning.estimates[-1] == said


async def test_without_coverage_estimates_age_and_say_so_and_recover(morning):
    await morning.round(shape=ROAD)
    way = fixes()
    await morning.drive(way[:60])
    before = morning.estimates[-1]
    for _ in range(4):
        morning.later(31.0)
        await morning.follower.pass_time()
    aged = morning.estimates[-1]
    assert len(morning.estimates) == 64
    assert (aged.method, aged.age_s > 90.0) == ("aged", True)
    assert "no position for" in aged.reason
    assert all(a.p90 > was.p90 for a, was in zip(aged.arrivals, before.arrivals, strict=True))
    assert all(a.eta >= aged.made_at for a in aged.arrivals)
    await morning.hear(way[72:73])
    assert morning.estimates[-1].method != "aged"


async def test_after_hours_of_silence_nothing_more_is_said(morning):
    await morning.round(shape=ROAD)
    await morning.drive(fixes()[:60])
    morning.later(7 * 3600.0)
    count = len(morning.estimates)
    await morning.follower.pass_time()
    assert len(morning.estimates) == count


async def test_a_truck_far_from_its_first_stop_is_not_taken_to_be_there(morning):
    await morning.round()
    far = [point(-20_000.0 + 100.0 * n, 3000.0) for n in range(3)]
    for n, (lat, lon) in enumerate(far):
        await morning.hear([fixes()[0]._replace(at=STARTS_AT + n * 10.0, lat=lat, lon=lon)])
    said = morning.estimates[-1]
    assert said.method == "approach"
    assert "from the first stop" in said.reason
    assert said.arrivals[0].p50 - said.made_at > 20 * 60 * 1000
    assert not said.is_on_route


async def test_a_road_is_asked_for_once_and_kept(morning):
    morning.drawer = drawer = Drawn()
    morning.follower = morning.worker()
    trip = await morning.round()
    await morning.hear(fixes()[:1])
    await settled(morning)
    assert drawer.asked == [(Purpose.SNAPSHOT, 6)]
    assert morning.rows("SELECT source, times FROM trip_road") == [("osrm-local", 1)]
    morning.follower = morning.worker()
    await morning.drive(fixes()[1:5])
    await settled(morning)
    assert len(drawer.asked) == 1
    assert morning.follower._following["acme:truck-1"].track.route.source == "shape"
    assert trip.id == morning.estimates[-1].trip


async def test_a_stop_off_the_map_is_followed_on_a_straight_line_and_the_others_on_their_road(morning):
    morning.drawer = drawer = Drawn()
    drawer.roadless = frozenset({1, 2})
    morning.follower = morning.worker()
    await morning.round()
    way = fixes()
    await morning.hear(way[:1])
    await settled(morning)
    assert morning.rows("SELECT source, guessed FROM trip_road") == [("osrm-local", [20, 21])]
    other = morning.worker()
    for fix in way[1:60]:
        await morning.hear([fix])
        first = morning.estimates[-1]
        await morning.hear([fix], by=other)
        assert first.arrivals == morning.estimates[-1].arrivals
    assert len(drawer.asked) == 1
    for worker in (morning.follower, other):
        route = worker._following["acme:truck-1"].track.route
        vague = [grade.tolerance_m == math.inf for grade in route.grades]
        assert (vague[:3], vague.count(True)) == ([False, True, True], 2)


async def test_with_every_engine_down_estimates_go_on_labelled_and_a_road_is_taken_when_there_is_one(morning):
    morning.drawer = drawer = Drawn()
    drawer.is_down = True
    morning.follower = morning.worker()
    await morning.round()
    way = fixes()
    for fix in way[:30]:
        await morning.hear([fix])
        await settled(morning)
    assert morning.estimates[-1].method == "guess"
    assert morning.estimates[-1].arrivals
    assert morning.rows("SELECT count(*) FROM trip_road") == [(0,)]
    drawer.is_down, drawer.raises = False, True
    for fix in way[30:40]:
        await morning.hear([fix])
        await settled(morning)
    drawer.raises = False
    for fix in way[40:50]:
        await morning.hear([fix])
        await settled(morning)
    assert morning.rows("SELECT count(*) FROM trip_road") == [(1,)]
    assert len(drawer.asked) < 12, "a minute lies between two tries"


async def test_off_the_road_is_noticed_within_half_a_minute_and_another_road_taken(morning):
    morning.drawer = drawer = Drawn()
    morning.follower = morning.worker()
    trip = await morning.round(shape=ROAD)
    way = fixes(every_s=5.0)
    n = next(i for i, fix in enumerate(way) if fix.at > STARTS_AT + 300.0)
    await morning.drive(way[:n])
    assert morning.estimates[-1].is_on_route
    here = way[n - 1]
    s = min(range(0, 10_001, 10), key=lambda s: math.dist(point(*bend(s)), (here.lat, here.lon)))
    left = None
    for step in range(1, 30):
        x, y = bend(s)
        lat, lon = point(x + 20.0 * step, y + 40.0 * step)
        at = here.at + 5.0 * step
        await morning.hear([here._replace(at=at, lat=lat, lon=lon)])
        await settled(morning)
        if left is None and 40.0 * step > 60.0:
            left = at
        if morning.estimates[-1].method == "detour":
            assert at - left <= 30.0
            break
    else:
        pytest.fail("the detour was not noticed")
    await morning.hear([here._replace(at=at + 5.0, lat=lat, lon=lon)])
    await settled(morning)
    assert drawer.asked[-1][0] is Purpose.REROUTE
    await morning.hear([here._replace(at=at + 10.0, lat=lat, lon=lon)])
    assert morning.estimates[-1].is_on_route
    assert morning.rows("SELECT source, times FROM trip_road") == [("osrm-local", 2)]
    assert (await morning.trip(trip)).state is TripState.UNDER_WAY
    # And the same again after a crash.
    said = morning.estimates[-1]
    await morning.hear([here._replace(at=at + 10.0, lat=lat, lon=lon)], by=morning.worker())
    assert morning.estimates[-1] == said
