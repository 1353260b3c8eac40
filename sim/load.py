"""The load generator: many devices on one event loop, each with its own certificate and connection, QoS 1 throughout.

It keeps a window of messages that are not yet durable per device, counts what the broker took (PUBACK) and what
became durable (the device's ack topic), and measures publish to durable on a sample of the messages.
"""

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from core import topics
from core.mqtt import ConnectOptions, Message, MqttConnection, codec, tls_context
from sim.link import Credentials, Latencies, decode_ack

_TICK_S = 0.004
_CONNECTS_AT_ONCE = 50
_TIMED_EVERY = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What to send: `rate` is messages per second over all devices (0 = as fast as the windows allow).

    `window` bounds the messages of a device that are not yet durable, as a device's store-and-forward buffer does.
    """

    host: str
    port: int
    rate: float
    duration_s: float
    samples_per_message: int = 1
    window: int = 200
    settle_s: float = 30.0
    with_metrics: bool = False
    protocol: int = 5


@dataclass(slots=True)
class LoadReport:
    """Messages unless named otherwise. `durable_s` is the time until the last sent message was durable."""

    devices: int
    sent: int = 0
    acknowledged: int = 0
    refused: int = 0
    durable: int = 0
    cpu_s: float = 0.0
    sending_s: float = 0.0
    durable_s: float = 0.0
    latencies: Latencies = field(default_factory=Latencies)

    def latency_s(self, share: float) -> float | None:
        """The publish-to-durable latency that `share` (0 to 1) of the timed messages stayed within."""
        return self.latencies.quantile_s(share)

    @property
    def durable_per_s(self) -> float:
        return self.durable / self.durable_s if self.durable_s else 0.0


class _Device:
    """One connection under load. `seq` counts samples; the window counts messages."""

    def __init__(self, credentials: Credentials, plan: LoadPlan, number: int, report: LoadReport) -> None:
        self._thing = str(credentials.thing)
        self._folder = credentials.folder
        self._plan = plan
        self._report = report
        self._boot = secrets.token_hex(4)
        self._packet_id = 0
        self._topic = topics.telemetry(self._thing).encode()
        self._lat, self._lon = 47.0 + number % 500 * 0.0005, 9.0 + number // 500 * 0.001
        self._template = self._rendered()
        self._timed: deque[tuple[int, float]] = deque()
        self._last_ts = 0
        self._all_durable = asyncio.Event()
        self.seq = 0
        self.durable_seq = 0
        self.connection: MqttConnection | None = None

    async def connect(self) -> None:
        plan, folder = self._plan, self._folder
        options = ConnectOptions(
            host=plan.host,
            port=plan.port,
            client_id=self._thing,
            tls=tls_context(folder / "ca.crt", folder / "device.crt", folder / "device.key"),
            protocol=plan.protocol,
            keepalive_s=60,
            timeout_s=60,
        )
        self.connection = await MqttConnection.open(options, self._on_message)
        self.connection.on_puback = self._on_puback
        await self.connection.subscribe([topics.ack(self._thing)], qos=0)

    async def settled(self, within_s: float) -> None:
        """Return when everything sent is durable, or after `within_s`."""
        self._all_durable.clear()
        if self.durable_seq < self.seq:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_durable.wait(), max(0.0, within_s))

    def send(self, most: int) -> int:
        """Send up to `most` messages within the window, in one write; returns how many."""
        room = self._plan.window - (self.seq - self.durable_seq) // self._plan.samples_per_message
        # A few at a time would cost a TLS record and a system call each.
        count = min(most, room) if self._plan.rate or room >= self._plan.window // 4 else 0
        if count <= 0 or self.connection is None or self.connection.closed:
            return 0
        now = time.time()
        packets = [self._message(int(now * 1000)) for _ in range(count)]
        self.connection.send(b"".join(packets))
        self._report.sent += count
        return count

    def _message(self, now_ms: int) -> bytes:
        plan = self._plan
        self._packet_id = self._packet_id % 65_535 + 1
        # One sample an instant, as a receiver gives them, however fast they are sent.
        first = max(now_ms - plan.samples_per_message, self._last_ts + 1)
        self._last_ts = first + plan.samples_per_message - 1
        if plan.samples_per_message == 1:
            payload = self._sample(first)
        else:
            payload = b"[" + b",".join([self._sample(first + i) for i in range(plan.samples_per_message)]) + b"]"
        if self.seq // plan.samples_per_message % _TIMED_EVERY == 0:
            self._timed.append((self.seq, time.monotonic()))
        return codec.publish(self._topic, payload, packet_id=self._packet_id, protocol=plan.protocol)

    def _sample(self, ts_ms: int) -> bytes:
        self.seq += 1
        return self._template % (ts_ms, self.seq)

    def _rendered(self) -> bytes:
        """A sample with room for ts and seq: formatting must not be what the generator spends its time on."""
        place = f'"lat":{self._lat:.6f},"lon":{self._lon:.6f},"alt":455.0,"speed":13.9,"heading":182.0'
        metrics = ',"m":{"ignition":true,"fuel_pct":61.5,"milk_temp_c":3.9}' if self._plan.with_metrics else ""
        return (
            f'{{"ts":%d,"boot":"{self._boot}","seq":%d,"pos":{{{place},"acc":4.0,"sats":11,"hdop":0.9}}{metrics}}}'
        ).encode()

    def _on_puback(self, _packet_id: int, reason: int) -> None:
        if reason >= 0x80:
            self._report.refused += 1
        else:
            self._report.acknowledged += 1

    def _on_message(self, message: Message) -> None:
        ack = decode_ack(message.payload)
        if ack.boot != self._boot:
            return
        self.durable_seq = max(self.durable_seq, ack.seq)
        if self.durable_seq >= self.seq:
            self._all_durable.set()
        now = time.monotonic()
        timed = self._timed
        while timed and timed[0][0] <= ack.seq:
            self._report.latencies.note(now - timed.popleft()[1])


async def run_load(
    plan: LoadPlan, fleet: Sequence[Credentials], progress: Callable[[LoadReport], None] | None = None
) -> LoadReport:
    """Connect `fleet`, send for `duration_s`, wait until all is durable or `settle_s` over. Raises ConnectionLost."""
    report = LoadReport(len(fleet))
    devices = [_Device(each, plan, number, report) for number, each in enumerate(fleet)]
    for at in range(0, len(devices), _CONNECTS_AT_ONCE):
        await asyncio.gather(*(device.connect() for device in devices[at : at + _CONNECTS_AT_ONCE]))
    started, cpu_s = time.monotonic(), time.process_time()
    await _send(plan, devices, report, started, progress)
    report.sending_s = time.monotonic() - started
    deadline = time.monotonic() + plan.settle_s
    for device in devices:
        await device.settled(deadline - time.monotonic())
    report.durable_s, report.cpu_s = time.monotonic() - started, time.process_time() - cpu_s
    report.durable = sum(min(device.durable_seq, device.seq) for device in devices) // plan.samples_per_message
    await asyncio.gather(*(device.connection.disconnect() for device in devices if device.connection is not None))
    return report


async def _send(
    plan: LoadPlan,
    devices: Sequence[_Device],
    report: LoadReport,
    started: float,
    progress: Callable[[LoadReport], None] | None,
) -> None:
    turn, told = 0, started
    while (elapsed := time.monotonic() - started) < plan.duration_s:
        due = int(elapsed * plan.rate) - report.sent if plan.rate else len(devices) * plan.window
        each = max(1, -(-due // len(devices)))
        for step in range(len(devices)):
            if due <= 0:
                break
            due -= devices[(turn + step) % len(devices)].send(min(each, due))
        turn += 1
        if progress is not None and elapsed + started - told > 0.5:
            told = elapsed + started
            progress(report)
        await asyncio.sleep(_TICK_S)
