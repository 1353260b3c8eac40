"""A device's link to the platform, as every device should have one: nothing is forgotten before it is durable.

A sample stays in a bounded buffer until the platform's durable acknowledgement covers its boot and seq. A PUBACK says
only that the broker has the message; on a new connection, and when no acknowledgement comes, everything not covered is
sent again, which the store bears. When the buffer is full the oldest sample gives way, and only its name is sent in its
place (`ts`, `boot`, `seq`): a number that never comes would leave the run of durable ones broken for good.
"""

import asyncio
import contextlib
import itertools
import math
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from core import topics
from core.mqtt import ConnectionLost, ConnectOptions, Message, MqttConnection, keep_connected, tls_context
from core.tenancy import Thing
from sim.duties import base

_encode = msgspec.json.Encoder().encode
_RESOLUTION = 50  # latency buckets per factor e: 2 % wide


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """Where to connect and how to behave. Times in seconds, limits in samples.

    `resend_after_s` is the first wait for a durable acknowledgement; it doubles while none comes, up to eight times.
    AWS IoT Core takes one connect a second from a client: hence `least_pause_s` before each, beside the growing one.
    """

    host: str
    port: int
    protocol: int = 5
    keepalive_s: int = 60
    buffer_limit: int = 50_000
    batch_limit: int = 100
    window: int = 16
    resend_after_s: float = 15.0
    least_pause_s: float = 1.0
    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """A device and its folder as `milkrun device add --out` writes it: device.crt, device.key, ca.crt."""

    thing: Thing
    folder: Path


class Ack(msgspec.Struct):
    """`{"boot","seq","from"}`: of this boot, everything between the two is durable, both included."""

    boot: str
    seq: int
    first: int = msgspec.field(name="from")


decode_ack = msgspec.json.Decoder(Ack).decode


class Names:
    """A set of (boot, seq), small while the seqs of a boot are used one after the other."""

    def __init__(self) -> None:
        self._runs: dict[str, list[int]] = {}
        self._strays: dict[str, set[int]] = defaultdict(set)

    def __contains__(self, name: tuple[str, int]) -> bool:
        boot, seq = name
        run = self._runs.get(boot)
        return run is not None and (run[0] <= seq <= run[1] or seq in self._strays[boot])

    def __iter__(self) -> Iterator[tuple[str, int]]:
        for boot, (first, last) in self._runs.items():
            for seq in itertools.chain(range(first, last + 1), self._strays[boot]):
                yield boot, seq

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self._runs.values()) + sum(map(len, self._strays.values()))

    def add(self, boot: str, seq: int) -> None:
        run, strays = self._runs.setdefault(boot, [seq, seq]), self._strays[boot]
        if not run[0] <= seq <= run[1]:
            strays.add(seq)
            while run[1] + 1 in strays:
                run[1] += 1
                strays.remove(run[1])
            while run[0] - 1 in strays:
                run[0] -= 1
                strays.remove(run[0])


class Latencies:
    """A histogram with buckets 2 % wide: any number of times in little memory, and two of them can be added."""

    def __init__(self) -> None:
        self.buckets: dict[int, int] = defaultdict(int)

    def note(self, seconds: float) -> None:
        self.buckets[round(math.log(max(seconds, 1e-6)) * _RESOLUTION)] += 1

    def add(self, other: "Latencies") -> None:
        for bucket, count in other.buckets.items():
            self.buckets[bucket] += count

    def quantile_s(self, share: float) -> float | None:
        """What `share` (0 to 1) of the noted times stayed within; None when there are none."""
        left = share * sum(self.buckets.values())
        for bucket, count in sorted(self.buckets.items()):
            left -= count
            if left <= 0:
                return math.exp(bucket / _RESOLUTION)
        return None


