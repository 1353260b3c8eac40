"""Engines that are down, slow, wrong, over budget and over quota: the trip goes on, labelled, and they come back."""

import asyncio

import pytest

from core.db import Database
from core.settings import MapsSettings
from core.tenancy import tenant_id
from eta.routing.checks import InvalidPlaces
from eta.routing.ladder import Ladder
from eta.routing.model import Asker, Engine, Purpose
from tests.eta.routing.conftest import ASKER

STOPS = [(47.1, 9.5), (47.12, 9.51), (47.15, 9.53), (47.2, 9.5)]
OTHERS = [(46.1, 9.5), (46.12, 9.51)]
BAD = ["slow", "garbage", "negative", "empty", "elsewhere", "short", "nan", "broken", "hang_up"]


async def rows(operator: Database, query: str) -> list[dict]:
    async with operator.unscoped(reason="the test looks") as tx:
        return await tx.all(query)


async def test_a_road_is_asked_once_and_then_kept(ladder_of, osrm, operator):
    ladder = ladder_of()
    asked = await ladder.snapshot(ASKER, STOPS)
    again = await ladder.snapshot(ASKER, STOPS)
    assert (asked.engine, asked.calls, asked.reason) == (Engine.OSRM_HTTP, 1, "")
    assert (again.engine, again.calls, again.reason) == (Engine.OSRM_HTTP, 0, "")
    assert len(osrm.asked) == 1
    for kept, fresh in zip(again.legs, asked.legs, strict=True):
        assert sum(kept.points, ()) == pytest.approx(sum(fresh.points, ()), abs=1e-6)
        assert kept.along_m == pytest.approx(fresh.along_m, abs=0.05)
        assert kept.along_s == pytest.approx(fresh.along_s, abs=0.01)
    assert await rows(operator, "SELECT calls FROM map_use") == [{"calls": 1}]


async def test_lengths_and_times_add_up_along_the_whole_road(ladder_of):
    snapshot = await ladder_of().snapshot(ASKER, STOPS)
    assert len(snapshot.shape) == len(snapshot.shape_s) == 3 * 5 + 1
    assert snapshot.shape[0] == STOPS[0]
    assert snapshot.shape[-1] == STOPS[-1]
    assert list(snapshot.shape_s) == sorted(snapshot.shape_s)
    assert snapshot.shape_s[-1] == pytest.approx(sum(snapshot.leg_s))
    assert snapshot.at_stops_m[-1] == pytest.approx(sum(leg.distance_m for leg in snapshot.legs))


async def test_only_the_stretch_that_is_not_known_is_asked_for(ladder_of, osrm):
    ladder = ladder_of()
    await ladder.snapshot(ASKER, STOPS[:2])
    longer = await ladder.snapshot(ASKER, STOPS)
    assert (longer.engine, longer.calls) == (Engine.OSRM_HTTP, 1)
    assert "9.500000,47.100000;" not in osrm.asked[1]
    assert osrm.asked[1].count(";") == 2


async def test_another_tenant_gets_nothing_of_what_is_kept(ladder_of, osrm):
    ladder = ladder_of()
    await ladder.snapshot(ASKER, STOPS)
    other = await ladder.snapshot(Asker(tenant_id("globex"), "trip_00000001"), STOPS)
    assert (other.calls, len(osrm.asked)) == (1, 2)


async def test_the_place_of_a_vehicle_is_not_kept(ladder_of, operator):
    ladder = ladder_of()
    await ladder.snapshot(ASKER, STOPS, Purpose.REROUTE)
    assert await rows(operator, "SELECT count(*) AS n FROM map_leg") == [{"n": len(STOPS) - 2}]
    assert (await ladder.snapshot(ASKER, STOPS, Purpose.REROUTE)).calls == 1


async def test_kept_legs_are_asked_anew_when_they_are_old_and_used_if_nobody_answers(ladder_of, osrm, clock):
    ladder = ladder_of(keep_days=30)
    await ladder.snapshot(ASKER, STOPS)
    clock.move(31 * 86_400)
    osrm.mood = "broken"
    old = await ladder.snapshot(ASKER, STOPS)
    assert old.engine is Engine.OSRM_HTTP
    assert "answered 500" in old.reason
    assert "as it was asked on 2026-08-03" in old.reason
    osrm.mood = "ok"
    assert (await ladder.snapshot(ASKER, STOPS)).reason == ""
    assert len(osrm.asked) == 3


async def test_with_keeping_switched_off_every_road_is_asked_for(ladder_of, osrm):
    ladder = ladder_of(keep_days=0)
    for _ in range(2):
        assert (await ladder.snapshot(ASKER, STOPS)).calls == 1
    assert len(osrm.asked) == 2


