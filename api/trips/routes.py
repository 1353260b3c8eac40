"""Routes over HTTP, and the trips that are made of them."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.access import Scope
from api.http import problems
from api.http.etags import Expected, Tagged, etag
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode, page
from api.http.security import Caller, needs
from api.http.strict import StrictRoute
from api.services import Given
from api.trips import site_forms, trip_forms
from api.trips.given import Archived, Reference, RoutePath, route_witness, trip_witness
from api.trips.site_forms import NewRoute, RouteBody, RouteChange
from api.trips.trip_forms import PlannedDay, TripBody
from eta.sites.model import RouteFacts, Weekday
from eta.sites.store import WantedRoutes

router = APIRouter(tags=["routes"], route_class=StrictRoute)

Reader = Annotated[Caller, needs(Scope.SITES_READ)]
Writer = Annotated[Caller, needs(Scope.SITES_WRITE)]
Planner = Annotated[Caller, needs(Scope.TRIPS_WRITE)]
_CHANGE = problems.responses(409, 412)


@router.get("/v1/routes", summary="List routes")
async def list_routes(
    caller: Reader,
    services: Given,
    weekday: Annotated[Weekday | None, Query(description="Only those driven on this day")] = None,
    site: Annotated[Reference | None, Query(description="Only those that stop at this one, by its id or code")] = None,
    archived: Archived = False,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[RouteBody]:
    """In the order in which they were made."""
    (after,) = decode(cursor, str) or ("",)
    wanted = WantedRoutes(weekday=weekday, site=site, archived=archived)
    found = await services.places.routes(caller.tenant, wanted, after=after, limit=limit + 1)
    return page(found, limit, key=lambda route: (route.id,), item=site_forms.route)


@router.post("/v1/routes", status_code=201, summary="Add a route", responses=problems.responses(409))
async def add_route(form: NewRoute, caller: Writer, services: Given, response: Response) -> RouteBody:
    """With weekdays and a start it makes a trip of its own accord on each of these days. 409 `code_taken`."""
    witness = route_witness(services, caller, "route.added")
    made = await services.places.add_route(caller.tenant, form.over({}), witness=witness)
    response.headers["Location"] = f"/v1/routes/{made.id}"
    response.headers["ETag"] = etag(made.version)
    return site_forms.route(made)


@router.get("/v1/routes/{route}", summary="Show a route")
async def show_route(route: RoutePath, caller: Reader, services: Given, tagged: Tagged) -> RouteBody:
    found = await services.places.route(caller.tenant, route)
    tagged(found.version)
    return site_forms.route(found)


@router.patch("/v1/routes/{route}", summary="Change a route, or take it out of use", responses=_CHANGE)
async def change_route(
    route: RoutePath, form: RouteChange, caller: Writer, services: Given, expected: Expected, tagged: Tagged
) -> RouteBody:
    def changed(facts: RouteFacts) -> RouteFacts:
        return form.over({name: getattr(facts, name) for name in RouteFacts.__slots__})

    after = await services.places.change_route(
        caller.tenant,
        route,
        changed,
        is_archived=form.archived,
        expected=expected,
        witness=route_witness(services, caller, "route.changed"),
    )
    tagged(after.version)
    return site_forms.route(after)


@router.post(
    "/v1/routes/{route}/trips",
    status_code=201,
    summary="Make the trip that a route has on a day by plan",
    responses=problems.responses(409),
)
async def plan_route(
    route: RoutePath, form: PlannedDay, caller: Planner, services: Given, response: Response
) -> TripBody:
    """On whatever weekday that is. 409 `trip_exists` where it is there; any further one: POST /v1/trips."""
    witness = trip_witness(services, caller, "trip.planned")
    made = await services.trips.by_plan(caller.tenant, route, form.day, witness=witness)
    response.headers["Location"] = f"/v1/trips/{made.id}"
    response.headers["ETag"] = etag(made.version)
    return trip_forms.trip(made, None)
