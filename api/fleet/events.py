"""Discrete events that devices reported."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api.access import Scope
from api.fleet.given import DevicePath, in_sight, refusal, thing_in_sight
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode, page
from api.http.security import Caller, needs
from api.http.strict import StrictRoute
from api.http.times import Moment, Time, iso
from api.services import Given
from ingest.history import export, reports
from ingest.history.reports import Report, Wanted

router = APIRouter(tags=["events"], route_class=StrictRoute)

Reader = Annotated[Caller, needs(Scope.EVENTS_READ)]
Type = Annotated[str | None, Query(alias="type", max_length=64, description="Only events of this type")]
From = Annotated[Moment | None, Query(alias="from", description="From then on, by the device's clock")]
To = Annotated[Moment | None, Query(alias="to", description="Until before then")]
_PLACE = (datetime, str, str, int)


class EventBody(BaseModel):
    """What a device told of on its event topic."""

    device: str = Field(examples=["truck-17"])
    ts: Time = Field(description="When it happened, by the device's clock")
    type: str = Field(examples=["door_opened"])
    data: dict[str, Any] = Field(examples=[{"door": "rear"}])
    received_at: Time


@router.get("/v1/events", summary="List events")
async def list_events(
    caller: Reader,
    services: Given,
    type_: Type = None,
    since: From = None,
    until: To = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[EventBody]:
    """Of all devices, newest first."""
    seen = await in_sight(services, caller)
    wanted = _wanted(type_, since, until, None if seen is None else sorted(seen))
    async with services.app.tenant(caller.tenant) as tx:
        found = await reports.of_tenant(tx, wanted, after=decode(cursor, *_PLACE), limit=limit + 1)
    return page(found, limit, key=lambda event: event.place, item=_body)


@router.get("/v1/devices/{device}/events", summary="List a device's events")
async def list_device_events(
    device: DevicePath,
    caller: Reader,
    services: Given,
    type_: Type = None,
    since: From = None,
    until: To = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[EventBody]:
    """Newest first."""
    thing = await thing_in_sight(services, caller, device)
    wanted = _wanted(type_, since, until, None)
    after = decode(cursor, *_PLACE)
    async with services.app.tenant(thing.tenant) as tx:
        await export.require_device(tx, thing.device)
        found = await reports.of_device(tx, thing.device, wanted, after=after, limit=limit + 1)
    return page(found, limit, key=lambda event: event.place, item=_body)


def _wanted(type_: str | None, since: datetime | None, until: datetime | None, only: list[str] | None) -> Wanted:
    if since is not None and until is not None and since >= until:
        raise refusal("from", f"{iso(since)} is not before `to`, which is {iso(until)}")
    return Wanted(type=type_, since=since, until=until, only=only)


def _body(event: Report) -> EventBody:
    return EventBody(device=event.device, ts=event.ts, type=event.type, data=event.data, received_at=event.received_at)