@pytest.mark.parametrize("mood", BAD)
async def test_an_engine_that_is_unwell_is_replaced_by_a_labelled_guess_and_comes_back(ladder_of, osrm, clock, mood):
    ladder = ladder_of(keep_days=0, timeout_s=2.0 if mood == "slow" else 20.0)
    osrm.mood = mood
    snapshot = await ladder.snapshot(ASKER, STOPS)
    assert snapshot.engine is Engine.STRAIGHT
    assert snapshot.reason.startswith("osrm-http: ")
    assert snapshot.shape == ()
    assert len(snapshot.leg_s) == 3
    assert all(seconds > 0 for seconds in snapshot.leg_s)
    osrm.mood = "ok"
    assert (await ladder.snapshot(ASKER, STOPS)).engine is Engine.OSRM_HTTP


async def test_an_engine_that_is_down_is_left_alone_and_tried_again_later(ladder_of, osrm, clock):
    ladder = ladder_of(keep_days=0, failures=2, rest_s=30)
    await osrm.stop()
    for _ in range(2):
        assert "does not answer" in (await ladder.snapshot(ASKER, STOPS)).reason
    await osrm.start()
    resting = await ladder.snapshot(ASKER, STOPS)
    assert resting.engine is Engine.STRAIGHT
    assert "left alone for 30 s more" in resting.reason
    assert resting.calls == 0
    assert osrm.asked == []
    clock.move(31)
    assert (await ladder.snapshot(ASKER, STOPS)).engine is Engine.OSRM_HTTP
    assert len(osrm.asked) == 1


async def test_a_slow_engine_holds_nobody_up_for_longer_than_it_may(ladder_of, osrm):
    ladder = ladder_of(timeout_s=0.2, failures=1)
    osrm.mood = "slow"
    # Waited out, the forty would take a hundred seconds.
    async with asyncio.timeout(60):
        snapshots = await asyncio.gather(*(ladder.snapshot(ASKER, STOPS) for _ in range(40)))
    assert {snapshot.engine for snapshot in snapshots} == {Engine.STRAIGHT}
    assert len(osrm.asked) <= 4


async def test_a_stop_without_a_road_costs_the_others_nothing(ladder_of, osrm):
    odd = [*STOPS[:2], (85.0, 9.5), *STOPS[2:]]
    snapshot = await ladder_of().snapshot(ASKER, odd)
    assert [engine is Engine.STRAIGHT for engine in snapshot.engines] == [False, True, True, False]
    assert "no road joins" in snapshot.reason
    # That there is no road is no fault of the engine's: it is asked on.
    assert (await ladder_of().snapshot(ASKER, STOPS)).engine is Engine.OSRM_HTTP


async def test_a_leg_without_a_road_is_not_asked_for_again_and_again(ladder_of, osrm, clock):
    odd = [*STOPS[:2], (85.0, 9.5), *STOPS[2:]]
    ladder = ladder_of(own_trip_calls=100)
    await ladder.snapshot(ASKER, odd)
    calls = len(osrm.asked)
    again = await ladder.snapshot(ASKER, odd)
    assert (again.calls, len(osrm.asked)) == (0, calls)
    assert "no road on 2 of 4 legs" in again.reason
    clock.move(6 * 3600)
    assert (await ladder.snapshot(ASKER, odd)).calls > 0


async def test_an_engine_over_its_quota_is_left_alone_for_as_long_as_it_says(ladder_of, google, clock):
    ladder = ladder_of(paid_trip_calls=9)
    google.mood, google.retry_after = "quota", "120"
    assert await ladder.traffic(ASKER, STOPS) is None
    google.mood = "ok"
    clock.move(60)
    assert await ladder.traffic(ASKER, STOPS) is None
    assert len(google.asked) == 1
    clock.move(61)
    traffic = await ladder.traffic(ASKER, STOPS)
    assert traffic is not None
    assert traffic.engine is Engine.GOOGLE


@pytest.mark.parametrize("mood", BAD)
async def test_wrong_traffic_is_no_traffic(ladder_of, google, mood):
    google.mood = mood
    if mood == "elsewhere":
        google.traffic = 1e-6
    assert await ladder_of(timeout_s=0.2 if mood == "slow" else 20.0).traffic(ASKER, STOPS) is None


async def test_google_is_asked_for_durations_alone_and_its_key_stays_out_of_the_url(ladder_of, google, osrm, operator):
    google.traffic = 1.5
    traffic = await ladder_of().traffic(ASKER, STOPS)
    assert traffic is not None
    assert traffic.leg_s[0] == pytest.approx(1.5 * 2350 / 10, rel=0.02)
    assert osrm.asked == []
    assert google.headers[0]["x-goog-fieldmask"] == "routes.legs.duration"
    assert google.headers[0]["x-goog-api-key"] == "the-key"
    assert "the-key" not in google.asked[0]
    assert b'"TRAFFIC_AWARE"' in google.bodies[0]
    # Nothing of what it said is anywhere in the database.
    assert await rows(operator, "SELECT count(*) AS n FROM map_leg") == [{"n": 0}]


