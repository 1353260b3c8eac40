"""MQTT control packets to and from bytes (OASIS MQTT 3.1.1 and 5.0). Pure; `protocol` is 4 (3.1.1) or 5."""

import struct
from collections.abc import Sequence

CONNACK, PUBLISH, PUBACK, SUBACK, UNSUBACK, PINGRESP, DISCONNECT = 2, 3, 4, 9, 11, 13, 14

PINGREQ_PACKET = b"\xc0\x00"
MAX_REMAINING_LENGTH = 268_435_455

_MESSAGE_EXPIRY = 0x02
_SESSION_EXPIRY, _RECEIVE_MAXIMUM, _MAXIMUM_PACKET_SIZE, _TOPIC_ALIAS_MAXIMUM = 0x11, 0x21, 0x27, 0x22
# Property id to the length of its value; -1 = string or binary, -2 = string pair, -3 = variable byte integer
# (MQTT 5, 2.2.2.2).
_PROPERTY_SIZE = {
    0x01: 1, 0x02: 4, 0x03: -1, 0x08: -1, 0x09: -1, 0x0B: -3, 0x11: 4, 0x12: -1, 0x13: 2, 0x15: -1, 0x16: -1, 0x17: 1,
    0x18: 4, 0x19: 1, 0x1A: -1, 0x1C: -1, 0x1F: -1, 0x21: 2, 0x22: 2, 0x23: 2, 0x24: 1, 0x25: 1, 0x26: -2, 0x27: 4,
    0x28: 1, 0x29: 1, 0x2A: 1,
}  # fmt: skip


class MalformedPacket(ValueError):
    """Bytes that are no MQTT packet."""


def varint(value: int) -> bytes:
    """A variable byte integer, 1 to 4 bytes."""
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | 0x80 if value else low)
        if not value:
            return bytes(out)


def read_varint(data: bytes | bytearray | memoryview, at: int) -> tuple[int, int]:
    """The integer at `at` and the position behind it. Raises IndexError when cut short, or MalformedPacket."""
    value = 0
    for shift in (0, 7, 14, 21):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise MalformedPacket("a variable byte integer has at most 4 bytes")


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(raw)) + raw


def packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + varint(len(body)) + body


def connect(
    *,
    protocol: int,
    client_id: str,
    keepalive_s: int,
    clean_start: bool,
    session_expiry_s: int = 0,
    receive_maximum: int = 65_535,
    will: tuple[str, bytes, int, bool] | None = None,
) -> bytes:
    """CONNECT. `will` is (topic, payload, qos, retain)."""
    flags = 0x02 if clean_start else 0
    if will:
        flags |= 0x04 | will[2] << 3 | (0x20 if will[3] else 0)
    body = text("MQTT") + bytes((protocol, flags)) + struct.pack(">H", keepalive_s)
    if protocol == 5:
        properties = struct.pack(">BIBH", _SESSION_EXPIRY, session_expiry_s, _RECEIVE_MAXIMUM, receive_maximum)
        body += varint(len(properties)) + properties
    body += text(client_id)
    if will:
        body += (b"\x00" if protocol == 5 else b"") + text(will[0]) + text(will[1])
    return packet(0x10, body)


def subscribe(packet_id: int, filters: Sequence[str], qos: int, *, protocol: int) -> bytes:
    properties = b"\x00" if protocol == 5 else b""
    body = struct.pack(">H", packet_id) + properties + b"".join(text(f) + bytes((qos,)) for f in filters)
    return packet(0x82, body)


def publish(
    topic: str | bytes,
    payload: bytes,
    *,
    packet_id: int,
    protocol: int,
    retain: bool = False,
    expiry_s: int | None = None,
) -> bytes:
    """PUBLISH; QoS 1 with a packet id, QoS 0 with packet id 0. `expiry_s` (MQTT 5): a broker drops it after that."""
    raw = topic.encode() if isinstance(topic, str) else topic
    head = struct.pack(">H", len(raw)) + raw
    if packet_id:
        head += struct.pack(">H", packet_id)
    if protocol == 5:
        head += b"\x00" if expiry_s is None else struct.pack(">BBI", 5, _MESSAGE_EXPIRY, expiry_s)
    first = 0x30 | (0x02 if packet_id else 0) | (0x01 if retain else 0)
    return bytes((first,)) + varint(len(head) + len(payload)) + head + payload


def pubacks(packet_ids: Sequence[int]) -> bytes:
    """PUBACK for each id, in order, in one run of bytes."""
    return b"".join([_PUBACK(0x4002, packet_id) for packet_id in packet_ids])


_PUBACK = struct.Struct(">HH").pack


def disconnect(*, protocol: int, reason: int = 0) -> bytes:
    return bytes((0xE0, 1, reason)) if protocol == 5 and reason else b"\xe0\x00"


def read_connack(body: bytes, *, protocol: int) -> tuple[bool, int, dict[int, int]]:
    """Session present, reason code (0 = accepted), and the numeric properties by id."""
    return bool(body[0] & 1), body[1], (properties(body, 2)[0] if protocol == 5 and len(body) > 2 else {})


def properties(data: bytes, at: int) -> tuple[dict[int, int], int]:
    """The numeric properties at `at` and the position behind all of them; strings are skipped."""
    length, at = read_varint(data, at)
    end = at + length
    found: dict[int, int] = {}
    while at < end:
        identifier, at = data[at], at + 1
        size = _PROPERTY_SIZE.get(identifier)
        if size is None:
            raise MalformedPacket(f"property 0x{identifier:02x} does not exist")
        if size == -3:
            found[identifier], at = read_varint(data, at)
        elif size < 0:
            for _ in range(-size):
                at += 2 + int.from_bytes(data[at : at + 2])
        else:
            found[identifier] = int.from_bytes(data[at : at + size])
            at += size
    return found, end


def receive_maximum(found: dict[int, int]) -> int:
    return found.get(_RECEIVE_MAXIMUM, 65_535)
