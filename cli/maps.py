"""`milkrun maps`: what maps were asked, and what that cost."""

import asyncio
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli import context, output
from cli.stack.up import DataOption
from core.db import Database
from core.errors import Invalid
from core.tenancy import TenantId, tenant_id
from eta.routing.cost import prices
from eta.routing.cost.report import MapsReport, MapsService

maps_app = typer.Typer(help="Maps: report of calls and cost.", no_args_is_help=True, add_completion=False)

LATELY_DAYS = 30
TenantOption = Annotated[str, typer.Option("--tenant", help="The tenant.")]
FromOption = Annotated[
    str | None, typer.Option("--from", help="First day (default: 29 days before --to).", show_default=False)
]
ToOption = Annotated[str | None, typer.Option("--to", help="Last day, included (default: today).", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON instead of tables.")]


@maps_app.callback()
def _group() -> None:
    """Keeps `report` a command of its own while it is the only one."""


@maps_app.command("report")
def report(
    tenant: TenantOption,
    since: FromOption = None,
    until: ToOption = None,
    as_json: JsonOption = False,
    data: DataOption = None,
) -> None:
    """Calls of map engines, their cost, and what the same trips would have cost by other methods."""
    url = context.load(data).settings.database.app_url
    found = asyncio.run(_report(url, tenant_id(tenant), *days(since, until)))
    if as_json:
        facts = asdict(found)
        # JSON has no infinity, and whoever wants the steps of the list has its source.
        del facts["prices"]["tiers"]
        facts = {"from": str(facts.pop("since")), "to": str(facts.pop("until")), **facts}
        facts["prices"]["as_of"] = str(found.prices.as_of)
        output.print_json(facts)
        return
    _show(Console(highlight=False), found)


def days(since: str | None, until: str | None) -> tuple[date, date]:
    """The days asked for, or the last thirty (UTC). Raises Invalid."""
    last = _day(until, "--to") if until else datetime.now(UTC).date()
    return _day(since, "--from") if since else last - timedelta(days=LATELY_DAYS - 1), last


def _day(text: str, option: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{option} {text[:40]!r} is no day: such is 2026-11-21") from None


async def _report(url: str, tenant: TenantId, since: date, until: date) -> MapsReport:
    async with Database(url, pool_size=1) as database:
        return await MapsService(database, prices.load()).report(tenant, since, until)


def _show(console: Console, found: MapsReport) -> None:
    console.print(
        f"{found.since} to {found.until}: {found.trips:,} trips, {found.hours:,.0f} h under way, "
        f"{found.calls:,} map calls ({found.calls_per_trip:.2f} a trip), {found.billed_calls:,} of them billed"
    )
    if found.uses:
        table = Table("engine", "for", "calls", "failed", "refused by budget", "ms a call")
        for use in found.uses:
            each = 1000.0 * use.seconds / use.calls if use.calls else 0.0
            table.add_row(
                use.engine, use.purpose, f"{use.calls:,}", f"{use.failed:,}", f"{use.refused:,}", f"{each:.1f}"
            )
        console.print(table)
    currency = found.prices.currency
    table = Table("the same trips by", "calls", currency)
    for method in found.methods:
        table.add_row(f"{method.name}: {method.what}", f"{method.calls:,}", f"{method.cost:,.2f}")
    console.print(table)
    console.print(f"Prices of {found.prices.as_of}: {found.prices.engine}")
