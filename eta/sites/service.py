"""Sites and routes, one method a use case: by people, by programs, and by files."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace

from core.clock import Clock
from core.db import Database, TenantTx
from core.tenancy import TenantId
from eta.sites import model, store
from eta.sites.model import Route, RouteFacts, Site, SiteFacts
from eta.sites.store import WantedRoutes, WantedSites
from eta.trips.errors import InvalidRoute, RouteNotFound, SiteInUse, SiteNotFound
from eta.trips.ids import new_id
from eta.trips.model import require_version

type Witness[Place] = Callable[[TenantTx, Place | None, Place], Awaitable[None]]
"""Told of a change, before and after, inside its transaction: what it writes is there if and only if the change is."""


class SiteService:
    """The places trucks go to, and the rounds they are driven in. `database` is the milkrun_app login.

    `ref` is an id, or the code that the tenant gave.
    """

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add_site(self, tenant: TenantId, facts: SiteFacts, *, witness: Witness[Site] | None = None) -> Site:
        """Raises InvalidSite, CodeTaken."""
        now = self._clock()
        site = Site(
            tenant=tenant, id=new_id("site", now), facts=model.site_facts(facts), created_at=now, updated_at=now
        )
        async with self._database.tenant(tenant) as tx:
            await store.add_sites(tx, tenant, [site], now)
            if witness:
                await witness(tx, None, site)
        return site

    async def site(self, tenant: TenantId, ref: str) -> Site:
        """Raises SiteNotFound."""
        async with self._database.tenant(tenant) as tx:
            return _found_site(await store.site(tx, tenant, ref), ref)

    async def sites(self, tenant: TenantId, wanted: WantedSites, *, after: str = "", limit: int) -> list[Site]:
        """A page in the order in which they were made, those after the id `after`."""
        async with self._database.tenant(tenant) as tx:
            return await store.sites(tx, tenant, wanted, after=after, limit=limit)

    async def ids(self, tenant: TenantId, refs: frozenset[str]) -> frozenset[str]:
        """The ids of those of `refs` that there are."""
        async with self._database.tenant(tenant) as tx:
            return frozenset(site.id for site in (await store.named_sites(tx, tenant, refs)).values())

    async def change_site(
        self,
        tenant: TenantId,
        ref: str,
        change: Callable[[SiteFacts], SiteFacts],
        *,
        is_archived: bool | None = None,
        expected: int | None = None,
        witness: Witness[Site] | None = None,
    ) -> Site:
        """Other facts, or out of use and back. Raises SiteNotFound, VersionMoved, InvalidSite, CodeTaken, SiteInUse.

        Trips that are there keep the name and place the site had.
        """
        now = self._clock()
        async with self._database.tenant(tenant) as tx:
            before = _found_site(await store.site(tx, tenant, ref, lock=True), ref)
            require_version(expected, before.version)
            archived = before.is_archived if is_archived is None else is_archived
            after = model.changed_site(before, change(before.facts), is_archived=archived, at=now)
            if after != before:
                if after.is_archived and not before.is_archived:
                    await _require_unused(tx, after)
                await store.save_sites(tx, tenant, [after], now)
                if witness:
                    await witness(tx, before, after)
        return after

    async def add_route(self, tenant: TenantId, facts: RouteFacts, *, witness: Witness[Route] | None = None) -> Route:
        """Its stops may name sites by id or code. Raises InvalidRoute, CodeTaken."""
        now = self._clock()
        async with self._database.tenant(tenant) as tx:
            checked = await resolved(tx, tenant, model.route_facts(facts))
            route = Route(tenant=tenant, id=new_id("route", now), facts=checked, created_at=now, updated_at=now)
            await store.save_route(tx, route)
            if witness:
                await witness(tx, None, route)
        return route

    async def route(self, tenant: TenantId, ref: str) -> Route:
        """Raises RouteNotFound."""
        async with self._database.tenant(tenant) as tx:
            return _found_route(await store.route(tx, tenant, ref), ref)

    async def routes(self, tenant: TenantId, wanted: WantedRoutes, *, after: str = "", limit: int) -> list[Route]:
        """A page in the order in which they were made, those after the id `after`."""
        async with self._database.tenant(tenant) as tx:
            return await store.routes(tx, tenant, wanted, after=after, limit=limit)

    async def change_route(
        self,
        tenant: TenantId,
        ref: str,
        change: Callable[[RouteFacts], RouteFacts],
        *,
        is_archived: bool | None = None,
        expected: int | None = None,
        witness: Witness[Route] | None = None,
    ) -> Route:
        """Other facts, or out of use and back. Raises RouteNotFound, VersionMoved, InvalidRoute, CodeTaken.

        Trips that are there keep the stops they were made with.
        """
        now = self._clock()
        async with self._database.tenant(tenant) as tx:
            before = _found_route(await store.route(tx, tenant, ref, lock=True), ref)
            require_version(expected, before.version)
            archived = before.is_archived if is_archived is None else is_archived
            wanted = model.route_facts(change(before.facts))
            # An archived route may keep what is not there any more.
            wanted = wanted if archived and wanted == before.facts else await resolved(tx, tenant, wanted)
            after = model.changed_route(before, wanted, is_archived=archived, at=now)
            if after != before:
                await store.save_route(tx, after)
                if witness:
                    await witness(tx, before, after)
        return after


async def resolved(tx: TenantTx, tenant: TenantId, facts: RouteFacts) -> RouteFacts:
    """The facts with ids of sites where codes stood. Raises InvalidRoute for a site or device that is not in use."""
    known = await store.named_sites(tx, tenant, {stop.site for stop in facts.stops})
    devices = await store.existing_devices(tx, tenant, [] if facts.device is None else [facts.device])
    if wrong := wrong_references(facts, known, devices):
        raise InvalidRoute(wrong)
    return replace(facts, stops=tuple(replace(stop, site=known[stop.site].id) for stop in facts.stops))


def wrong_references(facts: RouteFacts, known: Mapping[str, Site], devices: Collection[str]) -> str:
    """What the facts name that is not there or not in use; empty when all is."""
    for number, stop in enumerate(facts.stops, 1):
        site = known.get(stop.site)
        if site is None:
            return f"stop {number}: there is no site {stop.site[:80]!r}"
        if site.is_archived:
            return f"stop {number}: site {stop.site[:80]!r} is archived"
    if facts.device is not None and facts.device not in devices:
        return f"there is no device {facts.device!r} in service"
    return ""


async def _require_unused(tx: TenantTx, site: Site) -> None:
    if routes := await store.routes_with_site(tx, site.tenant, site.id):
        raise SiteInUse(f"site {site.id} is a stop of route {', '.join(routes)}: take it out there first")


def _found_site(found: Site | None, ref: str) -> Site:
    if found is None:
        raise SiteNotFound(f"there is no site {ref[:80]}")
    return found


def _found_route(found: Route | None, ref: str) -> Route:
    if found is None:
        raise RouteNotFound(f"there is no route {ref[:80]}")
    return found
