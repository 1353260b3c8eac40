"""A trip by its fixes: it begins, reaches its stops, ends; in whatever order the fixes come, and after a crash."""

import random

import pytest

from core.events import StopChanged, TripChanged
from eta.trips.model import StopState, TripState
from tests.eta.live.morning import ACME, moment, states
from tests.eta.roads import ROAD, STARTS_AT, drive

pytestmark = [pytest.mark.db, pytest.mark.redis]

SERVED, SKIPPED = StopState.SERVED, StopState.SKIPPED


def fixes(**more):
    """A truck that stands at its depot for three minutes, then drives the round and stays at its end."""
    found = drive(start=STARTS_AT - 180.0, waits_s=180.0, **more)
    last = found[-1]
    return [*found, *(last._replace(at=last.at + n * 10.0) for n in range(1, 20))]


async def test_a_trip_begins_when_the_truck_has_left_its_depot_and_ends_at_its_last_stop(morning):
    trip = await morning.round()
    way = fixes()
    await morning.drive(way[:16])
    assert (await morning.trip(trip)).state is TripState.PLANNED
    await morning.drive(way[16:])
    done = await morning.trip(trip)
    assert done.state is TripState.DONE
    assert abs(done.started_at.timestamp() - STARTS_AT) < 60.0
    assert {stop.state for stop in done.stops} == {SERVED}
    assert all(stop.arrived_at < stop.departed_at for stop in done.stops)
    news = morning.news()
    told = [(each.state) for each in news if isinstance(each, TripChanged)]
    assert told == ["planned", "under_way", "done"]
    reached = [each.stop for each in news if isinstance(each, StopChanged) and each.state == "arrived"]
    assert reached == [stop.id for stop in done.stops][1:]


async def test_the_same_fixes_end_in_the_same_trip_in_whatever_order_and_number_they_come(morning):
    trip = await morning.round()
    way = fixes(skipped=(2,))
    await morning.drive(way)
    wanted = await morning.trip(trip)
    for seed in (1, 2):
        disorder = random.Random(seed)
        other = await morning.round(start=STARTS_AT + seed * 86_400.0, device="truck-2")
        mixed = [fix._replace(at=fix.at + seed * 86_400.0) for fix in way]
        mixed += disorder.sample(mixed, 40)
        # The last ones stay last: the trip is over with them, and then changes no more.
        head, tail = mixed[: len(way) - 25], mixed[len(way) - 25 :]
        disorder.shuffle(head)
        for n in range(0, len(head), 7):
            await morning.hear(head[n : n + 7], device="truck-2", late_s=400.0, live=False)
        await morning.hear(sorted(tail), device="truck-2")
        morning.later(1600.0)
        await morning.follower.pass_time()
        found = await morning.trip(other)
        shift = found.planned_start - wanted.planned_start
        assert found.state is TripState.DONE
        assert [(name, state) for name, state, _, _ in states(found)] == [(n, s) for n, s, _, _ in states(wanted)]
        assert [stop.arrived_at for stop in found.stops] == [
            None if stop.arrived_at is None else stop.arrived_at + shift for stop in wanted.stops
        ]


@pytest.mark.parametrize("at", [5, 30, 60, 100, 140])
async def test_a_worker_that_takes_over_ends_where_the_first_one_would_have(morning, at):
    way = fixes(skipped=(2,))
    one = await morning.round(device="truck-1")
    two = await morning.round(device="truck-2")
    await morning.drive(way)
    other = morning.worker()
    for n, fix in enumerate(way):
        await morning.hear([fix], by=morning.follower if n < at else other, device="truck-2")
    first, second = await morning.trip(one), await morning.trip(two)
    assert states(first) == states(second)
    assert (first.state, first.started_at) == (second.state, second.started_at)


