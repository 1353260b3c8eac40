"""`milkrun sim`: simulated trucks and recorded trips, through real connections with certificates of their own."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from cli import context
from cli.context import Context
from cli.enrolment import enrolled, listener
from cli.load import load
from cli.stack.state import DataFolder
from cli.stack.up import DataOption
from core import logs
from core.clock import epoch_ms, utc_now
from core.tenancy import TenantId, Thing, tenant_id
from sim import recording
from sim.district import District, write_geojson
from sim.duties.base import Duty
from sim.duties.commands import Commands, Habits
from sim.duties.twin import Twin
from sim.fleet import (
    Fleet,
    Member,
    SimulatedTruck,
    Vehicle,
    draw_district,
    plan_trucks,
    recorded_vehicles,
    side_by_side,
)
from sim.link import Counts, LinkOptions
from sim.truck import Truck

sim_app = typer.Typer(help="Simulated trucks: fleet, replay, load.", no_args_is_help=True, add_completion=False)

sim_app.command("load")(load)

TenantOption = Annotated[str, typer.Option("--tenant", help="The trucks' tenant; made if it is not there.")]
TrucksOption = Annotated[int, typer.Option("--trucks", min=1, max=2000, help="How many trucks drive.")]
SecondsOption = Annotated[
    float | None,
    typer.Option("--seconds", min=1, help="End by itself after this (default: Ctrl-C).", show_default=False),
]
IntervalOption = Annotated[float, typer.Option("--interval", min=0.2, help="Seconds between two fixes of a truck.")]
SpeedOption = Annotated[float, typer.Option("--speed", min=0.1, max=100, help="Times as fast as it was recorded.")]
DatasetArgument = Annotated[Path, typer.Argument(exists=True, file_okay=False, metavar="DATASET", show_default=False)]

ShareOption = Annotated[float, typer.Option(min=0, max=1, help="Share of commands taken so.", show_default=False)]

# What a truck can be told by its shadow, as it leaves the factory.
SETTINGS: Mapping[str, Any] = {
    "cooling": {"target_c": 4.0, "fan": "auto"},
    "speed_limit_kmh": 80,
    "door_alarm": True,
    "display": "en",
}
DEFAULT_HABITS = Habits()

_SETTLE_S = 30.0
_SHOWN = 8
_TELL_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What shall drive: the names first, for each needs a certificate; `begin(now_ms)` when all is ready to go.

    `ends`: it is over by itself some time. `duties`: what each does beside telemetry. `prepare`: what has to be there
    when vehicles begin at about that time (epoch ms), and find themselves registered.
    """

    devices: Sequence[str]
    begin: Callable[[int], Sequence[Vehicle]]
    ends: bool
    duties: Callable[[Thing], Sequence[Duty]] = lambda _thing: ()
    prepare: Callable[[Context, TenantId, int], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class Driven:
    """A drive that is over. `is_settled`: everything the broker took was confirmed as durable in time."""

    fleet: Fleet
    tenant: TenantId
    began_at: datetime
    is_settled: bool


@sim_app.command("fleet")
def fleet(
    trucks: TrucksOption = 20,
    tenant: TenantOption = "demo",
    seconds: SecondsOption = None,
    interval: IntervalOption = 1.0,
    refuse: ShareOption = 0.0,
    fail: ShareOption = 0.0,
    slow: ShareOption = 0.0,
    crash: ShareOption = 0.0,
    silent: ShareOption = 0.0,
    data: DataOption = None,
) -> None:
    """Drive trucks around a made-up dairy district until Ctrl-C.

    They keep in step with their shadow and carry commands out, but for the shares that are to go otherwise.
    """
    found, console = context.load(data), Console(highlight=False, soft_wrap=True)
    habits = Habits(refuse=refuse, fail=fail, slow=slow, crash=crash, silent=silent)
    plan = trucks_plan(console, plan_in(found.data, trucks), interval, habits)
    _tell(console, drive(found, console, plan, tenant=tenant_id(tenant), seconds=seconds))


@sim_app.command("replay")
def replay(
    dataset: DatasetArgument,
    speed: SpeedOption = 1.0,
    trips: Annotated[
        int | None,
        typer.Option(
            min=1, help="Only the first trips of each vehicle, all begun at once (default: all, as recorded)."
        ),
    ] = None,
    tenant: TenantOption = "demo",
    seconds: SecondsOption = None,
    data: DataOption = None,
) -> None:
    """Play a recording as if its vehicles were out now (positions.csv, trips.csv, stops.csv)."""
    found, console = context.load(data), Console(highlight=False, soft_wrap=True)
    _, plan = recording_plan(console, dataset, speed=speed, trips=trips)
    _tell(console, drive(found, console, plan, tenant=tenant_id(tenant), seconds=seconds))


def plan_in(data: Path, count: int) -> list[Truck]:
    """Draw the district below the data folder and plan the rounds; takes some seconds, and says nothing."""
    return plan_trucks(*draw_in(data), count)


def draw_in(data: Path) -> tuple[District, Path]:
    """The district and its roads as an OSM file below the data folder; takes some seconds.

    Its map is put where the API serves it to the console.
    """
    drawn, osm_file = draw_district(data / "sim")
    basemap = DataFolder(data).basemap
    basemap.parent.mkdir(exist_ok=True)
    write_geojson(drawn, basemap.with_suffix(".new")).replace(basemap)
    return drawn, osm_file


def trucks_plan(console: Console, trucks: Sequence[Truck], interval_s: float, habits: Habits = DEFAULT_HABITS) -> Plan:
    stops = {stop.id for truck in trucks for stop in truck.round.stops}
    rounds_km = sum(truck.round.distance_m for truck in trucks) / 1000
    say(console, "Roads", f"{len(trucks)} trucks, {len(stops)} farms, {rounds_km:,.0f} km of rounds")

    def begin(now_ms: int) -> Sequence[Vehicle]:
        return [SimulatedTruck(truck.as_of(now_ms), now_ms, interval_s) for truck in trucks]

    def duties(thing: Thing) -> Sequence[Duty]:
        return Twin(thing, SETTINGS), Commands(thing, habits, utc_now)

    return Plan([truck.id for truck in trucks], begin, ends=False, duties=duties)


def recording_plan(
    console: Console, folder: Path, *, speed: float, trips: int | None
) -> tuple[recording.Dataset, Plan]:
    """What is played of the recording, and how."""
    dataset = recording.load(folder)
    whole = len(dataset.positions)
    if trips is not None:
        dataset = side_by_side(dataset, trips)
    fixes = sum(map(len, dataset.positions.values()))
    length_s = (dataset.ends_at - dataset.begins_at).total_seconds()
    said = f"{len(dataset.positions)} of {whole} trips, {fixes:,} fixes; {length_s / 60:,.0f} min at {speed:g}x"
    say(console, "Recording", f"{said} take {length_s / speed:,.0f} s")

    def begin(now_ms: int) -> Sequence[Vehicle]:
        return recorded_vehicles(dataset, now_ms=now_ms, speed=speed)

    return dataset, Plan(sorted(set(dataset.devices().values())), begin, ends=True)


def drive(found: Context, console: Console, plan: Plan, *, tenant: TenantId, seconds: float | None) -> Driven:
    """Give every vehicle its certificate and drive until the time is over, all is played or Ctrl-C."""
    logs.configure(level="error", json=found.settings.log.json_lines, process="sim")
    stack = listener(found)
    options = LinkOptions(host=stack.mqtt.host, port=stack.mqtt.port, protocol=4 if stack.broker == "amqtt" else 5)

    async def main() -> Driven:
        begun = time.monotonic()
        credentials = await enrolled(found, tenant, plan.devices)
        say(console, "Devices", f"{len(credentials)} with certificates in tenant {tenant}", time.monotonic() - begun)
        if plan.prepare is not None:
            await plan.prepare(found, tenant, epoch_ms(utc_now()))
        now = utc_now()
        until = "all is played" if plan.ends else "Ctrl-C"
        console.print(f"driving until {until}" + (f" or {seconds:g} s are over" if seconds else ""))
        driving = Fleet(plan.begin(epoch_ms(now)), credentials, options, plan.duties)
        with _stop_on_signal(driving), _watching(console, driving):
            is_settled = await driving.drive(seconds=seconds, settle_s=_SETTLE_S)
        return Driven(driving, tenant, now, is_settled)

    return asyncio.run(main())


def summary(driven: Driven) -> list[tuple[str, str]]:
    """What the trucks themselves know, as rows of a table."""
    fleet_, counts = driven.fleet, driven.fleet.counts()
    waiting = sum(len({*member.link.held_back()}) for member in fleet_.members)
    held = sum(member.held for member in fleet_.members)
    rows = [
        ("trucks", f"{len(fleet_.members)}"),
        ("messages sent", f"{counts.sent:,} ({counts.pubacked:,} acknowledged by the broker)"),
        ("samples confirmed durable", f"{counts.durable:,}"),
        ("samples sent again", f"{counts.resent:,}"),
        ("still on the trucks", f"{held + waiting:,} (no coverage: {held:,}, not taken by the broker: {waiting:,})"),
        ("publish to durable", f"p50 {_ms(counts, 0.5)}, p99 {_ms(counts, 0.99)}"),
    ]
    if counts.dropped:
        rows.append(("given up on full trucks", f"{counts.dropped:,}"))
    if counts.refused:
        rows.append(("messages the broker refused", f"{counts.refused:,}"))
    return rows


def print_facts(console: Console, rows: Sequence[tuple[str, str]]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def say(console: Console, what: str, came_of_it: str, took_s: float | None = None) -> None:
    """One line of progress, in the form of `milkrun up`."""
    took = "" if took_s is None else f" [dim]({took_s:.1f} s)[/dim]"
    console.print(f"[green]✓[/green] {what:<13} {came_of_it}{took}")


def _tell(console: Console, driven: Driven) -> None:
    print_facts(console, summary(driven))
    if not driven.is_settled:
        waiting = sum(member.link.waiting for member in driven.fleet.members)
        errors = {str(member.link.last_error) for member in driven.fleet.members if member.link.last_error}
        console.print(f"{waiting:,} samples were not confirmed within {_SETTLE_S:.0f} s", *sorted(errors)[:3], sep="\n")
        raise typer.Exit(1)


@contextlib.contextmanager
def _stop_on_signal(driving: Fleet) -> Iterator[None]:
    """The first Ctrl-C lets the trucks fall silent and be counted; the second ends it there and then."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    asked: list[bool] = []

    def on_signal() -> None:
        if asked:
            task.cancel()
        asked.append(True)
        driving.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def _watching(console: Console, driving: Fleet) -> Iterator[None]:
    """Show how it goes while the body runs: a table on a terminal, a line now and then elsewhere."""
    show = _watch_live if console.is_terminal else _watch_lines
    watcher = asyncio.get_running_loop().create_task(show(console, driving))
    try:
        yield
    finally:
        watcher.cancel()


async def _watch_live(console: Console, driving: Fleet) -> None:
    rate = _Rate()
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while True:
            live.update(Group(_trucks_table(driving), _status(driving, rate)))
            await asyncio.sleep(0.5)


async def _watch_lines(console: Console, driving: Fleet) -> None:
    rate = _Rate()
    while True:
        await asyncio.sleep(_TELL_EVERY_S)
        console.print(_status(driving, rate))


class _Rate:
    """Messages a second since the last look."""

    def __init__(self) -> None:
        self._at, self._sent = time.monotonic(), 0

    def look(self, sent: int) -> float:
        now = time.monotonic()
        rate = (sent - self._sent) / max(now - self._at, 0.001)
        self._at, self._sent = now, sent
        return rate


def _status(driving: Fleet, rate: _Rate) -> str:
    counts, members = driving.counts(), driving.members
    connected = sum(member.link.is_connected for member in members)
    waiting = sum(member.link.waiting for member in members)
    return (
        f"{driving.elapsed_s:5.0f} s  {connected}/{len(members)} connected  {rate.look(counts.sent):,.1f} messages/s  "
        f"{counts.durable:,} samples durable  {waiting:,} waiting  p99 {_ms(counts, 0.99)}"
    )


def _trucks_table(driving: Fleet) -> Table:
    table = Table(
        "truck", "position", "km/h", "where", "link", "waiting", box=None, header_style="bold", pad_edge=False
    )
    for member in driving.members[:_SHOWN]:
        table.add_row(*_row(member, driving.elapsed_s))
    if len(driving.members) > _SHOWN:
        table.add_row(f"and {len(driving.members) - _SHOWN} more")
    return table


def _row(member: Member, at_s: float) -> tuple[str, ...]:
    pos = (member.last or {}).get("pos", {})
    place = f"{pos['lat']:.5f}, {pos['lon']:.5f}" if pos else ""
    speed = f"{pos['speed'] * 3.6:.0f}" if "speed" in pos else ""
    link = "online" if member.link.is_connected else "offline"
    return member.vehicle.device, place, speed, member.vehicle.whereabouts(at_s), link, str(member.link.waiting)


def _ms(counts: Counts, share: float) -> str:
    found = counts.latencies.quantile_s(share)
    return "-" if found is None else f"{found * 1000:,.0f} ms"
