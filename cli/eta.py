"""`milkrun eta`: how good the arrival times are."""

import asyncio
import json
import time
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli import context
from cli.maps import FromOption, JsonOption, TenantOption, ToOption, days
from cli.output import print_json
from cli.stack.up import DataOption
from core.clock import utc_now
from core.db import Database
from core.tenancy import TenantId, tenant_id
from eta.accuracy.figures import Report
from eta.accuracy.service import AccuracyService, OwnReport
from eta.backtest import dataset, output
from eta.backtest.report import report
from eta.backtest.run import Protocol, play
from eta.sites.service import SiteService

eta_app = typer.Typer(help="Arrival times: backtest, accuracy.", no_args_is_help=True, add_completion=False)


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
    _show(Console(highlight=False), protocol.value, figures)
    print(
        f"{len(played.predictions):,} predictions in {out}, {len(played.alerts):,} alerts in {alerts}, {took_s:.0f} s"
    )


@eta_app.command("accuracy")
def accuracy(
    tenant: TenantOption,
    since: FromOption = None,
    until: ToOption = None,
    route: Annotated[
        str | None, typer.Option("--route", help="Only this route's trips, by its id or code.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
    data: DataOption = None,
) -> None:
    """How right the arrival times of a tenant's own trips were, once they were over."""
    first, last = days(since, until)
    url = context.load(data).settings.database.app_url
    found = asyncio.run(_accuracy(url, tenant_id(tenant), first, last, route))
    if as_json:
        by_day = {str(day): each.as_json() for day, each in found.days.items()}
        print_json({"from": str(first), "to": str(last), **found.total.as_json(), "days": by_day})
    elif found.total.trips:
        _show(Console(highlight=False), f"{first} to {last}", found.total)
    else:
        print(f"no trip from {first} to {last} has been judged: that is done half an hour after its end")


async def _accuracy(url: str, tenant: TenantId, since: date, until: date, route: str | None) -> OwnReport:
    async with Database(url, pool_size=1) as database:
        of_route = None
        if route is not None:
            of_route = (await SiteService(database=database, clock=utc_now).route(tenant, route)).id
        return await AccuracyService(database).report(tenant, since, until, of_route)


def _show(console: Console, what: str, figures: Report) -> None:
    console.print(
        f"{figures.trips} trips, {figures.arrivals:,} arrivals, {what}: "
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
