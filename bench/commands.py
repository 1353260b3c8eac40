"""Commands against their bars: from REST to SUCCEEDED visible, and a queue that outlives kill -9 of every process.

Everything runs on this machine: trucks, broker, PostgreSQL, Redis and all services. A round trip begins before the POST
and ends when a GET has shown SUCCEEDED. Trucks answer at once, and carry an id out once.
"""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import msgspec
import psutil
import psycopg
import uvloop
from rich.console import Console

from bench.figures import machine
from bench.stack import Stack, running
from cli.stack.state import StackFile
from commands.drafting import Request
from commands.groups import Group
from commands.model import Actor
from commands.service import CommandService
from core import topics
from core.clock import utc_now
from core.db import Database
from core.mqtt import ConnectionLost, ConnectOptions, Message, MqttConnection, keep_connected, tls_context
from core.tenancy import TenantId
from sim.link import Credentials, Latencies

_DEVICES = int(os.environ.get("BENCH_COMMANDS_DEVICES", "100"))
_RATE = float(os.environ.get("BENCH_COMMANDS_RATE", "100"))
_SECONDS = float(os.environ.get("BENCH_COMMANDS_SECONDS", "20"))
_RUNS = int(os.environ.get("BENCH_COMMANDS_RUNS", "3"))
_QUEUED = int(os.environ.get("BENCH_COMMANDS_QUEUED", "10000"))
_DRAIN_WITHIN_S = 600.0
_SETTLE_S = 30.0
_BETWEEN_KILLS_S = 5.0
_SERVICES = ("broker", "ingest", "shadow", "eta", "notify", "api", "provisioning")
_KILLED = ("commands", "mosquitto", "redis", "postgres", *_SERVICES)
_TENANT = TenantId("bench")
_SETTINGS = {
    "MILKRUN_API_CLIENT_RATE": "100000",
    "MILKRUN_API_CLIENT_BURST": "100000",
    "MILKRUN_API_TENANT_RATE": "100000",
    "MILKRUN_API_TENANT_BURST": "100000",
    "MILKRUN_COMMANDS_OPEN_PER_DEVICE": "20000",
}


@dataclass(slots=True)
class Truck:
    """Comes back whenever the link breaks. `done` has the ids it carried out, in order; `seen` all that came."""

    stack: Stack
    credentials: Credentials
    over: asyncio.Queue[str]
    done: list[str] = field(default_factory=list)
    seen: int = 0
    _known: set[str] = field(default_factory=set)

    async def drive(self) -> None:
        await keep_connected(self._connect, self._hold, report=lambda _: None, first_pause_s=0.2, longest_pause_s=2.0)

    async def _connect(self) -> MqttConnection:
        plan, folder, thing = self.stack.plan(rate=0, duration_s=0), self.credentials.folder, self.credentials.thing
        options = ConnectOptions(
            host=plan.host,
            port=plan.port,
            client_id=str(thing),
            tls=tls_context(folder / "ca.crt", folder / "device.crt", folder / "device.key"),
        )
        holder: list[MqttConnection] = []
        connection = MqttConnection(options, lambda message: self._hear(holder[0], message))
        holder.append(connection)
        return await connection.connect()

    async def _hold(self, connection: MqttConnection) -> None:
        thing = self.credentials.thing
        await connection.subscribe([topics.command(thing, "+", rest) for rest in ("request/+", "response/accepted/+")])
        await connection.lost

    def _hear(self, connection: MqttConnection, message: Message) -> None:
        connection.ack([message.packet_id])
        levels = message.topic.decode().split("/")
        execution, kind = levels[5], levels[6]
        if kind == "response":
            self.over.put_nowait(execution)
            return
        self.seen += 1
        if execution not in self._known:
            self._known.add(execution)
            self.done.append(execution)
        asyncio.ensure_future(_say(connection, topics.command(self.credentials.thing, execution, "response/json")))  # noqa: RUF006


async def _say(connection: MqttConnection, topic: str) -> None:
    with contextlib.suppress(ConnectionLost):  # it comes again, and is answered again
        await connection.publish(topic, b'{"status":"SUCCEEDED"}')


def main(console: Console) -> None:
    console.print(f"bench commands on {machine()}")
    with running(_SETTINGS, api=True) as stack:
        credentials = stack.fleet(_DEVICES)
        uvloop.run(_measure(console, stack, credentials))


