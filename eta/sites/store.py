"""Tables `site`, `route` and `route_stop`."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any, NamedTuple

from psycopg.errors import UniqueViolation
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from core import sql
from core.db import Tx
from core.tenancy import DeviceId, TenantId, device_id, tenant_id
from eta.sites.model import (
    Contact,
    Route,
    RouteFacts,
    RouteStop,
    Site,
    SiteFacts,
    SiteKind,
    Weekday,
    Window,
)
from eta.trips.errors import CodeTaken

_SQL = sql.load("eta.sites")


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedSites:
    """None: whichever. `labels` must all be carried; `search` is part of the name or code."""

    kind: SiteKind | None = None
    labels: Mapping[str, str] | None = None
    archived: bool | None = False
    search: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedRoutes:
    """None: whichever. `site`: id or code of one that the route stops at."""

    weekday: Weekday | None = None
    site: str | None = None
    archived: bool | None = False


class Recurring(NamedTuple):
    """A route that is driven of its own accord."""

    tenant: TenantId
    route: str
    weekdays: frozenset[Weekday]
    starts_at: time | None
    timezone: str


async def site(tx: Tx, tenant: TenantId, ref: str, *, lock: bool = False) -> Site | None:
    """By id or code; `lock` keeps others from changing it until the transaction ends."""
    row = await tx.one(_SQL["lock_site" if lock else "site"], {"tenant": tenant, "ref": ref})
    return None if row is None else _site(row)


async def named_sites(tx: Tx, tenant: TenantId, refs: Collection[str]) -> dict[str, Site]:
    """Those of `refs` that there are, each under its id and under its code."""
    if not refs:
        return {}
    found = [_site(row) for row in await tx.all(_SQL["named_sites"], {"tenant": tenant, "refs": list(refs)})]
    by_code = {each.facts.code: each for each in found if each.facts.code is not None}
    return by_code | {each.id: each for each in found}


async def sites(tx: Tx, tenant: TenantId, wanted: WantedSites, *, after: str, limit: int) -> list[Site]:
    """A page by id, which is in the order in which they were made."""
    params = {
        "tenant": tenant,
        "kind": wanted.kind,
        "labels": None if wanted.labels is None else Jsonb(dict(wanted.labels)),
        "archived": wanted.archived,
        "search": wanted.search,
        "after": after,
        "limit": limit,
    }
    return [_site(row) for row in await tx.all(_SQL["sites"], params)]


async def add_sites(tx: Tx, tenant: TenantId, new: Sequence[Site], at: datetime) -> None:
    """Raises CodeTaken."""
    await _write_sites(tx, "add_sites", tenant, new, at)


async def save_sites(tx: Tx, tenant: TenantId, changed: Sequence[Site], at: datetime) -> None:
    """Raises CodeTaken."""
    await _write_sites(tx, "save_sites", tenant, changed, at)


async def routes_with_site(tx: Tx, tenant: TenantId, site_id: str) -> list[str]:
    """Codes or ids of up to three routes in use that stop there."""
    return [row["name"] for row in await tx.all(_SQL["routes_with_site"], {"tenant": tenant, "site": site_id})]


async def lock_codes(tx: Tx, tenant: TenantId) -> None:
    """Nobody else imports into this tenant until the transaction ends."""
    await tx.execute(_SQL["lock_codes"], {"tenant": tenant})


async def route(tx: Tx, tenant: TenantId, ref: str, *, lock: bool = False) -> Route | None:
    """By id or code; `lock` keeps others from changing it until the transaction ends."""
    key = {"tenant": tenant, "ref": ref}
    if lock:
        await tx.execute(_SQL["lock_route"], key)
    row = await tx.one(_SQL["route"], key)
    return None if row is None else _route(row)


async def named_routes(tx: Tx, tenant: TenantId, refs: Collection[str]) -> dict[str, Route]:
    """Those of `refs` that there are, each under its id and under its code."""
    if not refs:
        return {}
    found = [_route(row) for row in await tx.all(_SQL["named_routes"], {"tenant": tenant, "refs": list(refs)})]
    by_code = {each.facts.code: each for each in found if each.facts.code is not None}
    return by_code | {each.id: each for each in found}


async def routes(tx: Tx, tenant: TenantId, wanted: WantedRoutes, *, after: str, limit: int) -> list[Route]:
    params = {
        "tenant": tenant,
        "weekday": wanted.weekday,
        "site": wanted.site,
        "archived": wanted.archived,
        "after": after,
        "limit": limit,
    }
    return [_route(row) for row in await tx.all(_SQL["routes"], params)]


async def recurring(tx: Tx, *, after: tuple[str, str] = ("", ""), limit: int) -> list[Recurring]:
    """Every tenant's routes that are driven of their own accord, those after this (tenant, route)."""
    rows = await tx.all(_SQL["recurring_routes"], {"tenant": after[0], "route": after[1], "limit": limit})
    return [
        Recurring(
            tenant_id(row["tenant_id"]),
            row["route_id"],
            frozenset(Weekday(day) for day in row["weekdays"]),
            row["starts_at"],
            row["timezone"],
        )
        for row in rows
    ]


