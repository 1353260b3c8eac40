"""Last positions of a whole fleet, a device's track, and its named signals."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Hashable
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from api.access import Scope
from api.fleet import store
from api.fleet.forms import Place
from api.fleet.given import Bbox, DeviceName, Labels, Online, area, in_sight, labels_of
from api.fleet.store import Wanted
from api.http.paging import Cursor, decode, encode
from api.http.security import Caller, needs
from api.http.sharing import Shared
from api.http.strict import StrictRoute
from api.services import Given
from provisioning.model import DeviceStatus

router = APIRouter(tags=["telemetry"], route_class=StrictRoute)

MOST = 10_000
_GZIP_FROM, _GZIP_LEVEL, _GZIP_WINDOW = 100_000, 1, 31

Reader = Annotated[Caller, needs(Scope.TELEMETRY_READ)]


class LastPosition(Place):
    """A device where it was last heard of."""

    device: str = Field(examples=["truck-17"])
    status: DeviceStatus
    online: bool


class LastPositions(BaseModel):
    """One page of them, by device."""

    items: list[LastPosition]
    next: str | None = Field(description="Cursor of the next page; null when this is the last")


@router.get("/v1/positions", summary="Last position of every device", response_model=LastPositions)
async def list_positions(
    request: Request,
    caller: Reader,
    services: Given,
    device: Annotated[
        list[DeviceName] | None, Query(max_length=1000, description="Only these devices; may be repeated")
    ] = None,
    label: Labels = None,
    bbox: Bbox | None = None,
    status: Annotated[
        DeviceStatus | None, Query(description="Only these; default: all but decommissioned ones")
    ] = None,
    online: Online = None,
    max_age_s: Annotated[
        int | None, Query(ge=1, le=315_360_000, description="Only positions measured within so many seconds")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MOST, description="Positions a page holds at most")] = MOST,
    cursor: Cursor = None,
) -> Response:
    """Devices that never reported one are left out. An answer may be a second old: who asks the same shares it."""
    (after,) = decode(cursor, str) or ("",)
    seen, only = await in_sight(services, caller), None if device is None else tuple(sorted(device))
    if seen is not None:
        only = tuple(sorted(seen if device is None else seen & set(device)))
    labels = labels_of(label)
    wanted = Wanted(only=only, status=status, labels=labels, online=online)
    where = area(bbox) if bbox else None
    asked = (only, status, tuple(sorted((labels or {}).items())), online, where, max_age_s, after, limit)

    async def make() -> bytes:
        newer_than = None if max_age_s is None else services.clock() - timedelta(seconds=max_age_s)
        async with services.app.tenant(caller.tenant) as tx:
            found = await store.positions(tx, wanted, area=where, newer_than=newer_than, after=after, limit=limit)
        following = f'"{encode(found.next)}"' if found.next is not None else "null"
        return f'{{"items":[{found.items}],"next":{following}}}'.encode()

    return await _shared(request, services.answers.positions, (caller.tenant, *asked), make)


async def _shared(request: Request, answers: Shared, key: Hashable, make: Callable[[], Awaitable[bytes]]) -> Response:
    """Two megabytes take zlib 10 ms: beside the event loop, once, and not the usual level, which takes twice that."""
    body = await answers.get(("plain", key), make)
    if len(body) < _GZIP_FROM or "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(body, media_type="application/json")

    async def pack() -> bytes:
        return await asyncio.to_thread(zlib.compress, body, _GZIP_LEVEL, _GZIP_WINDOW)

    packed = await answers.get(("gzip", key), pack)
    headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return Response(packed, media_type="application/json", headers=headers)
