"""A blocking MQTT client that a test can make misbehave: raw packets, one socket, no retries, every answer visible."""

import contextlib
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from core.mqtt import codec
from tests.broker.pki import Credentials

NEVER = 0xFFFF_FFFF
_SEND_S = 5.0


class Closed(Exception):
    """The broker closed the connection, or would not have it."""


@dataclass(frozen=True)
class Received:
    topic: str
    payload: bytes
    retained: bool
    duplicate: bool


class Client:
    """One connection. `credentials` None: TLS without a client certificate."""

    def __init__(
        self,
        port: int,
        ca_file: Path,
        credentials: Credentials | None,
        *,
        protocol: int = 5,
        tls: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self._protocol = protocol
        self._next_id = 0
        self._buffer = b""
        self._received: list[Received] = []
        self.acknowledges = True
        self.disconnect_reason: int | None = None
        context = tls or client_context(ca_file, credentials)
        plain = socket.create_connection(("127.0.0.1", port), 5)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.socket = context.wrap_socket(plain, server_hostname="localhost", session=session)
        except OSError as error:
            plain.close()
            raise Closed(repr(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.drop()

    def __del__(self) -> None:
        if hasattr(self, "socket"):  # the handshake succeeded
            self.drop()

    def connect(
        self,
        client_id: str,
        *,
        clean: bool = True,
        expiry_s: int = 0,
        will: tuple[str, bytes, int, bool] | None = None,
        keepalive_s: int = 60,
    ) -> bool:
        """Raises Closed unless accepted; returns whether the broker had the session."""
        packet = codec.connect(
            protocol=self._protocol,
            client_id=client_id,
            keepalive_s=keepalive_s,
            clean_start=clean,
            session_expiry_s=expiry_s,
            receive_maximum=65_535,
            will=will,
        )
        self._send(packet)
        body = self._wait(codec.CONNACK)
        if body[1]:
            raise Closed(f"CONNACK {body[1]:#x}")
        return bool(body[0])

    def subscribe(self, *filters: str, qos: int = 1) -> list[int]:
        self._send(codec.subscribe(self._take_id(), filters, qos, protocol=self._protocol))
        body = self._wait(codec.SUBACK)
        return list(body[3 + body[2] :] if self._protocol == 5 else body[2:])

    def publish(self, topic: str, payload: bytes = b"x", *, retain: bool = False) -> int:
        """QoS 1; returns the PUBACK's reason code (0 in MQTT 3.1.1)."""
        self.publish_without_waiting(topic, payload, retain=retain)
        body = self._wait(codec.PUBACK)
        return body[2] if len(body) > 2 else 0

    def publish_without_waiting(self, topic: str, payload: bytes = b"x", *, retain: bool = False) -> None:
        packet_id = self._take_id()
        self._send(codec.publish(topic, payload, packet_id=packet_id, protocol=self._protocol, retain=retain))

    def collect(self, seconds: float = 0.3, *, until: int | None = None) -> list[Received]:
        """What arrives within `seconds`, or until there are `until` messages; acknowledged."""
        end = time.monotonic() + seconds
        with contextlib.suppress(TimeoutError, Closed):
            while until is None or len(self._received) < until:
                self._packet(end)
        received, self._received = self._received, []
        return received

    def heard(self, seconds: float = 10.0) -> list[Received]:
        """All that Mosquitto had for us when it answers: it queues a message for everybody before it acknowledges it,
        and what is queued leaves before the answer.
        """
        self._send(codec.PINGREQ_PACKET)
        self._wait(codec.PINGRESP, seconds)
        received, self._received = self._received, []
        return received

    def payloads(self, seconds: float = 0.3, *, until: int | None = None) -> list[bytes]:
        return [message.payload for message in self.collect(seconds, until=until)]

    def ping(self) -> None:
        """Raises Closed if the connection is no more."""
        self._send(codec.PINGREQ_PACKET)
        self._wait(codec.PINGRESP)

    def is_alive(self) -> bool:
        try:
            self.ping()
        except (Closed, TimeoutError):
            return False
        return True

    def is_cut_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                self._packet(end)
            except Closed:
                return True
            except TimeoutError:
                return False
        return False

    def disconnect(self) -> None:
        self._send(codec.disconnect(protocol=self._protocol))
        self.drop()

    def drop(self) -> None:
        """Without a word, as a dead link."""
        self.socket.close()

    def _send(self, data: bytes) -> None:
        # Reading leaves the rest of its own time behind, which may be next to nothing.
        self.socket.settimeout(_SEND_S)
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Closed(repr(error)) from error

    def _wait(self, kind: int, seconds: float = 5.0) -> bytes:
        end = time.monotonic() + seconds
        while True:
            got, body = self._packet(end)
            if got == kind:
                return body

    def _packet(self, end: float) -> tuple[int, bytes]:
        while True:
            parsed = _parse(self._buffer)
            if parsed is not None:
                first, body, self._buffer = parsed
                if first >> 4 == codec.PUBLISH:
                    self._on_publish(first, body)
                if first >> 4 == codec.DISCONNECT:
                    self.disconnect_reason = body[0] if body else 0
                    raise Closed(f"DISCONNECT {self.disconnect_reason:#x}")
                return first >> 4, body
            self._fill(end)

    def _fill(self, end: float) -> None:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(65_536)
        except TimeoutError:
            raise
        except OSError as error:
            raise Closed(repr(error)) from error
        if not data:
            raise Closed("end of stream")
        self._buffer += data

    def _on_publish(self, first: int, body: bytes) -> None:
        at = 2 + struct.unpack_from("!H", body)[0]
        topic = body[2:at].decode()
        packet_id = 0
        if first & 0x06:
            packet_id = struct.unpack_from("!H", body, at)[0]
            at += 2
        if self._protocol == 5:
            at += 1 + body[at]
        self._received.append(Received(topic, body[at:], bool(first & 1), bool(first & 8)))
        if packet_id and self.acknowledges:
            self._send(codec.pubacks([packet_id]))

    def _take_id(self) -> int:
        self._next_id = self._next_id % 65_535 + 1
        return self._next_id


def client_context(ca_file: Path, credentials: Credentials | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca_file))
    if credentials is not None:
        context.load_cert_chain(credentials.cert_file, credentials.key_file)
    return context


def _parse(data: bytes) -> tuple[int, bytes, bytes] | None:
    for size in range(1, 5):
        if len(data) <= size:
            return None
        if data[size] < 0x80:
            length, start = codec.read_varint(data, 1)
            if len(data) < start + length:
                return None
            return data[0], data[start : start + length], data[start + length :]
    raise Closed("a length of over four bytes")
