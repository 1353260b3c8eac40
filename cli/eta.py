"""`milkrun eta`: how good the arrival times are."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from eta.accuracy.figures import Report
from eta.backtest import dataset, output
from eta.backtest.report import report
from eta.backtest.run import Protocol, play

eta_app = typer.Typer(help="Arrival times: backtest.", no_args_is_help=True, add_completion=False)


@eta_app.callback()
def _group() -> None:
    """Keeps `backtest` a command of its own while it is the only one."""


@eta_app.command("backtest")
def backtest(
    folder: Annotated[
        Path, typer.Argument(metavar="DATASET", help="Folder with positions.csv(.gz), trips.csv, stops.csv.")
    ],
    out: Annotated[Path, typer.Option("--out", dir_okay=False, help="Predictions; alerts.csv is written beside it.")],
    protocol: Annotated[
        Protocol,
        typer.Option("--protocol", help="Know the trips that ended earlier (causal), or every other trip."),
    ] = Protocol.CAUSAL,
    report_to: Annotated[
        Path | None,
        typer.Option("--report", dir_okay=False, help="Also write the figures as JSON.", show_default=False),
    ] = None,
) -> None:
    """Play recorded trips through the engine that serves live ones, and measure what it would have said."""
    recorded = dataset.read(folder)
    started = time.monotonic()
    played = play(recorded, protocol)
    took_s = time.monotonic() - started
    alerts = output.write(played, out)
    figures = report(recorded, played)
    if report_to is not None:
        report_to.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"protocol": protocol.value, **figures.as_json()}, indent=2)
        report_to.write_text(text + "\n", encoding="utf-8")
    _show(Console(highlight=False), protocol, figures)
    print(
        f"{len(played.predictions):,} predictions in {out}, {len(played.alerts):,} alerts in {alerts}, {took_s:.0f} s"
    )


def _show(console: Console, protocol: Protocol, figures: Report) -> None:
    console.print(
        f"{figures.trips} trips, {figures.arrivals:,} arrivals, {protocol.value}: "
        f"MAE {figures.mae_5_to_10_min_s:.0f} s at 5 to 10 minutes, "
        f"benchmark {figures.benchmark_score:.1f}, band holds {figures.band_coverage_pct:.0f} % (80 is meant), "
        f"{figures.map_calls} map calls"
    )
    table = Table("minutes ahead", "predictions", "MAE s", "bias s", "MAPE %", "within 2 min %", "in band %")
    for h in figures.horizons:
        cells = (h.mae_s, h.bias_s, h.mape_pct, h.within_2_min_pct, h.band_coverage_pct)
        table.add_row(h.minutes, f"{h.predictions:,}", *(f"{cell:.1f}" for cell in cells))
    console.print(table)
    table = Table(
        "alert", "fired", "lead MAE s", "bias s", "within 2 min %", "late %", "early %", "missed %", "repeated"
    )
    for a in figures.alerts:
        rates = (a.lead_mae_s, a.lead_bias_s, a.on_time_pct, a.late_pct, a.early_pct, a.missed_pct)
        table.add_row(a.kind, str(a.fired), *(f"{rate:.1f}" for rate in rates), str(a.repeated))
    console.print(table)
