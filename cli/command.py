"""`milkrun command`: templates, commands to devices, what became of them, and the second person's word."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from api.control import forms
from api.control.forms import NewTemplate
from api.control.store import FleetSearch
from cli import context
from cli.output import print_json, print_table, when
from cli.stack.up import DataOption
from commands.contract.template import Parameter, Template, Type
from commands.drafting import Request
from commands.errors import InvalidParameters, InvalidTemplate
from commands.groups import Group
from commands.model import Actor, Execution, State
from commands.service import CommandService
from commands.store import Batch, Wanted
from core import logs
from core.clock import utc_now
from core.db import Database
from core.tenancy import TenantId, Thing, device_id, tenant_id

command_app = typer.Typer(
    help="Commands to devices: send, watch, cancel, approve; templates of them.",
    no_args_is_help=True,
    add_completion=False,
)
template_app = typer.Typer(help="What may be sent: add, list.", no_args_is_help=True, add_completion=False)
command_app.add_typer(template_app, name="template")

JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for scripts.")]
TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", show_default=False)]
CommandArgument = Annotated[str, typer.Argument(metavar="COMMAND", show_default=False, help="`cmd_...` or `bat_...`.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why.", show_default=False)]
TimeoutOption = Annotated[int | None, typer.Option("--timeout", min=5, help="Seconds to its final answer.")]
ExpiresOption = Annotated[int | None, typer.Option("--expires", min=5, help="Seconds in which it is sent, or never.")]
RetriesOption = Annotated[int | None, typer.Option("--retries", min=0, max=10, help="Times it is sent again.")]

_LOOK_EVERY_S = 0.5
_AT_ONCE = 500


@template_app.command("add")
def add_template(
    tenant: TenantArgument,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="JSON, as POST /v1/command-templates.")],
    data: DataOption = None,
) -> None:
    """Add a template from a file."""
    owner = tenant_id(tenant)
    try:
        form = NewTemplate.model_validate_json(file.read_bytes())
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InvalidTemplate(f"{file}: {wrong}") from error
    made = _run(data, lambda service: service.templates.add(owner, form.template(utc_now())))
    print(f"template {made.id} added")


@template_app.command("list")
def list_templates(tenant: TenantArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List a tenant's templates."""
    owner = tenant_id(tenant)
    found = _run(data, lambda service: service.templates.listed(owner, limit=_AT_ONCE))
    if as_json:
        print_json([forms.template(each).model_dump(mode="json") for each in found])
        return
    print_table(
        ("template", "parameters", "dangerous", "approval", "expires", "timeout", "description"),
        [
            (
                each.id,
                " ".join(_parameter(p) for p in each.parameters),
                "yes" if each.dangerous else "",
                "second person" if each.needs_approval else "",
                f"{each.expires_s} s",
                f"{each.timeout_s} s",
                "out of use" if each.is_deprecated else each.description,
            )
            for each in found
        ],
    )


