"""A device's shadows over HTTP: AWS IoT's documents, with an ETag for the version.

A change tells the device and whoever listens by the same MQTT messages as one that the device makes itself.
"""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.access import Scope
from api.fleet.given import DevicePath, auditor, thing_in_sight
from api.http import problems
from api.http.etags import Expected, Tagged, etag
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode, page
from api.http.security import Caller, needs
from api.http.strict import StrictRoute
from api.services import Given, Services
from api.twin.age import ages_s, digest
from core.db import TenantTx
from core.tenancy import Thing
from shadow.algebra import Tree
from shadow.model import LAST_KNOWN
from shadow.service import Witness

router = APIRouter(tags=["shadows"], route_class=StrictRoute)

Reader = Annotated[Caller, needs(Scope.SHADOWS_READ)]
Writer = Annotated[Caller, needs(Scope.SHADOWS_WRITE)]
ShadowPath = Annotated[
    str,
    Path(
        max_length=100,
        description="Name of a named shadow: 1 to 64 of A-Z a-z 0-9 $ : _ -; `$milkrun` is what Milkrun itself knows",
    ),
]
_encode = msgspec.json.Encoder().encode


class ShadowBody(BaseModel):
    """A shadow as AWS IoT writes it. Times are epoch seconds."""

    state: dict[str, dict[str, Any] | None] = Field(
        description="`desired`, `reported` and, where they differ, `delta`; of a change only what it named",
        examples=[{"desired": {"fan": 3}, "reported": {"fan": 2}, "delta": {"fan": 3}}],
    )
    metadata: dict[str, Any] = Field(description="When each value was set, in the shape of `state`")
    version: int = Field(description="Grows by one with every change and outlives deletion")
    timestamp: int = Field(description="When this was answered")
    client_token: str | None = Field(None, alias="clientToken", description="As the request gave it")
    age_s: dict[str, int] | None = Field(
        None, description="Of `$milkrun` alone: seconds since each of its parts was last heard"
    )


class Forgotten(BaseModel):
    """A shadow that was deleted."""

    version: int = Field(description="The one it had; the next one it gets is higher")
    timestamp: int


class ShadowName(BaseModel):
    """One named shadow."""

    name: str = Field(examples=["milk"])


class _Wishes(BaseModel):
    model_config = ConfigDict(extra="allow", title="ShadowState")

    desired: dict[str, Any] | None = Field(None, description="null removes it all; a null within removes that name")
    reported: dict[str, Any] | None = Field(None, description="What the device says; rarely for anybody else to write")


class _Request(BaseModel):
    model_config = ConfigDict(extra="allow", title="ShadowUpdate")

    state: _Wishes | None = Field(examples=[{"desired": {"fan": 3}}])
    version: int | None = Field(None, ge=0, description="Do it only over this version: else 409")
    clientToken: str | None = Field(None, max_length=64, description="Comes back in the answer; 64 bytes at most")  # noqa: N815  AWS's name


# The body reaches the service as it came, so that AWS IoT's rules judge it and not two sets of them.
_SCHEMA = _Request.model_json_schema(ref_template="#/components/schemas/{model}")
_STATE = _SCHEMA.pop("$defs").popitem()[1]
_SCHEMA["properties"]["state"] = {"anyOf": [_STATE, {"type": "null"}], "examples": [{"desired": {"fan": 3}}]}
_UPDATE: dict[str, Any] = {
    "openapi_extra": {"requestBody": {"required": True, "content": {"application/json": {"schema": _SCHEMA}}}},
    "response_model": ShadowBody,
    "responses": problems.responses(400, 409, 412, 413, 415),
}


@router.get("/v1/devices/{device}/shadow", summary="Show a device's shadow", response_model=ShadowBody)
async def show_shadow(device: DevicePath, caller: Reader, services: Given, tagged: Tagged) -> Response:
    """404 `shadow_not_found` while nobody has written one. Ask with If-None-Match to learn of changes: 304 is cheap."""
    return await _shown(services, caller, device, "", tagged)


@router.post("/v1/devices/{device}/shadow", summary="Update a device's shadow as AWS IoT does", **_UPDATE)
async def post_shadow(
    device: DevicePath, request: Request, caller: Writer, services: Given, expected: Expected
) -> Response:
    """As PATCH."""
    return await _updated(services, caller, device, "", request, expected)


