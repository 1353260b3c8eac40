"""Where a device was between two instants: simplified for a map, or whole as a file."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Literal, override

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from api.access import Scope
from api.fleet.forms import Place
from api.fleet.given import DevicePath, refusal, thing_in_sight
from api.http.etags import Tagged, etag
from api.http.security import Caller, needs
from api.http.strict import StrictRoute
from api.http.times import Moment, Time, iso
from api.services import Given, Services
from core.db import Database
from core.errors import Unavailable
from core.tenancy import DeviceId, Thing
from ingest.history import export, track
from ingest.history.export import Span

router = APIRouter(tags=["telemetry"], route_class=StrictRoute)

MOST_DAYS = 31
MOST_DOWNLOADS = 2
"""At once in a process: each holds a database connection for as long as its client takes to read."""
DOWNLOAD_S = 600.0
DEFAULT_POINTS, MOST_POINTS = 1000, 5000

Reader = Annotated[Caller, needs(Scope.TELEMETRY_READ)]
From = Annotated[Moment | None, Query(alias="from", description="From then on; default: 24 hours before `to`")]
To = Annotated[Moment | None, Query(alias="to", description="Until before then; default: now")]


class TrackBody(BaseModel):
    """A device's way, in order of time; a fix left out lay near the line between its neighbours at its time."""

    device: str = Field(examples=["truck-17"])
    since: Time = Field(alias="from")
    until: Time = Field(alias="to")
    simplified: bool = Field(description="Whether fixes were left out")
    recorded: int = Field(description="Fixes received for this span")
    items: list[Place]


_PIECE = 65_536
_FILES = {"csv": "text/csv", "geojson": "application/geo+json", "gpx": "application/gpx+xml"}
_FILE_BODIES = {media: {"schema": {"type": "string"}} for media in _FILES.values()}


class TooManyDownloads(Unavailable):
    """All download slots of this process are taken."""

    code = "downloads_busy"


@router.get(
    "/v1/devices/{device}/track",
    summary="Track of a device",
    response_model=TrackBody,
    responses={200: {"content": _FILE_BODIES}},
)
async def show_track(
    device: DevicePath,
    caller: Reader,
    services: Given,
    tagged: Tagged,
    since: From = None,
    until: To = None,
    points: Annotated[
        int, Query(ge=2, le=MOST_POINTS, description="Fixes answered at most; first and last are among them")
    ] = DEFAULT_POINTS,
    form: Annotated[
        Literal["json", "csv", "geojson", "gpx"],
        Query(alias="format", description="json: simplified to `points`; the others: a file with every fix"),
    ] = "json",
) -> Response:
    """At most 31 days at once. A gap of over ten minutes keeps both its ends."""
    del tagged  # it documents If-None-Match; the answer below carries the ETag itself
    thing = await thing_in_sight(services, caller, device)
    span = span_of(services, thing.device, since, until, most_days=MOST_DAYS)
    async with services.app.tenant(thing.tenant) as tx:
        await export.require_device(tx, thing.device)
        count = None if form != "json" else await track.recorded(tx, span)
    if count is None:
        return _Download(services.app, thing, span, form)
    # Rows come and never change, so a track with as many fixes as before is the same.
    key = (thing.tenant, thing.device, span.since, span.until, points, count)
    body = await services.answers.tracks.get(key, lambda: _simplified(services, thing, span, points))
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).hexdigest()
    return Response(body, media_type="application/json", headers={"ETag": etag(count, digest)})


async def _simplified(services: Services, thing: Thing, span: Span, points: int) -> bytes:
    async with services.app.tenant(thing.tenant) as tx:
        found = await track.read_thinned(tx, span, points)
    body = TrackBody.model_construct(
        device=thing.device,
        since=span.since,
        until=span.until,
        simplified=found.is_simplified,
        recorded=found.recorded,
        items=[Place.model_construct(**asdict(fix)) for fix in found.fixes],
    )
    return body.model_dump_json(by_alias=True).encode()


def span_of(
    services: Services, device: DeviceId, since: datetime | None, until: datetime | None, *, most_days: int
) -> Span:
    """The span that is asked for. Raises RequestValidationError for one that ends before it begins, or is too long."""
    until = until or services.clock()
    since = since or until - timedelta(days=1)
    if since >= until:
        raise refusal("from", f"{iso(since)} is not before `to`, which is {iso(until)}")
    if until - since > timedelta(days=most_days):
        raise refusal("from", f"from {iso(since)} to {iso(until)} is over {most_days} days: ask for less at once")
    return Span(device, since, until)


class _Download(StreamingResponse):
    """A track as a file, read while it is sent; the transaction ends with the client, whatever he does."""

    _running = 0

    def __init__(self, database: Database, thing: Thing, span: Span, form: str) -> None:
        if _Download._running >= MOST_DOWNLOADS:
            raise TooManyDownloads(f"{MOST_DOWNLOADS} downloads are running here: try again in a while")
        self._text = _pieces(database, thing, span, form)
        name = f"{thing.device}-{span.since:%Y%m%dT%H%M%SZ}.{form}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        super().__init__(self._text, media_type=_FILES[form], headers=headers)

    @override
    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        _Download._running += 1
        try:
            async with asyncio.timeout(DOWNLOAD_S), aclosing(self._text):
                await super().__call__(scope, receive, send)
        finally:
            _Download._running -= 1


async def _pieces(database: Database, thing: Thing, span: Span, form: str) -> AsyncGenerator[str]:
    """The file in pieces of some 64 kB."""
    async with database.tenant(thing.tenant) as tx:
        points = export.read(tx, span, with_metrics=False)
        if form == "gpx":
            lines = export.as_gpx(points, str(thing))
        else:
            lines = export.as_csv(points) if form == "csv" else export.as_geojson(points)
        waiting, size = [], 0
        async for line in lines:
            waiting.append(line)
            size += len(line)
            if size >= _PIECE:
                yield "".join(waiting)
                waiting, size = [], 0
        yield "".join(waiting)
