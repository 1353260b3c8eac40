"""Sites and routes from files: each good line is added, or changes what has its code; each bad one is reported."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from core.clock import Clock
from core.db import Database, TenantTx
from core.errors import Invalid
from core.tenancy import TenantId
from eta.sites import files, model, store
from eta.sites.files import Format, Line
from eta.sites.model import Route, RouteFacts, RouteStop, Site, SiteFacts
from eta.sites.service import wrong_references
from eta.trips.errors import InvalidRoute
from eta.trips.ids import new_id

type ImportWitness = Callable[[TenantTx, "Report"], Awaitable[None]]
"""Told of an import that wrote something, inside its transaction."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """`line` counts from 1: of a CSV file its lines with the header, of GeoJSON its features."""

    line: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """What an import did, or would do; counts of sites or routes. A route with one bad line is left out whole."""

    is_dry_run: bool
    lines: int
    added: int
    changed: int
    unchanged: int
    errors: tuple[BadLine, ...]


class ImportService:
    """`database` is the milkrun_app login. Imports of one tenant come one after the other."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def sites(
        self,
        tenant: TenantId,
        content: bytes,
        format_: Format,
        *,
        is_dry_run: bool = False,
        witness: ImportWitness | None = None,
    ) -> Report:
        """Raises InvalidImport when the file cannot be read at all, CodeTaken when somebody adds the same meanwhile."""
        lines = await asyncio.to_thread(files.sites, content, format_)
        now = self._clock()
        async with self._database.tenant(tenant) as tx:
            await store.lock_codes(tx, tenant)
            known = await store.named_sites(tx, tenant, {line.code for line in lines if line.code})
            wanted = [(line, _site(tenant, line, known.get(line.code), now)) for line in _once(lines)]
            made = [(known.get(line.code), site) for line, site in wanted if site is not None]
            report = _report(lines, made, is_dry_run)
            if not is_dry_run:
                await store.add_sites(tx, tenant, [site for before, site in made if before is None], now)
                changed = [site for before, site in made if before is not None and site != before]
                await store.save_sites(tx, tenant, changed, now)
                await _tell(tx, report, witness)
        return report

    async def routes(
        self,
        tenant: TenantId,
        content: bytes,
        format_: Format,
        *,
        is_dry_run: bool = False,
        witness: ImportWitness | None = None,
    ) -> Report:
        """As `sites`; stops name sites by code or id, which have to be there."""
        lines = await asyncio.to_thread(files.routes, content, format_)
        now = self._clock()
        async with self._database.tenant(tenant) as tx:
            await store.lock_codes(tx, tenant)
            groups = _grouped(lines)
            known = await store.named_routes(tx, tenant, {code for code in groups if code})
            sites = await store.named_sites(tx, tenant, {stop.site for line in lines for stop in _stops(line)})
            devices = {line.fields["device"] for line in lines if "device" in line.fields}
            present = await store.existing_devices(tx, tenant, devices)
            made = []
            for code, group in groups.items():
                route = _route(tenant, group, known.get(code), sites, present, now)
                if route is not None:
                    made.append((known.get(code), route))
            report = _report(lines, made, is_dry_run)
            if not is_dry_run:
                for before, route in made:
                    if route != before:
                        await store.save_route(tx, route)
                await _tell(tx, report, witness)
        return report


async def _tell(tx: TenantTx, report: Report, witness: ImportWitness | None) -> None:
    if witness and (report.added or report.changed):
        await witness(tx, report)


def _once(lines: Sequence[Line]) -> list[Line]:
    """The lines that are right so far; a second one of the same code is not."""
    first: dict[str, int] = {}
    for line in lines:
        if not model.is_code(line.code):
            line.error = line.error or "it needs a code of 1 to 64 characters of A-Z, a-z, 0-9, '_.-'"
        elif first.setdefault(line.code, line.number) != line.number:
            line.error = line.error or f"its code stands in line {first[line.code]} already"
    return [line for line in lines if not line.error]


