"""Arrival times of a trip over HTTP: what was said last, and what it rests on."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.access import Role
from api.http.strict import StrictRoute
from api.http.times import Time
from api.services import Given
from api.trips.given import TripPath
from api.trips.trips import Reader, trip_in_sight
from eta.live.service import Arrivals
from eta.trips.model import Trip, TripState

router = APIRouter(tags=["trips"], route_class=StrictRoute)


class ArrivalBody(BaseModel):
    """When one stop is reached. `eta` is the time to tell people: a little before the middle."""

    stop: str = Field(examples=["stop_019fc5e2c140cc58b45b02"])
    site: str
    name: str
    stops_before: int
    eta: Time
    p10: Time
    p50: Time
    p90: Time


class EstimateBody(BaseModel):
    """What is expected of a trip, and why."""

    device: str
    made_at: Time
    fix_at: Time = Field(description="Of the newest position behind it")
    age_s: float = Field(description="Of that position, now")
    lat: float
    lon: float
    method: str = Field(
        description="What it rests on: traffic, history, guess, approach, detour or aged", examples=["history"]
    )
    reason: str = Field(examples=["earlier trips know 97% of the route"])
    on_route: bool
    progress_m: float
    length_m: float = Field(description="Of the whole road, of which `progress_m` is driven")
    source: str = Field(description="The road it is followed on: shape, learned or stops")
    arrivals: list[ArrivalBody]


class TripArrivals(BaseModel):
    """To a site: with its own stops alone, while the truck is on its way there."""

    trip: str
    state: TripState
    estimate: EstimateBody | None = Field(description="null until its device was heard of, and when the trip is over")


@router.get("/v1/trips/{trip}/arrivals", summary="When a trip reaches the stops ahead")
async def show_arrivals(trip: TripPath, caller: Reader, services: Given) -> TripArrivals:
    """As last kept, some seconds old at most; the live channel `trip:{id}` has each as it is made. docs/eta.md."""
    found = await trip_in_sight(services, caller, trip)
    said = await services.arrivals.arrivals(caller.tenant, found.id)
    only = None
    if caller.principal.role is Role.SITE:
        only = await services.sites.ids(caller.tenant, caller.principal.sites)
    estimate = None if said is None or found.is_over else _estimate(found, said, only)
    return TripArrivals(trip=found.id, state=found.state, estimate=estimate)


def _estimate(found: Trip, said: Arrivals, only: frozenset[str] | None) -> EstimateBody:
    before = {stop.id: n for n, stop in enumerate(found.ahead)}
    names = {stop.id: stop.name for stop in found.stops}
    return EstimateBody(
        device=said.device,
        made_at=said.made_at,
        fix_at=said.fix_at,
        age_s=said.age_s,
        lat=said.lat,
        lon=said.lon,
        method=said.method,
        reason=said.reason,
        on_route=said.is_on_route,
        progress_m=said.progress_m,
        length_m=said.length_m,
        source=said.source,
        arrivals=[
            ArrivalBody(
                stop=each.stop,
                site=each.site,
                name=names[each.stop],
                stops_before=before[each.stop],
                eta=each.eta,
                p10=each.p10,
                p50=each.p50,
                p90=each.p90,
            )
            for each in said.arrivals
            if each.stop in before and (only is None or each.site in only)
        ],
    )
