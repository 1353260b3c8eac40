"""Commands against their bars: from REST to SUCCEEDED visible, and a queue that outlives kill -9 of every process.

Everything runs on this machine: trucks, broker, PostgreSQL, Redis and all services. A round trip begins before the POST
and ends when the live channel has shown SUCCEEDED. Trucks answer at once, and carry an id out once.
"""

import asyncio
import contextlib
import os
import secrets
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

from bench.figures import machine, spread
from bench.http_client import HttpClient, Refused
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
_RATES = [float(rate) for rate in os.environ.get("BENCH_COMMANDS_RATES", "20,50,100").split(",") if rate]
_SECONDS = float(os.environ.get("BENCH_COMMANDS_SECONDS", "20"))
_RUNS = int(os.environ.get("BENCH_COMMANDS_RUNS", "3"))
_QUEUED = int(os.environ.get("BENCH_COMMANDS_QUEUED", "10000"))
_DRAIN_WITHIN_S = 300.0
_SETTLE_S = 30.0
_BETWEEN_KILLS_S = 5.0
_SHARES = ((0.5, "p50"), (0.99, "p99"))
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
        await connection.subscribe([topics.command(thing, "+", "request/+")])
        await connection.lost

    def _hear(self, connection: MqttConnection, message: Message) -> None:
        connection.ack([message.packet_id])
        execution = message.topic.decode().split("/")[5]
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
    trucks = [Truck(stack, each) for each in credentials]
    api = await _api(stack)
    await api.ask("POST", "/v1/command-templates", {"id": "bench", "expires_s": 3600, "timeout_s": 3600}, expected=201)
    if _RATES:
        driving = [asyncio.create_task(truck.drive()) for truck in trucks]
        await _online(stack, len(trucks))
        for rate in _RATES:
            rounds = [await _round_trips(console, stack, api, rate) for _ in range(_RUNS)]
            told = (
                f"{name} {spread([_quantile_ms(each, share) for each in rounds], ' ms')}" for share, name in _SHARES
            )
            console.print(f"round trip at {rate:,.0f}/s: {', '.join(told)}")
        for task in driving:
            task.cancel()
        await asyncio.gather(*driving, return_exceptions=True)
    api.close()
    if _QUEUED:
        await _survive(console, stack, trucks)


# --- round trips ----------------------------------------------------------------------------------------------------


class _Data(msgspec.Struct):
    execution: str = ""
    state: str = ""


class _Event(msgspec.Struct):
    data: _Data


class _Frame(msgspec.Struct):
    events: list[_Event] = []


class _Sent(msgspec.Struct):
    id: str
    state: str


_frame = msgspec.json.Decoder(_Frame).decode
_sent = msgspec.json.Decoder(_Sent).decode


@dataclass(slots=True)
class Rounds:
    """Commands on their way: `begun` has when each was sent, by id; `over` those shown before their POST's answer."""

    api: HttpClient
    begun: dict[str, float] = field(default_factory=dict)
    over: dict[str, float] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)
    took: Latencies = field(default_factory=Latencies)
    answered: Latencies = field(default_factory=Latencies)
    waiting: set[asyncio.Task[None]] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)

    def send(self, device: str) -> None:
        work = asyncio.create_task(self._send(device))
        self.waiting.add(work)
        work.add_done_callback(self.waiting.discard)

    async def _send(self, device: str) -> None:
        at = time.monotonic()
        # The token lets the POST be sent again should its connection break: it makes one command all the same.
        body = {"device": device, "template": "bench", "token": secrets.token_hex(8)}
        try:
            id_ = _sent(await self.api.ask("POST", "/v1/commands", body, expected=201)).id
        except (Refused, OSError) as error:
            self.failures.append(str(error))
            return
        self.answered.note(time.monotonic() - at)
        if (over_at := self.over.pop(id_, None)) is not None:
            self._show(id_, over_at - at)
        else:
            self.begun[id_] = at

    async def watch(self, stream: AsyncIterator[bytes]) -> None:
        """The live channel `commands`, until it ends."""
        async for data in stream:
            now = time.monotonic()
            for event in _frame(data).events:
                if event.data.state == "SUCCEEDED":
                    id_ = event.data.execution
                    if (at := self.begun.pop(id_, None)) is not None:
                        self._show(id_, now - at)
                    else:
                        self.over[id_] = now
        self.failures.append("the live channel ended")

    def _show(self, id_: str, took_s: float) -> None:
        self.shown.append(id_)
        self.took.note(took_s)


