"""Every event that crosses packages: the platform's vocabulary on one page. Past tense, frozen, tagged by class."""

from typing import ClassVar

import msgspec

from core.telemetry import Sample


class Event(msgspec.Struct, frozen=True, tag=True, tag_field="event", kw_only=True):
    """Base. `stream` names the bus stream it travels on; `key` decides its partition (a thing, mostly)."""

    stream: ClassVar[str] = "device"

    @property
    def key(self) -> str:
        raise NotImplementedError


class ThingEvent(Event, frozen=True, kw_only=True):
    thing: str

    @property
    def key(self) -> str:
        return self.thing


class Received(msgspec.Struct, frozen=True, array_like=True):
    """One committed sample. `live` is false for late data: it fills history and must not fire alerts."""

    thing: str
    sample: Sample
    live: bool


class TelemetryReceived(Event, frozen=True, kw_only=True):
    """A committed batch of one partition, in order of arrival; consumers order by device time and seq."""

    stream: ClassVar[str] = "telemetry"

    partition: int
    received_ms: int
    samples: list[Received]

    @property
    def key(self) -> str:
        return str(self.partition)


class DeviceReported(ThingEvent, frozen=True, kw_only=True):
    """A discrete event from a device's event topic."""

    ts: int
    type: str
    data: dict[str, object]


class DeviceRegistered(ThingEvent, frozen=True, kw_only=True):
    type: str


class DeviceStatusChanged(ThingEvent, frozen=True, kw_only=True):
    """`status` is one of pending, active, suspended, decommissioned."""

    status: str


class DeviceDescribed(ThingEvent, frozen=True, kw_only=True):
    """Its type or labels are others now."""

    type: str
    labels: dict[str, str]


class CertificateIssued(ThingEvent, frozen=True, kw_only=True):
    serial: str
    not_after: int


class CertificateRevoked(ThingEvent, frozen=True, kw_only=True):
    """The revocation list already says so; whoever holds live sessions must cut them."""

    serial: str
    reason: str


class DeviceConnected(ThingEvent, frozen=True, kw_only=True):
    at: int
    session: str
    version: int


class DeviceDisconnected(ThingEvent, frozen=True, kw_only=True):
    at: int
    session: str
    version: int
    reason: str


class Issued(msgspec.Struct, frozen=True, array_like=True):
    """A message for a device's topic, QoS 1."""

    topic: str
    payload: bytes


class MessagesIssued(ThingEvent, frozen=True, kw_only=True):
    """A service has said something to a thing's topics, in this order; the broker service publishes it.

    At least once: a process that died in between has it published again.
    """

    stream: ClassVar[str] = "outbound"

    messages: list[Issued]


AnyEvent = (
    TelemetryReceived
    | DeviceReported
    | DeviceRegistered
    | DeviceStatusChanged
    | DeviceDescribed
    | CertificateIssued
    | CertificateRevoked
    | DeviceConnected
    | DeviceDisconnected
    | MessagesIssued
)

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[AnyEvent] = msgspec.msgpack.Decoder(AnyEvent)


def encode(event: Event) -> bytes:
    return _ENCODER.encode(event)


def decode(body: bytes) -> AnyEvent:
    """Raises msgspec.DecodeError on bytes that are no event of ours."""
    return _DECODER.decode(body)