async def _measure(console: Console, stack: Stack, credentials: list[Credentials]) -> None:
    over: asyncio.Queue[str] = asyncio.Queue()
    trucks = [Truck(stack, each, over) for each in credentials]
    async with _api(stack) as api:
        made = await api.post("/v1/command-templates", json={"id": "bench", "expires_s": 3600, "timeout_s": 3600})
        if made.status_code != 201:
            raise SystemExit(f"no template: {made.text}")
        driving = [asyncio.create_task(truck.drive()) for truck in trucks]
        await _online(stack, len(trucks))
        for _ in range(_RUNS):
            await _round_trips(console, api, trucks, over)
        for task in driving:
            task.cancel()
        await asyncio.gather(*driving, return_exceptions=True)
    await _survive(console, stack, trucks)


# --- round trips ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Rounds:
    """Commands on their way: `begun` has when each was sent, by id."""

    api: httpx.AsyncClient
    begun: dict[str, float] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    took: Latencies = field(default_factory=Latencies)
    waiting: set[asyncio.Task[None]] = field(default_factory=set)

    def send(self, truck: Truck) -> None:
        self._go(asyncio.create_task(self._send(truck.credentials.thing.device)))

    async def listen(self, over: asyncio.Queue[str]) -> None:
        """Ask for each that a truck says is over, until cancelled."""
        while True:
            id_ = await over.get()
            self.answered.add(id_)
            if id_ in self.begun:
                self._go(asyncio.create_task(self._show(id_)))

    def _go(self, work: asyncio.Task[None]) -> None:
        self.waiting.add(work)
        work.add_done_callback(self._done)

    def _done(self, work: asyncio.Task[None]) -> None:
        self.waiting.discard(work)
        if not work.cancelled() and (error := work.exception()) is not None:
            raise SystemExit(f"a command went wrong, figures would mean nothing: {error!r}")

    async def _send(self, device: str) -> None:
        at = time.monotonic()
        answer = await self.api.post("/v1/commands", json={"device": device, "template": "bench"})
        answer.raise_for_status()
        id_ = answer.json()["id"]
        self.begun[id_] = at
        if id_ in self.answered:  # the truck was faster than the answer to the POST
            await self._show(id_)

    async def _show(self, id_: str) -> None:
        state = (await self.api.get(f"/v1/commands/{id_}")).json()["state"]
        if state != "SUCCEEDED":
            raise ValueError(f"{id_} is {state} after its answer was accepted")
        self.took.note(time.monotonic() - self.begun.pop(id_))


async def _round_trips(console: Console, api: httpx.AsyncClient, trucks: list[Truck], over: asyncio.Queue[str]) -> None:
    """Commands at a rate, to the trucks by turns."""
    rounds = Rounds(api)
    listening = asyncio.create_task(rounds.listen(over))
    start, sent = time.monotonic(), 0
    while (now := time.monotonic()) - start < _SECONDS:
        for _ in range(int((now - start) * _RATE) - sent):
            rounds.send(trucks[sent % len(trucks)])
            sent += 1
        await asyncio.sleep(0.002)
    end = time.monotonic() + _SETTLE_S
    while (rounds.waiting or rounds.begun) and time.monotonic() < end:  # noqa: ASYNC110  a clock, too
        await asyncio.sleep(0.05)
    listening.cancel()
    if rounds.waiting or rounds.begun:
        raise SystemExit(f"{len(rounds.begun)} of {sent} commands were not shown as SUCCEEDED")
    shares = ((0.5, "p50"), (0.99, "p99"))
    told = ", ".join(f"{name} {1000 * (rounds.took.quantile_s(share) or 0.0):,.0f} ms" for share, name in shares)
    console.print(f"REST to SUCCEEDED visible at {_RATE:,.0f}/s, {sent:,} commands: {told}")


# --- the queue ------------------------------------------------------------------------------------------------------


