import asyncio
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import pytest

from core.db import Database
from core.events import StopChanged, TripChanged
from eta.sites.model import RouteStop, Weekday
from eta.trips import model, store
from eta.trips.errors import (
    CodeTaken,
    DeviceBusy,
    DeviceNotFound,
    InvalidTrip,
    MoveNotAllowed,
    RouteNotFound,
    TripExists,
    TripNotFound,
    VersionMoved,
)
from eta.trips.model import Seen, StopState, TripState
from eta.trips.service import NewTrip, WantedStop
from eta.trips.store import Wanted
from tests.eta.trips.rounds import ACME, DAY, MORNING, ZETA, Rounds, at

pytestmark = pytest.mark.db


async def planned(rounds: Rounds, stops: int = 3, **more):
    sites = await rounds.farms(stops)
    route = await rounds.route(sites, starts_at=time(6, 30), timezone="Europe/Zurich", device="truck-1")
    return await rounds.trips.add(ACME, NewTrip(route=route.id, day=DAY, **more)), sites, route


async def test_a_trip_of_a_route_starts_by_the_routes_clock_and_plans_each_stop(rounds):
    trip, sites, route = await planned(rounds)
    assert (trip.route, trip.device, trip.planned_start) == (route.id, "truck-1", MORNING)
    assert [stop.site for stop in trip.stops] == [site.id for site in sites]
    times = [stop.planned_at for stop in trip.stops]
    assert times[0] == MORNING
    assert all(timedelta(minutes=5) < later - sooner < timedelta(minutes=20) for sooner, later in pairwise(times))
    assert await rounds.trips.trip(ACME, trip.id) == trip
    assert [type(each) for each in rounds.news()] == [TripChanged]


async def test_planned_times_of_the_tenants_own_are_kept(rounds):
    sites = await rounds.farms(3)
    stops = tuple(
        RouteStop(site=site.id, after_s=after, service_s=60.0)
        for site, after in zip(sites, (0, None, 3600), strict=True)
    )
    route = await rounds.route(sites, stops=stops, starts_at=time(4, 30))
    trip = await rounds.trips.add(ACME, NewTrip(route="north", day=DAY))
    assert trip.route == route.id
    assert (trip.stops[0].planned_at, trip.stops[2].planned_at) == (MORNING, MORNING + timedelta(hours=1))
    assert MORNING < trip.stops[1].planned_at < MORNING + timedelta(minutes=15)


async def test_a_trip_keeps_the_stops_it_was_made_with(rounds):
    trip, sites, route = await planned(rounds)
    await rounds.sites.change_site(ACME, sites[0].id, lambda f: type(f)(name="Moved", lat=1.0, lon=2.0, code=f.code))
    await rounds.sites.change_route(ACME, route.id, lambda f: type(f)(name="South", stops=f.stops[:1], code=f.code))
    assert await rounds.trips.trip(ACME, trip.id) == trip


async def test_a_trip_without_a_route_has_its_own_stops(rounds):
    await rounds.farms(2)
    stops = [WantedStop(site="farm-2", planned_at=at(20), service_s=90.0), WantedStop(site="farm-1")]
    trip = await rounds.trips.add(ACME, NewTrip(code="extra", day=DAY, stops=stops))
    assert [stop.name for stop in trip.stops] == ["Farm 2", "Farm 1"]
    assert [stop.planned_at for stop in trip.stops] == [at(20), None]
    assert (await rounds.trips.trip(ACME, "extra")).id == trip.id


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (NewTrip(), InvalidTrip),
        (NewTrip(day=DAY), InvalidTrip),
        (NewTrip(stops=[WantedStop(site="farm-1")]), InvalidTrip),
        (NewTrip(day=DAY, stops=[WantedStop(site="nowhere")]), InvalidTrip),
        (NewTrip(day=DAY, stops=[WantedStop(site="farm-1")], code="no:colon"), InvalidTrip),
        (NewTrip(day=DAY, stops=[WantedStop(site="farm-1")], code="trip_0123456789"), InvalidTrip),
        (NewTrip(day=DAY, stops=[WantedStop(site="farm-1")], device="truck-9"), DeviceNotFound),
        (NewTrip(route="nowhere", day=DAY), RouteNotFound),
    ],
)
async def test_a_trip_that_cannot_be_is_refused(rounds, wanted, error):
    await rounds.farms(1)
    with pytest.raises(error):
        await rounds.trips.add(ACME, wanted)
    assert rounds.news() == []