@router.patch("/v1/devices/{device}/shadow", summary="Update a device's shadow", **_UPDATE)
async def patch_shadow(
    device: DevicePath, request: Request, caller: Writer, services: Given, expected: Expected
) -> Response:
    """Objects merge, null removes, arrays are replaced. Over another version than the one named by `version`: 409; by
    If-Match: 412. The device hears of it as of its own changes.
    """
    return await _updated(services, caller, device, "", request, expected)


@router.delete("/v1/devices/{device}/shadow", summary="Delete a device's shadow", responses=problems.responses(412))
async def delete_shadow(device: DevicePath, caller: Writer, services: Given, expected: Expected) -> Forgotten:
    """Its version goes on where it is made again."""
    return await _deleted(services, caller, device, "", expected)


@router.get("/v1/devices/{device}/shadows", summary="List a device's named shadows")
async def list_shadows(
    device: DevicePath, caller: Reader, services: Given, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[ShadowName]:
    """By name, without the classic one and `$milkrun`."""
    thing = await thing_in_sight(services, caller, device)
    (after,) = decode(cursor, str) or ("",)
    names = await services.shadows.names(thing, after=after, limit=limit + 1)
    return page(names, limit, key=lambda name: (name,), item=lambda name: ShadowName(name=name))


@router.get("/v1/devices/{device}/shadows/{shadow}", summary="Show a named shadow", response_model=ShadowBody)
async def show_named_shadow(
    device: DevicePath, shadow: ShadowPath, caller: Reader, services: Given, tagged: Tagged
) -> Response:
    """`$milkrun`: last position, presence and signals, each with its age, also while the device is offline."""
    return await _shown(services, caller, device, shadow, tagged)


@router.post("/v1/devices/{device}/shadows/{shadow}", summary="Update a named shadow as AWS IoT does", **_UPDATE)
async def post_named_shadow(
    device: DevicePath, shadow: ShadowPath, request: Request, caller: Writer, services: Given, expected: Expected
) -> Response:
    """As PATCH."""
    return await _updated(services, caller, device, shadow, request, expected)


@router.patch("/v1/devices/{device}/shadows/{shadow}", summary="Update a named shadow", **_UPDATE)
async def patch_named_shadow(
    device: DevicePath, shadow: ShadowPath, request: Request, caller: Writer, services: Given, expected: Expected
) -> Response:
    """As the classic one. 403 for `$milkrun`, which nobody writes."""
    return await _updated(services, caller, device, shadow, request, expected)


@router.delete(
    "/v1/devices/{device}/shadows/{shadow}", summary="Delete a named shadow", responses=problems.responses(412)
)
async def delete_named_shadow(
    device: DevicePath, shadow: ShadowPath, caller: Writer, services: Given, expected: Expected
) -> Forgotten:
    return await _deleted(services, caller, device, shadow, expected)


async def _shown(services: Services, caller: Caller, device: str, name: str, tagged: Tagged) -> Response:
    del tagged  # it documents If-None-Match; the answer below carries the ETag itself
    found = await services.shadows.get(await thing_in_sight(services, caller, device), name)
    if name == LAST_KNOWN:
        # Presence and signals come without a new version of the position they stand beside.
        tag = etag(found["version"], digest(found))
        found = {**found, "age_s": ages_s(found)}
    else:
        tag = etag(found["version"])
    return _document(found, tag)


async def _updated(
    services: Services, caller: Caller, device: str, name: str, request: Request, expected: int | None
) -> Response:
    thing = await thing_in_sight(services, caller, device)
    witness = _witness(services, caller, thing, name, "shadow.updated")
    answer = await services.shadows.update(thing, await request.body(), name, expected=expected, witness=witness)
    return _document(answer, etag(answer["version"]))


async def _deleted(services: Services, caller: Caller, device: str, name: str, expected: int | None) -> Forgotten:
    thing = await thing_in_sight(services, caller, device)
    witness = _witness(services, caller, thing, name, "shadow.deleted")
    answer = await services.shadows.delete(thing, name, expected=expected, witness=witness)
    return Forgotten(version=answer["version"], timestamp=answer["timestamp"])


def _document(answer: Tree, tag: str) -> Response:
    return Response(_encode(answer), media_type="application/json", headers={"ETag": tag})


def _witness(services: Services, caller: Caller, thing: Thing, name: str, action: str) -> Witness:
    """Writes the change into the audit log, in the change's own transaction."""

    async def write(tx: TenantTx, answer: Tree) -> None:
        facts = {"shadow": name, "version": answer["version"]}
        if "state" in answer:
            facts["state"] = answer["state"]
        await auditor(services).audit(tx, caller, action, str(thing), after=facts)

    return write
