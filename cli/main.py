"""The `milkrun` command. Errors a user can act on are one line on stderr; `--debug` shows where they came from."""

import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, NamedTuple, override

import typer
from typer.core import TyperGroup

from core.errors import Invalid, MilkrunError


class _Entry(NamedTuple):
    target: str
    """module:attribute of a typer app, or of one function"""

    help: str
    """the line `milkrun --help` shows, so that it need not import the module"""


# The one place where commands are mounted. A module is imported when its command runs and not before: together they
# pull in the database driver, cryptography and the migration tool, which no `--help` should wait for.
COMMANDS = {
    "up": _Entry("cli.stack.up:up", "Start everything on this machine and stay until Ctrl-C."),
    "down": _Entry("cli.stack.up:down", "Stop what `milkrun up` started."),
    "tenant": _Entry("cli.registry:tenant_app", "Tenants: add, list."),
    "device": _Entry("cli.registry:device_app", "Devices and their certificates: add, list, show, suspend, revoke."),
    "shadow": _Entry("cli.shadow:shadow_app", "Shadows of devices: get, set, delete."),
    "user": _Entry("cli.access:user_app", "People who sign in: add, list, disable, set-password."),
    "client": _Entry("cli.access:client_app", "Programs that use the API: add, list, disable, rotate."),
    "keys": _Entry("cli.access:keys_app", "Keys that sign access tokens: list, rotate."),
    "demo": _Entry("cli.demo:demo", "Start everything, drive trucks through it, count what arrived."),
    "sim": _Entry("cli.sim:sim_app", "Simulated trucks: fleet, replay, load."),
    "telemetry": _Entry("cli.telemetry:telemetry_app", "Stored telemetry: export."),
    "site": _Entry("cli.trips:site_app", "Sites: add, list, import."),
    "route": _Entry("cli.trips:route_app", "Routes: import, list."),
    "trip": _Entry("cli.trips:trip_app", "Trips: plan, list, assign, skip."),
    "eta": _Entry("cli.eta:eta_app", "Arrival times: backtest on recorded trips, accuracy of your own."),
    "maps": _Entry("cli.maps:maps_app", "Maps: report of calls and cost."),
    "command": _Entry("cli.command:command_app", "Commands to devices: send, list, watch, cancel, approve."),
    "webhook": _Entry("cli.notify:webhook_app", "Webhooks: add, list, test."),
    "dead-letters": _Entry("cli.dead_letters:dead_letters_app", "Refused messages: list, show, replay."),
}


def command(name: str) -> object:
    """The real command `name`, its module imported."""
    module, _, attribute = COMMANDS[name].target.partition(":")
    found: typer.Typer | Callable[..., object] = getattr(import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        single = typer.Typer(add_completion=False)
        single.command(name)(found)
        found = single
    return typer.main.get_command(found)


class _Commands(TyperGroup):
    """Lists the commands of COMMANDS from their help lines, and imports the one that is run."""

    @override
    def list_commands(self, ctx):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202  typer's own types are private
        return list(COMMANDS)

    @override
    def get_command(self, ctx, cmd_name):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        if cmd_name not in COMMANDS:
            return None
        listed = typer.Typer(add_completion=False)
        listed.command(cmd_name, help=COMMANDS[cmd_name].help)(lambda: None)
        return typer.main.get_command(listed)

    @override
    def resolve_command(self, ctx, args):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        name, found, rest = super().resolve_command(ctx, args)
        return name, command(name) if name in COMMANDS else found, rest


app = typer.Typer(
    cls=_Commands,
    help="Milkrun, the open backend for collection fleets.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"milkrun {version('milkrun')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks (also MILKRUN_DEBUG=1).")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if debug:
        os.environ["MILKRUN_DEBUG"] = "1"


def main() -> None:
    """Run the command line. Exit code 2 for wrong input, 1 for any other failure."""
    try:
        app()
    except Exception as error:  # the edge: every failure ends here as one line
        if os.environ.get("MILKRUN_DEBUG"):
            raise
        known = isinstance(error, MilkrunError | OSError)
        said = str(error) if known else f"{type(error).__name__}: {error} (--debug shows where)"
        print(f"milkrun: {said}", file=sys.stderr)
        sys.exit(2 if isinstance(error, Invalid) else 1)


if __name__ == "__main__":
    main()
