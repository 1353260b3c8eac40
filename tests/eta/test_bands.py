import random
from itertools import pairwise

import pytest

from eta.engine.bands import Bands


def test_before_anything_is_measured_the_band_is_a_guess_with_a_longer_late_side():
    low, announced, middle, high = Bands().at(600.0)
    assert low < announced < middle < high
    assert high > -low


def test_the_band_becomes_that_of_the_errors_seen():
    bands, noise = Bands(), random.Random(1)
    for trip in range(40):
        bands.learn(str(trip), [(480.0, noise.gauss(1.0, 0.5)) for _ in range(50)])
    low, announced, middle, high = bands.at(480.0)
    assert low == pytest.approx(1.0 - 1.28 * 0.5, abs=0.15)
    assert middle == pytest.approx(1.0, abs=0.1)
    assert high == pytest.approx(1.0 + 1.28 * 0.5, abs=0.15)
    assert low < announced < middle


def test_a_long_trip_weighs_no_more_than_a_short_one():
    bands = Bands()
    for trip in range(20):
        bands.learn(f"short-{trip}", [(480.0, 0.0)] * 5)
    bands.learn("long", [(480.0, 9.0)] * 5000)
    assert bands.at(480.0)[2] == 0.0


def test_old_trips_are_forgotten():
    bands = Bands()
    for trip in range(60):
        bands.learn(f"old-{trip}", [(480.0, -5.0)] * 5)
    for trip in range(60):
        bands.learn(f"new-{trip}", [(480.0, 5.0)] * 5)
    assert bands.at(480.0)[2] == 5.0


def test_between_horizons_the_band_changes_without_a_step():
    bands = Bands()
    for trip in range(40):
        bands.learn(str(trip), [(270.0, 0.0)] * 5 + [(480.0, 4.0)] * 5)
    values = [bands.at(ahead)[2] for ahead in range(270, 481, 10)]
    assert max(b - a for a, b in pairwise(values)) < 0.3