async def save_route(tx: Tx, after: Route) -> None:
    """Add or change a route with its stops. Raises CodeTaken."""
    facts = after.facts
    with _codes("route", facts.code):
        await tx.execute(
            _SQL["save_route"],
            {
                "tenant": after.tenant,
                "route": after.id,
                "code": facts.code,
                "name": facts.name,
                "weekdays": [day.value for day in facts.weekdays],
                "starts_at": facts.starts_at,
                "timezone": facts.timezone,
                "device": facts.device,
                "shape": Jsonb(facts.shape) if facts.shape else None,
                "archived": after.is_archived,
                "version": after.version,
                "created_at": after.created_at,
                "updated_at": after.updated_at,
            },
        )
    key = {"tenant": after.tenant, "route": after.id}
    await tx.execute(_SQL["drop_route_stops"], key)
    rows = [
        {"seq": seq, "site": s.site, "after_s": s.after_s, "service_s": s.service_s, "quantity": s.quantity}
        for seq, s in enumerate(facts.stops, 1)
    ]
    await tx.execute(_SQL["add_route_stops"], {**key, "rows": Jsonb(rows)})


async def existing_devices(tx: Tx, tenant: TenantId, devices: Collection[DeviceId]) -> frozenset[DeviceId]:
    """Those of `devices` that are registered and not out of service for good."""
    if not devices:
        return frozenset()
    rows = await tx.all(_SQL["existing_devices"], {"tenant": tenant, "devices": list(devices)})
    return frozenset(device_id(row["device_id"]) for row in rows)


@contextmanager
def _codes(what: str, code: str | None) -> Iterator[None]:
    try:
        yield
    except UniqueViolation as error:
        raise CodeTaken(f"there is another {what} with the code {code or 'it brings'}: a code names one") from error


async def _write_sites(tx: Tx, query: str, tenant: TenantId, changed: Sequence[Site], at: datetime) -> None:
    if changed:
        code = changed[0].facts.code if len(changed) == 1 else None
        with _codes("site", code):
            await tx.execute(_SQL[query], {"tenant": tenant, "rows": Jsonb([_row(each) for each in changed]), "at": at})


def _row(each: Site) -> dict[str, object]:
    facts = each.facts
    return {
        "site_id": each.id,
        "code": facts.code,
        "name": facts.name,
        "kind": facts.kind,
        "lat": facts.lat,
        "lon": facts.lon,
        "radius_m": facts.radius_m,
        "polygon": facts.polygon or None,
        "windows": [{"days": w.days, "from": w.opens, "to": w.closes} for w in facts.windows],
        "timezone": facts.timezone,
        "contacts": [{"name": c.name, "email": c.email, "phone": c.phone} for c in facts.contacts],
        "labels": dict(facts.labels),
        "is_archived": each.is_archived,
        "version": each.version,
    }


def _site(row: DictRow) -> Site:
    facts = SiteFacts(
        name=row["name"],
        lat=row["lat"],
        lon=row["lon"],
        code=row["code"],
        kind=SiteKind(row["kind"]),
        radius_m=row["radius_m"],
        polygon=corners(row["polygon"]),
        windows=tuple(
            Window(tuple(Weekday(day) for day in window["days"]), window["from"], window["to"])
            for window in row["windows"]
        ),
        timezone=row["timezone"],
        contacts=tuple(Contact(each["name"], each["email"], each["phone"]) for each in row["contacts"]),
        labels=row["labels"],
    )
    return Site(
        tenant=tenant_id(row["tenant_id"]),
        id=row["site_id"],
        facts=facts,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        is_archived=row["is_archived"],
        version=row["version"],
    )


def _route(row: DictRow) -> Route:
    facts = RouteFacts(
        name=row["name"],
        stops=tuple(RouteStop(**stop) for stop in row["stops"] or ()),
        code=row["code"],
        weekdays=tuple(Weekday(day) for day in row["weekdays"]),
        starts_at=row["starts_at"],
        timezone=row["timezone"],
        device=None if row["device_id"] is None else device_id(row["device_id"]),
        shape=corners(row["shape"]),
    )
    return Route(
        tenant=tenant_id(row["tenant_id"]),
        id=row["route_id"],
        facts=facts,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        is_archived=row["is_archived"],
        version=row["version"],
    )


def corners(stored: Sequence[Sequence[Any]] | None) -> tuple[tuple[float, float], ...]:
    """(latitude, longitude) of each point of a stored line or area."""
    return tuple((float(lat), float(lon)) for lat, lon in stored or ())
