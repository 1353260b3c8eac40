"""What clients say over WebSocket (docs/live.md), read and judged."""

import time
from collections.abc import Callable
from typing import Annotated

import msgspec

from api.live.errors import InvalidMessage, UnknownType
from api.live.stream import channels, frames
from api.live.stream.filters import ALL, Filter
from api.live.stream.hub import Wish
from core.channels import Position

MAX_MESSAGE_BYTES = 65_536
RATE, BURST = 20.0, 60
"""Messages a second of one client, sustained, and at once."""

type Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
type Offset = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class Auth(msgspec.Struct, tag="auth"):
    token: Annotated[str, msgspec.Meta(min_length=1, max_length=8192)]


class Subscribe(msgspec.Struct, tag="subscribe"):
    channel: str
    id: Id | None = None
    filter: Filter = ALL
    epoch: Annotated[str, msgspec.Meta(max_length=32)] | None = None
    offset: Offset | None = None

    def wish(self) -> Wish:
        """Raises UnknownChannel, InvalidMessage."""
        return wish(self.channel, self.id, self.filter, self.epoch, self.offset)


class Unsubscribe(msgspec.Struct, tag="unsubscribe"):
    id: Id


class Ping(msgspec.Struct, tag="ping"):
    at: int | float | None = None


type Message = Auth | Subscribe | Unsubscribe | Ping

_TYPES = ("auth", "subscribe", "unsubscribe", "ping")
_decode: Callable[[str | bytes], Message] = msgspec.json.Decoder(Auth | Subscribe | Unsubscribe | Ping).decode


class _Any(msgspec.Struct):
    type: object = None
    id: object = None


def read(text: str | bytes) -> Message:
    """The message; raises InvalidMessage or UnknownType saying what was wrong and what is allowed."""
    try:
        return _decode(text)
    except msgspec.ValidationError as error:
        try:
            said = msgspec.json.decode(text, type=_Any).type
        except msgspec.ValidationError:
            raise InvalidMessage("a message is a JSON object with a type") from error
        if said not in _TYPES:
            raise UnknownType(f"type {str(said)[:40]!r} is not known; there are {', '.join(_TYPES)}") from error
        raise InvalidMessage(f"{said}: {error}") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidMessage(f"this is not JSON: {error}") from error


def named(text: str | bytes) -> str | None:
    """The subscription a message that was refused is about, as far as it can be told."""
    try:
        message = msgspec.json.decode(text, type=_Any)
    except (msgspec.MsgspecError, UnicodeError):
        return None
    return message.id[:64] if isinstance(message.id, str) else None


def wish(channel: str, id_: str | None, wanted: Filter, epoch: str | None, offset: int | None) -> Wish:
    """Raises UnknownChannel, InvalidMessage."""
    channels.kind_of(channel)
    if (epoch is None) != (offset is None):
        raise InvalidMessage("epoch and offset belong together")
    since = None
    if epoch is not None and offset is not None:
        since = Position(frames.epoch(epoch) or 0, offset)
    return Wish(channel, id_ or channel, wanted, since)


class Allowance:
    """A token bucket on this process's clock."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._left = self._burst = float(burst)
        self._at = time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
