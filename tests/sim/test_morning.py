import pytest

from core.clock import from_epoch_ms
from sim import recording
from sim.journey import distance_m
from sim.morning import rounds as morning
from sim.morning.rounds import drives, straying
from sim.truck import plan_fleet
from tests.cli.test_demo import recording as write_recording

START_MS = 1_790_000_000_000


@pytest.fixture(scope="module")
def trucks(district, router):
    return plan_fleet(district, router, trucks=8, seed=3)


def test_what_is_left_of_each_lap_is_a_trip_in_the_order_it_is_driven(trucks):
    for truck, drive in zip(trucks, drives(trucks, START_MS), strict=True):
        visits = list(truck.visits(4 * 3600.0))
        farms = [due.place.code for due in drive.stops[:-1]]
        assert farms == [visit.stop.id for visit in visits[: len(farms)]]
        assert (drive.stops[-1].place.code, drive.stops[-1].place.kind) == (truck.round.depot.id, "warehouse")
        assert [place.code for place in drive.line.places].index(farms[0]) > 0
        before = drive.line.places[[place.code for place in drive.line.places].index(farms[0]) - 1]
        assert drive.comes_from == before
        times = [due.planned_at for due in drive.stops]
        assert times == sorted(times)
        assert times[0].minute % 5 == times[0].second == 0
        # A plan is made to the next five minutes of what the round takes.
        planned_s = (times[0] - from_epoch_ms(START_MS)).total_seconds()
        assert 0 <= planned_s - visits[0].arrive_s < 300


def test_some_trucks_are_under_way_and_rest_between_rounds(trucks):
    found = drives(trucks, START_MS)
    assert {drive.is_under_way for drive in found} >= {True}
    for drive in found:
        assert drive.is_under_way or drive.starts_at >= from_epoch_ms(START_MS)


def test_a_truck_that_strays_drives_further_and_reaches_every_farm(trucks, router):
    truck = trucks[0]
    other = straying(truck, router)
    assert other.round.stops == truck.round.stops
    assert other.round.distance_m > truck.round.distance_m + 2000
    for leg, strayed in zip(truck.round.legs, other.round.legs, strict=True):
        assert distance_m(leg.points[0], strayed.points[0]) < 5
        assert distance_m(leg.points[-1], strayed.points[-1]) < 5
        assert len(strayed.points) == len(strayed.distances_m) + 1 == len(strayed.durations_s) + 1
    aside = [
        max(min(distance_m(at, on) for on in leg.points) for at in strayed.points)
        for leg, strayed in zip(truck.round.legs, other.round.legs, strict=True)
    ]
    assert sum(metres > 150 for metres in aside) >= len(aside) / 2, aside


def test_a_recordings_trips_start_when_they_are_played(tmp_path):
    write_recording(tmp_path)
    dataset = recording.load(tmp_path)
    found = morning.recorded(dataset, START_MS)
    assert [(drive.device, drive.line.code) for drive in found] == [("van", "north"), ("bus", "north")]
    assert found[0].starts_at == from_epoch_ms(START_MS)
    assert [due.place.code for due in found[0].stops] == ["s"]
    assert not found[0].is_under_way


@pytest.mark.parametrize(
    ("text", "code"), [("510-1", "510-1"), ("Hauptstraße 7", "Hauptstra-e-7"), ("x" * 80, "x" * 64)]
)
def test_a_name_of_a_recording_becomes_a_code(text, code):
    assert morning._code(text) == code
