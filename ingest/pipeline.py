"""The visible pipeline: what happens to a message before it is written, one small step after the other.

A step that refuses raises `Reject`; a step that cannot say yet, because the store must be asked about the sender first,
raises `Unidentified`. Nothing is dropped in silence: whoever runs the pipeline keeps what was refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import msgspec
import structlog

from core import topics
from core.mqtt import Message
from core.settings import IngestSettings
from core.telemetry import DeviceEvent, Sample
from ingest.decoders import DECODERS, Decoder, event
from ingest.gate import ACTIVE, Known, Registry
from ingest.reasons import Reason, Reject, Rejection, printable
from ingest.validate import check

_MAX_ROUTES = 200_000
_log = structlog.get_logger()


class AckSink(Protocol):
    """Where a message came from, where its acknowledgement goes, and what is asked to wait when we are behind."""

    def ack(self, packet_ids: Sequence[int]) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class Unidentified(Exception):
    """The sender is not in memory; ask the store and run the pipeline again."""


@dataclass(frozen=True, slots=True)
class Route:
    """What a topic means; worked out once per topic, since a device uses the same one for life."""

    inbound: topics.Inbound
    name: str
    decoder: Decoder | None


@dataclass(slots=True)
class Replay:
    """A dead letter on its way again: what became of its samples, told by the batch that commits it."""

    reason: str
    """Why it was refused the first time."""
    stored: int = 0
    present: int = 0
    """Stored before: nothing was left to do."""
    refused: list[Rejection] = field(default_factory=list)

    def begin(self) -> None:
        """A batch may be judged more than once; its last judgement counts."""
        self.stored = self.present = 0
        self.refused.clear()


@dataclass(slots=True)
class Inflight:
    """A message on its way through the pipeline."""

    message: Message
    source: AckSink
    received_ms: int
    now_s: float
    route: Route | None = None
    known: Known | None = None
    samples: Sequence[Sample] = ()
    event: DeviceEvent | None = None
    rejected: Sequence[Rejection] = ()
    refused: Sequence[tuple[str, int]] = ()
    """Boot and seq of further samples in a message that was refused as a whole."""
    unkept: bool = False
    """Refused without a dead letter (a flood): counted, and its seq is not confirmed as durable."""
    replay: Replay | None = None
    is_part: bool = False
    """Not the whole message: its samples were parted to find the one the database refuses."""


@dataclass(slots=True)
class Context:
    settings: IngestSettings
    registry: Registry
    routes: dict[bytes, Route] = field(default_factory=dict)


def parse_topic(flight: Inflight, context: Context) -> None:
    route = context.routes.get(flight.message.topic)
    if route is None:
        try:
            inbound = topics.parse_inbound(flight.message.topic.decode())
        except (topics.InvalidTopic, UnicodeDecodeError) as error:
            raise Reject(Reason.BAD_TOPIC, str(error)) from error
        decoder = None if inbound.kind is topics.Kind.EVENT else DECODERS[inbound.format]
        route = Route(inbound, str(inbound.thing), decoder)
        if len(context.routes) >= _MAX_ROUTES:
            context.routes.clear()
        context.routes[flight.message.topic] = route
    flight.route = route


def identify(flight: Inflight, context: Context) -> None:
    assert flight.route is not None
    known = context.registry.get(flight.route.name, flight.now_s)
    if known is None:
        raise Unidentified
    flight.known = known
    if known.status != ACTIVE:
        if known.status is None:
            raise Reject(Reason.UNKNOWN_THING, f"{known.name} is not registered")
        raise Reject(Reason.INACTIVE_THING, f"{known.name} is {known.status}; only an active device may send")


def decode(flight: Inflight, context: Context) -> None:
    assert flight.route is not None
    payload = flight.message.payload
    if len(payload) > context.settings.max_payload_bytes:
        raise Reject(
            Reason.TOO_LARGE, f"{len(payload)} bytes; a message has at most {context.settings.max_payload_bytes}"
        )
    if flight.route.decoder is None:
        flight.event = event.decode(payload)
        return
    flight.samples, rejected = flight.route.decoder(payload, context.settings.max_samples)
    if rejected:
        flight.rejected = rejected
    if len(flight.samples) > context.settings.max_samples:
        raise Reject(
            Reason.TOO_MANY_SAMPLES,
            f"{len(flight.samples)} samples; a message carries at most {context.settings.max_samples}",
        )


def validate(flight: Inflight, context: Context) -> None:
    now_ms, settings = flight.received_ms, context.settings
    if flight.event is not None:
        verdict = check(as_sample(flight.event), now_ms, settings)
        if verdict is not None:
            flight.event = None
            flight.rejected = (*flight.rejected, verdict)
        return
    samples = flight.samples
    for at, sample in enumerate(samples):
        verdict = check(sample, now_ms, settings)
        if verdict is not None:
            flight.samples = _sift(flight, samples, at, verdict, settings)
            return


def throttle(flight: Inflight, context: Context) -> None:
    known = flight.known
    assert known is not None
    assert known.tenant is not None
    settings = context.settings
    if not known.limit.take(flight.now_s):
        flight.unkept = not known.letters.take(flight.now_s)
        raise Reject(Reason.THROTTLED_DEVICE, f"over {settings.device_rate:g} messages a second for this device")
    if not known.tenant.limit.take(flight.now_s):
        flight.unkept = not known.letters.take(flight.now_s)
        raise Reject(Reason.THROTTLED_TENANT, f"over {settings.tenant_rate:g} messages a second for this tenant")


PIPELINE: tuple[Callable[[Inflight, Context], None], ...] = (parse_topic, identify, decode, validate, throttle)
"""Behind these come the two steps that work on whole batches: write (ingest.store) and announce (ingest.service)."""


def run(flight: Inflight, context: Context) -> None:
    """Take a message through the pipeline; a refusal of the whole ends in `flight.rejected`. Raises Unidentified."""
    try:
        for step in PIPELINE:
            step(flight, context)
    except Reject as refusal:
        refuse_whole(flight, refusal.rejection)
    except Unidentified:
        raise
    except Exception as error:  # noqa: BLE001  a fault of ours on one payload must not end the connection of all others
        _log.exception("ingest.fault", topic=flight.message.topic.decode("utf-8", "replace"))
        refuse_whole(flight, Rejection(Reason.POISON_ROW, printable(f"a fault of Milkrun's own: {error!r}")))


def _sift(
    flight: Inflight, samples: Sequence[Sample], first: int, verdict: Rejection, settings: IngestSettings
) -> list[Sample]:
    """The samples that pass, when number `first` does not; each refused one is kept as a part of its own."""
    kept, refused = list(samples[:first]), list(flight.rejected)
    whole = len(samples) == 1 and not flight.rejected
    for at in range(first, len(samples)):
        sample = samples[at]
        found = verdict if at == first else check(sample, flight.received_ms, settings)
        if found is None:
            kept.append(sample)
        else:
            refused.append(found if whole else part(found, sample))
    flight.rejected = refused
    return kept


def part(verdict: Rejection, sample: Sample) -> Rejection:
    """The verdict on one sample of several: the dead letter holds that sample, as native JSON, and not the message."""
    return replace(verdict, payload=msgspec.json.encode(sample))


def refuse_whole(flight: Inflight, verdict: Rejection) -> None:
    """Refuse the message with everything in it; samples that were read already are refused under their own names."""
    named = [s for s in (*flight.samples, *([as_sample(flight.event)] if flight.event else [])) if s.seq is not None]
    flight.samples, flight.event = (), None
    flight.rejected = (
        *flight.rejected,
        replace(verdict, boot=named[0].boot, seq=named[0].seq) if named else verdict,
    )
    flight.refused = [(s.boot, s.seq) for s in named[1:] if s.seq is not None]


def halves(flight: Inflight) -> tuple[Inflight, Inflight]:
    """The message as two, to be settled one after the other; the second carries its acknowledgement."""
    middle = len(flight.samples) // 2
    unacknowledged = msgspec.structs.replace(flight.message, packet_id=0)
    first = replace(flight, message=unacknowledged, samples=flight.samples[:middle], is_part=True)
    return first, replace(flight, samples=flight.samples[middle:], rejected=(), refused=(), is_part=True)


def as_sample(report: DeviceEvent) -> Sample:
    """An event's name and time, for what judges samples."""
    return Sample(ts=report.ts, boot=report.boot, seq=report.seq)
