"""Who is online, as AWS IoT tells it: pure.

A connection that comes back within the grace is the same presence: no event, the session identifier stays, the flap is
counted. Events of one thing are ordered by `version`, which grows by one with each.
"""

import enum
from dataclasses import dataclass, replace

import msgspec


class EventType(enum.Enum):
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


@dataclass(frozen=True, slots=True)
class Leaving:
    """A connection ended; it counts as offline when `due_ms` has come and it is not back."""

    at_ms: int
    due_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """The number and time of an event of AWS IoT Core."""

    version: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Presence:
    """What is known of one thing. `since_ms` is when the state last changed, as told to subscribers.

    `source` is AWS IoT Core's newest event that was taken in; a local broker has none.
    """

    thing: str
    online: bool
    session: str
    version: int
    since_ms: int
    ip_address: str
    reason: str | None = None  # of the last disconnect
    leaving: Leaving | None = None
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """News for subscribers: `presence` is the state after it."""

    event: EventType
    presence: Presence


def connected(
    before: Presence | None, *, thing: str, session: str, at_ms: int, ip_address: str
) -> tuple[Presence, Change | None]:
    """A connection began. No news if the thing was online, or is back within its grace."""
    if before is not None and before.online:
        return replace(before, ip_address=ip_address, leaving=None), None
    version = before.version + 1 if before else 1
    # A clock that was set back must not have a state begin before the one it ends.
    since_ms = max(at_ms, before.since_ms) if before else at_ms
    source = before.source if before else None
    after = Presence(
        thing, online=True, session=session, version=version, since_ms=since_ms, ip_address=ip_address, source=source
    )
    return after, Change(EventType.CONNECTED, after)


def absent(*, thing: str, session: str, at_ms: int, reason: str, ip_address: str) -> tuple[Presence, Change]:
    """The first that is heard of a thing is that it left."""
    after = Presence(
        thing, online=False, session=session, version=1, since_ms=at_ms, ip_address=ip_address, reason=reason
    )
    return after, Change(EventType.DISCONNECTED, after)


def disconnected(before: Presence, *, at_ms: int, reason: str, grace_ms: int) -> Presence:
    """A connection ended; whether the thing is offline shows after the grace. The first reason stands."""
    if not before.online or before.leaving is not None:
        return before
    return replace(before, leaving=Leaving(at_ms, at_ms + grace_ms, reason))


def excused(before: Presence, *, until_ms: int) -> Presence:
    """Its grace lasts at least until then: there was no broker it could have come back to."""
    leaving = before.leaving
    if leaving is None or leaving.due_ms >= until_ms:
        return before
    return replace(before, leaving=replace(leaving, due_ms=until_ms))


def settle(before: Presence, *, now_ms: int) -> tuple[Presence, Change | None]:
    """Offline, if the grace is over."""
    leaving = before.leaving
    if leaving is None or now_ms < leaving.due_ms:
        return before, None
    after = replace(
        before,
        online=False,
        version=before.version + 1,
        since_ms=max(leaving.at_ms, before.since_ms),
        reason=leaving.reason,
        leaving=None,
    )
    return after, Change(EventType.DISCONNECTED, after)


class _Payload(msgspec.Struct, rename="camel", omit_defaults=True):
    client_id: str
    timestamp: int
    event_type: str
    session_identifier: str
    principal_identifier: str
    ip_address: str
    version_number: int
    client_initiated_disconnect: bool | None = None
    disconnect_reason: str | None = None


def payload(change: Change) -> bytes:
    """The JSON of AWS IoT's lifecycle event. The principal is the thing: its certificate's CN."""
    presence = change.presence
    gone = change.event is EventType.DISCONNECTED
    return msgspec.json.encode(
        _Payload(
            client_id=presence.thing,
            timestamp=presence.since_ms,
            event_type=change.event.value,
            session_identifier=presence.session,
            principal_identifier=presence.thing,
            ip_address=presence.ip_address,
            version_number=presence.version,
            client_initiated_disconnect=presence.reason == "CLIENT_INITIATED_DISCONNECT" if gone else None,
            disconnect_reason=presence.reason if gone else None,
        )
    )
