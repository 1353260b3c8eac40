"""What a tracking link shows, to whoever has it: nobody signs in here.

It tells of one stop of one trip: where the truck is while it is on its way there, when it comes, and how many stops
come before. When the truck has been there, or the link is over, it tells nothing.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse
from prometheus_client import Gauge
from pydantic import BaseModel, Field

from api.http import problems
from api.http.errors import TooMany
from api.http.security import PUBLIC
from api.http.strict import StrictRoute
from api.http.times import Time
from api.services import Given, Services
from core.db import DatabaseUnavailable
from notify.errors import LinkNotFound
from notify.tracking.store import Sight
from notify.tracking.tokens import MOST_CHARS, Grant

FOLLOWERS = Gauge("milkrun_api_track_streams", "Streams of tracking links open in this process")

router = APIRouter(tags=["tracking"], route_class=StrictRoute)

Token = Annotated[str, Path(max_length=MOST_CHARS, description="As it stands in the link")]
# The token is the key: it must not travel on in a Referer header, stay in a cache, or be found by a search engine.
_PRIVATE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex, nofollow"}
_NONE = problems.responses(404, 503)
_EVERY_S = 2.0
_QUIET_S = 15.0
_LONGEST_S = 3600.0
_OF_ADDRESS = 20


class TrackedStop(BaseModel):
    """The stop that waits."""

    name: str
    lat: float
    lon: float
    timezone: str = Field(description="IANA: whose clock to show")


class TrackedArrival(BaseModel):
    """When the truck is expected; four times in five between `p10` and `p90`."""

    eta: Time
    p10: Time
    p90: Time
    made_at: Time
    fix_at: Time = Field(description="Of the position it rests on: it may be old")
    method: str


class TrackedTruck(BaseModel):
    """Where the truck is."""

    ts: Time
    lat: float
    lon: float
    heading: float | None


class SightBody(BaseModel):
    """What the link shows. `waiting`: the truck has not set out; `over`: it has been, and nothing else is told."""

    state: Literal["waiting", "coming", "here", "over"]
    expires_at: Time
    stop: TrackedStop | None
    planned_at: Time | None
    stops_before: int = Field(description="Stops that come before this one")
    arrival: TrackedArrival | None
    truck: TrackedTruck | None


@router.get("/v1/track/{token}", summary="What a tracking link shows", dependencies=[PUBLIC], responses=_NONE)
async def track(token: Token, services: Given, response: Response) -> SightBody:
    """404 `link_not_found` for every link that is not good, whatever the reason."""
    response.headers.update(_PRIVATE)
    grant = services.links.read(token)
    return SightBody.model_validate_json(await _sight(services, grant))


@router.get(
    "/v1/track/{token}/stream",
    summary="The same as it changes, as Server-Sent Events",
    dependencies=[PUBLIC],
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}, **_NONE},
)
async def track_stream(token: Token, request: Request, services: Given) -> StreamingResponse:
    """Events `sight`, each with all of it; it ends when there is nothing more to tell."""
    grant = services.links.read(token)
    first = await _sight(services, grant)
    address = request.client.host if request.client else ""
    return _Follow(services, grant, first, address)


class _Follow(StreamingResponse):
    """The answer that lasts; whatever ends it, its place is free again."""

    def __init__(self, services: Services, grant: Grant, first: bytes, address: str) -> None:
        headers = {**_PRIVATE, "X-Accel-Buffering": "no"}
        followers = services.answers.followers
        if followers[address] >= _OF_ADDRESS or followers.total() >= services.settings.notify.link_streams:
            raise TooMany("too many follow tracking links from here: ask without /stream", retry_after_s=30)
        super().__init__(_events(services, grant, first, address), media_type="text/event-stream", headers=headers)


async def _events(services: Services, grant: Grant, first: bytes, address: str) -> AsyncIterator[bytes]:
    followers = services.answers.followers
    followers[address] += 1
    FOLLOWERS.inc()
    try:
        yield b"retry: 3000\n\n"
        told, began = b"", time.monotonic()
        spoke, now = began, first
        # A process that is about to stop lets its followers go, who come back to another.
        while time.monotonic() - began < _LONGEST_S and not services.live.guard.is_draining:
            if now != told:
                yield b"event: sight\ndata: %b\n\n" % now
                told, spoke = now, time.monotonic()
                if b'"state":"over"' in now:
                    return
            elif time.monotonic() - spoke > _QUIET_S:
                yield b": still here\n\n"
                spoke = time.monotonic()
            await asyncio.sleep(_EVERY_S)
            try:
                now = await _sight(services, grant)
            except LinkNotFound:
                yield b"event: over\ndata: {}\n\n"
                return
            except DatabaseUnavailable:
                continue
    finally:
        followers[address] -= 1
        if followers[address] <= 0:
            del followers[address]
        FOLLOWERS.dec()


async def _sight(services: Services, grant: Grant) -> bytes:
    """All who follow one link share a look at the database a second. Raises LinkNotFound, DatabaseUnavailable."""

    async def look() -> bytes:
        return _body(await services.links.look(grant)).model_dump_json().encode()

    return await services.answers.sights.get((grant.tenant, grant.link), look)


def _body(sight: Sight) -> SightBody:
    arrival, truck = sight.estimate, sight.position
    return SightBody(
        state=sight.state,
        expires_at=sight.expires_at,
        stop=None
        if sight.state == "over"
        else TrackedStop(name=sight.name, lat=sight.lat, lon=sight.lon, timezone=sight.timezone),
        planned_at=sight.planned_at,
        stops_before=sight.stops_before,
        arrival=None
        if arrival is None
        else TrackedArrival(
            eta=arrival.eta,
            p10=arrival.p10,
            p90=arrival.p90,
            made_at=arrival.made_at,
            fix_at=arrival.fix_at,
            method=arrival.method,
        ),
        truck=None if truck is None else TrackedTruck(ts=truck.ts, lat=truck.lat, lon=truck.lon, heading=truck.heading),
    )