@command_app.command("send")
def send(
    tenant: TenantArgument,
    target: Annotated[str, typer.Argument(metavar="DEVICE", help="A device, or a filter with --where.")],
    template: Annotated[str, typer.Argument(metavar="TEMPLATE", show_default=False)],
    parameters: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", show_default=False)] = None,
    where: Annotated[bool, typer.Option("--where", help='DEVICE is a filter: `label.depot = "north"`.')] = False,
    rate: Annotated[float | None, typer.Option("--rate", min=0.01, help="So many a minute, to a group.")] = None,
    timeout_s: TimeoutOption = None,
    expires_s: ExpiresOption = None,
    retries: RetriesOption = None,
    note: Annotated[str, typer.Option("--note", help="Why; kept with it.", show_default=False)] = "",
    token: Annotated[str | None, typer.Option("--token", help="Sent twice with it, it is one command.")] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Stay until it is over; exit code 1 unless it succeeds.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a command to a device, or to all that a filter finds."""
    owner = tenant_id(tenant)

    async def work(service: CommandService) -> Execution | Batch:
        wanted = await service.templates.get(owner, template)
        request = Request(
            template=template,
            parameters=_values(wanted, parameters or []),
            timeout_s=timeout_s,
            expires_s=expires_s,
            retries=retries,
            note=note,
            token=token,
        )
        if where:
            return await service.groups.send(owner, Group(where=target, rate_per_minute=rate), request, _me())
        return await service.send(Thing(owner, device_id(target)), request, _me())

    sent = _run(data, work)
    if isinstance(sent, Batch):
        _tell_batch(sent, as_json)
    elif wait:
        _watch(owner, sent.id, data)
    else:
        _tell(sent, as_json)


@command_app.command("list")
def list_commands(
    tenant: TenantArgument,
    device: Annotated[str | None, typer.Option("--device", help="Only this device's.", show_default=False)] = None,
    state: Annotated[
        list[State] | None, typer.Option("--state", help="Only in this state.", show_default=False)
    ] = None,
    is_open: Annotated[bool, typer.Option("--open", help="Only those that are not over.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=_AT_ONCE, help="So many at most.")] = 50,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List commands, newest first."""
    owner = tenant_id(tenant)
    states = [each.value for each in state] if state else None
    wanted = Wanted(device=device, states=states, is_open=is_open or None)
    found = _run(data, lambda service: service.listed(owner, wanted, limit=limit))
    if as_json:
        print_json([forms.command(each).model_dump(mode="json") for each in found])
        return
    print_table(
        ("command", "sent at", "device", "template", "state", "why", "by"),
        [
            (e.id, when(e.created_at), e.thing.device, e.template, e.state.value, _why(e), e.sender.name or e.sender.id)
            for e in found
        ],
    )


@command_app.command("watch")
def watch(tenant: TenantArgument, command: CommandArgument, data: DataOption = None) -> None:
    """Tell what happens to a command until it is over; exit code 1 unless it succeeds."""
    _watch(tenant_id(tenant), command, data)


@command_app.command("cancel")
def cancel(
    tenant: TenantArgument,
    command: CommandArgument,
    reason: ReasonOption = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Call a command or a group's back. What was sent before may be carried out all the same."""
    owner, me = tenant_id(tenant), _me()
    _decide(
        data,
        command,
        one=lambda service: service.cancel(owner, command, me, reason),
        group=lambda service: service.groups.cancel(owner, command, me, reason),
        as_json=as_json,
    )


@command_app.command("approve")
def approve(
    tenant: TenantArgument, command: CommandArgument, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Agree to a command, or a group's, as a second person; never to one's own."""
    owner, me = tenant_id(tenant), _me()
    _decide(
        data,
        command,
        one=lambda service: service.approve(owner, command, me),
        group=lambda service: service.groups.approve(owner, command, me),
        as_json=as_json,
    )


@command_app.command("deny")
def deny(
    tenant: TenantArgument,
    command: CommandArgument,
    reason: ReasonOption = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refuse a command, or a group's, that awaits approval."""
    owner, me = tenant_id(tenant), _me()
    _decide(
        data,
        command,
        one=lambda service: service.deny(owner, command, me, reason),
        group=lambda service: service.groups.deny(owner, command, me, reason),
        as_json=as_json,
    )


def _decide(
    data: Path | None,
    command: str,
    *,
    one: Callable[[CommandService], Awaitable[Execution]],
    group: Callable[[CommandService], Awaitable[Batch]],
    as_json: bool,
) -> None:
    if command.startswith("bat_"):
        _tell_batch(_run(data, group), as_json)
    else:
        _tell(_run(data, one), as_json)


def _run[T](data: Path | None, work: Callable[[CommandService], Awaitable[T]]) -> T:
    found = context.load(data)
    logs.configure(level="warning", json=found.settings.log.json_lines, process="cli")
    database = found.settings.database

    async def main() -> T:
        async with Database(database.app_url, pool_size=1, statement_timeout_s=database.statement_timeout_s) as app:
            search = FleetSearch(utc_now)
            return await work(
                CommandService(database=app, settings=found.settings.commands, clock=utc_now, selector=search)
            )

    return asyncio.run(main())


def _watch(tenant: TenantId, command: str, data: Path | None) -> None:
    async def work(service: CommandService) -> Execution:
        told = 0
        while True:
            found = await service.get(tenant, command)
            for step in found.history[told:]:
                print(
                    "  ".join(filter(None, (when(step.at), step.state.value, step.reason_code, step.reason))),
                    flush=True,
                )
            told = len(found.history)
            if not found.is_open:
                return found
            await asyncio.sleep(_LOOK_EVERY_S)

    over = _run(data, work)
    for name, value in over.result.items():
        print(f"  {name} = {next(iter(value.values()))}")
    if over.state is not State.SUCCEEDED:
        sys.exit(1)


def _me() -> Actor:
    name = os.environ.get("USER") or f"uid {os.getuid()}"
    return Actor("cli", name, name)


def _values(template: Template, pairs: Sequence[str]) -> dict[str, Any]:
    """Each text as what its parameter takes. Raises InvalidParameters."""
    types = {each.name: each.type for each in template.parameters}
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise InvalidParameters(f"{pair!r} is not written NAME=VALUE")
        if types.get(name, Type.STRING) in {Type.STRING, Type.BINARY}:
            values[name] = text
            continue
        try:
            values[name] = json.loads(text)
        except ValueError as error:
            raise InvalidParameters(f"{name} is {text!r}: it takes a {types[name]}") from error
    return values


def _parameter(parameter: Parameter) -> str:
    return f"{parameter.name}:{parameter.type}" if parameter.required else f"[{parameter.name}:{parameter.type}]"


def _why(execution: Execution) -> str:
    return " ".join(filter(None, (execution.reason_code, execution.reason, "(late)" if execution.is_late else "")))


def _tell(execution: Execution, as_json: bool) -> None:
    if as_json:
        print_json(forms.whole_command(execution).model_dump(mode="json"))
    else:
        print(f"{execution.id} to {execution.thing.device}: {execution.state} {_why(execution)}".rstrip())


def _tell_batch(batch: Batch, as_json: bool) -> None:
    if as_json:
        print_json(forms.batch(batch).model_dump(mode="json"))
    else:
        counts = ", ".join(f"{number} {state}" for state, number in sorted(batch.states.items()))
        print(f"{batch.id} to {batch.total} devices: {counts}")