@dataclass(slots=True)
class Counts:
    """What a link did. Messages: `sent`, `pubacked`, `refused` (by the broker). Samples: the others.

    `resent` counts samples each time they are sent again; `durable` those confirmed, `dropped` those that gave way.
    `latencies` are from the first sending of a sample, and of all before it, to its durable acknowledgement.
    """

    sent: int = 0
    pubacked: int = 0
    refused: int = 0
    durable: int = 0
    resent: int = 0
    dropped: int = 0
    connects: int = 0
    failures: int = 0
    latencies: Latencies = field(default_factory=Latencies)

    def add(self, other: "Counts") -> None:
        for name in ("sent", "pubacked", "refused", "durable", "resent", "dropped", "connects", "failures"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.latencies.add(other.latencies)


@dataclass(slots=True)
class _Held:
    """A sample (encoded) that is not durable yet. `first_sent_at` is monotonic."""

    boot: str
    seq: int
    body: bytes
    first_sent_at: float | None = None
    last_sent_at: float = 0.0
    is_pubacked: bool = False
    is_durable: bool = False
    is_given_up: bool = False


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """A message about to leave. What is sent again is looked at once more: it may have become durable meanwhile."""

    samples: Sequence[_Held]
    is_resend: bool

    def wanted(self) -> list[_Held]:
        return [h for h in self.samples if not (h.is_given_up or (self.is_resend and h.is_durable))]


class DeviceLink:
    """One device's connection and buffer. `submit` is synchronous; `run` keeps connected until cancelled."""

    def __init__(self, credentials: Credentials, options: LinkOptions, duties: Sequence[base.Duty] = ()) -> None:
        self.thing = credentials.thing
        self.duties = duties
        self.counts = Counts()
        self.taken = Names()
        self.last_error: Exception | None = None
        self._folder = credentials.folder
        self._options = options
        self._topic = topics.telemetry(credentials.thing)
        self._held: dict[str, dict[int, _Held]] = {}
        self._size = 0
        self._given_up: deque[_Held] = deque()
        self._queue: deque[_Outgoing] = deque()
        self._work = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self._patience_s = options.resend_after_s
        self._connection: MqttConnection | None = None
        self._window = asyncio.Semaphore(options.window)

    # --- the device's side --------------------------------------------------------------------------------------

    def submit(self, samples: Sequence[Mapping[str, Any]]) -> None:
        """Take one message of native samples, each with its `boot` and `seq`. A sample given again is sent again."""
        message = []
        for sample in samples:
            boot, seq = str(sample["boot"]), int(sample["seq"])
            held = self._held.get(boot, {}).get(seq) or _Held(boot, seq, _encode(sample))
            if (boot, seq) not in self.taken:
                self.taken.add(boot, seq)
                self._hold(held)
            message.append(held)
        if self.is_connected:
            self._queue.append(_Outgoing(message, is_resend=False))
            self._work.set()

    @property
    def is_connected(self) -> bool:
        return self._connection is not None and not self._connection.closed

    @property
    def waiting(self) -> int:
        """Samples not durable yet, given-up ones not counted."""
        return self._size

    def held_back(self) -> Iterator[tuple[str, int]]:
        """The names the broker never acknowledged: they are on the device and nowhere else for sure."""
        for held in self._all():
            if not held.is_pubacked:
                yield held.boot, held.seq

    def given_up(self) -> Iterator[tuple[str, int]]:
        """The names of samples that gave way to newer ones and are not confirmed."""
        for hole in self._given_up:
            yield hole.boot, hole.seq

    async def settled(self) -> None:
        """Wait until everything submitted so far is durable."""
        await self._settled.wait()

    async def run(self) -> None:
        """Connect and stay connected until cancelled; pauses between attempts grow, with jitter."""
        try:
            await keep_connected(
                self._connect,
                self._session,
                report=self._note_failure,
                least_pause_s=self._options.least_pause_s,
                first_pause_s=self._options.first_pause_s,
                longest_pause_s=self._options.longest_pause_s,
            )
        finally:
            self._connection = None

    # --- the buffer ---------------------------------------------------------------------------------------------

    def _hold(self, held: _Held) -> None:
        if self._size >= self._options.buffer_limit:
            self._give_up_oldest()
        self._held.setdefault(held.boot, {})[held.seq] = held
        self._size += 1
        self._settled.clear()

    def _give_up_oldest(self) -> None:
        boot = next(iter(self._held))
        of_boot = self._held[boot]
        oldest = of_boot.pop(next(iter(of_boot)))
        if not of_boot:
            del self._held[boot]
        oldest.is_given_up = True
        self._size -= 1
        self.counts.dropped += 1
        ts = msgspec.json.decode(oldest.body, type=dict[str, Any])["ts"]
        self._given_up.append(_Held(boot, oldest.seq, _encode({"ts": ts, "boot": boot, "seq": oldest.seq})))
        if len(self._given_up) > 10 * self._options.buffer_limit:
            self._given_up.popleft()  # days without a connection; the platform gives such a gap up in its own time

    def _all(self) -> Iterator[_Held]:
        for of_boot in self._held.values():
            yield from of_boot.values()

    def _on_message(self, message: Message) -> None:
        with contextlib.suppress(msgspec.DecodeError):  # a newer platform may say more than we understand
            self._confirm(decode_ack(message.payload))

    def _confirm(self, ack: Ack) -> None:
        now = time.monotonic()
        of_boot = self._held.get(ack.boot, {})
        left_at = 0.0
        for seq in sorted(seq for seq in of_boot if ack.first <= seq <= ack.seq):
            held = of_boot.pop(seq)
            held.is_durable = True
            self._size -= 1
            self.counts.durable += 1
            if held.first_sent_at is not None:
                # Confirmed together with all before it, so it counts from when the last of these had left.
                left_at = max(left_at, held.first_sent_at)
                self.counts.latencies.note(now - left_at)
        if not of_boot:
            self._held.pop(ack.boot, None)
        if self._given_up:
            for hole in self._given_up:
                hole.is_durable |= hole.boot == ack.boot and ack.first <= hole.seq <= ack.seq
            self._given_up = deque(hole for hole in self._given_up if not hole.is_durable)
        self._patience_s = self._options.resend_after_s
        if not self._size:
            self._settled.set()

    # --- the connection -----------------------------------------------------------------------------------------

    async def _connect(self) -> MqttConnection:
        options, folder = self._options, self._folder
        connect = ConnectOptions(
            host=options.host,
            port=options.port,
            client_id=str(self.thing),
            # Read at each connection, so that a renewed certificate is used from the next one on.
            tls=tls_context(folder / "ca.crt", folder / "device.crt", folder / "device.key"),
            protocol=options.protocol,
            keepalive_s=options.keepalive_s,
        )
        connection = await base.connect(connect, {topics.ack(self.thing): self._on_message}, self.duties)
        self.counts.connects += 1
        return connection

    async def _session(self, connection: MqttConnection) -> None:
        granted = await connection.subscribe([topics.ack(self.thing)], qos=0)
        if granted[0] >= 0x80:
            raise ConnectionLost(f"the broker refused {self.thing} its acknowledgement topic: {granted[0]:#x}")
        await base.subscribe(self.duties, self.thing, connection)
        self._connection = connection
        self._window = asyncio.Semaphore(self._options.window)
        self._queue.clear()
        self._send_again(older_than_s=0.0)
        try:
            async with asyncio.TaskGroup() as tasks:
                pump = tasks.create_task(self._pump(connection, tasks))
                watch = tasks.create_task(self._resend_overdue())
                serving = [tasks.create_task(base.serve(duty, connection)) for duty in self.duties]
                with contextlib.suppress(ConnectionLost):
                    await asyncio.shield(connection.lost)
                for task in (pump, watch, *serving):
                    task.cancel()
            connection.lost.result()  # raises why
        finally:
            # Said properly also when we are cancelled: an aborted connection would look like a lost device.
            await connection.disconnect()

    async def _pump(self, connection: MqttConnection, tasks: asyncio.TaskGroup) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self._queue:
                # Bounded by the window, so that a backlog of hours does not all wait for its PUBACK at once.
                await self._window.acquire()
                if message := self._queue.popleft().wanted():
                    tasks.create_task(self._publish(connection, message))
                else:
                    self._window.release()

    async def _publish(self, connection: MqttConnection, message: list[_Held]) -> None:
        now = time.monotonic()
        for held in message:
            self.counts.resent += held.first_sent_at is not None
            held.first_sent_at = held.first_sent_at or now
            held.last_sent_at = now
        bodies = [held.body for held in message]
        payload = bodies[0] if len(bodies) == 1 else b"[" + b",".join(bodies) + b"]"
        self.counts.sent += 1
        try:
            reason = await connection.publish(self._topic, payload, qos=1)
        except ConnectionLost:
            return  # the next connection sends it again
        finally:
            self._window.release()
        if reason >= 0x80:
            self.counts.refused += 1
            return
        self.counts.pubacked += 1
        for held in message:
            held.is_pubacked = True

    async def _resend_overdue(self) -> None:
        while True:
            await asyncio.sleep(self._patience_s / 4)
            if not self._queue and self._send_again(older_than_s=self._patience_s):
                self._patience_s = min(self._patience_s * 2, self._options.resend_after_s * 8)

    def _send_again(self, *, older_than_s: float) -> bool:
        """Queue what is not durable and was not sent since `older_than_s`; whether there was any."""
        since = time.monotonic() - older_than_s
        overdue = [h for h in itertools.chain(self._given_up, self._all()) if h.last_sent_at <= since]
        batches = itertools.batched(overdue, self._options.batch_limit)
        self._queue.extend(_Outgoing(batch, is_resend=True) for batch in batches)
        if overdue:
            self._work.set()
        return bool(overdue)

    def _note_failure(self, error: Exception) -> None:
        self.counts.failures += 1
        self.last_error = error
