"""What a trip's fixes come to, as pure functions: the same for every order and number in which they come."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from core.tenancy import DeviceId
from eta.engine.fleet import Fleet
from eta.engine.route import drawn
from eta.engine.track import Track
from eta.live import model
from eta.trips.model import StopState, TripState, assign
from tests.eta.live.morning import moment
from tests.eta.roads import ROAD, STARTS_AT, STOPS, drive
from tests.eta.trips.rounds import MORNING, at, trip, under_way

ROUTE = drawn("r", STOPS, ROAD)
WAY = drive(every_s=20.0, skipped=(3,), start=STARTS_AT)
ROUND = replace(
    trip(len(STOPS)),
    planned_start=moment(STARTS_AT),
    stops=tuple(
        replace(stop, lat=place.lat, lon=place.lon) for stop, place in zip(trip(len(STOPS)).stops, STOPS, strict=True)
    ),
)


def come_to(fixes, size):
    track = Track(ROUTE)
    for n in range(0, len(fixes), size):
        track.absorb(fixes[n : n + size])
    began = model.begun_at(ROUND, track.visits, track.at, is_start=True)
    return model.seen(ROUND.stops, track.visits), began, track.distance, list(track.crossed)


WANTED = come_to(WAY, len(WAY))


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(5, 60), st.lists(st.sampled_from(WAY), max_size=30))
def test_permuted_and_repeated_fixes_come_to_the_same_trip(disorder, size, repeated):
    fixes = [*WAY, *repeated]
    disorder.shuffle(fixes)
    found = come_to(fixes, size)
    assert found[:3] == WANTED[:3]
    assert str(found[3]) == str(WANTED[3])


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(0, len(WAY) - 1), min_size=10), st.floats(-300.0, 3600.0))
def test_whatever_was_heard_progress_never_goes_back_and_no_arrival_is_before_now(heard, late_s):
    fleet = Fleet()
    fleet.add_route("r", STOPS, ROAD)
    fleet.begin("t", "r", STARTS_AT)
    before = 0.0
    for n in sorted(heard):
        fleet.take("t", [WAY[n]])
        track = fleet.trips["t"].track
        assert track.distance >= before
        before = track.distance
        now = WAY[n].at + max(late_s, 0.0)
        for arrival in fleet.estimate("t", now).arrivals:
            assert now <= arrival.p10 <= arrival.eta <= arrival.p50 <= arrival.p90 < now + 86_400.0


def test_a_trip_counts_fixes_from_its_lead_on_and_from_its_start_when_that_was_earlier():
    planned = trip()
    assert model.counts_since(planned, 3600.0, None) == MORNING - timedelta(hours=1)
    early = under_way()
    early = replace(early, started_at=MORNING - timedelta(hours=2))
    assert model.counts_since(early, 3600.0, None) == early.started_at - timedelta(minutes=2)
    assert model.counts_since(planned, 3600.0, at(-30)) == at(-30)
    assert model.counts_since(replace(planned, planned_start=None), 3600.0, None) is None


def test_a_trip_that_was_handed_over_counts_fixes_from_then_on():
    handed, _ = assign(under_way(), DeviceId("truck-2"), at(20))
    assert model.counts_since(handed, 3600.0, None) == at(18)
    assert model.counts_since(handed, 3600.0, at(5)) == at(18)
    assert model.counts_since(handed, 3600.0, at(19)) == at(19)
    # Given before it began, its device may have begun it before it was given.
    planned, _ = assign(trip(), DeviceId("truck-2"), at(20))
    assert model.counts_since(planned, 3600.0, None) == MORNING - timedelta(hours=1)


def test_stops_a_person_left_out_are_not_on_the_road_and_those_of_another_truck_neither():
    round_ = under_way(4)
    first, second, third, fourth = round_.stops
    out = replace(second, state=StopState.SKIPPED, is_settled=True)
    assert model.to_drive(replace(round_, stops=(first, out, third, fourth))) == (first, third, fourth)
    done = replace(first, state=StopState.SERVED, is_settled=True)
    assert model.to_drive(replace(round_, stops=(done, second, third, fourth))) == (second, third, fourth)
    noticed = replace(second, state=StopState.SKIPPED)
    assert model.to_drive(replace(round_, stops=(first, noticed, third, fourth)))[1] == noticed


def test_a_trip_ends_at_its_last_stop_once_nothing_is_to_come():
    round_ = under_way(3)
    served = [replace(s, state=StopState.SERVED, arrived_at=at(5), departed_at=at(6)) for s in round_.stops]
    home = replace(round_.stops[-1], state=StopState.ARRIVED, arrived_at=at(10))
    assert model.ended_at(round_, at(60)) is None
    here = replace(round_, stops=(*served[:2], home))
    assert model.ended_at(here, at(11)) is None
    assert model.ended_at(here, at(12)) == at(12)
    left_out = replace(served[1], state=StopState.SKIPPED, arrived_at=None, departed_at=None)
    doubtful = replace(round_, stops=(served[0], left_out, home))
    assert model.ended_at(doubtful, at(20)) is None
    assert model.ended_at(doubtful, at(30)) == at(12)
    assert model.ended_at(replace(here, state=TripState.DONE), at(60)) is None
    elsewhere = replace(round_, stops=(home, *served[1:]))
    assert model.ended_at(elsewhere, at(60)) is None


def test_a_truck_that_comes_back_to_its_depot_before_it_was_anywhere_begins_anew():
    out_and_back = [*drive(start=STARTS_AT)[:9]]
    back = [fix._replace(at=out_and_back[-1].at + 10.0 * n) for n, fix in enumerate(reversed(out_and_back), 1)]
    rest = [back[-1]._replace(at=back[-1].at + 10.0 * n) for n in range(1, 12)]
    track = Track(ROUTE)
    track.absorb([*out_and_back, *back, *rest])
    assert track.distance < 100.0
    assert {seen.state for seen in list(model.seen(ROUND.stops, track.visits).values())[1:]} == {StopState.PLANNED}
    again = drive(start=rest[-1].at + 60.0)
    track.absorb(again[:120])
    assert track.distance > 3000.0
