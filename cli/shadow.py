"""`milkrun shadow`: what a device reports, what is wanted of it, and what differs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec
import typer

from cli import context
from cli.output import print_json
from cli.stack.up import DataOption
from core import logs
from core.clock import utc_now
from core.db import Database
from core.errors import Invalid
from core.tenancy import Thing
from shadow.algebra import Tree
from shadow.aws.mode import shadows
from shadow.service import Shadows

shadow_app = typer.Typer(help="Shadows of devices: get, set, delete.", no_args_is_help=True, add_completion=False)

ThingArgument = Annotated[str, typer.Argument(metavar="TENANT:DEVICE", show_default=False)]
NameOption = Annotated[
    str, typer.Option("--name", help="A named shadow; $milkrun = what Milkrun last knew.", show_default="the classic")
]


class InvalidAssignment(Invalid):
    """What is to be set cannot be read."""

    code = "invalid_assignment"


@shadow_app.command("get")
def get(thing: ThingArgument, name: NameOption = "", data: DataOption = None) -> None:
    """Show a shadow as JSON, with what differs."""
    device = Thing.parse(thing)
    print_json(_run(data, lambda service: service.get(device, name)))


@shadow_app.command("set")
def set_(
    thing: ThingArgument,
    assignments: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH=VALUE...",
            help="cooling.target_c=3: a JSON value or a text; null removes.",
            show_default=False,
        ),
    ],
    name: NameOption = "",
    reported: Annotated[
        bool, typer.Option("--reported", help="Of what the device reports, not of what is desired.")
    ] = False,
    version: Annotated[
        int | None, typer.Option("--version", min=0, help="Only over this version.", show_default=False)
    ] = None,
    data: DataOption = None,
) -> None:
    """Change what is desired of a device."""
    device = Thing.parse(thing)
    request: Tree = {"state": {"reported" if reported else "desired": tree(assignments)}}
    if version is not None:
        request["version"] = version
    payload = msgspec.json.encode(request)
    print_json(_run(data, lambda service: service.update(device, payload, name)))


@shadow_app.command("delete")
def delete(thing: ThingArgument, name: NameOption = "", data: DataOption = None) -> None:
    """Forget a shadow; its version goes on."""
    device = Thing.parse(thing)
    print_json(_run(data, lambda service: service.delete(device, name)))


def tree(assignments: list[str]) -> Tree:
    """`["a.b=1", "c=on"]` as {"a": {"b": 1}, "c": "on"}. Raises InvalidAssignment."""
    whole: Tree = {}
    for each in assignments:
        path, equals, text = each.partition("=")
        names = path.split(".")
        if not equals or not all(names):
            raise InvalidAssignment(f"{each[:100]!r} is no assignment: write path.to.name=value")
        inner = whole
        for name in names[:-1]:
            inner = inner.setdefault(name, {})
            if not isinstance(inner, dict):
                raise InvalidAssignment(f"{each[:100]!r} goes below {name!r}, which has a value already")
        if names[-1] in inner:
            raise InvalidAssignment(f"{path[:100]!r} is set twice")
        inner[names[-1]] = _value(text)
    return whole


def _value(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _run(data: DataOption, work: Callable[[Shadows], Awaitable[Tree]]) -> Tree:
    """Do `work` with the shadows of the stack in `data`."""
    settings = context.load(data).settings
    logs.configure(level="warning", json=settings.log.json_lines, process="cli")

    async def main() -> Tree:
        database = settings.database
        async with (
            Database(database.app_url, pool_size=1, statement_timeout_s=database.statement_timeout_s) as app,
            shadows(settings.shadow, app, utc_now) as service,
        ):
            return await work(service)

    return asyncio.run(main())
