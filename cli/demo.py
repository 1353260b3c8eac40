"""`milkrun demo`: everything on this machine, trucks driving through it, and a count of what arrived."""

import asyncio
import concurrent.futures
import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Console

from api.access import Role
from api.identity.errors import UserExists
from api.identity.model import Actor, Rights, owner_of
from api.identity.service import IdentityService
from cli import context, sim
from cli.context import Context, data_folder
from cli.enrolment import listener
from cli.morning.plan import Morning, keep
from cli.morning.tell import tell
from cli.sim import Driven, Plan, TenantOption, TrucksOption
from cli.stack.process import Child, Command
from cli.stack.state import DataFolder
from cli.stack.up import ApiPortOption, DataOption
from core import clock
from core.clock import from_epoch_ms
from core.db import Database
from core.tenancy import TenantId, tenant_id
from ingest.history.audit import Audit, audit
from provisioning.ca import CertificateAuthority
from provisioning.errors import TenantExists
from provisioning.service import ProvisioningService
from sim.fleet import Vehicle, plan_trucks
from sim.morning.rounds import Drive, drives, recorded
from sim.recording import start_at_ms_for
from sim.truck import Truck

_START_WITHIN_S = 300.0
_STOP_GRACE_S = 180.0
_REPLAY_SPEED = 30.0
_NO_COVERAGE_S = (45.0, 165.0)
_CLOCK_SLACK = timedelta(minutes=1)
_GUEST = "demo@milkrun.example"
_READY = "Milkrun is ready"


def demo(
    trucks: TrucksOption = 20,
    seconds: sim.SecondsOption = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Play a recording instead of the made-up district.",
            show_default=False,
        ),
    ] = None,
    speed: Annotated[float, typer.Option(min=0.1, max=100, help="With --replay: times as fast.")] = _REPLAY_SPEED,
    trips: Annotated[int, typer.Option(min=1, help="With --replay: so many first trips of each vehicle.")] = 1,
    tenant: TenantOption = "demo",
    api_port: ApiPortOption = 0,
    data: DataOption = None,
) -> None:
    """Start what is not running, drive a morning's collection until Ctrl-C, then count in the database what arrived.

    One truck does not keep to its route and one loses coverage for two minutes. Meanwhile the console shows them; its
    address and somebody to sign in as are printed before they drive off. At the end stand the arrival times and alerts.

    Exit code 1 when a sample was lost or is there twice.
    """
    console, folder = Console(highlight=False, soft_wrap=True), DataFolder(data_folder(data))
    name = tenant_id(tenant)
    with concurrent.futures.ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as running:
        # The stack works out arrival times on these roads, so they are drawn before it starts.
        drawn = None if replay else sim.draw_in(folder.path)
        planned = pool.submit(plan_trucks, *drawn, trucks, strays=1) if drawn else None
        running.enter_context(_stack(console, folder, api_port, drawn[1] if drawn else None, _played(folder, replay)))
        if planned is not None:
            plan, morning = _collection(console, planned.result())
        else:
            assert replay is not None
            plan, morning = _recording(console, folder, replay, speed=speed, trips=trips)
        found = context.load(folder.path)
        _invite(console, folder, found, name)
        driven = sim.drive(found, console, plan, tenant=name, seconds=seconds)
        counted = asyncio.run(_audit(found, driven))
        _tell(console, driven, counted)
        asyncio.run(_tell_arrivals(console, found, name, morning))
    if counted.missing or counted.duplicates:
        raise typer.Exit(1)


def _collection(console: Console, trucks: Sequence[Truck]) -> tuple[Plan, Morning]:
    """The trucks on their rounds, and the rounds as trips to the farms that are still ahead of each."""
    quiet = [replace(each, outages=(_NO_COVERAGE_S,)) if n == 1 else each for n, each in enumerate(trucks)]
    plan, morning = sim.trucks_plan(console, quiet, 1.0), Morning()

    async def prepare(found: Context, tenant: TenantId, now_ms: int) -> None:
        await _keep(console, found, tenant, drives([truck.as_of(now_ms) for truck in quiet], now_ms), morning)

    return replace(plan, prepare=prepare), morning


def _recording(
    console: Console, folder: DataFolder, dataset: Path, *, speed: float, trips: int
) -> tuple[Plan, Morning]:
    """The recording with its trips; while it is played, arrival times are worked out in its own time."""
    played, plan = sim.recording_plan(console, dataset, speed=speed, trips=trips)
    morning = Morning()

    async def prepare(found: Context, tenant: TenantId, now_ms: int) -> None:
        start_at_ms = start_at_ms_for(played, now_ms=now_ms, speed=speed)
        await _keep(console, found, tenant, recorded(played, start_at_ms), morning)

    def begin(now_ms: int) -> Sequence[Vehicle]:
        start_at_ms = start_at_ms_for(played, now_ms=now_ms, speed=speed)
        clock.play(_clock_file(folder), began_at_ms=now_ms, at_ms=start_at_ms, speed=speed)
        return plan.begin(now_ms)

    return replace(plan, prepare=prepare, begin=begin), morning


async def _keep(console: Console, found: Context, tenant: TenantId, wanted: Sequence[Drive], morning: Morning) -> None:
    async with Database(found.settings.database.app_url, pool_size=1) as database:
        kept = await keep(database, tenant, wanted)
    morning.trips += kept.trips
    places = {place.code for drive in wanted for place in drive.line.places}
    sim.say(console, "Trips", f"{len(kept.trips)} to {len(places)} places")


