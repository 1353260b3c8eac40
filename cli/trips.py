"""`milkrun site`, `milkrun route` and `milkrun trip`: where trucks go, in which order, and today's rounds."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from cli import context
from cli.output import print_json, print_table, when
from cli.stack.up import DataOption
from core import logs
from core.clock import utc_now
from core.db import Database
from core.tenancy import TenantId, tenant_id
from eta.sites.files import Format
from eta.sites.imports import ImportService, Report
from eta.sites.model import Site, SiteFacts, SiteKind
from eta.sites.service import SiteService
from eta.sites.store import WantedRoutes, WantedSites
from eta.trips.errors import InvalidImport, InvalidTrip
from eta.trips.model import StopState, Trip
from eta.trips.service import NewTrip, TripService
from eta.trips.store import Wanted
from provisioning.errors import TenantNotFound
from provisioning.store import RegistryStore

site_app = typer.Typer(help="Sites: add, list, import.", no_args_is_help=True, add_completion=False)
route_app = typer.Typer(help="Routes: import, list.", no_args_is_help=True, add_completion=False)
trip_app = typer.Typer(help="Trips: plan, list, assign, skip.", no_args_is_help=True, add_completion=False)

JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for scripts.")]
TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", show_default=False)]
TripArgument = Annotated[str, typer.Argument(metavar="TRIP", show_default=False, help="Its id or code.")]
FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, show_default=False, help=".csv or .geojson")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what it would do, and do nothing.")]
DayOption = Annotated[
    str, typer.Option("--day", metavar="YYYY-MM-DD", help="Default: today (UTC).", show_default=False)
]

_PAGE = 1000
_SHOWN_ERRORS = 20


@site_app.command("add")
def add_site(
    tenant: TenantArgument,
    code: Annotated[str, typer.Argument(metavar="CODE", show_default=False, help="Your own name for it.")],
    lat: Annotated[float, typer.Option("--lat", help="Degrees.", show_default=False)],
    lon: Annotated[float, typer.Option("--lon", help="Degrees.", show_default=False)],
    name: Annotated[str, typer.Option("--name", help="Default: the code.", show_default=False)] = "",
    kind: Annotated[SiteKind, typer.Option("--kind", help="What it is.")] = SiteKind.FARM,
    radius: Annotated[float, typer.Option("--radius", help="Metres around it that belong to it.")] = 50.0,
    timezone: Annotated[str, typer.Option("--timezone", help="IANA name.")] = "UTC",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a site."""
    owner = tenant_id(tenant)
    facts = SiteFacts(name=name or code, code=code, kind=kind, lat=lat, lon=lon, radius_m=radius, timezone=timezone)
    made = _run(data, owner, lambda database: SiteService(database=database, clock=utc_now).add_site(owner, facts))
    if as_json:
        print_json(_site(made))
    else:
        print(f"site {made.facts.code} added as {made.id}")


