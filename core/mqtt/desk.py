"""A service's desk at the broker: takes devices' requests in batches, has each batch settled, answers, acknowledges.

For services that answer devices on reserved topics. The session outlives the process: a request is acknowledged to the
broker only once it is settled for good, so what comes while nobody is there, or is interrupted, comes again.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from prometheus_client import Counter, Gauge, Histogram

from core.errors import Forbidden
from core.metrics import READY
from core.mqtt import codec
from core.mqtt.client import ConnectOptions, Message, MqttConnection, keep_connected, tls_context
from core.settings import MqttSettings

__all__ = ["Clerk", "Desk", "DeskOptions", "Message", "Reply", "Settled", "SubscriptionRefused"]

CONNECTED = Gauge("milkrun_desk_connected", "1 while a service's desk is connected to the broker", ["desk"])
RECONNECTS = Counter("milkrun_desk_reconnects_total", "Connections of a desk lost or refused", ["desk"])
WAITING = Gauge("milkrun_desk_waiting_requests", "Requests received and not yet settled", ["desk"])
REFUSED = Counter("milkrun_desk_refused_total", "Answers the broker refused to publish", ["desk"])
DELAY = Histogram(
    "milkrun_desk_delay_seconds",
    "Time from receipt of a batch's first request to its answers",
    ["desk"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30),
)

_SESSION_EXPIRY_S = 7 * 86_400
_WAITING_BYTES = 16 * 1024 * 1024
_MOST_UNCONFIRMED = 20_000
_CATCH_UP_S = 2.0
_STALLED_S = 1.0
_log = structlog.get_logger()


class SubscriptionRefused(Forbidden):
    """The broker does not let the desk hear what it is there for; its certificate has another name or rights."""

    code = "mqtt_subscription_refused"


@dataclass(frozen=True, slots=True)
class Reply:
    """What is to be published, QoS 1."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Settled:
    """A batch is settled. Its `receipts` come back by `Clerk.told` once the broker has confirmed every reply."""

    replies: Sequence[Reply]
    receipts: Sequence[int] = ()


