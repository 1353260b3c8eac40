"""AWS IoT Core's lifecycle events: how they read, and which of two is the newer one. Pure.

They come more than once and out of order, their times are up to two minutes off, and the number that orders them begins
at 0 again when a client was away for about an hour, or longer than its session was kept.
https://docs.aws.amazon.com/iot/latest/developerguide/life-cycle-events.html
"""

from typing import Literal

import msgspec

from broker.presence.model import Presence

CLIENT_INITIATED = "CLIENT_INITIATED_DISCONNECT"
CONNECTION_LOST = "CONNECTION_LOST"

_SKEW_MS = 2 * 60_000
_RESET_MS = 60 * 60_000


class Lifecycle(msgspec.Struct, frozen=True, rename="camel"):
    """One event. The two of a connection bear the same version. Fields that AWS adds are passed over."""

    client_id: str
    timestamp: int
    event_type: Literal["connected", "disconnected"]
    version_number: int = 0
    session_identifier: str = ""
    ip_address: str = ""
    disconnect_reason: str | None = None
    client_initiated_disconnect: bool = False

    @property
    def is_gone(self) -> bool:
        return self.event_type == "disconnected"

    @property
    def reason(self) -> str:
        """Why it went; an event without a reason says at least who ended it."""
        return self.disconnect_reason or (CLIENT_INITIATED if self.client_initiated_disconnect else CONNECTION_LOST)


parse = msgspec.json.Decoder(Lifecycle).decode
"""The event in a payload. Raises msgspec.DecodeError."""


def is_news(known: Presence | None, event: Lifecycle) -> bool:
    """Whether `event` came after everything that is known of its thing."""
    if known is None or known.source is None:
        return True
    later_ms = event.timestamp - known.source.at_ms
    if later_ms < -2 * _SKEW_MS:
        # Even if its number is greater: that one is from before the numbers began again.
        return False
    is_gone = not known.online or known.leaving is not None
    if (event.version_number, event.is_gone) > (known.source.version, is_gone):
        return True
    # A number that is 0 may have begun again with a session that was kept for minutes only.
    least_ms = 0 if event.version_number == 0 and is_gone else _RESET_MS - 4 * _SKEW_MS
    return event.version_number <= known.source.version and later_ms > least_ms + 2 * _SKEW_MS
