"""Shadows against their bars: durable updates a second, and how long a difference takes to reach the device.

Everything runs on this machine: devices, broker, PostgreSQL, Redis and all services. An update counts as durable when
the device has read its `accepted`, which leaves after the commit.
"""

import asyncio
import itertools
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec
import uvloop
from rich.console import Console

from bench.figures import machine, spread
from bench.stack import Stack, running
from core import topics
from core.clock import utc_now
from core.db import Database
from core.mqtt import ConnectOptions, Message, MqttConnection, tls_context
from core.tenancy import Thing
from shadow.service import ShadowService
from sim.link import Credentials, Latencies

_DEVICES = int(os.environ.get("BENCH_SHADOW_DEVICES", "200"))
_SECONDS = float(os.environ.get("BENCH_SHADOW_SECONDS", "10"))
_RATES = (2_000, 3_000, 4_000)
_DELTA_RATE = 500
_SERVICE_RATE = 100
_RUNS = int(os.environ.get("BENCH_SHADOW_RUNS", "3"))
_WINDOW = 8
_SETTLE_S = 20.0

_encode = msgspec.json.Encoder().encode


class _Heard(msgspec.Struct):
    token: str = msgspec.field(name="clientToken", default="")


_decode = msgspec.json.Decoder(_Heard).decode


@dataclass(slots=True)
class Device:
    """A connected device. `unanswered` holds the tokens of its requests."""

    thing: Thing
    connection: MqttConnection
    unanswered: set[str] = field(default_factory=set)


class Fleet:
    """Devices that count what they hear: `updates` from request to accepted, `deltas` from the change to its delta."""

    def __init__(self) -> None:
        self.devices: list[Device] = []
        self.forget()

    def forget(self) -> None:
        self.accepted = self.refused = 0
        self.last_at = 0.0
        self.updates, self.deltas = Latencies(), Latencies()
        self.begun: dict[str, float] = {}
        self.told: set[str] = set()
        for device in self.devices:
            device.unanswered.clear()

    async def connect(self, stack: Stack, credentials: Credentials) -> None:
        plan, folder, thing = stack.plan(rate=0, duration_s=0), credentials.folder, credentials.thing
        options = ConnectOptions(
            host=plan.host,
            port=plan.port,
            client_id=str(thing),
            tls=tls_context(folder / "ca.crt", folder / "device.crt", folder / "device.key"),
        )
        holder: list[Device] = []
        connection = MqttConnection(options, lambda message: self._hear(holder[0], message))
        holder.append(Device(thing, connection))
        await connection.connect()
        endings = ("update/accepted", "update/rejected", "update/delta")
        await connection.subscribe([topics.shadow(thing, "", ending) for ending in endings])
        self.devices.append(holder[0])

    def _hear(self, device: Device, message: Message) -> None:
        device.connection.ack([message.packet_id])
        now, token = time.monotonic(), _decode(message.payload).token
        begun = self.begun.get(token)
        if begun is None:
            return
        if message.topic.endswith(b"/delta"):
            if token not in self.told:
                self.told.add(token)
                self.deltas.note(now - begun)
            return
        device.unanswered.discard(token)
        self.last_at = now
        if message.topic.endswith(b"/accepted"):
            self.accepted += 1
            self.updates.note(now - begun)
        else:
            self.refused += 1


type Change = Callable[[Device, str, int], Awaitable[object] | None]


def reports(device: Device, token: str, number: int) -> None:
    """The device reports five values, two of which are new."""
    state = {"fan": number % 7, "target_c": 4, "door": "shut", "firmware": "1.4.2", "pump": {"rpm": number}}
    _ask(device, token, {"reported": state})


def wishes(device: Device, token: str, number: int) -> None:
    """Somebody with the device's own rights wants something of it."""
    _ask(device, token, {"desired": {"n": number}})


def _ask(device: Device, token: str, state: dict[str, object]) -> None:
    device.unanswered.add(token)
    body = _encode({"state": state, "clientToken": token})
    # Nobody waits for this PUBACK: the shadow's own answer says more.
    asyncio.ensure_future(device.connection.publish(topics.shadow(device.thing, "", "update"), body))  # noqa: RUF006