async def test_google_is_never_asked_for_a_road(ladder_of, osrm, google):
    osrm.mood = "broken"
    assert (await ladder_of().snapshot(ASKER, STOPS)).engine is Engine.STRAIGHT
    assert google.asked == []


async def test_more_stops_than_one_call_holds_are_answered_for_the_next_ones(ladder_of, google):
    many = [(47.0 + 0.01 * n, 9.5) for n in range(40)]
    traffic = await ladder_of().traffic(ASKER, many)
    assert traffic is not None
    assert len(traffic.leg_s) == 26


async def test_a_trip_over_its_budget_goes_on_without_the_map(ladder_of, osrm, google):
    ladder = ladder_of(keep_days=0, own_trip_calls=2, paid_trip_calls=1)
    engines = [(await ladder.snapshot(ASKER, STOPS)).engine for _ in range(3)]
    assert engines == [Engine.OSRM_HTTP, Engine.OSRM_HTTP, Engine.STRAIGHT]
    assert "the 2 calls of this trip are made" in (await ladder.snapshot(ASKER, STOPS)).reason
    assert [await ladder.traffic(ASKER, STOPS) is None for _ in range(2)] == [False, True]
    assert (len(osrm.asked), len(google.asked)) == (2, 1)
    # Another trip has a budget of its own.
    other = Asker(ASKER.tenant, "trip_00000002")
    assert (await ladder.snapshot(other, STOPS)).engine is Engine.OSRM_HTTP


async def test_budgets_outlive_the_process_and_begin_anew_with_the_day(ladder_of, google, clock):
    settings = {"paid_trip_calls": 9, "paid_tenant_day_calls": 2, "paid_day_calls": 3}
    assert [await ladder_of(**settings).traffic(ASKER, STOPS) is None for _ in range(3)] == [False, False, True]
    globex = Asker(tenant_id("globex"), "trip_00000009")
    # Two of the three that all tenants have together are gone.
    assert [await ladder_of(**settings).traffic(globex, STOPS) is None for _ in range(2)] == [False, True]
    clock.move(86_400)
    assert await ladder_of(**settings).traffic(ASKER, STOPS) is not None
    assert len(google.asked) == 4


async def test_racing_trips_do_not_overspend(ladder_of, google):
    ladder = ladder_of(paid_trip_calls=100, paid_tenant_day_calls=5)
    askers = [Asker(ASKER.tenant, f"trip_0000000{n % 3}") for n in range(20)]
    answers = await asyncio.gather(*(ladder.traffic(asker, STOPS) for asker in askers))
    assert sum(answer is not None for answer in answers) == len(google.asked) == 5


async def test_a_budget_of_nothing_is_no_call(ladder_of, osrm):
    assert (await ladder_of(own_trip_calls=0).snapshot(ASKER, STOPS)).engine is Engine.STRAIGHT
    assert osrm.asked == []


async def test_without_any_engine_the_answer_says_so(operator, clock):
    ladder = Ladder([], operator, MapsSettings(), clock)
    snapshot = await ladder.snapshot(ASKER, STOPS)
    assert (snapshot.engine, snapshot.reason) == (Engine.STRAIGHT, "no map is configured")
    assert await ladder.traffic(ASKER, STOPS) is None
    assert await ladder.nearest(ASKER, STOPS[0]) is None


async def test_our_own_engine_is_asked_while_the_database_is_away_and_paid_ones_are_not(ladder_of, operator, google):
    ladder = ladder_of()
    await operator._pool.close()
    assert (await ladder.snapshot(ASKER, STOPS)).engine is Engine.OSRM_HTTP
    assert await ladder.traffic(ASKER, STOPS) is None
    assert google.asked == []


async def test_the_nearest_road_is_checked_too(ladder_of, osrm):
    ladder = ladder_of()
    found = await ladder.nearest(ASKER, STOPS[0])
    assert found is not None
    assert found.place == pytest.approx((47.1001, 9.5))
    osrm.mood = "negative"
    assert await ladder.nearest(ASKER, STOPS[0]) is None


@pytest.mark.parametrize(
    "places", [[], [(47.1, 9.5)], [(47.1, 9.5), (float("nan"), 9.5)], [(47.1, 9.5), (91.0, 9.5)], [(0.0, 0.0)] * 501]
)
async def test_places_that_are_none_are_refused_before_anybody_is_asked(ladder_of, osrm, places):
    with pytest.raises(InvalidPlaces):
        await ladder_of().snapshot(ASKER, places)
    assert osrm.asked == []
