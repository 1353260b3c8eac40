"""Trips and their stops as JSON: what is asked and what is answered."""

from collections.abc import Collection
from datetime import date
from typing import Annotated

from pydantic import BaseModel, Field

from api.fleet.given import DeviceName, Form
from api.http.numbers import WHOLE
from api.http.times import Day, Moment, Time
from api.trips.given import CODE, Code, Note, Quantity, Reference, Seconds
from api.trips.site_forms import Point, points
from core.clock import from_epoch_ms
from eta.trips.model import MAX_STOPS, StopState, Trip, TripState, TripStop
from eta.trips.store import Estimate


class NewStop(Form):
    """One stop of a trip. `site`: its id or code."""

    site: Reference = Field(examples=["farm-7"])
    planned_at: Moment | None = None
    service_s: Seconds | None = None
    quantity: Quantity | None = None


class AddedStop(NewStop):
    """One more stop of a trip that is not over."""

    position: Annotated[int, Field(ge=0, le=MAX_STOPS), WHOLE] | None = Field(
        None, description="Before which of the stops still ahead, from 0; left out: after all of them"
    )


class NewTrip(Form):
    """A round that somebody drives on a day. A route gives what is left out; without one there are a day and stops."""

    route: Reference | None = Field(None, description="Id or code", examples=["north"])
    code: Code | None = Field(None, description=CODE)
    device: DeviceName | None = Field(None, description="Default: the route's")
    day: Day | None = Field(None, description="Default: today, on the route's clock")
    planned_start: Moment | None = Field(None, description="Default: as the route starts on that day")
    stops: Annotated[list[NewStop], Field(max_length=MAX_STOPS)] = Field([], description="Default: the route's")


class PlannedDay(Form):
    """Of which day the trip is wanted that a route makes of its own accord."""

    day: Day


class TripChange(Form):
    """Another day or start; the plan of its stops moves along."""

    day: Day | None = None
    planned_start: Moment | None = None


class Assignment(Form):
    """Who drives; null: nobody yet."""

    device: DeviceName | None = Field(examples=["truck-17"])


class Abandonment(Form):
    """Why, for those who read it later."""

    reason: Note = ""


class StopChange(Form):
    """What is left out stays. `skipped` leaves the stop out, `planned` takes back what was said of it."""

    state: StopState | None = None
    service_s: Seconds | None = None
    quantity: Quantity | None = None

    @property
    def told(self) -> dict[str, float | None]:
        return {name: getattr(self, name) for name in self.model_fields_set & {"service_s", "quantity"}}


class Order(Form):
    """Ids of the stops still ahead, each once, in the order in which they are to be driven."""

    stops: Annotated[list[Reference], Field(max_length=MAX_STOPS)]


class TripStopBody(BaseModel):
    """One stop of a trip, with what is expected of it now."""

    id: str = Field(examples=["stop_019fc5e2c140cc58b45b02"])
    seq: int
    site: str
    name: str
    lat: float
    lon: float
    radius_m: float
    polygon: list[Point]
    planned_at: Time | None
    service_s: float | None
    quantity: float | None
    state: StopState
    settled: bool = Field(description="A person said its state, and positions leave it alone")
    arrived_at: Time | None
    departed_at: Time | None
    stops_before: int | None = Field(description="Stops that come before it; null when it is not ahead")
    eta: Time | None = Field(description="When it is reached, as last estimated; null when it is not ahead")
    p10: Time | None
    p50: Time | None
    p90: Time | None
    method: str | None = Field(description="What the estimate rests on")
    made_at: Time | None = Field(description="When it was estimated")


class TripBody(BaseModel):
    """A round with its stops. To a site: with those of its own alone, while the truck is on its way there."""

    id: str = Field(examples=["trip_019fc5e2c140cc58b45b02"])
    code: str | None
    route: str | None
    device: str | None
    day: date
    planned_start: Time | None
    state: TripState
    recurring: bool = Field(description="The trip its route has on that day by plan")
    started_at: Time | None
    ended_at: Time | None
    reason: str = Field(description="Why it was abandoned")
    stops: list[TripStopBody]
    version: int
    created_at: Time
    updated_at: Time


def trip(found: Trip, estimate: Estimate | None, only: Collection[str] | None = None) -> TripBody:
    """`only`: a site looks, and sees the stops at these sites and not which round they are part of."""
    ahead = {stop.id: before for before, stop in enumerate(found.ahead)} if not found.is_over else {}
    return TripBody(
        id=found.id,
        code=found.code if only is None else None,
        route=found.route if only is None else None,
        device=found.device,
        day=found.day,
        planned_start=found.planned_start,
        state=found.state,
        recurring=found.is_recurring,
        started_at=found.started_at,
        ended_at=found.ended_at,
        reason=found.reason,
        stops=[
            _stop(number, each, ahead.get(each.id), estimate)
            for number, each in enumerate(found.stops, 1)
            if only is None or each.site in only
        ],
        version=found.version,
        created_at=found.created_at,
        updated_at=found.updated_at,
    )


def _stop(number: int, stop: TripStop, before: int | None, estimate: Estimate | None) -> TripStopBody:
    arrival = estimate.arrivals.get(stop.id) if estimate and before is not None else None
    times = {name: from_epoch_ms(arrival[name]) if arrival else None for name in ("eta", "p10", "p50", "p90")}
    return TripStopBody(
        id=stop.id,
        seq=number,
        site=stop.site,
        name=stop.name,
        lat=stop.lat,
        lon=stop.lon,
        radius_m=stop.radius_m,
        polygon=points(stop.polygon),
        planned_at=stop.planned_at,
        service_s=stop.service_s,
        quantity=stop.quantity,
        state=stop.state,
        settled=stop.is_settled,
        arrived_at=stop.arrived_at,
        departed_at=stop.departed_at,
        stops_before=before,
        **times,
        method=estimate.method if estimate and arrival else None,
        made_at=estimate.made_at if estimate and arrival else None,
    )