@site_app.command("list")
def list_sites(tenant: TenantArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List a tenant's sites."""
    owner = tenant_id(tenant)

    async def all_of(database: Database) -> list[Site]:
        service, found = SiteService(database=database, clock=utc_now), list[Site]()
        while page := await service.sites(owner, WantedSites(), after=found[-1].id if found else "", limit=_PAGE):
            found += page
        return found

    sites = _run(data, owner, all_of)
    if as_json:
        print_json([_site(site) for site in sites])
        return
    print_table(
        ("code", "name", "kind", "lat", "lon", "radius", "id"),
        [
            (s.code or "", s.name, s.kind.value, f"{s.lat:.5f}", f"{s.lon:.5f}", f"{s.radius_m:g} m", site.id)
            for site in sites
            for s in (site.facts,)
        ],
    )


@site_app.command("import")
def import_sites(
    tenant: TenantArgument,
    file: FileArgument,
    dry_run: DryRunOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add sites from a file, and change those whose code is there. Exit code 1 when a line was wrong."""
    _import(ImportService.sites, "sites", tenant, file, dry_run, data, as_json)


@route_app.command("import")
def import_routes(
    tenant: TenantArgument,
    file: FileArgument,
    dry_run: DryRunOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add routes from a file, and change those whose code is there. Exit code 1 when a line was wrong."""
    _import(ImportService.routes, "routes", tenant, file, dry_run, data, as_json)


@route_app.command("list")
def list_routes(tenant: TenantArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List a tenant's routes."""
    owner = tenant_id(tenant)
    routes = _run(
        data,
        owner,
        lambda database: SiteService(database=database, clock=utc_now).routes(owner, WantedRoutes(), limit=_PAGE),
    )
    rows = [
        {
            "id": route.id,
            "code": route.facts.code,
            "name": route.facts.name,
            "stops": len(route.facts.stops),
            "weekdays": [day.value for day in route.facts.weekdays],
            "starts_at": route.facts.starts_at and route.facts.starts_at.isoformat("minutes"),
            "timezone": route.facts.timezone,
            "device": route.facts.device,
        }
        for route in routes
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("code", "name", "stops", "weekdays", "start", "timezone", "device", "id"),
        [
            (
                *(str(row[name] or "") for name in ("code", "name", "stops")),
                " ".join(day.value for day in route.facts.weekdays),
                *(str(row[name] or "") for name in ("starts_at", "timezone", "device", "id")),
            )
            for row, route in zip(rows, routes, strict=True)
        ],
    )


@trip_app.command("plan")
def plan_trip(
    tenant: TenantArgument,
    route: Annotated[str, typer.Argument(metavar="ROUTE", show_default=False, help="Its id or code.")],
    day: DayOption = "",
    device: Annotated[str | None, typer.Option("--device", help="Default: the route's.", show_default=False)] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Plan a trip of a route."""
    owner, wanted = tenant_id(tenant), NewTrip(route=route, day=_day(day) if day else None, device=device)
    _show(_run(data, owner, lambda database: _trips(database).add(owner, wanted)), as_json)


@trip_app.command("list")
def list_trips(
    tenant: TenantArgument, day: DayOption = "", data: DataOption = None, as_json: JsonOption = False
) -> None:
    """List the trips of a day."""
    owner = tenant_id(tenant)
    wanted = Wanted(day=_day(day) if day else utc_now().date())
    trips = _run(data, owner, lambda database: _trips(database).trips(owner, wanted, limit=_PAGE))
    if as_json:
        print_json([_trip(trip) for trip in trips])
        return
    print_table(
        ("trip", "code", "device", "start", "state", "served", "skipped", "ahead"),
        [
            (
                *(trip.id, trip.code or "", trip.device or ""),
                *(when(trip.started_at or trip.planned_start), trip.state.value),
                *(
                    str(sum(stop.state is state for stop in trip.stops))
                    for state in (StopState.SERVED, StopState.SKIPPED)
                ),
                str(len(trip.ahead)),
            )
            for trip in trips
        ],
    )


@trip_app.command("assign")
def assign_trip(
    tenant: TenantArgument,
    trip: TripArgument,
    device: Annotated[str, typer.Argument(metavar="DEVICE", show_default=False)],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a trip to a device, also while it runs."""
    owner = tenant_id(tenant)
    _show(_run(data, owner, lambda database: _trips(database).assign(owner, trip, device)), as_json)


@trip_app.command("skip")
def skip_stop(
    tenant: TenantArgument,
    trip: TripArgument,
    stop: Annotated[str, typer.Argument(metavar="STOP", show_default=False, help="Its id, or its site's id or code.")],
    back: Annotated[bool, typer.Option("--back", help="Take it back.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Leave a stop of a trip out."""
    owner, state = tenant_id(tenant), StopState.PLANNED if back else StopState.SKIPPED

    async def skipped(database: Database) -> Trip:
        service = _trips(database)
        found = await service.trip(owner, trip)
        sites = await SiteService(database=database, clock=utc_now).ids(owner, frozenset({stop}))
        named = [each.id for each in found.stops if each.id == stop or each.site in sites]
        return await service.change_stop(owner, found.id, named[0] if named else stop, state=state)

    _show(_run(data, owner, skipped), as_json)


def _trips(database: Database) -> TripService:
    return TripService(database=database, clock=utc_now)


def _run[Found](data: Path | None, tenant: TenantId, work: Callable[[Database], Awaitable[Found]]) -> Found:
    """Raises TenantNotFound."""
    found = context.load(data)
    logs.configure(level="error", json=found.settings.log.json_lines, process="cli")

    async def main() -> Found:
        async with Database(found.settings.database.app_url, pool_size=1) as database:
            async with database.tenant(tenant) as tx:
                if not await RegistryStore().tenant_exists(tx):
                    raise TenantNotFound(f"there is no tenant {tenant}: add it first (milkrun tenant add {tenant})")
            return await work(database)

    return asyncio.run(main())


def _day(text: str) -> date:
    """Raises InvalidTrip."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidTrip(f"{text[:40]!r} is no day: write YYYY-MM-DD") from None


def _format(file: Path) -> Format:
    """Raises InvalidImport."""
    match file.suffix.lower():
        case ".csv":
            return "csv"
        case ".geojson" | ".json":
            return "geojson"
        case other:
            raise InvalidImport(f"{file.name} ends in {other or 'nothing'}: a file is .csv, .geojson or .json")


def _import(
    work: Callable[..., Awaitable[Report]],
    what: str,
    tenant: str,
    file: Path,
    dry_run: bool,
    data: Path | None,
    as_json: bool,
) -> None:
    """`work`: the method of ImportService that reads such a file."""
    owner, content, format_ = tenant_id(tenant), file.read_bytes(), _format(file)

    async def read(database: Database) -> Report:
        service = ImportService(database=database, clock=utc_now)
        return await work(service, owner, content, format_, is_dry_run=dry_run)

    _tell(_run(data, owner, read), what, as_json)


def _tell(report: Report, what: str, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report))
    else:
        would = "would be " if report.is_dry_run else ""
        print(f"{report.added:,} {what} {would}added, {report.changed:,} changed, {report.unchanged:,} unchanged")
        for bad in report.errors[:_SHOWN_ERRORS]:
            print(f"line {bad.line}{f' ({bad.code})' if bad.code else ''}: {bad.message}")
        if len(report.errors) > _SHOWN_ERRORS:
            print(f"and {len(report.errors) - _SHOWN_ERRORS:,} lines more; --json has all of them")
    if report.errors:
        raise typer.Exit(1)


def _show(trip: Trip, as_json: bool) -> None:
    if as_json:
        print_json(_trip(trip))
        return
    print(f"trip {trip.code or trip.id} of {trip.day}: {trip.state}, {trip.device or 'no device'}")
    print_table(
        ("stop", "name", "planned", "state", "arrived", "left"),
        [
            (stop.id, stop.name, when(stop.planned_at), stop.state.value, when(stop.arrived_at), when(stop.departed_at))
            for stop in trip.stops
        ],
    )


def _site(site: Site) -> dict[str, object]:
    facts = site.facts
    return {
        "id": site.id,
        "code": facts.code,
        "name": facts.name,
        "kind": facts.kind,
        "lat": facts.lat,
        "lon": facts.lon,
        "radius_m": facts.radius_m,
        "timezone": facts.timezone,
    }


def _trip(trip: Trip) -> dict[str, object]:
    stops: Sequence[dict[str, object]] = [
        {
            "id": stop.id,
            "site": stop.site,
            "name": stop.name,
            "planned_at": stop.planned_at,
            "state": stop.state,
            "arrived_at": stop.arrived_at,
            "departed_at": stop.departed_at,
        }
        for stop in trip.stops
    ]
    return {
        "id": trip.id,
        "code": trip.code,
        "route": trip.route,
        "device": trip.device,
        "day": trip.day.isoformat(),
        "planned_start": trip.planned_start,
        "state": trip.state,
        "started_at": trip.started_at,
        "ended_at": trip.ended_at,
        "version": trip.version,
        "stops": stops,
    }
