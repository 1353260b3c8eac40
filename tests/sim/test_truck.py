import itertools
import math
from collections import defaultdict
from dataclasses import replace
from random import Random

import msgspec
import pytest

from core.telemetry import Sample
from sim.journey import TANK_L, Journey, distance_m
from sim.truck import DeadZone, Faults, FleetImpossible, dead_zones, plan_fleet

START_MS = 1_790_000_000_000
HOURS_8 = 8 * 3600.0
FLAWLESS = Faults(repeated_share=0.0, overtaken_share=0.0, reboot_every_s=0.0)


@pytest.fixture(scope="session")
def fleet(district, router):
    return plan_fleet(district, router, trucks=20, seed=3)


@pytest.fixture(scope="session")
def rough_truck(fleet):
    """A truck that drives through a dead zone on every lap, on a poor network and a poor device."""
    truck = fleet[0]
    centre = truck.round.legs[2].points[len(truck.round.legs[2].points) // 2]
    faults = Faults(repeated_share=0.05, overtaken_share=0.05, reboot_every_s=3600.0, batch_limit=50)
    return replace(truck, dead_zones=(DeadZone(*centre, 900.0),), faults=faults)


def place_of(sample):
    return sample["pos"]["lat"], sample["pos"]["lon"]


def in_order(emissions):
    """Every distinct sample by the time it was measured."""
    named = {(sample["boot"], sample["seq"]): sample for emission in emissions for sample in emission.samples}
    return sorted(named.values(), key=lambda sample: sample["ts"])


def run(truck, *, interval_s=1.0, until_s=HOURS_8):
    return list(truck.emissions(start_at_ms=START_MS, interval_s=interval_s, until_s=until_s))


@pytest.fixture(scope="session")
def rough_day(rough_truck):
    return run(rough_truck, interval_s=5.0)


def test_no_truck_is_ever_faster_than_a_truck(fleet):
    for truck in fleet[:6]:
        samples = in_order(run(truck, until_s=3 * 3600.0))
        for before, after in itertools.pairwise(samples):
            seconds = (after["ts"] - before["ts"]) / 1000
            assert distance_m(place_of(before), place_of(after)) / seconds < 40
        assert 10 < max(sample["pos"]["speed"] for sample in samples) < 27


def test_a_truck_accelerates_and_brakes_as_a_laden_one_can(fleet):
    plan = fleet[0].round
    lap = Journey(plan, Random(1), pace=1.0, odometer_m=0.0, fuel_pct=90.0)
    speeds = [lap.at(float(t)).speed_mps for t in range(int(lap.duration_s))]
    changes = [after - before for before, after in itertools.pairwise(speeds)]
    assert max(changes) < 0.81
    assert min(changes) > -1.11
    assert max(speeds) > 10


def test_the_truth_moves_by_its_own_speed_along_the_road(fleet):
    lap = Journey(fleet[0].round, Random(1), pace=1.0, odometer_m=0.0, fuel_pct=90.0)
    states = [lap.at(float(t)) for t in range(int(lap.duration_s))]
    for before, after in itertools.pairwise(states):
        mean = (before.speed_mps + after.speed_mps) / 2
        assert after.odometer_m - before.odometer_m == pytest.approx(mean, abs=0.6)
        assert (
            distance_m((before.lat, before.lon), (after.lat, after.lon)) <= after.odometer_m - before.odometer_m + 0.01
        )
    assert lap.odometer_m == pytest.approx(fleet[0].round.distance_m, rel=0.01)
    assert (states[0].lat, states[0].lon) == pytest.approx((states[-1].lat, states[-1].lon), abs=1e-5)


def test_the_odometer_never_runs_backwards_over_laps_and_reboots(rough_day):
    samples = in_order(rough_day)
    odometers = [sample["m"]["odometer_m"] for sample in samples]
    assert odometers == sorted(odometers)
    assert odometers[-1] - odometers[0] > 50_000


def test_each_boot_counts_from_one_and_leaves_no_number_out(rough_day):
    seqs = defaultdict(list)
    for sample in in_order(rough_day):
        seqs[sample["boot"]].append(sample["seq"])
    assert len(seqs) > 3
    for numbers in seqs.values():
        assert numbers == list(range(1, len(numbers) + 1))


def test_fixes_made_without_coverage_come_late_and_all_of_them(rough_truck, rough_day):
    zone = rough_truck.dead_zones[0]
    flawless = run(replace(rough_truck, faults=FLAWLESS), interval_s=5.0)
    late = [emission for emission in flawless if len(emission.samples) > 1]
    assert len(late) >= 3
    for emission in late:
        # All but the last fix of a batch were made under the dead sky, but for the noise of the receiver at its rim.
        for sample in emission.samples[:-1]:
            assert distance_m((zone.lat, zone.lon), place_of(sample)) < zone.radius_m + 30
            assert emission.due_s > (sample["ts"] - START_MS) / 1000 + 4
    inside = [s for s in in_order(flawless) if distance_m((zone.lat, zone.lon), place_of(s)) < zone.radius_m - 30]
    batched = {id(s) for emission in late for s in emission.samples}
    assert len(inside) > 20
    assert all(id(sample) in batched for sample in inside)
    assert max(len(emission.samples) for emission in rough_day) == 50


def test_a_truck_that_ends_its_day_without_coverage_keeps_what_it_could_not_send(fleet):
    plan = fleet[0].round
    everywhere = DeadZone(plan.depot.lat, plan.depot.lon, 100_000.0)
    assert run(replace(fleet[0], dead_zones=(everywhere,)), until_s=600.0) == []


def test_some_messages_are_repeated_and_some_overtaken(rough_day):
    sent = [tuple((s["boot"], s["seq"]) for s in emission.samples) for emission in rough_day]
    assert len(sent) > len(set(sent)) > 0.9 * len(sent)
    firsts = [emission.samples[0]["ts"] for emission in rough_day]
    assert any(after < before for before, after in itertools.pairwise(firsts))


def test_messages_leave_in_the_order_of_their_due_times(rough_day):
    dues = [emission.due_s for emission in rough_day]
    assert dues == sorted(dues)
    for emission in rough_day:
        assert [s["ts"] for s in emission.samples] == sorted(s["ts"] for s in emission.samples)
        assert emission.due_s >= (emission.samples[-1]["ts"] - START_MS) / 1000 - 0.001


def test_a_flawless_truck_sends_each_fix_once_in_order(fleet):
    day = run(replace(fleet[1], faults=FLAWLESS, dead_zones=()), interval_s=5.0)
    samples = [sample for emission in day for sample in emission.samples]
    assert all(len(emission.samples) == 1 for emission in day)
    assert samples == in_order(day)
    # The power-up at each start of the engine is the only reboot left.
    assert len({sample["boot"] for sample in samples}) == 1 + sum(
        after["m"]["ignition"] and not before["m"]["ignition"] for before, after in itertools.pairwise(samples)
    )


def test_milk_rises_at_each_farm_by_what_the_farm_had_and_leaves_at_the_depot(fleet):
    truck = replace(fleet[2], faults=FLAWLESS, dead_zones=(), start_share=0.0)
    samples = in_order(run(truck, until_s=2 * HOURS_8))

    def milk_at(second):
        return min(samples, key=lambda s: abs((s["ts"] - START_MS) / 1000 - second))["m"]["milk_l"]

    visits = [visit for visit in truck.visits(2 * HOURS_8) if visit.depart_s < 2 * HOURS_8 - 5]
    assert len(visits) > len(truck.round.stops)
    for visit in visits:
        assert milk_at(visit.depart_s + 2) - milk_at(visit.arrive_s - 2) == pytest.approx(visit.milk_l, abs=30)
    levels = [sample["m"]["milk_l"] for sample in samples]
    assert 0 == min(levels) < max(levels) <= TANK_L
    assert 0 in levels[len(levels) // 2 :]


def test_a_visit_is_where_the_truck_stands(fleet):
    truck = replace(fleet[3], faults=FLAWLESS, dead_zones=())
    samples = in_order(run(truck, interval_s=5.0))
    visits = list(truck.visits(HOURS_8))
    assert len(visits) > 3
    for visit in visits:
        standing = [s for s in samples if visit.arrive_s < (s["ts"] - START_MS) / 1000 < visit.depart_s]
        assert all(s["pos"]["speed"] == 0.0 for s in standing)
        assert all(distance_m(place_of(s), (visit.stop.lat, visit.stop.lon)) < 40 for s in standing)
        assert visit.arrive_s + 150 <= visit.depart_s <= visit.arrive_s + 2400


def test_a_parked_truck_reports_once_a_minute_with_the_engine_off(fleet):
    samples = in_order(run(replace(fleet[0], faults=FLAWLESS, dead_zones=()), interval_s=5.0))
    parked = [(a, b) for a, b in itertools.pairwise(samples) if not a["m"]["ignition"]]
    assert len(parked) > 10
    assert {b["ts"] - a["ts"] for a, b in parked} <= {60_000, 59_999, 60_001}


def test_the_receivers_error_is_a_few_metres_wanders_and_is_owned_up_to(fleet):
    truck = replace(fleet[0], faults=FLAWLESS, dead_zones=(), start_share=0.0)
    lap = Journey(truck.round, Random(f"{truck.seed}:{truck.id}:lap:0"), pace=truck.pace, odometer_m=0.0, fuel_pct=90.0)
    samples = in_order(run(truck, interval_s=1.0, until_s=lap.duration_s - 1800))
    truth = [lap.at((s["ts"] - START_MS) / 1000) for s in samples]
    norths = [(s["pos"]["lat"] - t.lat) * 111_320 for s, t in zip(samples, truth, strict=True)]
    spread = math.sqrt(sum(north * north for north in norths) / len(norths))
    steps = [b - a for a, b in itertools.pairwise(norths)]
    assert 1 < spread < 6
    assert math.sqrt(sum(step * step for step in steps) / len(steps)) < spread / 2
    covered = sum(abs(north) < s["pos"]["acc"] for north, s in zip(norths, samples, strict=True))
    assert covered / len(samples) > 0.8
    best, worst = min(samples, key=lambda s: s["pos"]["hdop"]), max(samples, key=lambda s: s["pos"]["hdop"])
    assert best["pos"]["sats"] > worst["pos"]["sats"]
    assert best["pos"]["acc"] < worst["pos"]["acc"]


def test_every_sample_is_the_wires_native_sample(rough_day):
    for emission in rough_day:
        for sample in msgspec.json.decode(msgspec.json.encode(emission.samples), type=list[Sample]):
            assert sample.boot
            assert sample.pos is not None
            assert set(sample.m or {}) == {"ignition", "fuel_pct", "odometer_m", "milk_temp_c", "milk_l"}
            assert 2 <= sample.m["fuel_pct"] <= 100
            assert 0 <= sample.pos.heading < 360


def test_the_same_seed_gives_the_same_day_and_another_seed_another(rough_truck, rough_day):
    assert run(rough_truck, interval_s=5.0) == rough_day
    assert run(replace(rough_truck, seed=4), interval_s=5.0) != rough_day


def test_another_start_is_another_boot_of_the_same_drive(rough_truck):
    first, second = (
        next(rough_truck.emissions(start_at_ms=at_ms)).samples[0] for at_ms in (START_MS, START_MS + 86_400_000)
    )
    assert first["boot"] != second["boot"]
    assert (first["pos"], first["m"]) == (second["pos"], second["m"])


@pytest.mark.parametrize("trucks", [1, 2, 7, 15, 40, 300])
def test_a_fleet_of_any_size_serves_every_farm_and_is_spread_over_the_roads(district, router, trucks):
    fleet = plan_fleet(district, router, trucks=trucks, seed=9)
    assert [truck.id for truck in fleet] == [f"truck-{i}" for i in range(1, trucks + 1)]
    assert {stop.id for truck in fleet for stop in truck.round.stops} == {farm.id for farm in district.farms}
    for truck in fleet:
        ids = [stop.id for stop in truck.round.stops]
        assert len(ids) == len(set(ids)) == len(truck.round.legs) - 1
        assert len(ids) >= 4
    if trucks <= 15:
        assert sum(len(truck.round.stops) for truck in fleet) == len(district.farms)
    starts = [place_of(next(truck.emissions(start_at_ms=0)).samples[0]) for truck in fleet]
    out = [at for at in starts if distance_m(at, (district.depot.lat, district.depot.lon)) > 300]
    assert len(out) >= 0.85 * trucks
    assert len({(round(lat, 3), round(lon, 3)) for lat, lon in out}) > 0.6 * trucks


def test_the_rounds_are_worth_driving(district, router):
    """Against farms taken in the order of their ids, which is as random as any."""
    planned = plan_fleet(district, router, trucks=5, seed=9)
    depot = (district.depot.lat, district.depot.lon)
    naive_m = 0.0
    for i in range(5):
        places = [(farm.lat, farm.lon) for farm in district.farms[i * 12 : i * 12 + 12]]
        naive_m += sum(leg.distance_m for leg in router.route([depot, *places, depot]))
    assert sum(truck.round.distance_m for truck in planned) < 0.6 * naive_m


def test_dead_zones_lie_on_the_way_and_never_over_the_depot(fleet, district):
    rounds = list({truck.round.id: truck.round for truck in fleet}.values())
    zones = dead_zones(rounds, 3)
    assert zones == dead_zones(rounds, 3) != dead_zones(rounds, 4)
    assert len(zones) >= 3
    assert not any(zone.covers((district.depot.lat, district.depot.lon)) for zone in zones)
    for zone in zones:
        assert any(zone.covers(point) for plan in rounds for leg in plan.legs for point in leg.points)


def test_no_trucks_is_no_fleet(district, router):
    with pytest.raises(FleetImpossible, match="at least one truck, not 0"):
        plan_fleet(district, router, trucks=0, seed=1)
