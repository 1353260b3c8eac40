"""Keeps the rounds of a demonstration as sites, routes and trips, as a dairy would."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from core.clock import utc_now
from core.db import Database
from core.tenancy import DeviceId, TenantId
from eta.sites.model import RouteFacts, RouteStop, SiteFacts, SiteKind
from eta.sites.service import SiteService
from eta.sites.store import WantedRoutes, WantedSites
from eta.trips.model import StopState, TripState
from eta.trips.service import NewTrip, TripService, WantedStop
from eta.trips.store import Wanted
from sim.morning.rounds import Drive, Line

_PAGE = 1000
_OPEN = (TripState.PLANNED, TripState.UNDER_WAY)


@dataclass(slots=True)
class Morning:
    """The trips of one demonstration, by id, once they are planned."""

    trips: list[str] = field(default_factory=list)


async def keep(database: Database, tenant: TenantId, drives: Sequence[Drive]) -> Morning:
    """Add what is not there of places and routes, end what is left of an earlier demonstration, plan the trips."""
    places, trips = SiteService(database=database, clock=utc_now), TripService(database=database, clock=utc_now)
    await _keep_sites(places, tenant, drives)
    lines = {drive.line.code: drive.line for drive in drives}
    routes = {route.facts.code for route in await places.routes(tenant, WantedRoutes(archived=None), limit=_PAGE)}
    for line in lines.values():
        if line.code not in routes:
            await places.add_route(tenant, _route(line))
    for drive in drives:
        for left in await trips.trips(tenant, Wanted(states=_OPEN, device=drive.device), limit=_PAGE):
            await trips.abandon(tenant, left.id, "the demonstration began anew")
    morning = Morning()
    for drive in drives:
        wanted = NewTrip(
            route=drive.line.code,
            device=DeviceId(drive.device),
            day=drive.starts_at.date(),
            planned_start=drive.starts_at,
            stops=_stops(drive),
        )
        trip = await trips.add(tenant, wanted)
        if drive.is_under_way:
            await trips.start(tenant, trip.id)
            if drive.comes_from is not None:
                await trips.change_stop(tenant, trip.id, trip.stops[0].id, state=StopState.SERVED)
        morning.trips.append(trip.id)
    return morning


def _stops(drive: Drive) -> list[WantedStop]:
    stops = [WantedStop(site=due.place.code, planned_at=due.planned_at) for due in drive.stops]
    if drive.comes_from is None:
        return stops
    return [WantedStop(site=drive.comes_from.code, planned_at=drive.starts_at), *stops]


async def _keep_sites(places: SiteService, tenant: TenantId, drives: Sequence[Drive]) -> None:
    known, after = set[str | None](), ""
    while page := await places.sites(tenant, WantedSites(archived=None), after=after, limit=_PAGE):
        known |= {site.facts.code for site in page}
        after = page[-1].id
    wanted = {place.code: place for drive in drives for place in drive.line.places}
    for place in wanted.values():
        if place.code not in known:
            await places.add_site(
                tenant,
                SiteFacts(
                    name=place.name,
                    code=place.code,
                    kind=SiteKind(place.kind),
                    lat=place.lat,
                    lon=place.lon,
                    radius_m=place.radius_m,
                ),
            )


def _route(line: Line) -> RouteFacts:
    stops = tuple(RouteStop(site=place.code) for place in line.places)
    return RouteFacts(name=line.name, code=line.code, stops=stops, shape=line.shape)
