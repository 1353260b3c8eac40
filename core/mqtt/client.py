"""One MQTT connection as an asyncio protocol. PUBLISH packets are parsed as they arrive, without a copy in between."""

import asyncio
import contextlib
import random
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast, override

import msgspec

from core.errors import Forbidden, Unavailable
from core.mqtt import codec

# A device's connection stays small; one that carries a fleet grows to a read of some 1,000 messages.
_FIRST_BUFFER_BYTES = 4 * 1024
_LAST_BUFFER_BYTES = 256 * 1024


class ConnectionLost(Unavailable):
    """The broker closed the connection or stopped answering."""

    code = "mqtt_connection_lost"


class Refused(Forbidden):
    """The broker refused the connection; `reason` is the MQTT reason code."""

    code = "mqtt_refused"

    def __init__(self, reason: int) -> None:
        super().__init__(f"the broker refused the connection with MQTT reason code {reason} (0x{reason:02x})")
        self.reason = reason


class Message(msgspec.Struct, frozen=True, gc=False):
    """A PUBLISH as it came. `packet_id` is 0 for QoS 0; otherwise it wants `MqttConnection.ack`."""

    topic: bytes
    payload: bytes
    packet_id: int
    is_redelivery: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectOptions:
    """How to connect. `tls` None means plain TCP, for tests of the codec alone."""

    host: str
    port: int
    client_id: str
    tls: ssl.SSLContext | None
    protocol: int = 5
    keepalive_s: int = 30
    clean_start: bool = True
    session_expiry_s: int = 0
    receive_maximum: int = 65_535
    will: tuple[str, bytes, int, bool] | None = None
    timeout_s: float = 10.0
    server_name: str | None = field(default=None)


