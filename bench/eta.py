"""Arrival times: updates a second on one core, memory of a running trip, accuracy on a recording and on worse ones."""

import math
import os
import statistics
import time
import tracemalloc
from pathlib import Path

from rich.console import Console

from bench import eta_live
from bench.figures import machine, spread
from eta.backtest.alter import ALTERATIONS
from eta.backtest.dataset import read
from eta.backtest.report import report, true_arrivals
from eta.backtest.run import Protocol, play
from eta.engine.fleet import Fleet
from eta.engine.route import Stop
from eta.engine.track import Fix

_DATASET = Path(os.environ.get("BENCH_ETA_DATASET", "../shared/data/hsl-510"))
_REMAINING = 20
_TRIPS = 100
_UPDATES = 20_000
_RUNS = 3
_HOUR_S = 3600
_SPACING_M = 700.0
_SPEED_MPS = 8.0


def main(console: Console) -> None:
    console.print(f"bench eta on {machine()}")
    rates = [_updates_a_second() for _ in range(_RUNS)]
    console.print(f"ETA updates a second and core, {_REMAINING} stops remaining each: {spread(rates)}")
    base, hour = _memory_of_a_trip(1), _memory_of_a_trip(_HOUR_S)
    console.print(f"memory of a running trip: {base:,.0f} B, and {(hour - base) / _HOUR_S:.0f} B a fix")
    if os.environ.get("BENCH_ETA_LIVE", "1") == "1":
        eta_live.measure(console)
    if not _DATASET.is_dir():
        console.print(f"accuracy: not measured, {_DATASET} is not here (BENCH_ETA_DATASET names a recording)")
        return
    console.print(f"accuracy on {_DATASET.name}: MAE at 5-10 min, benchmark score, band coverage, alerts within 2 min")
    for protocol in Protocol:
        for name in ALTERATIONS:
            console.print(f"  {protocol.value:14} {name:20} {_accuracy(name, protocol)}")


def _accuracy(name: str, protocol: Protocol) -> str:
    recorded = read(_DATASET)
    alter, is_other_driving = ALTERATIONS[name]
    altered = alter(recorded)
    figures = report(altered, play(altered, protocol), None if is_other_driving else true_arrivals(recorded))
    ten, five = figures.alerts
    return (
        f"{figures.mae_5_to_10_min_s:5.1f} s {figures.benchmark_score:5.1f} {figures.band_coverage_pct:5.1f} %  "
        f"10 min {ten.on_time_pct:.1f} % (late {ten.late_pct:.1f}), 5 min {five.on_time_pct:.1f} % "
        f"(late {five.late_pct:.1f}), repeated {ten.repeated + five.repeated}"
    )


def _place(along: float) -> tuple[float, float]:
    return 47.0 + 0.004 * math.sin(along / 900.0), 9.5 + along / 75_800.0


def _fleet(stops: int, trips: int) -> Fleet:
    fleet = Fleet()
    road = [_place(along) for along in range(0, int(stops * _SPACING_M), 40)]
    fleet.add_route("r", [Stop(f"s{n}", *_place(n * _SPACING_M)) for n in range(stops)], road)
    fleet.begin("known", "r", -1e5)
    fleet.take("known", (Fix(-1e5 + n, *_place(n * _SPEED_MPS)) for n in range(int(stops * _SPACING_M / _SPEED_MPS))))
    fleet.finish("known")
    for trip in range(trips):
        fleet.begin(f"t{trip}", "r", 0.0, 0.0)
    return fleet


def _updates_a_second() -> float:
    """A fix taken and all arrivals worked out again, one trip after the other as a fleet reports."""
    each = _UPDATES // _TRIPS
    fleet = _fleet(_REMAINING + 1 + int(each * _SPEED_MPS / _SPACING_M), _TRIPS)
    fixes = [Fix(float(n), *_place(n * _SPEED_MPS)) for n in range(each)]
    trips = list(fleet.trips)
    remaining = []
    started = time.process_time()  # what one core gives, however many share it
    for fix in fixes:
        for trip in trips:
            fleet.take(trip, (fix,))
            remaining.append(len(fleet.estimate(trip, fix.at).arrivals))
    took = time.process_time() - started
    assert statistics.median(remaining) >= _REMAINING, "fewer stops remain than are claimed"
    return each * _TRIPS / took


def _memory_of_a_trip(fixes: int) -> float:
    fleet = _fleet(60, 0)
    tracemalloc.start()
    for trip in range(10):
        fleet.begin(f"t{trip}", "r", 0.0, 0.0)
        for n in range(fixes):
            fleet.take(f"t{trip}", (Fix(float(n), *_place(n * _SPEED_MPS * 0.5)),))
        fleet.estimate(f"t{trip}", float(fixes))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return used / 10
