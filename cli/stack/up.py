"""`milkrun up` and `milkrun down`."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from cli.context import data_folder
from cli.stack.errors import StartFailed
from cli.stack.local import STOP_ORDER, Listen, LocalStack
from cli.stack.process import LOOPBACK
from cli.stack.state import DataFolder, StackFile, stop_leftovers
from cli.stack.supervise import Supervisor, stop_on_signal
from core import settings

DataOption = Annotated[
    Path | None, typer.Option("--data", help="Data folder (default: MILKRUN_DATA, else .milkrun).", show_default=False)
]
ApiPortOption = Annotated[
    int,
    typer.Option(
        "--api-port",
        min=0,
        max=65535,
        help="Port of the API and the console; 0 = that of last time, else any free one.",
    ),
]
_DOWN_TIMEOUT_S = 180.0


def up(
    data: DataOption = None,
    api_port: ApiPortOption = 0,
    mqtt_port: Annotated[int, typer.Option(min=0, max=65535, help="Port devices connect to; 0 = any free one.")] = 8883,
    api_address: Annotated[
        str, typer.Option(help="Address the API and the console listen on; 0.0.0.0 = every one.")
    ] = LOOPBACK,
    mqtt_address: Annotated[str, typer.Option(help="Address devices connect to; 0.0.0.0 = every one.")] = LOOPBACK,
    api: Annotated[bool, typer.Option("--api/--no-api", help="Serve the API and the console.")] = True,
    osm: Annotated[
        Path | None,
        typer.Option(
            "--osm",
            exists=True,
            dir_okay=False,
            help="Roads (.osm.pbf, .osm.bz2, .osm) for arrival times where nobody has driven yet.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Start PostgreSQL, Redis, the broker and Milkrun's services, and stay until Ctrl-C.

    When all of it is ready, DIR/stack.json says how to connect. A second start on the same folder keeps all data.
    """
    console = Console(highlight=False, soft_wrap=True)
    folder = DataFolder(data_folder(data))
    loaded = settings.load()
    folder.make()
    with folder.hold():
        _clear(folder, console)
        supervisor = Supervisor(folder, lambda line: console.print(line, markup=False))
        try:
            with stop_on_signal() as asked:
                listen = Listen(mqtt_address, mqtt_port, api_address, api_port if api else None)
                stack = LocalStack(folder, loaded, supervisor, listen, _Progress(console), osm).start()
                _say_ready(console, folder, stack)
                supervisor.watch(asked)
        finally:
            folder.withdraw()
            console.print("stopping")
            supervisor.stop(STOP_ORDER)
            folder.record([])
            console.print(f"stopped; all data is in {folder.path}", markup=False)


def down(data: DataOption = None) -> None:
    """Stop the stack of a data folder and wait until nothing of it runs."""
    folder = DataFolder(data_folder(data))
    if not folder.is_held():
        ended = stop_leftovers(folder.recorded())
        folder.withdraw()
        print(f"ended what was left: {', '.join(ended)}" if ended else f"nothing runs in {folder.path}")
        return
    deadline = time.monotonic() + _DOWN_TIMEOUT_S
    asked = False
    while folder.is_held():
        runner = next((r.find() for r in folder.recorded()[:1]), None)
        if runner is not None and not asked:
            with contextlib.suppress(ProcessLookupError):
                runner.send_signal(signal.SIGTERM)
            asked = True
        if time.monotonic() > deadline:
            raise StartFailed(f"the stack in {folder.path} did not stop within {_DOWN_TIMEOUT_S:.0f} s")
        time.sleep(0.1)
    print(f"stopped; all data is in {folder.path}")


def _clear(folder: DataFolder, console: Console) -> None:
    """Remove what a stack that was killed hard left behind."""
    folder.withdraw()
    if ended := stop_leftovers(folder.recorded()):
        console.print(f"ended what an earlier start left running: {', '.join(ended)}", markup=False)


def _say_ready(console: Console, folder: DataFolder, stack: StackFile) -> None:
    data = f"--data {folder.path}"
    lines = [
        f"\nMilkrun is ready. {folder.stack_file} says how to connect.",
        f"  a tenant and a device:  milkrun tenant add acme {data}",
        f"                          milkrun device add acme truck-17 --out truck-17 {data}",
        f"  devices connect to:     {stack.mqtt.host}:{stack.mqtt.port} (MQTT 5 or 3.1.1 over TLS)",
    ]
    if stack.console_url:
        lines += [
            f"  the console:            {stack.console_url}",
            f"  who may sign in there:  milkrun user add acme ann@example.com --role tenant_admin {data}",
        ]
    console.print("\n".join([*lines, "Ctrl-C stops everything."]), markup=False)


class _Progress:
    """One line per part: what is being started, then what came of it and how long it took."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def __call__(self, what: str) -> Iterator[Callable[[str], None]]:
        begun = time.monotonic()
        with self._console.status(f"starting {what}"):
            results: list[str] = []
            yield results.append
        took = time.monotonic() - begun
        self._console.print(f"[green]✓[/green] {what:<13} {escape('; '.join(results))} [dim]({took:.1f} s)[/dim]")