def tls_context(ca_file: Path | str, cert_file: Path | str | None, key_file: Path | str | None) -> ssl.SSLContext:
    """A client context that trusts `ca_file` alone and shows the certificate. Raises FileNotFoundError, SSLError."""
    context = ssl.create_default_context(cafile=str(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert_file is not None:
        context.load_cert_chain(str(cert_file), str(key_file))
    return context


class MqttConnection(asyncio.BufferedProtocol):
    """A live connection, made by `open`, ended by `disconnect` or the broker (`lost` is then done).

    `on_message` is called for each PUBLISH, synchronously and in order, and must not block. `on_puback` replaces the
    default bookkeeping of `publish`, for callers that use `send` and count for themselves.
    """

    def __init__(self, options: ConnectOptions, on_message: Callable[[Message], None] | None) -> None:
        self._options = options
        self._protocol = options.protocol
        self._on_message = on_message or _ignore
        self.on_puback: Callable[[int, int], None] = self._resolve
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.session_present = False
        self.peer_receive_maximum = 65_535
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray(_FIRST_BUFFER_BYTES)
        self._filled = 0
        self._connack: asyncio.Future[None] = loop.create_future()
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._subacks: dict[int, asyncio.Future[list[int]]] = {}
        self._next_id = 0
        self._slots = asyncio.Semaphore(65_535)
        self._writable = asyncio.Event()
        self._writable.set()
        self._pinger: asyncio.TimerHandle | None = None
        self._heard_at = loop.time()
        self._is_paused = False

    @classmethod
    async def open(
        cls, options: ConnectOptions, on_message: Callable[[Message], None] | None = None
    ) -> "MqttConnection":
        """A connection that is through its CONNACK; raises what `connect` raises."""
        return await cls(options, on_message).connect()

    async def connect(self) -> Self:
        """Connect and wait for CONNACK. Raises Refused, ConnectionLost (also for TLS failures) or TimeoutError."""
        options = self._options
        try:
            async with asyncio.timeout(options.timeout_s):
                await self._loop.create_connection(
                    lambda: self,
                    options.host,
                    options.port,
                    ssl=options.tls,
                    server_hostname=(options.server_name or options.host) if options.tls else None,
                )
                await self._connack
        except OSError as error:
            self.abort()
            if isinstance(error, TimeoutError):
                raise
            raise ConnectionLost(f"{options.host}:{options.port} cannot be reached: {error}") from error
        except BaseException:
            self.abort()
            raise
        return self

    # --- what a caller does -------------------------------------------------------------------------------------

    async def subscribe(self, filters: Sequence[str], qos: int = 1) -> list[int]:
        """Subscribe and return the broker's reason code for each filter (below 0x80 = granted)."""
        packet_id = self._take_id()
        future: asyncio.Future[list[int]] = self._loop.create_future()
        self._subacks[packet_id] = future
        self.send(codec.subscribe(packet_id, filters, qos, protocol=self._protocol))
        return await future

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> int:
        """Publish (`expiry_s`: MQTT 5 alone); with QoS 1 wait for the PUBACK's reason code. Raises ConnectionLost."""
        await self._writable.wait()
        if qos == 0:
            self.send(codec.publish(topic, payload, packet_id=0, protocol=self._protocol, retain=retain))
            return 0
        async with self._slots:
            packet_id = self._take_id()
            future: asyncio.Future[int] = self._loop.create_future()
            self._waiting[packet_id] = future
            self.send(
                codec.publish(
                    topic, payload, packet_id=packet_id, protocol=self._protocol, retain=retain, expiry_s=expiry_s
                )
            )
            return await future

    def ack(self, packet_ids: Sequence[int]) -> None:
        """Acknowledge messages of this connection, in the given order."""
        if packet_ids and not self.closed:
            self.send(codec.pubacks(packet_ids))

    def pause(self) -> None:
        """Stop reading: the broker's packets then wait on its side. Keep-alive goes on."""
        if not self._is_paused and self._transport is not None and not self.closed:
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again after `pause`."""
        if self._is_paused and self._transport is not None and not self.closed:
            self._transport.resume_reading()
            self._heard_at = self._loop.time()
        self._is_paused = False

    def send(self, data: bytes) -> None:
        """Write packets as they are. Raises ConnectionLost."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionLost("the MQTT connection is closed")
        self._transport.write(data)

    @property
    def closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    async def drain(self) -> None:
        """Wait until the transport's write buffer is low again."""
        await self._writable.wait()

    async def disconnect(self) -> None:
        """Say goodbye and close; harmless on a closed connection."""
        if not self.closed:
            self.send(codec.disconnect(protocol=self._protocol))
            assert self._transport is not None
            self._transport.close()
        with contextlib.suppress(ConnectionLost, asyncio.CancelledError, TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.lost), 5)

    def abort(self) -> None:
        """Drop the connection without DISCONNECT, as a dead link would; the broker publishes the will."""
        if self._transport is not None:
            self._transport.abort()

    # --- what the event loop calls ------------------------------------------------------------------------------

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        options = self._options
        self.send(
            codec.connect(
                protocol=self._protocol,
                client_id=options.client_id,
                keepalive_s=options.keepalive_s,
                clean_start=options.clean_start,
                session_expiry_s=options.session_expiry_s,
                receive_maximum=options.receive_maximum,
                will=options.will,
            )
        )

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._pinger:
            self._pinger.cancel()
        error = ConnectionLost(f"the MQTT connection ended: {exc or 'closed by the broker'}")
        pending: list[asyncio.Future[Any]] = [self._connack, *self._waiting.values(), *self._subacks.values()]
        for future in pending:
            if not future.done():
                future.set_exception(error)
                future.exception()  # somebody may have stopped waiting; that is no warning
        self._waiting.clear()
        self._writable.set()
        if not self.lost.done():
            self.lost.set_exception(error)
            self.lost.exception()

    @override
    def pause_writing(self) -> None:
        self._writable.clear()

    @override
    def resume_writing(self) -> None:
        self._writable.set()

    # Buffered, because the plain protocol makes asyncio's TLS layers allocate and shrink 256 KiB for every TLS record,
    # which took 40 % of the CPU of a client with many small packets.
    @override
    def get_buffer(self, sizehint: int) -> memoryview:
        if self._filled == len(self._buffer):
            self._buffer = self._buffer + bytearray(len(self._buffer))
        return memoryview(self._buffer)[self._filled :]

    @override
    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        self._heard_at = self._loop.time()
        try:
            # Parsed from one bytes copy: its slices cost a third of slices of a memoryview.
            rest = self._parse(bytes(memoryview(self._buffer)[: self._filled]))
        except (codec.MalformedPacket, IndexError) as error:
            self._fail(f"the broker sent what is no MQTT: {error}")
            return
        if self._filled == len(self._buffer) < _LAST_BUFFER_BYTES:
            self._buffer = bytearray(2 * len(self._buffer))
        self._filled = len(rest)
        self._buffer[: self._filled] = rest

    def _parse(self, data: bytes) -> bytes:
        # The hot loop of ingest: 25,000 packets a second pass here, so it looks fields up by hand.
        on_message, is_v5, at, end = self._on_message, self._protocol == 5, 0, len(data)
        while end - at >= 2:
            first, length, head = data[at], data[at + 1], at + 2
            if length >= 0x80:
                if end - at < 5 and not any(b < 0x80 for b in data[at + 1 : end]):
                    break
                length, head = codec.read_varint(data, at + 1)
            stop = head + length
            if stop > end:
                break
            if first >> 4 == codec.PUBLISH:
                body = head + 2 + (data[head] << 8 | data[head + 1])
                topic = data[head + 2 : body]
                packet_id = 0
                if first & 0x06:
                    packet_id = data[body] << 8 | data[body + 1]
                    body += 2
                if is_v5:
                    size, body = (data[body], body + 1) if data[body] < 0x80 else codec.read_varint(data, body)
                    body += size
                if body > stop:
                    raise codec.MalformedPacket("a PUBLISH is longer inside than outside")
                on_message(Message(topic, data[body:stop], packet_id, first & 0x08 != 0))
            elif first == 0x40 and length >= 2:
                self.on_puback(data[head] << 8 | data[head + 1], data[head + 2] if length > 2 else 0)
            else:
                self._control(first >> 4, data[head:stop])
            at = stop
        return data[at:]

    def _control(self, kind: int, body: bytes) -> None:
        if kind == codec.CONNACK:
            self._on_connack(body)
        elif kind in {codec.SUBACK, codec.UNSUBACK}:
            at = codec.properties(body, 2)[1] if self._protocol == 5 else 2
            future = self._subacks.pop(body[0] << 8 | body[1], None)
            if future and not future.done():
                future.set_result(list(body[at:]))
        elif kind == codec.PUBACK:
            raise codec.MalformedPacket("a PUBACK without its packet id")
        elif kind == codec.DISCONNECT:
            self._fail(f"the broker disconnected us with reason code {body[0] if body else 0}")

    def _on_connack(self, body: bytes) -> None:
        self.session_present, reason, found = codec.read_connack(body, protocol=self._protocol)
        if self._connack.done():
            return
        if reason:
            self._connack.set_exception(Refused(reason))
            return
        self.peer_receive_maximum = codec.receive_maximum(found)
        self._slots = asyncio.Semaphore(self.peer_receive_maximum)
        self._connack.set_result(None)
        self._schedule_ping()

    def _schedule_ping(self) -> None:
        if self._options.keepalive_s:
            self._pinger = self._loop.call_later(self._options.keepalive_s / 2, self._ping)

    def _ping(self) -> None:
        if self.closed:
            return
        if not self._is_paused and self._loop.time() - self._heard_at > 1.5 * self._options.keepalive_s:
            self._fail("the broker has been silent for one and a half keep-alives")
            return
        self.send(codec.PINGREQ_PACKET)
        self._schedule_ping()

    def _fail(self, why: str) -> None:
        if not self.lost.done():
            self.lost.set_exception(ConnectionLost(why))
            self.lost.exception()
        self.abort()

    def _resolve(self, packet_id: int, reason: int) -> None:
        future = self._waiting.pop(packet_id, None)
        if future and not future.done():
            future.set_result(reason)

    def _take_id(self) -> int:
        for _ in range(65_535):
            self._next_id = self._next_id % 65_535 + 1
            if self._next_id not in self._waiting and self._next_id not in self._subacks:
                return self._next_id
        raise ConnectionLost("all 65,535 packet ids are waiting for an answer")


async def keep_connected(
    connect: Callable[[], Awaitable[MqttConnection]],
    session: Callable[[MqttConnection], Awaitable[None]],
    *,
    report: Callable[[Exception], None],
    least_pause_s: float = 0.0,
    first_pause_s: float = 0.5,
    longest_pause_s: float = 30.0,
) -> None:
    """Connect, run `session`, and connect again when the link is lost; pauses grow exponentially with jitter.

    Each pause is `least_pause_s` and 20 to 100 % of what has grown from `first_pause_s` to `longest_pause_s`.
    Ends when `session` returns. `report` is told of each lost or refused connection; other errors pass through.
    """
    pause = first_pause_s
    while True:
        try:
            connection = await connect()
        except (ConnectionLost, Refused, TimeoutError) as error:
            report(error)
        else:
            try:
                started = asyncio.get_running_loop().time()
                await session(connection)
            except ConnectionLost as error:
                report(error)
                if asyncio.get_running_loop().time() - started > longest_pause_s:
                    pause = first_pause_s
            else:
                return
            finally:
                connection.abort()
        await asyncio.sleep(least_pause_s + random.uniform(0.2, 1.0) * pause)
        pause = min(longest_pause_s, pause * 2)


def _ignore(_message: Message) -> None: ...