async def paced(fleet: Fleet, change: Change, *, rate: float, seconds: float) -> float:
    """Changes at `rate` a second, by turns; a device with its window full is passed over. Changes begun a second."""
    fleet.forget()
    begun_at, sent, turns = time.monotonic(), 0, itertools.cycle(fleet.devices)
    waiting: set[asyncio.Task[object]] = set()
    while (now := time.monotonic()) - begun_at < seconds:
        for _ in range(min(int((now - begun_at) * rate) - sent, 200)):
            device = next((d for d in itertools.islice(turns, len(fleet.devices)) if len(d.unanswered) < _WINDOW), None)
            if device is None:
                break
            sent += 1
            token = f"{begun_at:.6f}-{sent}"
            fleet.begun[token] = time.monotonic()
            if (work := change(device, token, sent)) is not None:
                task = asyncio.ensure_future(work)
                waiting.add(task)
                task.add_done_callback(waiting.discard)
        await asyncio.sleep(0.002)
    took = time.monotonic() - begun_at
    end = time.monotonic() + _SETTLE_S
    while time.monotonic() < end and (waiting or fleet.accepted + fleet.refused < sent):  # noqa: ASYNC110  a clock, too
        await asyncio.sleep(0.05)
    if fleet.accepted != sent:
        raise SystemExit(
            f"{sent} changes, {fleet.accepted} accepted, {fleet.refused} refused: figures would mean nothing"
        )
    return fleet.accepted / max(took, fleet.last_at - begun_at)


def main(console: Console) -> None:
    console.print(f"bench shadow on {machine()}")
    with running() as stack:
        uvloop.run(_measure(console, stack))


async def _measure(console: Console, stack: Stack) -> None:
    fleet = Fleet()
    for credentials in await asyncio.to_thread(stack.fleet, _DEVICES):
        await fleet.connect(stack, credentials)
    await paced(fleet, reports, rate=500, seconds=3)
    for rate in _RATES:
        before, reached = (
            stack.cpu_s(),
            [await paced(fleet, reports, rate=rate, seconds=_SECONDS) for _ in range(_RUNS)],
        )
        console.print(f"durable updates at {rate:,}/s offered:        {spread(reached, '/s')}, {_late(fleet.updates)}")
        _tell_cpu(console, before, stack.cpu_s(), sum(reached) * _SECONDS)
    await _tell_deltas(console, fleet, "by the device's side", wishes, rate=_DELTA_RATE)
    settings = stack.context.settings
    async with Database(settings.database.app_url, pool_size=8) as app:
        service = ShadowService(database=app, settings=settings.shadow, clock=utc_now)

        def through_the_service(device: Device, token: str, number: int) -> Awaitable[object]:
            body = _encode({"state": {"desired": {"n": number}}, "clientToken": token})
            return service.update(device.thing, body)

        await _tell_deltas(console, fleet, "by the service (as REST)", through_the_service, rate=_SERVICE_RATE)
    for device in fleet.devices:
        device.connection.abort()


async def _tell_deltas(console: Console, fleet: Fleet, by: str, change: Change, *, rate: float) -> None:
    for _ in range(_RUNS):
        reached = await paced(fleet, change, rate=rate, seconds=_SECONDS)
        console.print(f"change to delta, {by}, at {reached:,.0f}/s: {_late(fleet.deltas)}")


def _late(latencies: Latencies) -> str:
    shares = ((0.5, "p50"), (0.99, "p99"))
    return ", ".join(f"{name} {1000 * (latencies.quantile_s(share) or 0.0):,.0f} ms" for share, name in shares)


def _tell_cpu(console: Console, before: dict[str, float], after: dict[str, float], updates: float) -> None:
    costs = {part: (after[part] - before.get(part, 0.0)) / updates * 1e6 for part in after}
    told = ", ".join(f"{part} {cost:.0f}" for part, cost in sorted(costs.items(), key=lambda c: -c[1]) if cost >= 1)
    console.print(f"  CPU an update, in us: {told}")