async def test_a_stop_left_out_on_the_way_is_noticed(morning):
    trip = await morning.round()
    # Drive round the third farm in a wide bow.
    way = [fix for fix in fixes() if not 3700.0 < _along(fix) < 4300.0]
    await morning.drive(way)
    assert (await morning.trip(trip)).state is TripState.UNDER_WAY, "fixes of that stop might still come"
    morning.later(1000.0)
    await morning.follower.pass_time()
    done = await morning.trip(trip)
    assert done.state is TripState.DONE
    assert [stop.state for stop in done.stops] == [SERVED, SERVED, SKIPPED, SERVED, SERVED, SERVED]
    told = await morning.announce()
    assert sum(getattr(each, "kind", None) == "skipped" for each in told) == 0, "the news is long past by now"


def _along(fix):
    return min(range(0, 10_001, 50), key=lambda s: abs(ROAD[s // 50][1] - fix.lon))


async def test_what_a_person_says_holds_against_positions(morning):
    trip = await morning.round()
    way = fixes()
    await morning.drive(way[:60])
    running = await morning.trip(trip)
    third = running.stops[4]
    await morning.trips.change_stop(ACME, trip.id, third.id, state=StopState.SKIPPED)
    before = len(morning.estimates)
    await morning.drive(way[60:])
    done = await morning.trip(trip)
    assert done.stop(third.id).state is SKIPPED
    assert done.state is TripState.DONE
    later = morning.estimates[before:]
    assert later
    assert not any(a.stop == third.id for each in later for a in each.arrivals)


async def test_stops_in_another_order_are_expected_in_that_order(morning):
    trip = await morning.round()
    way = fixes()
    await morning.drive(way[:40])
    ahead = [stop.id for stop in (await morning.trip(trip)).ahead]
    await morning.trips.reorder(ACME, trip.id, list(reversed(ahead)))
    await morning.hear(way[40:41])
    assert [arrival.stop for arrival in morning.estimates[-1].arrivals] == list(reversed(ahead))


async def test_a_trip_given_to_another_truck_goes_on_with_that_one(morning):
    trip = await morning.round()
    way = fixes()
    await morning.drive(way[:60])
    before = await morning.trip(trip)
    await morning.trips.assign(ACME, trip.id, "truck-2")
    await morning.drive(way[60:70])
    assert (await morning.trip(trip)).ahead == before.ahead
    await morning.drive(list(way[50:]), device="truck-2")
    done = await morning.trip(trip)
    assert done.state is TripState.DONE
    assert {stop.state for stop in done.stops} <= {SERVED, SKIPPED}


@pytest.mark.parametrize("dies_every", [1000, 9])
async def test_what_a_truck_passed_before_it_got_the_trip_is_still_to_be_served(morning, dies_every):
    trip = await morning.round()
    way = fixes()
    await morning.drive(way[:46])  # the first truck has served the first farm
    morning.store(way[:88], "truck-2")  # the second one has been at two, on business of its own
    morning.now = moment(way[100].at)
    await morning.trips.assign(ACME, trip.id, "truck-2")
    given_at = morning.now
    shift = way[100].at - way[46].at + 30.0
    again = [fix._replace(at=fix.at + shift) for fix in way[46:]]
    await morning.hear(again[:1], device="truck-2")
    found = await morning.trip(trip)
    assert [stop.state for stop in found.stops][2:] == [StopState.PLANNED] * 4
    for n, fix in enumerate(again[1:], 1):
        worker = morning.worker() if n % dies_every == 0 else (worker if n > dies_every else morning.follower)  # noqa: F821
        await morning.hear([fix], device="truck-2", by=worker)
    done = await morning.trip(trip)
    assert done.state is TripState.DONE
    assert {stop.state for stop in done.stops} == {SERVED}
    assert [stop.arrived_at > given_at for stop in done.stops[2:]] == [True] * 4
    assert done.stops[1].arrived_at < given_at
    assert done.started_at == found.started_at


async def test_a_device_without_a_trip_is_nobodys_business(morning):
    await morning.hear(fixes()[:3], device="truck-2")
    assert morning.estimates == []