async def test_a_round_from_start_to_end(rounds):
    trip, _, _ = await planned(rounds)
    rounds.news()
    trip = await rounds.trips.start(ACME, trip.id, expected=1)
    first, second, third = [stop.id for stop in trip.stops]
    trip = await rounds.trips.change_stop(ACME, trip.id, second, state=StopState.SKIPPED, expected=2)
    trip = await rounds.trips.change_stop(ACME, trip.id, first, state=StopState.SERVED)
    trip = await rounds.trips.change_stop(ACME, trip.id, third, {"service_s": 30.0, "quantity": 800.0})
    assert (trip.stop(third).service_s, trip.stop(third).quantity) == (30.0, 800.0)
    trip = await rounds.trips.change_stop(ACME, trip.id, third, {"quantity": None})
    assert (trip.stop(third).service_s, trip.stop(third).quantity) == (30.0, None)
    trip = await rounds.trips.finish(ACME, trip.id)
    assert [stop.state.value for stop in trip.stops] == ["served", "skipped", "skipped"]
    assert await rounds.trips.trip(ACME, trip.id) == trip
    told = [(type(each), each.state) for each in rounds.news()]
    assert told == [
        (TripChanged, "under_way"), (StopChanged, "skipped"), (StopChanged, "served"), (TripChanged, "under_way"),
        (TripChanged, "under_way"), (StopChanged, "skipped"), (TripChanged, "done"),
    ]  # fmt: skip


async def test_a_change_meant_for_an_older_version_changes_nothing(rounds):
    trip, _, _ = await planned(rounds)
    await rounds.trips.assign(ACME, trip.id, "truck-2", expected=1)
    rounds.news()
    with pytest.raises(VersionMoved):
        await rounds.trips.abandon(ACME, trip.id, "late", expected=1)
    assert (await rounds.trips.trip(ACME, trip.id)).state is TripState.PLANNED
    assert rounds.news() == []


async def test_a_device_is_under_way_on_one_trip_whoever_starts_it(rounds):
    sites = await rounds.farms(2)
    route = await rounds.route(sites, device="truck-1")
    one, two = [await rounds.trips.add(ACME, NewTrip(route=route.id, day=DAY)) for _ in range(2)]
    results = await asyncio.gather(
        rounds.trips.start(ACME, one.id), rounds.trips.start(ACME, two.id), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in results) == ["DeviceBusy", "Trip"]
    [begun] = [each for each in results if not isinstance(each, Exception)]
    other = two if begun.id == one.id else one
    await rounds.trips.assign(ACME, other.id, "truck-2")
    await rounds.trips.start(ACME, other.id)
    with pytest.raises(DeviceBusy):
        await rounds.trips.assign(ACME, other.id, "truck-1")


async def test_two_who_change_one_trip_come_one_after_the_other(rounds):
    trip, _, _ = await planned(rounds, stops=5)
    await asyncio.gather(
        *(rounds.trips.change_stop(ACME, trip.id, stop.id, state=StopState.SKIPPED) for stop in trip.stops)
    )
    after = await rounds.trips.trip(ACME, trip.id)
    assert {stop.state for stop in after.stops} == {StopState.SKIPPED}
    assert after.version == 6


async def test_a_save_over_another_version_is_refused_and_tells_nothing(rounds):
    trip, _, _ = await planned(rounds)
    begun, _ = model.start(trip, at(0))
    await rounds.trips.assign(ACME, trip.id, "truck-2")
    with pytest.raises(VersionMoved):
        async with rounds.database.tenant(ACME) as tx:
            await store.save(tx, trip, begun)


async def test_the_worker_of_every_tenant_saves_by_the_same_store(rounds):
    trip, _, _ = await planned(rounds)
    async with Database(rounds.urls.operator, pool_size=1) as operator, operator.unscoped(reason="test") as tx:
        [loaded] = (await store.load(tx, ACME, [trip.id], lock=True)).values()
        begun, _ = model.begin(loaded, at(0))
        seen, _ = model.observe(begun, {trip.stops[0].id: Seen(StopState.ARRIVED, at(3))}, at(3))
        await store.save(tx, loaded, seen)
        assert await store.load(tx, ZETA, [trip.id]) == {}
    assert await rounds.trips.trip(ACME, trip.id) == seen


async def test_stops_are_added_and_put_in_another_order(rounds):
    trip, sites, _ = await planned(rounds)
    trip = await rounds.trips.add_stop(ACME, trip.id, WantedStop(site="farm-1", planned_at=at(90)), 1)
    assert [stop.site for stop in trip.stops] == [sites[0].id, sites[0].id, sites[1].id, sites[2].id]
    order = [stop.id for stop in reversed(trip.stops)]
    await rounds.trips.reorder(ACME, trip.id, order)
    assert [stop.id for stop in (await rounds.trips.trip(ACME, trip.id)).stops] == order
    with pytest.raises(InvalidTrip):
        await rounds.trips.add_stop(ACME, trip.id, WantedStop(site="nowhere"))


