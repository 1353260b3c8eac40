"""A fleet: what a vehicle sends and when it falls silent, its certificates, and what of a recording is played."""

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.db import Database
from core.settings import ProvisioningSettings
from core.tenancy import Thing, tenant_id
from provisioning.ca import CertificateAuthority
from provisioning.model import new_device
from provisioning.service import ProvisioningService
from sim.fleet import (
    NotInService,
    NotSimulated,
    RecordedVehicle,
    SimulatedTruck,
    enrol,
    recorded_vehicles,
    side_by_side,
)
from sim.recording import Dataset, Fix, RecordingInvalid, RouteStop, Trip
from sim.truck import DeadZone, Emission, Faults, Truck, plan_fleet

START_MS = 1_790_000_000_000
MORNING = datetime(2020, 9, 23, 4, tzinfo=UTC)
ACME = tenant_id("acme")


@pytest.fixture(scope="module")
def truck(district, router) -> Truck:
    return plan_fleet(district, router, trucks=3, seed=7)[0]


def test_a_truck_that_falls_silent_sends_what_is_under_way_and_keeps_what_has_no_coverage(truck) -> None:
    depot = truck.round.depot
    nowhere = Truck(truck.id, truck.round, 7, start_share=0.5, dead_zones=(DeadZone(depot.lat, depot.lon, 200_000.0),))
    vehicle = SimulatedTruck(nowhere, START_MS, 1.0)
    leaving = itertools.islice(everything_held(nowhere, until_s=100.0), 1)
    last_words, staying = vehicle.fall_silent(60.0, leaving)
    assert last_words == []
    assert 50 <= staying <= 61


@pytest.mark.parametrize("at_s", [20.0, 61.3, 200.0])
def test_nothing_measured_before_the_silence_is_forgotten(truck, at_s) -> None:
    often_late = Truck(truck.id, truck.round, 7, start_share=0.3, faults=Faults(overtaken_share=0.3, reboot_every_s=0))
    vehicle = SimulatedTruck(often_late, START_MS, 1.0)
    emissions = vehicle.emissions()
    sent: set[int] = set()
    for emission in emissions:
        if emission.due_s > at_s:
            last_words, staying = vehicle.fall_silent(at_s, itertools.chain([emission], emissions))
            sent |= {s["seq"] for last in last_words for s in last.samples}
            break
        sent |= {s["seq"] for s in emission.samples}
    assert staying == 0
    assert sent == set(range(1, max(sent) + 1))  # no gap: an overtaken message is waited for
    measured = {
        s["seq"] for e in often_late.emissions(start_at_ms=START_MS, interval_s=1.0, until_s=at_s) for s in e.samples
    }
    assert sent == measured


def test_a_truck_started_again_goes_on_where_it_would_be(truck) -> None:
    def place(at_ms: int) -> tuple[float, float]:
        emission = next(SimulatedTruck(truck.as_of(at_ms), at_ms, 1.0).emissions())
        pos = emission.samples[0]["pos"]
        return pos["lat"], pos["lon"]

    drives = [place(START_MS + minute * 60_000) for minute in range(0, 240, 12)]
    assert len({*drives}) > 8
    for minute in range(0, 240, 30):
        here, soon = place(START_MS + minute * 60_000), place(START_MS + minute * 60_000 + 2_000)
        assert abs(here[0] - soon[0]) < 0.002  # 200 m: no jump
        assert abs(here[1] - soon[1]) < 0.003


def test_the_stop_a_truck_is_at_or_drives_to_is_told(truck) -> None:
    vehicle = SimulatedTruck(truck, START_MS, 1.0)
    told = [vehicle.whereabouts(at_s) for at_s in range(0, 6 * 3600, 60)]
    for visit in truck.visits(6 * 3600.0):
        middle = (max(visit.arrive_s, 0) + min(visit.depart_s, 6 * 3600 - 60)) / 2
        assert SimulatedTruck(truck, START_MS, 1.0).whereabouts(middle) == f"at {visit.stop.name}"
    assert {line.split()[0] for line in told} == {"at", "to"}


def test_first_trips_are_played_side_by_side_without_the_breaks() -> None:
    dataset = recording(
        ("a1", "van", 0), ("b1", "bus", 200), ("a2", "van", 600), ("b2", "bus", 900), ("a3", "van", 990)
    )
    played = side_by_side(dataset, 2)
    begins = {trip: (fixes[0].at - MORNING).total_seconds() / 60 for trip, fixes in played.positions.items()}
    assert begins == {"a1": 0, "b1": 0, "a2": 11, "b2": 11}  # trips of ten minutes, one minute between
    assert played.trips.keys() == begins.keys()
    assert played.ends_at - played.begins_at == timedelta(minutes=21)
    with pytest.raises(RecordingInvalid, match="at least one trip"):
        side_by_side(dataset, 0)


