"""Commands to one device over HTTP: sent, watched, called back, agreed to."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.control import forms
from api.control.forms import CommandBody, Decision, NewCommand, WholeCommandBody
from api.control.given import Approver, CommandId, Reader, Sender, actor, witness
from api.fleet.given import DeviceName, DevicePath, refusal, thing_in_sight
from api.http import problems
from api.http.etags import Tagged, etag
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode, page
from api.http.strict import StrictRoute
from api.http.times import Moment, iso
from api.services import Given
from commands.model import State
from commands.store import Wanted

router = APIRouter(tags=["commands"], route_class=StrictRoute)

Open = Annotated[bool | None, Query(description="Only those that are not over, or only those that are")]
_CHANGE = problems.responses(409)


@router.post("/v1/commands", status_code=201, summary="Send a command to a device", responses=_CHANGE)
async def send_command(form: NewCommand, caller: Sender, services: Given, response: Response) -> WholeCommandBody:
    """Into the device's queue; sent when it is its turn and the device is online, or never. See docs/commands.md."""
    thing = await thing_in_sight(services, caller, form.device)
    sent = await services.commands.send(
        thing, form.request(), actor(caller), witness=witness(services, caller, "command.sent")
    )
    response.headers["Location"] = f"/v1/commands/{sent.id}"
    response.headers["ETag"] = etag(sent.version)
    return forms.whole_command(sent)


@router.get("/v1/commands", summary="List commands")
async def list_commands(
    caller: Reader,
    services: Given,
    state: Annotated[list[State] | None, Query(description="Only in one of these; repeat it")] = None,
    device: Annotated[DeviceName | None, Query(description="Only this device's")] = None,
    template: Annotated[str | None, Query(max_length=64, description="Only by this template")] = None,
    batch: Annotated[str | None, Query(max_length=64, description="Only of this group")] = None,
    is_open: Annotated[Open, Query(alias="open")] = None,
    since: Annotated[Moment | None, Query(alias="from", description="Sent from then on")] = None,
    until: Annotated[Moment | None, Query(alias="to", description="Sent before then")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[CommandBody]:
    """Newest first."""
    wanted = Wanted(
        device=device,
        template=template,
        batch=batch,
        states=None if state is None else [each.value for each in state],
        is_open=is_open,
        since=_before(since, until),
        until=until,
    )
    (after,) = decode(cursor, str) or (None,)
    found = await services.commands.listed(caller.tenant, wanted, after=after, limit=limit + 1)
    return page(found, limit, key=lambda each: (each.id,), item=forms.command)


@router.get("/v1/devices/{device}/commands", summary="List a device's commands")
async def list_device_commands(
    device: DevicePath,
    caller: Reader,
    services: Given,
    is_open: Annotated[Open, Query(alias="open")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[CommandBody]:
    """Newest first."""
    thing = await thing_in_sight(services, caller, device)
    (after,) = decode(cursor, str) or (None,)
    found = await services.commands.of_device(thing, is_open=is_open, after=after, limit=limit + 1)
    return page(found, limit, key=lambda each: (each.id,), item=forms.command)


@router.get("/v1/commands/{command}", summary="Show a command and its history")
async def show_command(command: CommandId, caller: Reader, services: Given, tagged: Tagged) -> WholeCommandBody:
    found = await services.commands.get(caller.tenant, command)
    tagged(found.version)
    return forms.whole_command(found)


@router.post("/v1/commands/{command}/cancel", summary="Call a command back", responses=_CHANGE)
async def cancel_command(command: CommandId, form: Decision, caller: Sender, services: Given) -> WholeCommandBody:
    """409 `command_ended` when it is over. What was sent before may be carried out all the same; no more is sent."""
    heard = witness(services, caller, "command.cancelled")
    after = await services.commands.cancel(caller.tenant, command, actor(caller), form.reason, witness=heard)
    return forms.whole_command(after)


@router.post("/v1/commands/{command}/approve", summary="Agree to a command as a second person", responses=_CHANGE)
async def approve_command(command: CommandId, caller: Approver, services: Given) -> WholeCommandBody:
    """403 `own_command_approval` for whoever sent it."""
    heard = witness(services, caller, "command.approved")
    return forms.whole_command(await services.commands.approve(caller.tenant, command, actor(caller), witness=heard))


@router.post("/v1/commands/{command}/deny", summary="Refuse a command that awaits approval", responses=_CHANGE)
async def deny_command(command: CommandId, form: Decision, caller: Approver, services: Given) -> WholeCommandBody:
    heard = witness(services, caller, "command.denied")
    after = await services.commands.deny(caller.tenant, command, actor(caller), form.reason, witness=heard)
    return forms.whole_command(after)


def _before(since: datetime | None, until: datetime | None) -> datetime | None:
    if since is not None and until is not None and since >= until:
        raise refusal("from", f"{iso(since)} is not before `to`, which is {iso(until)}")
    return since
