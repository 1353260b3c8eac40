"""Messages to clients, each encoded once for all who get it."""

import enum
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from core.channels import Position

type Reason = Literal["epoch", "gone", "too_far", "ahead", "rights"]

_encode = msgspec.json.Encoder().encode


class Close(enum.IntEnum):
    """Why a connection ends, as WebSocket close codes; docs/live.md says what a client does about each."""

    RESTART = 1012
    UNAVAILABLE = 1013
    PROTOCOL = 4000
    UNAUTHORIZED = 4001
    FORBIDDEN = 4003
    NO_TENANT = 4004
    TOO_SLOW = 4008
    LOST_PLACE = 4009
    TOO_MANY = 4029


class Frame:
    """A JSON message: `text` bare, `socket` as an unmasked WebSocket frame, `stream` as an SSE event.

    `position` is where a client stands who has it.
    """

    __slots__ = ("_socket", "_stream", "position", "text", "type")

    def __init__(self, type_: str, text: bytes, position: Position | None = None) -> None:
        self.type = type_
        self.text = text
        self.position = position
        self._socket: bytes | None = None
        self._stream: bytes | None = None

    @property
    def socket(self) -> bytes:
        if self._socket is None:
            self._socket = _header(len(self.text)) + self.text
        return self._socket

    @property
    def stream(self) -> bytes:
        if self._stream is None:
            id_ = b"" if self.position is None else b"id: %x:%d\n" % self.position
            told = b"event: %s\n%sdata: %s\n\n" % (self.type.encode(), id_, self.text)
            # Without data nothing is dispatched, but the id is kept.
            self._stream = b": ping\n%s\n" % id_ if self.type == "ping" else told
        return self._stream


def _header(length: int) -> bytes:
    """RFC 6455 section 5.2: final text frame, no mask."""
    if length < 126:
        return bytes((0x81, length))
    if length < 65_536:
        return b"\x81\x7e" + length.to_bytes(2)
    return b"\x81\x7f" + length.to_bytes(8)


def message(type_: str, **fields: object) -> Frame:
    """A small message; fields that are None are told as null."""
    return Frame(type_, _encode({"type": type_, **fields}))


def error(code: str, detail: str, subscription: str | None = None) -> Frame:
    about = {} if subscription is None else {"id": subscription}
    return message("error", code=code, detail=detail, **about)


def ping(at_ms: int, positions: Mapping[str, Position]) -> Frame:
    told = {id_: {"epoch": f"{p.epoch:x}", "offset": p.offset} for id_, p in positions.items()}
    frame = message("ping", at=at_ms, positions=told)
    if len(positions) == 1:
        (frame.position,) = positions.values()
    return frame


def opening(type_: str, subscription: str, channel: str, position: Position) -> bytes:
    """`{"type":...,"id":...,"channel":...,"epoch":...,"offset":...` without an end."""
    head = {"type": type_, "id": subscription, "channel": channel, "epoch": f"{position.epoch:x}"}
    return _encode({**head, "offset": position.offset})[:-1]


def subscribed(
    subscription: str,
    channel: str,
    position: Position,
    *,
    snapshot: bytes | None = None,
    missed: int | None = None,
    reason: Reason | None = None,
) -> Frame:
    """Fresh with a `snapshot` (a JSON array), recovered with what was `missed`, or a `snapshot` and the `reason`."""
    parts = [opening("subscribed", subscription, channel, position)]
    if missed is not None:
        parts.append(b',"recovered":true,"missed":%d' % missed)
    elif reason is not None:
        parts.append(b',"recovered":false,"reason":"%s"' % reason.encode())
    if snapshot is not None:
        parts.append(b',"snapshot":' + snapshot)
    parts.append(b"}")
    return Frame("subscribed", b"".join(parts), position)


def events(
    subscription: str, channel: str, position: Position, told: Sequence[bytes], *, is_conflated: bool = False
) -> Frame:
    """`told` are whole events, JSON each; `position` is where a client stands after them."""
    head = opening("events", subscription, channel, position)
    mark = b',"conflated":true' if is_conflated else b""
    return Frame("events", b'%s%s,"events":[%s]}' % (head, mark, b",".join(told)), position)


def epoch(text: str) -> int | None:
    """What an epoch of ours says, or None for a text that is none."""
    try:
        value = int(text, 16)
    except ValueError:
        return None
    return value if f"{value:x}" == text else None
