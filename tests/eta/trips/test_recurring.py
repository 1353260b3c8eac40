from datetime import UTC, date, datetime, time, timedelta

import pytest

from core.db import Database
from eta.sites.model import Weekday
from eta.trips.recurring import RecurringTrips
from eta.trips.store import Wanted
from tests.eta.trips.rounds import ACME, MORNING, ZETA

pytestmark = pytest.mark.db

WORKDAYS = (Weekday.MON, Weekday.TUE, Weekday.WED, Weekday.THU, Weekday.FRI)


@pytest.fixture
async def plans(rounds):
    async with Database(rounds.urls.operator, pool_size=1) as operator:
        yield lambda: RecurringTrips(operator=operator, trips=rounds.trips, clock=lambda: rounds.now)


async def starts(rounds, tenant=ACME):
    return [trip.planned_start for trip in await rounds.trips.trips(tenant, Wanted(), limit=100)]


async def test_each_weekday_gets_its_trip_once_in_whatever_process(rounds, plans):
    await rounds.route(await rounds.farms(2), starts_at=time(6, 30), timezone="Europe/Zurich", weekdays=WORKDAYS)
    plan = plans()
    assert [await plan.make(), await plan.make(), await plans().make()] == [3, 0, 0]
    assert await starts(rounds) == [MORNING + timedelta(days=days) for days in range(3)]
    rounds.now = MORNING + timedelta(days=3)
    assert await plan.make() == 2  # Thursday and Friday; no trip on the Saturday
    assert [each.day.isoweekday() for each in await rounds.trips.trips(ACME, Wanted(), limit=9)] == [1, 2, 3, 4, 5]


async def test_every_tenants_routes_are_driven(rounds, plans):
    for tenant in (ACME, ZETA):
        await rounds.route(await rounds.farms(1, tenant=tenant), starts_at=time(12), weekdays=(Weekday.MON,))
    assert await plans().make() == 2
    assert len(await starts(rounds)) == len(await starts(rounds, ZETA)) == 1


async def test_the_day_is_the_one_of_the_routes_own_clock(rounds, plans):
    """When it is Monday morning in Europe, it is Monday afternoon in Tokyo and still Sunday in Honolulu."""
    sites = await rounds.farms(1)
    await rounds.route(sites, code="tokyo", starts_at=time(6), timezone="Asia/Tokyo", weekdays=(Weekday.MON,))
    await rounds.route(sites, code="honolulu", starts_at=time(23), timezone="Pacific/Honolulu", weekdays=(Weekday.SUN,))
    await plans().make()
    [trip] = await rounds.trips.trips(ACME, Wanted(), limit=9)
    assert (trip.code, trip.planned_start) == ("honolulu:2026-08-02", datetime(2026, 8, 3, 9, tzinfo=UTC))


async def test_the_clock_may_change_between_two_days(rounds, plans):
    rounds.now = datetime(2026, 10, 24, 0, 0, tzinfo=UTC)
    days = (Weekday.SAT, Weekday.SUN)
    await rounds.route(await rounds.farms(1), starts_at=time(6, 30), timezone="Europe/Zurich", weekdays=days)
    await plans().make()
    assert await starts(rounds) == [
        datetime(2026, 10, 24, 4, 30, tzinfo=UTC),
        datetime(2026, 10, 25, 5, 30, tzinfo=UTC),
    ]


async def test_a_route_made_after_its_time_of_the_day_waits_for_the_next(rounds, plans):
    await rounds.route(await rounds.farms(1), starts_at=time(4, 29), weekdays=(Weekday.MON, Weekday.TUE))
    await plans().make()
    assert await starts(rounds) == [MORNING + timedelta(days=1, minutes=-1)]


async def test_an_abandoned_trip_does_not_come_back_and_an_archived_route_makes_none(rounds, plans):
    route = await rounds.route(await rounds.farms(1), starts_at=time(12), weekdays=(Weekday.MON, Weekday.WED))
    await plans().make()
    await rounds.trips.abandon(ACME, "north:2026-08-03", "snow")
    assert await plans().make() == 0
    await rounds.sites.change_route(ACME, route.id, lambda facts: facts, is_archived=True)
    rounds.now += timedelta(days=7)
    assert await plans().make() == 0


async def test_a_trip_is_made_without_its_device_when_that_is_gone(rounds, plans):
    await rounds.route(await rounds.farms(1), starts_at=time(12), weekdays=(Weekday.MON,), device="truck-1")
    async with Database(rounds.urls.operator, pool_size=1) as operator, operator.unscoped(reason="test") as tx:
        await tx.execute(
            "UPDATE device SET status = 'decommissioned' WHERE tenant_id = 'acme' AND device_id = 'truck-1'"
        )
    await plans().make()
    [trip] = await rounds.trips.trips(ACME, Wanted(day=date(2026, 8, 3)), limit=9)
    assert trip.device is None