async def _tell_arrivals(console: Console, found: Context, tenant: TenantId, morning: Morning) -> None:
    async with Database(found.settings.database.app_url, pool_size=1) as database:
        await tell(console, database, tenant, morning)


def _played(folder: DataFolder, dataset: Path | None) -> dict[str, str]:
    """What a stack is told that shall take a recording for the present: its time, and that its fixes are no history."""
    file = _clock_file(folder)
    file.unlink(missing_ok=True)
    if dataset is None:
        return {}
    file.parent.mkdir(parents=True, exist_ok=True)
    return {"MILKRUN_ETA_CLOCK_FILE": str(file.absolute()), "MILKRUN_INGEST_LIVE_WITHIN_S": "1000000"}


def _clock_file(folder: DataFolder) -> Path:
    return folder.path / "sim" / "replay-clock.json"


@contextlib.contextmanager
def _stack(
    console: Console, folder: DataFolder, api_port: int, osm_file: Path | None, variables: Mapping[str, str]
) -> Iterator[None]:
    """The stack of `folder`: the one that runs there and goes on running, or one of our own for as long as we run."""
    if folder.is_held():
        console.print(f"uses the stack that runs in {folder.path}", markup=False)
        yield
        return
    folder.make()
    folder.withdraw()
    ports = ("--mqtt-port", "0", "--api-port", str(api_port))
    roads = ("--osm", str(osm_file)) if osm_file else ()
    argv = (sys.executable, "-P", "-m", "cli.main", "up", "--data", str(folder.path), *ports, *roads)
    log = folder.logs / "up.log"
    told = log.stat().st_size if log.exists() else 0
    child = Child(Command("up", argv, log, env={**variables, **os.environ}, grace_s=_STOP_GRACE_S, rotates=False))
    try:
        with log.open(encoding="utf-8", errors="replace") as lines:
            lines.seek(told)
            child.wait_ready(lambda: _is_ready(console, folder, lines), timeout_s=_START_WITHIN_S)
        yield
    finally:
        with console.status("stopping"):
            child.stop()
        console.print(f"stopped; all data is in {folder.path}", markup=False)


def _invite(console: Console, folder: DataFolder, found: Context, tenant: TenantId) -> None:
    """Say where the console is and who may sign in there."""
    console_url = listener(found).console_url
    if console_url is None:
        console.print("the console is not served: the stack was started with --no-api")
        return
    password = folder.secret(f"console-{tenant}")
    asyncio.run(_guest(found, tenant, password))
    console.print(f"\n[bold]Watch them[/bold]   {console_url}\n             sign in as {_GUEST}")
    console.print(f"             password   {password}\n", markup=False)


async def _guest(found: Context, tenant: TenantId, password: str) -> None:
    """The user of the demonstration, made on the first one; whoever changed his password since knows it."""
    settings = found.settings
    app = Database(settings.database.app_url, pool_size=1)
    operator = Database(settings.database.operator_url, pool_size=1)
    async with app, operator:
        registry = ProvisioningService(
            app=app,
            operator=operator,
            authority=CertificateAuthority.open(found.ca_dir, settings=settings.provisioning),
            settings=settings.provisioning,
        )
        with contextlib.suppress(TenantExists):
            await registry.add_tenant(tenant)
        service = IdentityService(app=app, operator=operator, settings=settings)
        with contextlib.suppress(UserExists):
            await service.accounts.add_user(
                Actor.command_line("milkrun demo"),
                owner_of(tenant),
                email=_GUEST,
                name="Demonstration",
                rights=Rights(Role.TENANT_ADMIN),
                password=password,
            )
        service.passwords.close()


def _is_ready(console: Console, folder: DataFolder, lines: TextIO) -> bool:
    """Pass on what `milkrun up` says; what it says once all runs is for people who want to connect."""
    is_ready = folder.stack_file.exists()
    for line in lines:
        if line.startswith(_READY):
            break
        if line.strip():
            console.print(line.rstrip(), markup=False)
    return is_ready


async def _audit(found: Context, driven: Driven) -> Audit:
    """Count through the tenant's own door, device by device."""
    total = Audit()
    async with Database(found.settings.database.app_url, pool_size=1) as database:
        for member in driven.fleet.members:
            if member.measured_since_ms is None:
                continue
            async with database.tenant(driven.tenant) as tx:
                total.add(
                    await audit(
                        tx,
                        member.link.thing.device,
                        member.sent(),
                        measured_since=from_epoch_ms(member.measured_since_ms),
                        received_since=driven.began_at - _CLOCK_SLACK,
                    )
                )
    return total


def _tell(console: Console, driven: Driven, counted: Audit) -> None:
    console.print("\n[bold]What the trucks know[/bold]")
    sim.print_facts(console, sim.summary(driven))
    console.print("\n[bold]What the database holds of it[/bold]")
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(counted.rejected.items()))
    rejected = counted.rejected.total()
    sim.print_facts(
        console,
        [
            ("samples sent", f"{counted.sent:,}"),
            ("committed", f"{counted.stored:,}"),
            ("rejected, kept as dead letters", f"{rejected:,}{f' ({reasons})' if rejected else ''}"),
            ("lost", f"{counted.missing:,}"),
            ("duplicates", f"{counted.duplicates:,}"),
        ],
    )
