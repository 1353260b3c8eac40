"""What happened to a device's connection over time: pure.

The timeline is a set of turns named by their version, so turns may be told in any order and more than once. Spans are
read off it: each lasts until the next turn, and neighbours differ.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

WORDS: Mapping[str, str] = {
    "CLIENT_INITIATED_DISCONNECT": "the device signed off",
    "CONNECTION_LOST": "the connection broke without a word from the device",
    "MQTT_KEEP_ALIVE_TIMEOUT": "nothing was heard of the device for one and a half keep-alives",
    "DUPLICATE_CLIENTID": "another connection took the device's name",
    "SERVER_INITIATED_DISCONNECT": "the broker ended the connection: it restarted, or the device was cut",
    "API_INITIATED_DISCONNECT": "the connection was ended through AWS IoT's API",
    "FORBIDDEN_ACCESS": "the device did what it has no right to",
    "AUTH_ERROR": "the device could not prove who it is, or lost its right to be there",
    "CLIENT_ERROR": "the device broke the protocol",
    "SERVER_ERROR": "something went wrong in the broker",
    "THROTTLED": "the device sent more than AWS IoT lets through",
    "WEBSOCKET_TTL_EXPIRATION": "a WebSocket had been open for longer than AWS IoT allows",
    "CUSTOMAUTH_TTL_EXPIRATION": "the time its custom authorizer gave it was over",
}
"""AWS IoT's reasons for a disconnect, in words."""


@dataclass(frozen=True, slots=True)
class Turn:
    """From `since` on the device was online, or not, for `reason`. `version` grows with each turn of a device."""

    version: int
    online: bool
    since: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in one state; `until` None: it lasts."""

    version: int
    online: bool
    since: datetime
    until: datetime | None
    reason: str | None


def spans(turns: Iterable[Turn]) -> list[Span]:
    """Oldest first, without gap or overlap; a connection that ended at once is a span without length.

    The version alone says what came after what: a clock that was set back makes a span shorter, never a disorder.
    """
    found: list[Span] = []
    for turn in sorted({turn.version: turn for turn in turns}.values(), key=lambda turn: turn.version):
        since = max(turn.since, found[-1].since) if found else turn.since
        if found and found[-1].online == turn.online:
            continue
        if found:
            found[-1] = replace(found[-1], until=since)
        found.append(Span(turn.version, turn.online, since, None, None if turn.online else turn.reason))
    return found


def in_words(reason: str | None) -> str | None:
    """A reason as a sentence's half; one that AWS IoT has added since is given as it is."""
    return None if reason is None else WORDS.get(reason, f"AWS IoT says {reason}")