async def test_trips_are_found_by_day_state_device_route_and_site(rounds):
    trip, sites, route = await planned(rounds)
    later = await rounds.trips.add(ACME, NewTrip(route=route.id, day=date(2026, 8, 4), device="truck-2"))
    await rounds.trips.start(ACME, trip.id)

    async def found(**wanted):
        return [each.id for each in await rounds.trips.trips(ACME, Wanted(**wanted), limit=10)]

    assert await found() == [trip.id, later.id]
    assert await found(day=DAY) == [trip.id]
    assert await found(since=date(2026, 8, 4)) == [later.id]
    assert await found(until=DAY) == [trip.id]
    assert await found(states=[TripState.UNDER_WAY]) == [trip.id]
    assert await found(device="truck-2") == [later.id]
    assert await found(route="north") == await found(route=route.id) == await found(site="farm-1")
    assert await found(site=sites[2].id) == [trip.id, later.id]
    assert await found(site="nowhere") == await found(only=[]) == []
    assert await rounds.trips.trips(ACME, Wanted(), after=trip.id, limit=10) == [later]
    assert await rounds.trips.trips(ZETA, Wanted(), limit=10) == []


async def test_a_site_sees_a_truck_while_it_is_on_its_way_there_and_not_longer(rounds):
    trip, sites, _ = await planned(rounds)
    mine, other = frozenset({"farm-2"}), frozenset({sites[2].id})
    assert await rounds.trips.devices(ACME, mine) == frozenset()
    trip = await rounds.trips.start(ACME, trip.id)
    assert await rounds.trips.devices(ACME, mine) == {"truck-1"}
    assert await rounds.trips.trips_to(ACME, mine) == {trip.id}
    assert await rounds.trips.devices(ZETA, mine) == frozenset()
    await rounds.trips.change_stop(ACME, trip.id, trip.stops[1].id, state=StopState.ARRIVED)
    assert await rounds.trips.devices(ACME, mine) == frozenset()
    assert await rounds.trips.devices(ACME, other) == {"truck-1"}
    await rounds.trips.finish(ACME, trip.id)
    assert await rounds.trips.devices(ACME, other) == frozenset()
    assert await rounds.trips.devices(ACME, frozenset()) == frozenset()


async def test_the_trip_by_plan_is_there_once_a_day(rounds):
    sites = await rounds.farms(1)
    route = await rounds.route(sites, starts_at=time(6, 0), weekdays=(Weekday.MON,))
    trip = await rounds.trips.by_plan(ACME, "north", DAY)
    assert (trip.code, trip.is_recurring) == ("north:2026-08-03", True)
    with pytest.raises(TripExists):
        await rounds.trips.by_plan(ACME, route.id, DAY)
    made = await asyncio.gather(
        *(rounds.trips.by_plan(ACME, "north", date(2026, 8, 10)) for _ in range(4)), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in made) == ["Trip", "TripExists", "TripExists", "TripExists"]
    assert (await rounds.trips.add(ACME, NewTrip(route="north", day=DAY))).is_recurring is False


async def test_a_code_names_one_trip(rounds):
    await rounds.farms(1)
    wanted = NewTrip(day=DAY, stops=[WantedStop(site="farm-1")], code="extra")
    await rounds.trips.add(ACME, wanted)
    with pytest.raises(CodeTaken):
        await rounds.trips.add(ACME, wanted)


async def test_another_tenants_trip_is_not_there(rounds):
    trip, sites, _ = await planned(rounds)
    for do in (
        rounds.trips.trip(ZETA, trip.id),
        rounds.trips.start(ZETA, trip.id),
        rounds.trips.assign(ZETA, trip.id, "truck-1"),
    ):
        with pytest.raises(TripNotFound):
            await do
    with pytest.raises(InvalidTrip):
        await rounds.trips.add(ZETA, NewTrip(day=DAY, stops=[WantedStop(site=sites[0].id)]))


async def test_a_witness_writes_with_the_change_or_not_at_all(rounds):
    trip, _, _ = await planned(rounds)
    seen = []

    async def witness(tx, before, after):
        seen.append((before.state, after.state))
        if after.state is TripState.ABANDONED:
            raise MoveNotAllowed("no")

    await rounds.trips.start(ACME, trip.id, witness=witness)
    with pytest.raises(MoveNotAllowed):
        await rounds.trips.abandon(ACME, trip.id, witness=witness)
    assert seen == [(TripState.PLANNED, TripState.UNDER_WAY), (TripState.UNDER_WAY, TripState.ABANDONED)]
    assert (await rounds.trips.trip(ACME, trip.id)).state is TripState.UNDER_WAY


def test_the_day_of_the_tests_is_a_monday():
    assert Weekday.of(DAY) is Weekday.MON
    assert datetime(2026, 8, 3, 6, 30, tzinfo=UTC).date() == DAY