def test_a_recorded_vehicle_sends_its_trips_in_order_and_none_with_a_time_to_come() -> None:
    dataset = side_by_side(recording(("a1", "van", 0), ("b1", "bus", 200), ("a2", "van", 600)), 2)
    vehicles = {vehicle.device: vehicle for vehicle in recorded_vehicles(dataset, now_ms=START_MS, speed=30.0)}
    assert {name: vehicle.whereabouts(0.0) for name, vehicle in vehicles.items()} == {
        "van": "trip a1, a2",
        "bus": "trip b1",
    }
    van = [*vehicles["van"].emissions()]
    assert [s["seq"] for e in van for s in e.samples] == list(range(1, 23))
    assert all(e.samples[0]["ts"] <= START_MS + e.due_s * 1000 + 1 for e in van)
    assert van[-1].due_s == pytest.approx(21 * 60 / 30)
    assert RecordedVehicle("van", ("a1",), van).fall_silent(1.0, iter(van)) == ([], 0)


async def test_a_fleet_is_registered_once_and_keeps_its_certificates(registry, tmp_path) -> None:
    first = await enrol(registry, ACME, ["truck-1", "truck-2"], tmp_path)
    assert {*first} == {"truck-1", "truck-2"}
    assert all(
        (each.folder / name).exists() for each in first.values() for name in ("device.crt", "device.key", "ca.crt")
    )
    key = (first["truck-1"].folder / "device.key").read_bytes()
    again = await enrol(registry, ACME, ["truck-1", "truck-2", "truck-3"], tmp_path)
    assert (again["truck-1"].folder / "device.key").read_bytes() == key
    known = await registry.devices(ACME)
    assert [(device.thing.device, device.type, device.status) for device in known] == [
        (name, "sim-truck", "active") for name in ("truck-1", "truck-2", "truck-3")
    ]


async def test_a_lost_key_is_replaced_by_a_renewal(registry, tmp_path) -> None:
    first = await enrol(registry, ACME, ["truck-1"], tmp_path)
    (first["truck-1"].folder / "device.key").unlink()
    again = await enrol(registry, ACME, ["truck-1"], tmp_path)
    assert (again["truck-1"].folder / "device.key").exists()
    enrolment = await registry.device(Thing.parse("acme:truck-1"))
    assert len(enrolment.certificates) == 2


async def test_a_real_device_and_a_retired_one_are_left_alone(registry, tmp_path) -> None:
    await enrol(registry, ACME, ["truck-1"], tmp_path)
    await registry.add_devices(ACME, [new_device("tractor", "tracker")])
    with pytest.raises(NotSimulated, match="acme:tractor is registered as a tracker"):
        await enrol(registry, ACME, ["tractor"], tmp_path)
    await registry.decommission(Thing.parse("acme:truck-1"))
    with pytest.raises(NotInService, match="acme:truck-1 is decommissioned"):
        await enrol(registry, ACME, ["truck-1"], tmp_path)


@pytest.fixture
async def registry(database, tmp_path: Path) -> AsyncIterator[ProvisioningService]:
    settings = ProvisioningSettings()
    authority = CertificateAuthority.open(tmp_path / "ca", settings=settings)
    async with Database(database.app, pool_size=1) as app, Database(database.operator, pool_size=1) as operator:
        yield ProvisioningService(app=app, operator=operator, authority=authority, settings=settings)


def everything_held(truck: Truck, *, until_s: float):
    """The one message in which a truck without coverage would bring home what it measured."""
    held = [
        s
        for e in Truck(truck.id, truck.round, 7).emissions(start_at_ms=START_MS, interval_s=1.0, until_s=until_s)
        for s in e.samples
    ]
    yield Emission(5000.0, sorted(held, key=lambda s: s["ts"]))


def recording(*trips: tuple[str, str, int]) -> Dataset:
    """Trips (id, vehicle, begin in minutes) of ten minutes each with a fix a minute, all on one route."""
    positions = {
        trip: tuple(
            Fix(trip, vehicle, MORNING + timedelta(minutes=begin + n), 47.1 + n / 1000, 9.5, None, None, None)
            for n in range(11)
        )
        for trip, vehicle, begin in trips
    }
    return Dataset(
        trips={trip: Trip(trip, "north", vehicle, positions[trip][0].at) for trip, vehicle, _ in trips},
        stops={"north": (RouteStop("north", 1, "a", "A", 47.1, 9.5),)},
        shapes={},
        positions=positions,
        ignored_columns=(),
    )
