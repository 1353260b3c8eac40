"""Commands to groups over HTTP."""

from fastapi import APIRouter, Response

from api.control import forms
from api.control.forms import BatchBody, Decision, NewBatch
from api.control.given import Approver, BatchId, Reader, Sender, actor, witness
from api.http import problems
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode, page
from api.http.strict import StrictRoute
from api.services import Given

router = APIRouter(tags=["commands"], route_class=StrictRoute)

_CHANGE = problems.responses(409)


@router.post("/v1/command-batches", status_code=201, summary="Send a command to a group", responses=_CHANGE)
async def send_command_batch(form: NewBatch, caller: Sender, services: Given, response: Response) -> BatchBody:
    """Each device in service that belongs to it now gets a command of its own, at the rate that is asked for."""
    sent = await services.commands.groups.send(
        caller.tenant,
        form.group(),
        form.request(),
        actor(caller),
        witness=witness(services, caller, "command_batch.sent"),
    )
    response.headers["Location"] = f"/v1/command-batches/{sent.id}"
    return forms.batch(sent)


@router.get("/v1/command-batches", summary="List commands to groups")
async def list_command_batches(
    caller: Reader, services: Given, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[BatchBody]:
    """Newest first."""
    (after,) = decode(cursor, str) or (None,)
    found = await services.commands.groups.listed(caller.tenant, after=after, limit=limit + 1)
    return page(found, limit, key=lambda each: (each.id,), item=forms.batch)


@router.get("/v1/command-batches/{batch}", summary="Show a command to a group")
async def show_command_batch(batch: BatchId, caller: Reader, services: Given) -> BatchBody:
    """Its commands are at /v1/commands?batch=."""
    return forms.batch(await services.commands.groups.get(caller.tenant, batch))


@router.post("/v1/command-batches/{batch}/cancel", summary="Call a group's commands back", responses=_CHANGE)
async def cancel_command_batch(batch: BatchId, form: Decision, caller: Sender, services: Given) -> BatchBody:
    """All that are not over."""
    heard = witness(services, caller, "command_batch.cancelled")
    after = await services.commands.groups.cancel(caller.tenant, batch, actor(caller), form.reason, witness=heard)
    return forms.batch(after)


@router.post("/v1/command-batches/{batch}/approve", summary="Agree to a group's commands", responses=_CHANGE)
async def approve_command_batch(batch: BatchId, caller: Approver, services: Given) -> BatchBody:
    """All that await it; 403 `own_command_approval` for whoever sent them."""
    heard = witness(services, caller, "command_batch.approved")
    return forms.batch(await services.commands.groups.approve(caller.tenant, batch, actor(caller), witness=heard))


@router.post("/v1/command-batches/{batch}/deny", summary="Refuse a group's commands", responses=_CHANGE)
async def deny_command_batch(batch: BatchId, form: Decision, caller: Approver, services: Given) -> BatchBody:
    """All that await approval."""
    heard = witness(services, caller, "command_batch.denied")
    after = await services.commands.groups.deny(caller.tenant, batch, actor(caller), form.reason, witness=heard)
    return forms.batch(after)
