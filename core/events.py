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


class TripEvent(Event, frozen=True, kw_only=True):
    """Something about one trip; all of a trip's events come in order."""

    stream: ClassVar[str] = "trip"

    tenant: str
    trip: str

    @property
    def key(self) -> str:
        return f"{self.tenant}:{self.trip}"


class TripChanged(TripEvent, frozen=True, kw_only=True):
    """Planned, reassigned, begun, ended: `state` is one of planned, under_way, done, abandoned. `at` epoch ms."""

    state: str
    device: str | None
    at: int


class StopChanged(TripEvent, frozen=True, kw_only=True):
    """`state` is one of planned, arrived, served, skipped. `at` epoch ms by the device's clock."""

    stop: str
    site: str
    state: str
    at: int


class ArrivalEstimate(msgspec.Struct, frozen=True, array_like=True):
    """When one stop is reached. Epoch ms."""

    stop: str
    site: str
    eta: int
    p10: int
    p50: int
    p90: int


class ArrivalsEstimated(TripEvent, frozen=True, kw_only=True):
    """New arrival times of the stops ahead of a trip, what they rest on, and from how old a position.

    It travels in EstimatesMade. `made_at` epoch ms; an older one may come after a newer one and is then to be left.
    """

    device: str
    made_at: int
    method: str
    reason: str
    age_s: float
    is_on_route: bool
    progress_m: float
    arrivals: list[ArrivalEstimate]


class EstimatesMade(Event, frozen=True, kw_only=True):
    """The newest arrival times of trips whose devices share a partition: all that one batch of fixes has changed.

    For live views. Told once and not kept: `trip_estimate` has what was said last, a few seconds late.
    """

    stream: ClassVar[str] = "trip"

    partition: int
    estimates: list[ArrivalsEstimated]

    @property
    def key(self) -> str:
        return f"#{self.partition}"


class AlertRaised(TripEvent, frozen=True, kw_only=True):
    """People at a stop are to be told; once for each (trip, stop, kind).

    `kind`: 10min, 5min, delayed, started, arrived, skipped, missed. `eta` and `at` epoch ms; `eta` None where there is
    nothing to expect.
    """

    alert: str
    stop: str
    site: str
    kind: str
    device: str
    at: int
    eta: int | None


class NoticePosted(Event, frozen=True, kw_only=True):
    """Something new stands in an inbox. `recipient` is whose; the rest is what it says."""

    stream: ClassVar[str] = "notice"

    tenant: str
    notice: str
    recipient: str
    kind: str = ""
    title: str = ""
    body: str = ""
    trip: str = ""
    stop: str = ""
    site: str = ""

    @property
    def key(self) -> str:
        return f"{self.tenant}:{self.recipient}"


class CommandChanged(ThingEvent, frozen=True, kw_only=True):
    """An execution of a command on this thing is in another state. `at` epoch ms; `detail` a code, `reason` words."""

    stream: ClassVar[str] = "command"

    execution: str
    command: str
    state: str
    version: int
    at: int
    detail: str = ""
    reason: str = ""


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
    | TripChanged
    | StopChanged
    | ArrivalsEstimated
    | EstimatesMade
    | AlertRaised
    | NoticePosted
    | CommandChanged
)

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[AnyEvent] = msgspec.msgpack.Decoder(AnyEvent)


class _Head(msgspec.Struct):
    event: str


_HEAD = msgspec.msgpack.Decoder(_Head)


def name(body: bytes) -> str:
    """Which event it is, without reading it: a group passes by what none of its handlers takes.

    Raises msgspec.DecodeError on bytes that are no event.
    """
    return _HEAD.decode(body).event


class _Thing(msgspec.Struct, array_like=True):
    thing: str


class _Things(msgspec.Struct):
    samples: list[_Thing]


_THINGS = msgspec.msgpack.Decoder(_Things)


def things(body: bytes) -> set[str]:
    """Whose samples a TelemetryReceived has, without reading them. Raises msgspec.DecodeError."""
    return {each.thing for each in _THINGS.decode(body).samples}


def encode(event: Event) -> bytes:
    return _ENCODER.encode(event)


def decode(body: bytes) -> AnyEvent:
    """Raises msgspec.DecodeError on bytes that are no event of ours."""
    return _DECODER.decode(body)
