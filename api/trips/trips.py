"""Trips over HTTP: planned, driven, changed while they run."""

from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.access import Role, Scope
from api.fleet.given import DeviceName
from api.http import problems
from api.http.etags import Expected, Tagged, etag
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode, page
from api.http.security import Caller, needs
from api.http.strict import StrictRoute
from api.http.times import Day
from api.services import Given, Services
from api.trips import trip_forms
from api.trips.given import Reference, StopPath, TripPath, trip_witness
from api.trips.trip_forms import (
    Abandonment,
    AddedStop,
    Assignment,
    NewTrip,
    Order,
    StopChange,
    TripBody,
    TripChange,
)
from eta.trips import service
from eta.trips.errors import TripNotFound
from eta.trips.model import Trip, TripState
from eta.trips.service import WantedStop
from eta.trips.store import Wanted

router = APIRouter(tags=["trips"], route_class=StrictRoute)

Reader = Annotated[Caller, needs(Scope.TRIPS_READ)]
Writer = Annotated[Caller, needs(Scope.TRIPS_WRITE)]
_CHANGE = problems.responses(409, 412)


@router.get("/v1/trips", summary="List trips")
async def list_trips(
    caller: Reader,
    services: Given,
    day: Annotated[Day | None, Query(description="Only those of this day")] = None,
    since: Annotated[Day | None, Query(alias="from", description="From this day on")] = None,
    until: Annotated[Day | None, Query(alias="to", description="Up to this day, which is included")] = None,
    state: Annotated[list[TripState] | None, Query(max_length=4, description="Only these; may be repeated")] = None,
    device: Annotated[DeviceName | None, Query(description="Only this device's")] = None,
    route: Annotated[Reference | None, Query(description="Only this route's, by its id or code")] = None,
    site: Annotated[Reference | None, Query(description="Only those that stop there, by its id or code")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[TripBody]:
    """In the order in which they were planned, with what was last estimated. A site sees those on their way to it."""
    (after,) = decode(cursor, str) or ("",)
    only = await _in_sight(services, caller)
    wanted = Wanted(day=day, since=since, until=until, states=state, device=device, route=route, site=site, only=only)
    found = await services.trips.trips(caller.tenant, wanted, after=after, limit=limit + 1)
    estimates = await services.trips.estimates(caller.tenant, [each.id for each in found])
    mine = await _own_sites(services, caller)
    return page(
        found,
        limit,
        key=lambda trip: (trip.id,),
        item=lambda trip: trip_forms.trip(trip, estimates.get(trip.id), mine),
    )


@router.post("/v1/trips", status_code=201, summary="Plan a trip", responses=problems.responses(409))
async def add_trip(form: NewTrip, caller: Writer, services: Given, response: Response) -> TripBody:
    """Of a route, whose stops it keeps from then on, or of stops of its own. 409 `code_taken`."""
    wanted = service.NewTrip(
        route=form.route,
        code=form.code,
        device=form.device,
        day=form.day,
        planned_start=form.planned_start,
        stops=[WantedStop(**dict(stop)) for stop in form.stops],
    )
    made = await services.trips.add(caller.tenant, wanted, witness=trip_witness(services, caller, "trip.planned"))
    response.headers["Location"] = f"/v1/trips/{made.id}"
    response.headers["ETag"] = etag(made.version)
    return trip_forms.trip(made, None)


@router.get("/v1/trips/{trip}", summary="Show a trip")
async def show_trip(trip: TripPath, caller: Reader, services: Given, tagged: Tagged) -> TripBody:
    """With what was last estimated. To a site: while it is on its way there, and with that site's stops alone."""
    return await _shown(services, caller, await trip_in_sight(services, caller, trip), tagged)


@router.patch("/v1/trips/{trip}", summary="Give a planned trip another day or start", responses=_CHANGE)
async def change_trip(
    trip: TripPath, form: TripChange, caller: Writer, services: Given, expected: Expected, tagged: Tagged
) -> TripBody:
    witness = trip_witness(services, caller, "trip.rescheduled")
    after = await services.trips.reschedule(
        caller.tenant, trip, form.day, form.planned_start, expected=expected, witness=witness
    )
    return await _shown(services, caller, after, tagged)


@router.post("/v1/trips/{trip}/assign", summary="Give a trip to a device", responses=_CHANGE)
async def assign_trip(
    trip: TripPath, form: Assignment, caller: Writer, services: Given, expected: Expected, tagged: Tagged
) -> TripBody:
    """Also while it runs: what was reached stays so. 409 `device_busy` for one that is under way on another."""
    witness = trip_witness(services, caller, "trip.assigned")
    after = await services.trips.assign(caller.tenant, trip, form.device, expected=expected, witness=witness)
    return await _shown(services, caller, after, tagged)


@router.post("/v1/trips/{trip}/start", summary="Say that a trip has begun", responses=_CHANGE)
async def start_trip(trip: TripPath, caller: Writer, services: Given, expected: Expected, tagged: Tagged) -> TripBody:
    """It begins by itself once its device drives off; this is for one that does not report."""
    return await _moved(services, caller, trip, "started", services.trips.start, expected, tagged)


@router.post("/v1/trips/{trip}/finish", summary="Say that a trip is done", responses=_CHANGE)
async def finish_trip(trip: TripPath, caller: Writer, services: Given, expected: Expected, tagged: Tagged) -> TripBody:
    """What was still ahead is skipped."""
    return await _moved(services, caller, trip, "finished", services.trips.finish, expected, tagged)


@router.post("/v1/trips/{trip}/abandon", summary="Give a trip up", responses=_CHANGE)
async def abandon_trip(
    trip: TripPath, form: Abandonment, caller: Writer, services: Given, expected: Expected, tagged: Tagged
) -> TripBody:
    """Before its start or on the way. What was still ahead is skipped."""
    witness = trip_witness(services, caller, "trip.abandoned")
    after = await services.trips.abandon(caller.tenant, trip, form.reason, expected=expected, witness=witness)
    return await _shown(services, caller, after, tagged)


@router.post("/v1/trips/{trip}/stops", status_code=201, summary="Add a stop to a trip", responses=_CHANGE)
async def add_stop(
    trip: TripPath, form: AddedStop, caller: Writer, services: Given, expected: Expected, tagged: Tagged
) -> TripBody:
    """Also while it runs, among the stops still ahead."""
    wanted = WantedStop(site=form.site, planned_at=form.planned_at, service_s=form.service_s, quantity=form.quantity)
    witness = trip_witness(services, caller, "trip.stop_added")
    after = await services.trips.add_stop(
        caller.tenant, trip, wanted, form.position, expected=expected, witness=witness
    )
    return await _shown(services, caller, after, tagged)


@router.put("/v1/trips/{trip}/stops/order", summary="Put the stops still ahead in another order", responses=_CHANGE)
async def order_stops(
    trip: TripPath, form: Order, caller: Writer, services: Given, expected: Expected, tagged: Tagged
) -> TripBody:
    """Each of them once; 422 `invalid_trip` when one is missing or was reached meanwhile."""
    witness = trip_witness(services, caller, "trip.reordered")
    after = await services.trips.reorder(caller.tenant, trip, form.stops, expected=expected, witness=witness)
    return await _shown(services, caller, after, tagged)


@router.patch("/v1/trips/{trip}/stops/{stop}", summary="Change, skip or settle a stop of a trip", responses=_CHANGE)
async def change_stop(
    trip: TripPath,
    stop: StopPath,
    form: StopChange,
    caller: Writer,
    services: Given,
    expected: Expected,
    tagged: Tagged,
) -> TripBody:
    """What is said of a stop here, positions do not change; `planned` takes it back."""
    witness = trip_witness(services, caller, "trip.stop_changed")
    after = await services.trips.change_stop(
        caller.tenant, trip, stop, form.told, state=form.state, expected=expected, witness=witness
    )
    return await _shown(services, caller, after, tagged)


async def trip_in_sight(services: Services, caller: Caller, ref: str) -> Trip:
    """Raises TripNotFound: no such trip, or none that this site may see now."""
    found = await services.trips.trip(caller.tenant, ref)
    only = await _in_sight(services, caller)
    if only is not None and found.id not in only:
        raise TripNotFound(f"there is no trip {ref[:100]}")
    return found


async def _moved(
    services: Services,
    caller: Caller,
    trip: str,
    done: str,
    move: Callable[..., Awaitable[Trip]],
    expected: int | None,
    tagged: Tagged,
) -> TripBody:
    witness = trip_witness(services, caller, f"trip.{done}")
    after = await move(caller.tenant, trip, expected=expected, witness=witness)
    return await _shown(services, caller, after, tagged)


async def _shown(services: Services, caller: Caller, found: Trip, tagged: Tagged) -> TripBody:
    estimates = await services.trips.estimates(caller.tenant, [found.id])
    body = trip_forms.trip(found, estimates.get(found.id), await _own_sites(services, caller))
    expected = body.model_dump_json(include={"stops": {"__all__": {"eta", "p10", "p50", "p90", "method"}}})
    tagged(found.version, also=blake2b(expected.encode(), digest_size=8).hexdigest())
    return body


async def _in_sight(services: Services, caller: Caller) -> frozenset[str] | None:
    """Ids of the trips a site may see now; None for everybody else: all of the tenant."""
    if caller.principal.role is not Role.SITE:
        return None
    return await services.sites.trips(caller.tenant, caller.principal.sites)


async def _own_sites(services: Services, caller: Caller) -> frozenset[str] | None:
    """Ids of the sites whose stops a site may see; None for everybody else."""
    if caller.principal.role is not Role.SITE:
        return None
    return await services.sites.ids(caller.tenant, caller.principal.sites)
