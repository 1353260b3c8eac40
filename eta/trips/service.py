"""What people and programs do with trips, one method a use case.

State and news share a transaction. Positions move trips too, in the live worker, by the same machines and store.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial

from core import outbox
from core.clock import Clock
from core.db import Database, TenantTx
from core.tenancy import DeviceId, TenantId, device_id
from eta.sites import store as sites_store
from eta.sites.model import Route, Site, is_code
from eta.trips import model, plan, store
from eta.trips.errors import DeviceNotFound, InvalidTrip, RouteNotFound, TripExists, TripNotFound
from eta.trips.ids import new_id
from eta.trips.model import Change, StopState, Trip
from eta.trips.plan import Visit
from eta.trips.store import Estimate, Wanted

type Witness = Callable[[TenantTx, Trip | None, Trip], Awaitable[None]]
"""Told of a change, before and after, inside its transaction: what it writes is there if and only if the change is."""


_NOTHING: Mapping[str, float | None] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedStop:
    """A stop somebody wants; `site` is an id or code."""

    site: str
    planned_at: datetime | None = None
    service_s: float | None = None
    quantity: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTrip:
    """A trip somebody wants. `route` (id or code) gives what is left out; without it there have to be stops and a day.

    `device` None with a route: the route's own; `stops` empty: the route's.
    """

    route: str | None = None
    code: str | None = None
    device: str | None = None
    day: date | None = None
    planned_start: datetime | None = None
    stops: Sequence[WantedStop] = ()
    is_recurring: bool = False


class TripService:
    """Rounds, from the plan to the end. `database` is the milkrun_app login; `ref` is an id or the tenant's own code.

    Every change takes `expected`, the version the caller has seen (None: whichever), and raises TripNotFound and
    VersionMoved.
    """

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(self, tenant: TenantId, wanted: NewTrip, *, witness: Witness | None = None) -> Trip:
        """Plan a trip. Raises InvalidTrip, RouteNotFound, DeviceNotFound, CodeTaken, TripExists."""
        now = self._clock()
        async with self._database.tenant(tenant) as tx:
            trip = await self._planned(tx, tenant, wanted, now)
            trip, news = model.new_trip(trip)
            await store.add(tx, trip)
            await outbox.add(tx, news)
            if witness:
                await witness(tx, None, trip)
        return trip

    async def by_plan(self, tenant: TenantId, route: str, day: date, *, witness: Witness | None = None) -> Trip:
        """The trip that `route` has on `day` by plan, on whatever weekday that is. Raises as `add`; TripExists."""
        return await self.add(tenant, NewTrip(route=route, day=day, is_recurring=True), witness=witness)

    async def trips(self, tenant: TenantId, wanted: Wanted, *, after: str = "", limit: int) -> list[Trip]:
        """A page in the order in which they were planned, those after the id `after`."""
        async with self._database.tenant(tenant) as tx:
            return await store.page(tx, tenant, wanted, after=after, limit=limit)

    async def trip(self, tenant: TenantId, ref: str) -> Trip:
        """Raises TripNotFound."""
        async with self._database.tenant(tenant) as tx:
            return await self._one(tx, tenant, ref)

    async def estimates(self, tenant: TenantId, trips: Sequence[str]) -> dict[str, Estimate]:
        """What was last said of these trips' arrivals, by id."""
        async with self._database.tenant(tenant) as tx:
            return await store.estimates(tx, tenant, trips)

    async def assign(
        self,
        tenant: TenantId,
        ref: str,
        device: str | None,
        *,
        expected: int | None = None,
        witness: Witness | None = None,
    ) -> Trip:
        """Give the trip to a device, also while it runs. Raises DeviceNotFound, DeviceBusy, MoveNotAllowed."""

        async def assigned(tx: TenantTx, before: Trip, at: datetime) -> Change:
            return model.assign(before, None if device is None else await _device(tx, tenant, device), at)

        return await self._change(tenant, ref, assigned, expected, witness)

    async def reschedule(
        self,
        tenant: TenantId,
        ref: str,
        day: date | None,
        planned_start: datetime | None,
        *,
        expected: int | None = None,
        witness: Witness | None = None,
    ) -> Trip:
        """Another day or start of a planned trip; None leaves it. Raises MoveNotAllowed."""

        def moved(before: Trip, at: datetime) -> Change:
            return model.reschedule(before, day or before.day, planned_start or before.planned_start, at)

        return await self._change(tenant, ref, _pure(moved), expected, witness)

    async def start(
        self, tenant: TenantId, ref: str, *, expected: int | None = None, witness: Witness | None = None
    ) -> Trip:
        """Raises DeviceBusy, MoveNotAllowed."""
        return await self._change(tenant, ref, _pure(model.start), expected, witness)

    async def finish(
        self, tenant: TenantId, ref: str, *, expected: int | None = None, witness: Witness | None = None
    ) -> Trip:
        """It is done; what was still ahead is skipped. Raises MoveNotAllowed."""
        return await self._change(tenant, ref, _pure(model.finish), expected, witness)

    async def abandon(
        self,
        tenant: TenantId,
        ref: str,
        reason: str = "",
        *,
        expected: int | None = None,
        witness: Witness | None = None,
    ) -> Trip:
        """It is given up, before or after its start. Raises MoveNotAllowed."""
        return await self._change(
            tenant, ref, _pure(lambda before, at: model.abandon(before, reason, at)), expected, witness
        )

    async def change_stop(
        self,
        tenant: TenantId,
        ref: str,
        stop: str,
        told: Mapping[str, float | None] = _NOTHING,
        *,
        state: StopState | None = None,
        expected: int | None = None,
        witness: Witness | None = None,
    ) -> Trip:
        """Another `service_s` or `quantity` of a stop, and what became of it if `state` says so, in one change.

        A stop can be skipped, that taken back (`planned`), or said to be reached. Raises StopNotFound, MoveNotAllowed.
        """

        def described(before: Trip, at: datetime) -> Change:
            now = before.stop(stop)
            service_s, quantity = told.get("service_s", now.service_s), told.get("quantity", now.quantity)
            after, news = model.describe_stop(before, stop, service_s, quantity, at)
            if state is not None:
                after, more = model.move_stop(after, stop, state, at)
                news = [*news, *more]
            return after, news

        return await self._change(tenant, ref, _pure(described), expected, witness)

    async def add_stop(
        self,
        tenant: TenantId,
        ref: str,
        wanted: WantedStop,
        position: int | None = None,
        *,
        expected: int | None = None,
        witness: Witness | None = None,
    ) -> Trip:
        """One more stop, before the `position`-th of those ahead (from 0), or as the last one.

        Raises InvalidTrip, MoveNotAllowed.
        """

        async def added(tx: TenantTx, before: Trip, at: datetime) -> Change:
            [visit] = await _visits(tx, tenant, [wanted])
            return model.add_stop(before, plan.stop(visit, wanted.planned_at, new_id("stop", at)), position, at)

        return await self._change(tenant, ref, added, expected, witness)

    async def reorder(
        self,
        tenant: TenantId,
        ref: str,
        order: Sequence[str],
        *,
        expected: int | None = None,
        witness: Witness | None = None,
    ) -> Trip:
        """The stops still ahead in another order. Raises InvalidTrip, MoveNotAllowed."""
        return await self._change(
            tenant, ref, _pure(lambda before, at: model.reorder(before, order, at)), expected, witness
        )

    async def devices(self, tenant: TenantId, sites: frozenset[str]) -> frozenset[str]:
        """Names of the devices that are on their way to one of `sites` (ids or codes) now."""
        async with self._database.tenant(tenant) as tx:
            return frozenset(each.device for each in await store.on_their_way(tx, tenant, sites))

    async def trips_to(self, tenant: TenantId, sites: frozenset[str]) -> frozenset[str]:
        """Ids of the trips that are on their way to one of `sites` (ids or codes) now."""
        async with self._database.tenant(tenant) as tx:
            return frozenset(each.trip for each in await store.on_their_way(tx, tenant, sites))

    async def _change(
        self,
        tenant: TenantId,
        ref: str,
        change: Callable[[TenantTx, Trip, datetime], Awaitable[Change]],
        expected: int | None,
        witness: Witness | None,
    ) -> Trip:
        async with self._database.tenant(tenant) as tx:
            before = await self._one(tx, tenant, ref, lock=True)
            model.require_version(expected, before.version)
            after, news = await change(tx, before, self._clock())
            await store.save(tx, before, after)
            await outbox.add(tx, news)
            if witness and after != before:
                await witness(tx, before, after)
        return after

    async def _one(self, tx: TenantTx, tenant: TenantId, ref: str, *, lock: bool = False) -> Trip:
        found = await store.find(tx, tenant, ref)
        trips = await store.load(tx, tenant, [found], lock=lock) if found else {}
        if not trips:
            raise TripNotFound(f"there is no trip {ref[:100]}")
        return trips[found or ""]

    async def _planned(self, tx: TenantTx, tenant: TenantId, wanted: NewTrip, now: datetime) -> Trip:
        if wanted.code is not None and not is_code(wanted.code):
            raise InvalidTrip(
                f"code {wanted.code[:80]!r} is not allowed: use 1 to 64 characters of A-Z, a-z, 0-9, '_.-'"
            )
        route = await _route(tx, tenant, wanted.route) if wanted.route is not None else None
        if route is None and (wanted.day is None or not wanted.stops):
            raise InvalidTrip("a trip needs a route, or a day and stops")
        timezone = route.facts.timezone if route else "UTC"
        day = wanted.day or plan.today(now, timezone)
        if route and wanted.is_recurring and await store.by_plan(tx, tenant, route.id, day):
            raise TripExists(f"route {route.id} has its trip of {day} already")
        start = wanted.planned_start or (plan.start_of(day, route.facts.starts_at, timezone) if route else None)
        visits = await (_visits(tx, tenant, wanted.stops) if wanted.stops or not route else _route_visits(tx, route))
        return Trip(
            tenant=tenant,
            id=new_id("trip", now),
            code=_code_by_plan(route, day) if route and wanted.is_recurring else wanted.code,
            route=route.id if route else None,
            device=await _driver(tx, tenant, wanted, route),
            day=day,
            planned_start=start,
            stops=plan.stops(visits, start, partial(new_id, "stop", now)),
            created_at=now,
            updated_at=now,
            is_recurring=wanted.is_recurring,
        )