def _site(tenant: TenantId, line: Line, before: Site | None, now: datetime) -> Site | None:
    """The site as the line wants it; None, and the line's error says why."""
    if before is None and (missing := [name for name in ("name", "lat", "lon") if name not in line.fields]):
        line.error = f"a new site needs {', '.join(missing)}"
        return None
    try:
        if before is not None:
            return model.changed_site(before, replace(before.facts, **line.fields), is_archived=False, at=now)
        facts = model.site_facts(SiteFacts(code=line.code, **line.fields))
    except Invalid as error:
        line.error = str(error)
        return None
    return Site(tenant=tenant, id=new_id("site", now), facts=facts, created_at=now, updated_at=now)


def _grouped(lines: Sequence[Line]) -> dict[str, list[Line]]:
    groups: dict[str, list[Line]] = {}
    for line in lines:
        if not model.is_code(line.code):
            line.error = line.error or "it needs its route's code, 1 to 64 characters of A-Z, a-z, 0-9, '_.-'"
        groups.setdefault(line.code, []).append(line)
    return groups


def _stops(line: Line) -> tuple[RouteStop, ...]:
    stop = line.fields.get("stop")
    return line.fields.get("stops", ()) if stop is None else (stop,)


def _route(
    tenant: TenantId,
    group: Sequence[Line],
    before: Route | None,
    sites: Mapping[str, Site],
    devices: Collection[str],
    now: datetime,
) -> Route | None:
    """The route as its lines want it; None, and their errors say why."""
    said = _agreed(group, sites)
    if any(line.error for line in group):
        return None
    head = group[0]
    try:
        if before is None:
            facts = model.route_facts(RouteFacts(**{"name": head.code, "stops": (), **said, "code": head.code}))
        else:
            facts = model.route_facts(replace(before.facts, **said))
        _require_references(facts, said, sites, devices)
    except Invalid as error:
        head.error = str(error)
        return None
    if "stops" in said:
        facts = replace(facts, stops=tuple(replace(stop, site=sites[stop.site].id) for stop in facts.stops))
    if before is not None:
        return model.changed_route(before, facts, is_archived=False, at=now)
    return Route(tenant=tenant, id=new_id("route", now), facts=facts, created_at=now, updated_at=now)


def _agreed(group: Sequence[Line], sites: Mapping[str, Site]) -> dict[str, Any]:
    """What the lines of one route say of it together, its stops in their order; contradictions are their errors."""
    said: dict[str, Any] = {}
    stops: list[RouteStop] = []
    for line in group:
        more = {name: value for name, value in line.fields.items() if name not in {"stop", "stops"}}
        if others := [name for name, value in more.items() if said.setdefault(name, value) != value]:
            line.error = line.error or f"it says another {others[0]} than a line of its route before"
        if unknown := [stop.site for stop in _stops(line) if stop.site not in sites]:
            line.error = line.error or f"there is no site {unknown[0][:80]!r}"
        stops += _stops(line)
    return said | ({"stops": tuple(stops)} if stops else {})


def _require_references(
    facts: RouteFacts, said: Mapping[str, Any], sites: Mapping[str, Site], devices: Collection[str]
) -> None:
    """Raises InvalidRoute where what the file says names a site or device that is not in use."""
    named = replace(facts, stops=said.get("stops", ()), device=said.get("device"))
    if wrong := wrong_references(named, sites, devices):
        raise InvalidRoute(wrong)


def _report(lines: Sequence[Line], made: Iterable[tuple[object | None, object]], is_dry_run: bool) -> Report:
    pairs = list(made)
    return Report(
        is_dry_run=is_dry_run,
        lines=len(lines),
        added=sum(before is None for before, _ in pairs),
        changed=sum(before is not None and after != before for before, after in pairs),
        unchanged=sum(after == before for before, after in pairs),
        errors=tuple(BadLine(line.number, line.code[:80], line.error) for line in lines if line.error),
    )