async def _survive(console: Console, stack: Stack, trucks: list[Truck]) -> None:
    """Queue while the trucks are away, kill everything, let them come, and kill each process while it drains."""
    await _online(stack, 0)
    wanted = await _queue(stack)
    supervisor = psutil.Process(stack.pid("commands")).ppid()
    total = sum(map(len, wanted.values()))
    for part in _KILLED:
        await _kill(stack, part, supervisor)
    begun = time.monotonic()
    for truck in trucks:
        truck.done.clear()
        truck.seen = 0
    driving = [asyncio.create_task(truck.drive()) for truck in trucks]
    kills = list(_KILLED)
    deadline = begun + _DRAIN_WITHIN_S
    while (states := _states(stack)).get("SUCCEEDED", 0) < total:
        if time.monotonic() > deadline:
            raise SystemExit(f"after {_DRAIN_WITHIN_S:.0f} s: {dict(states)}")
        done = sum(len(truck.done) for truck in trucks)
        if kills and done > total * (len(_KILLED) - len(kills) + 1) / (len(_KILLED) + 2):
            await _kill(stack, kills.pop(0), supervisor)
        await asyncio.sleep(0.2)
    took = time.monotonic() - begun
    for task in driving:
        task.cancel()
    await asyncio.gather(*driving, return_exceptions=True)
    wrong = [t.credentials.thing for t in trucks if t.done != wanted[t.credentials.thing.device]]
    if wrong:
        raise SystemExit(f"{len(wrong)} trucks, {wrong[0]} the first, did not carry out theirs once and in order")
    again = sum(truck.seen for truck in trucks) - total
    console.print(
        f"{total:,} queued commands, kill -9 of {len(_KILLED)} processes before and again while they went out: "
        f"all carried out once, in each truck's order, in {took:,.0f} s; {again} came again under a known id"
    )


async def _queue(stack: Stack) -> dict[str, list[str]]:
    settings = stack.context.settings
    async with Database(settings.database.app_url, pool_size=4) as app:
        allowed = settings.commands.model_copy(update={"open_per_device": 20_000})
        service = CommandService(database=app, settings=allowed, clock=utc_now)
        devices = [f"truck-{number:05}" for number in range(1, _DEVICES + 1)]
        for _ in range(_QUEUED // _DEVICES):
            group = Group(devices=devices)
            await service.groups.send(_TENANT, group, Request(template="bench", retries=10), Actor("cli", "bench"))
    with psycopg.connect(settings.database.operator_url) as conn:
        rows = conn.execute(
            "SELECT device_id, command_id FROM command WHERE ended_at IS NULL ORDER BY place"
        ).fetchall()
    queued: dict[str, list[str]] = {}
    for device, command in rows:
        queued.setdefault(device, []).append(command)
    return queued


async def _kill(stack: Stack, part: str, supervisor: int) -> None:
    """The part's own process, not its children: PostgreSQL's end by themselves. `milkrun up` starts it again."""
    found = [process for process in stack.processes().get(part, []) if process.ppid() == supervisor]
    if not found:
        raise SystemExit(f"there is no process of {part} to kill; there are {sorted(stack.processes())}")
    for process in found:
        process.send_signal(signal.SIGKILL)
    await asyncio.sleep(_BETWEEN_KILLS_S)


def _states(stack: Stack) -> Counter[str]:
    try:
        with psycopg.connect(stack.context.settings.database.operator_url, connect_timeout=3) as conn:
            query = "SELECT state, count(*) FROM command WHERE batch_id IS NOT NULL GROUP BY state"
            return Counter(dict(conn.execute(query).fetchall()))
    except psycopg.OperationalError:
        return Counter()


async def _online(stack: Stack, count: int) -> None:
    """Until presence says that so many are connected."""
    while True:
        with psycopg.connect(stack.context.settings.database.operator_url) as conn:
            [(online,)] = conn.execute("SELECT count(*) FROM presence WHERE online").fetchall()
        if online == count:
            return
        await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def _api(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    told = msgspec.json.decode((stack.data / "stack.json").read_bytes(), type=StackFile)
    assert told.api_url is not None
    assert told.admin is not None
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=200)
    async with httpx.AsyncClient(base_url=told.api_url, timeout=30.0, limits=limits) as http:
        form = {
            "grant_type": "client_credentials",
            "client_id": told.admin.client_id,
            "client_secret": told.admin.client_secret,
        }
        token = json.loads((await http.post("/oauth/token", data=form)).text)["access_token"]
        http.headers.update({"Authorization": f"Bearer {token}", "Milkrun-Tenant": str(_TENANT)})
        yield http
