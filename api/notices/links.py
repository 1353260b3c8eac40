"""Tracking links, made and revoked by dispatchers."""

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field, StringConstraints

from api.access import Scope
from api.fleet.given import Form
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode, page
from api.http.security import Caller, needs
from api.http.strict import StrictRoute
from api.http.times import Moment, Time
from api.notices.given import Id, Ref, witness
from api.services import Given, Services
from notify.tracking.store import Link

router = APIRouter(tags=["tracking"], route_class=StrictRoute)

Writer = Annotated[Caller, needs(Scope.TRIPS_WRITE)]


class NewLink(Form):
    """Whose view it is to be, and for how long."""

    stop: Ref = Field(examples=["stop_0190b2c3d4e5f6a7b8c9d0"])
    expires_at: Moment | None = Field(None, description="Within a week; default: the deployment's setting")
    note: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] = Field(
        "", description="For whom it is; shown to dispatchers alone"
    )


class LinkBody(BaseModel):
    """A link that shows one stop of one trip to whoever has it, until the truck has been there."""

    id: str
    stop: str
    url: str = Field(description="The page to send to whoever waits")
    token: str = Field(description="For /v1/track/{token}")
    note: str
    expires_at: Time
    revoked_at: Time | None
    created_by: str
    created_at: Time


@router.post("/v1/trips/{trip}/links", status_code=201, summary="Make a tracking link")
async def make_link(trip: Id, form: NewLink, caller: Writer, services: Given, response: Response) -> LinkBody:
    """For people without an account: the truck while it is on its way to them, when it comes, and nothing else."""
    made, _ = await services.links.make(
        caller.tenant,
        trip,
        form.stop,
        by=caller.principal.id,
        note=form.note,
        expires_at=form.expires_at,
        witness=witness(services, caller),
    )
    response.headers["Cache-Control"] = "no-store"
    return _link(services, caller, made)


@router.get("/v1/trips/{trip}/links", summary="List a trip's tracking links")
async def list_links(
    trip: Id, caller: Writer, services: Given, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[LinkBody]:
    """In the order in which they were made. Whoever sees the list can use the links, hence the scope."""
    (after,) = decode(cursor, str) or ("",)
    found = await services.links.page(caller.tenant, trip, after=after, limit=limit + 1)
    return page(found, limit, key=lambda each: (each.id,), item=lambda each: _link(services, caller, each))


@router.delete("/v1/trips/{trip}/links/{link}", status_code=204, summary="Revoke a tracking link")
async def revoke_link(trip: Id, link: Id, caller: Writer, services: Given) -> None:
    """From now on it shows nothing. May be repeated."""
    await services.links.revoke(caller.tenant, trip, link, witness=witness(services, caller))


def _link(services: Services, caller: Caller, link: Link) -> LinkBody:
    token = services.links.token(caller.tenant, link)
    api = services.settings.api
    base = api.public_url.rstrip("/") or f"http://{api.host}:{api.port}"
    return LinkBody(
        id=link.id,
        stop=link.stop,
        url=f"{base}/t/{token}",
        token=token,
        note=link.note,
        expires_at=link.expires_at,
        revoked_at=link.revoked_at,
        created_by=link.created_by,
        created_at=link.created_at,
    )
