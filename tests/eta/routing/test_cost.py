from datetime import date

import pytest

from eta.routing.cost import prices
from eta.routing.cost.report import report
from eta.routing.store import Driven, Used

LIST = prices.load()
SINCE, UNTIL = date(2026, 7, 1), date(2026, 8, 31)


@pytest.mark.parametrize(
    ("calls", "cost"),
    [
        (0, 0.0),
        (5000, 0.0),
        (5001, 0.01),
        (39_000, 340.0),
        (250_000, 2150.0),
        (2_500_000, 11_650.0),
        (6_000_000, 19_900.0),
    ],
)
def test_a_month_is_priced_step_by_step(calls, cost):
    assert LIST.of_month(calls) == pytest.approx(cost)


@pytest.mark.parametrize(
    "tiers",
    [
        "[[tier]]\ncalls = 10\nper_1000 = 1",
        "[[tier]]\ncalls = 4\nper_1000 = 1\n[[tier]]\nper_1000 = 1",
        "[[tier]]\nper_1000 = -1",
    ],
)
def test_a_list_that_makes_no_sense_is_refused(tiers):
    head = 'date = "2026-08-16"\nengine = "e"\nsource = "s"\ncurrency = "USD"\nfree_per_month = 5\n'
    with pytest.raises(ValueError, match=r"prices\.toml"):
        prices.parsed(head + tiers)


def test_each_month_has_its_own_free_calls_and_what_was_refused_is_no_call():
    used = [
        Used("2026-07", "google", "traffic", "ok", 5900, 800.0),
        Used("2026-08", "google", "traffic", "ok", 5000, 700.0),
        Used("2026-08", "google", "traffic", "map_engine_slow", 100, 200.0),
        Used("2026-08", "google", "traffic", "map_budget_spent", 77, 0.0),
        Used("2026-08", "osrm-local", "snapshot", "ok", 300, 3.0),
    ]
    driven = {"2026-07": Driven(200, 3000, 200, 720_000.0), "2026-08": Driven(100, 1500, 100, 360_000.0)}
    found = report(SINCE, UNTIL, used, driven, LIST)
    assert (found.trips, found.hours, found.calls, found.billed_calls) == (300, 300.0, 11_300, 11_000)
    assert found.billed_cost == pytest.approx(9.0 + 1.0)
    assert found.calls_per_trip == pytest.approx(11_300 / 300)
    google, osrm = found.uses
    assert (google.calls, google.failed, google.refused) == (11_000, 100, 77)
    assert (osrm.calls, osrm.failed, osrm.refused, osrm.seconds) == (300, 0, 0, 3.0)
    counts = {method.name: (method.calls, method.cost) for method in found.methods}
    assert counts["milkrun"] == (11_000, pytest.approx(10.0))
    assert counts["milkrun_all_billed"] == (11_300, pytest.approx(9.0 + 4.0))
    assert counts["once_a_trip"] == (300, 0.0)
    assert counts["once_a_leg"] == (4500, 0.0)
    assert counts["every_5_min"] == (3600, 0.0)
    assert counts["every_30_s"] == (36_000, pytest.approx((24_000 - 5000) / 100 + (12_000 - 5000) / 100))


def test_of_nothing_all_is_nothing():
    found = report(SINCE, UNTIL, [], {}, LIST)
    assert (found.calls, found.billed_cost, found.calls_per_trip, found.uses) == (0, 0.0, 0.0, ())
    assert {method.cost for method in found.methods} == {0.0}