async def _round_trips(console: Console, stack: Stack, api: HttpClient, rate: float) -> Rounds:
    """Commands at a rate, to the trucks by turns."""
    rounds = Rounds(api)
    watching = asyncio.create_task(rounds.watch(api.events("/v1/stream?channel=commands")))
    await asyncio.sleep(0.5)
    before, own_s, again = stack.cpu_s(), time.process_time(), api.again
    start, sent = time.monotonic(), 0
    while (now := time.monotonic()) - start < _SECONDS and not rounds.failures:
        for _ in range(int((now - start) * rate) - sent):
            rounds.send(f"truck-{sent % _DEVICES + 1:05}")
            sent += 1
        await asyncio.sleep(0.002)
    end = time.monotonic() + _SETTLE_S
    while (rounds.waiting or rounds.begun) and time.monotonic() < end and not rounds.failures:  # noqa: ASYNC110  a clock
        await asyncio.sleep(0.05)
    costs = {part: used - before.get(part, 0.0) for part, used in stack.cpu_s().items()}
    costs["bench"] = time.process_time() - own_s
    watching.cancel()
    if rounds.failures:
        raise SystemExit(f"{len(rounds.failures)} commands went wrong, the first: {rounds.failures[0]}")
    if rounds.waiting or rounds.begun:
        raise SystemExit(
            f"{sent} commands at {rate:,.0f}/s: {len(rounds.waiting)} POSTs unanswered and {len(rounds.begun)} commands"
            f" not shown as SUCCEEDED {_SETTLE_S:.0f} s after the last"
        )
    for id_ in rounds.shown[:: max(1, sent // 50)]:  # what the channel said is what a GET shows
        if (state := _sent(await api.ask("GET", f"/v1/commands/{id_}")).state) != "SUCCEEDED":
            raise SystemExit(f"{id_} is {state} after the live channel said SUCCEEDED")
    console.print(
        f"REST to SUCCEEDED visible at {rate:,.0f}/s, {sent:,} commands: {_late(rounds.took)};"
        f" POST answered: {_late(rounds.answered)}; {api.again - again} requests sent again"
    )
    told = ", ".join(f"{part} {1e3 * cost / sent:.2f}" for part, cost in sorted(costs.items(), key=lambda c: -c[1]))
    console.print(f"  CPU a command, in ms: {told}; {1e3 * sum(costs.values()) / sent:.1f} in all")
    return rounds


def _late(latencies: Latencies) -> str:
    return ", ".join(f"{name} {1000 * (latencies.quantile_s(share) or 0.0):,.0f} ms" for share, name in _SHARES)


def _quantile_ms(rounds: Rounds, share: float) -> float:
    return 1000 * (rounds.took.quantile_s(share) or 0.0)


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
        f"all carried out once, in each truck's order, none lost, in {took:,.0f} s ({total / took:,.0f}/s, kills and "
        f"restarts included); {again} came again under a known id"
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


async def _api(stack: Stack) -> HttpClient:
    """As a tenant's own client, which is what sends commands."""
    told = msgspec.json.decode((stack.data / "stack.json").read_bytes(), type=StackFile)
    assert told.api_url is not None
    assert told.admin is not None
    async with httpx.AsyncClient(base_url=told.api_url, timeout=30.0) as http:

        async def bearer(client_id: str, secret: str) -> dict[str, str]:
            form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
            token = (await http.post("/oauth/token", data=form)).raise_for_status().json()["access_token"]
            return {"Authorization": f"Bearer {token}"}

        admin = await bearer(told.admin.client_id, told.admin.client_secret) | {"Milkrun-Tenant": str(_TENANT)}
        form = {"name": "bench", "role": "tenant_admin"}
        made = (await http.post("/v1/clients", json=form, headers=admin)).raise_for_status().json()
        return HttpClient(told.api_url, await bearer(made["id"], made["client_secret"]))