class Clerk(Protocol):
    """Who sits at the desk."""

    async def settle(self, requests: Sequence[Message], *, is_backlog: bool) -> Settled:
        """Settle the batch for good, waiting out what may pass. What it raises ends the process; all comes again.

        `is_backlog`: it may hold what piled up while the service or its database was away, which is no device's fault.
        """

    def told(self, receipts: Sequence[int]) -> None:
        """The broker has every reply of that batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskOptions:
    """`name` is the MQTT client id, and with the certificate's name the rights; sizes as in the service's settings."""

    name: str
    filters: tuple[str, ...]
    batch_requests: int
    batch_wait_s: float
    receive_maximum: int


@dataclass(slots=True)
class _Waiting:
    message: Message
    connection: MqttConnection
    received_s: float


@dataclass(slots=True)
class _Unconfirmed:
    """The replies of one batch that the broker has not confirmed. `is_all_sent` false: more of them will follow."""

    receipts: Sequence[int]
    left: int = 0
    is_all_sent: bool = False


@dataclass(slots=True)
class _Line:
    """One connection, with what has been said on it and not been confirmed, by packet id."""

    connection: MqttConnection
    protocol: int
    most: int
    unconfirmed: dict[int, _Unconfirmed] = field(default_factory=dict)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    next_id: int = 0

    def take_id(self) -> int:
        while True:
            self.next_id = self.next_id % 65_535 + 1
            if self.next_id not in self.unconfirmed:
                return self.next_id


class Desk:
    """One connection that is kept up, one batch at a time. `run` works until cancelled, `drain` settles what it has."""

    def __init__(self, mqtt: MqttSettings, options: DeskOptions, clerk: Clerk) -> None:
        self._mqtt = mqtt
        self._options = options
        self._clerk = clerk
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._in_hand = 0
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._line: _Line | None = None
        self._is_stopping = False
        self._catching_up_until = 0.0

    @property
    def is_catching_up(self) -> bool:
        """Whether what comes in may have piled up: just connected to a kept session, or out of a stall."""
        return asyncio.get_running_loop().time() < self._catching_up_until

    async def run(self) -> None:
        """Stay connected and settle until cancelled, or until the clerk raises."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._settle_batches())
            tasks.create_task(keep_connected(self._connect, self._session, report=self._report, longest_pause_s=5.0))

    async def drain(self) -> None:
        """Take no more, settle what was taken, say goodbye. What the broker still sends comes again next time."""
        self._is_stopping = True
        while self._queue or not self._idle.is_set():
            await self._idle.wait()
            await asyncio.sleep(0)
        if self._line is not None:
            await self._line.connection.disconnect()

    # --- in -----------------------------------------------------------------------------------------------------

    async def _connect(self) -> MqttConnection:
        mqtt = self._mqtt
        options = ConnectOptions(
            host=mqtt.host,
            port=mqtt.port,
            client_id=self._options.name,
            tls=tls_context(mqtt.ca_file, mqtt.cert_file, mqtt.key_file),
            protocol=mqtt.protocol,
            keepalive_s=mqtt.keepalive_s,
            clean_start=False,
            session_expiry_s=_SESSION_EXPIRY_S,
            receive_maximum=self._options.receive_maximum,
        )
        # A closure over the connection: its messages must be acknowledged on it and on no later one.
        holder: list[MqttConnection] = []
        connection = MqttConnection(options, lambda message: self._take(message, holder[0]))
        holder.append(connection)
        return await connection.connect()

    def _take(self, message: Message, connection: MqttConnection) -> None:
        if self._is_stopping:
            return
        self._queue.append(_Waiting(message, connection, asyncio.get_running_loop().time()))
        self._queued_bytes += len(message.payload)
        self._work.set()
        if len(self._queue) >= self._options.receive_maximum or self._queued_bytes >= _WAITING_BYTES:
            # Mosquitto 2.0 lets more out than Receive Maximum allows once it is acknowledged to; TCP does not.
            connection.pause()

    async def _session(self, connection: MqttConnection) -> None:
        options = self._options
        if connection.session_present:  # what it kept comes before the answer to this
            self._catch_up()
        granted = await connection.subscribe(options.filters)
        if any(code >= 0x80 for code in granted):
            raise SubscriptionRefused(
                f"the broker refused {options.name}: {dict(zip(options.filters, granted, strict=True))}"
            )
        most = min(connection.peer_receive_maximum, _MOST_UNCONFIRMED)
        line = self._line = _Line(connection, self._mqtt.protocol, most)
        connection.on_puback = lambda packet_id, reason: self._confirm(line, packet_id, reason)
        CONNECTED.labels(options.name).set(1)
        READY.set(1)
        _log.info("desk.connected", desk=options.name, resumed=connection.session_present)
        try:
            await asyncio.shield(connection.lost)
        finally:
            self._line = None
            line.room.set()
            CONNECTED.labels(options.name).set(0)
            READY.set(0)

    def _report(self, error: Exception) -> None:
        RECONNECTS.labels(self._options.name).inc()
        if not self._is_stopping:
            _log.warning("desk.disconnected", desk=self._options.name, error=str(error))

    # --- the batch ----------------------------------------------------------------------------------------------

    async def _settle_batches(self) -> None:
        loop, name = asyncio.get_running_loop(), self._options.name
        while True:
            await self._work.wait()
            self._idle.clear()
            if self._options.batch_wait_s and len(self._queue) < self._options.batch_requests:
                await asyncio.sleep(self._options.batch_wait_s)
            batch, begun, is_backlog = self._next_batch(), loop.time(), self.is_catching_up
            settled = await self._clerk.settle([each.message for each in batch], is_backlog=is_backlog)
            if loop.time() - begun > _STALLED_S or (is_backlog and self._queue):
                self._catch_up()
            await self._reply(settled)
            self._acknowledge(batch)
            DELAY.labels(name).observe(loop.time() - batch[0].received_s)
            self._in_hand = 0
            WAITING.labels(name).set(len(self._queue))
            if len(self._queue) <= self._options.receive_maximum // 2 and self._queued_bytes <= _WAITING_BYTES // 2:
                for connection in {each.connection for each in batch}:
                    connection.resume()
            if not self._queue:
                self._idle.set()

    def _catch_up(self) -> None:
        self._catching_up_until = asyncio.get_running_loop().time() + _CATCH_UP_S

    def _next_batch(self) -> list[_Waiting]:
        count = min(len(self._queue), self._options.batch_requests)
        batch = [self._queue.popleft() for _ in range(count)]
        self._queued_bytes -= sum(len(each.message.payload) for each in batch)
        self._in_hand = len(batch)
        WAITING.labels(self._options.name).set(len(self._queue) + self._in_hand)
        if not self._queue:
            self._work.clear()
        return batch

    def _acknowledge(self, batch: Sequence[_Waiting]) -> None:
        ids: dict[MqttConnection, list[int]] = {}
        for each in batch:
            if each.message.packet_id:
                ids.setdefault(each.connection, []).append(each.message.packet_id)
        for connection, packet_ids in ids.items():
            connection.ack(packet_ids)

    # --- out ----------------------------------------------------------------------------------------------------

    async def _reply(self, settled: Settled) -> None:
        """Publish, in order. Without a connection nothing is said; the receipts stay open, and with them the news."""
        batch = _Unconfirmed(settled.receipts)
        line = self._line
        packets: list[bytes] = []
        for reply in settled.replies:
            while line is not None and len(line.unconfirmed) >= line.most and not line.connection.closed:
                self._send(line, packets)
                line.room.clear()
                await line.room.wait()
            if line is None or line.connection.closed:
                return
            packet_id = line.take_id()
            line.unconfirmed[packet_id] = batch
            batch.left += 1
            packets.append(codec.publish(reply.topic, reply.payload, packet_id=packet_id, protocol=line.protocol))
        if line is not None:
            self._send(line, packets)
            await line.connection.drain()
            batch.is_all_sent = True
            self._conclude(batch)

    @staticmethod
    def _send(line: _Line, packets: list[bytes]) -> None:
        if packets and not line.connection.closed:
            line.connection.send(b"".join(packets))
        packets.clear()

    def _confirm(self, line: _Line, packet_id: int, reason: int) -> None:
        batch = line.unconfirmed.pop(packet_id, None)
        if batch is None:
            return
        if reason >= 0x80:
            REFUSED.labels(self._options.name).inc()
            _log.error("desk.refused", desk=self._options.name, reason=reason)
        batch.left -= 1
        line.room.set()
        self._conclude(batch)

    def _conclude(self, batch: _Unconfirmed) -> None:
        if batch.receipts and batch.is_all_sent and batch.left == 0:
            receipts, batch.receipts = batch.receipts, ()
            self._clerk.told(receipts)
