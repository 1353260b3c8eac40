"""Services by what is collected: learned within each stop, leaning on the fleet, and no more than the visits show."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eta.engine.fleet import Fleet
from eta.engine.quantity import Rates
from tests.eta.roads import ROAD, STARTS_AT, STOPS, drive

DAY_S = 86_400.0
visits = st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 1e4), st.floats(0, 7200)), max_size=30)


def farms(n: int, rate: float, seed: int = 1):
    """(stop, litres, seconds) of `n` visits of ten farms with yards of their own, pumped at `rate` seconds a litre."""
    chance = random.Random(seed)
    for _ in range(n):
        farm = chance.randrange(10)
        litres = chance.gauss(500.0 + 200.0 * farm, 150.0)
        yield f"farm-{farm}", litres, 100.0 + 300.0 * (9 - farm) / 9 + rate * litres + chance.gauss(0.0, 20.0)


def test_the_rate_is_that_within_a_farm_though_large_farms_have_quick_yards():
    rates = Rates()
    for visit in farms(400, rate=0.2):
        rates.take(*visit)
    more = rates.more_s("farm-4", 1800.0) - rates.more_s("farm-4", 1300.0)
    assert more == pytest.approx(0.2 * 500.0, rel=0.1)
    assert rates.more_s("farm-4", 1300.0) == pytest.approx(0.0, abs=10.0)


def test_a_farm_never_visited_goes_by_the_fleet():
    rates = Rates()
    for visit in farms(400, rate=0.2):
        rates.take(*visit)
    assert rates.more_s("new", 2000.0) - rates.more_s("new", 1500.0) == pytest.approx(100.0, rel=0.1)


def test_a_farm_of_its_own_rate_is_known_by_it_in_the_end():
    rates = Rates()
    for visit in farms(300, rate=0.2):
        rates.take(*visit)
    for n in range(60):
        litres = 1000.0 + 300.0 * (n % 3 - 1)
        rates.take("slow-pump", litres, 100.0 + 0.6 * litres)
    assert rates.more_s("slow-pump", 1500.0) - rates.more_s("slow-pump", 1000.0) == pytest.approx(300.0, rel=0.1)


def test_what_makes_no_difference_is_told_to_make_none():
    rates = Rates()
    for visit in farms(400, rate=0.0):
        rates.take(*visit)
    assert rates.more_s("farm-4", 2300.0) == pytest.approx(0.0, abs=25.0)


def test_nothing_is_said_before_anything_is_known():
    assert Rates().more_s("farm-1", 1000.0) == 0.0


@given(visits, st.floats(0, 1e4), st.floats(0, 1e4))
def test_more_never_takes_less(known, a, b):
    rates = Rates()
    for visit in known:
        rates.take(*visit)
    assert rates.more_s("a", max(a, b)) >= rates.more_s("a", min(a, b)) - 1e-6


def test_arrivals_behind_a_large_collection_are_later_by_what_it_takes():
    fleet = Fleet()
    for n in range(8):
        litres = 500.0 + 250.0 * (n % 3)
        stops = [stop._replace(quantity=litres) for stop in STOPS]
        fleet.add_route(f"day-{n}", stops, ROAD, called="r")
        fixes = drive(start=STARTS_AT - (8 - n) * DAY_S, service_s=60.0 + 0.2 * litres)
        fleet.begin(f"day-{n}", f"day-{n}", fixes[0].at, fixes[0].at)
        fleet.take(f"day-{n}", fixes)
        fleet.finish(f"day-{n}")
    way = drive()[:20]
    arrivals = {}
    for name, litres in (("usual", 750.0), ("large", 1750.0)):
        stops = [stop._replace(quantity=litres if n == 3 else 750.0) for n, stop in enumerate(STOPS)]
        fleet.add_route(name, stops, ROAD, called="r")
        fleet.begin(name, name, way[0].at, way[0].at)
        fleet.take(name, way)
        arrivals[name] = {arrival.stop: arrival.eta for arrival in fleet.estimate(name, way[-1].at).arrivals}
    assert arrivals["large"][3] == pytest.approx(arrivals["usual"][3], abs=1.0)
    assert arrivals["large"][4] - arrivals["usual"][4] == pytest.approx(0.2 * 1000.0, rel=0.35)