def _pure(change: Callable[[Trip, datetime], Change]) -> Callable[[TenantTx, Trip, datetime], Awaitable[Change]]:
    async def changed(_tx: TenantTx, before: Trip, at: datetime) -> Change:
        return change(before, at)

    return changed


def _code_by_plan(route: Route, day: date) -> str | None:
    """Holds a ':', which no code of a tenant's own does."""
    return None if route.facts.code is None else f"{route.facts.code}:{day}"


async def _route(tx: TenantTx, tenant: TenantId, ref: str) -> Route:
    found = await sites_store.route(tx, tenant, ref)
    if found is None or found.is_archived:
        raise RouteNotFound(f"there is no route {ref[:80]} in use")
    return found


async def _device(tx: TenantTx, tenant: TenantId, name: str) -> DeviceId:
    device = device_id(name)
    if not await sites_store.existing_devices(tx, tenant, [device]):
        raise DeviceNotFound(f"there is no device {device} in service")
    return device


async def _driver(tx: TenantTx, tenant: TenantId, wanted: NewTrip, route: Route | None) -> DeviceId | None:
    """The device that is asked for, else the route's own, unless that is out of service for good."""
    if wanted.device is not None:
        return await _device(tx, tenant, wanted.device)
    if route is None or route.facts.device is None:
        return None
    usual = route.facts.device
    return usual if await sites_store.existing_devices(tx, tenant, [usual]) else None


async def _visits(tx: TenantTx, tenant: TenantId, wanted: Sequence[WantedStop]) -> list[Visit]:
    known = await sites_store.named_sites(tx, tenant, {stop.site for stop in wanted})
    return [
        Visit(
            site=_in_use(known, stop.site, number),
            planned_at=stop.planned_at,
            service_s=stop.service_s,
            quantity=stop.quantity,
        )
        for number, stop in enumerate(wanted, 1)
    ]


async def _route_visits(tx: TenantTx, route: Route) -> list[Visit]:
    known = await sites_store.named_sites(tx, route.tenant, {stop.site for stop in route.facts.stops})
    return [
        Visit(site=known[stop.site], after_s=stop.after_s, service_s=stop.service_s, quantity=stop.quantity)
        for stop in route.facts.stops
    ]


def _in_use(known: Mapping[str, Site], ref: str, number: int) -> Site:
    site = known.get(ref)
    if site is None or site.is_archived:
        raise InvalidTrip(f"stop {number}: there is no site {ref[:80]!r} in use")
    return site
