"""Dead letters, looked at and run through the pipeline again."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import msgspec
from psycopg.rows import DictRow

from core import topics
from core.bus import Bus
from core.clock import Clock, epoch_ms, utc_now
from core.db import Database, Tx
from core.mqtt import Message
from core.settings import Settings
from core.telemetry import Sample
from ingest.errors import NoSuchLetter, NotReplayable
from ingest.history.export import QUERIES
from ingest.reasons import Rejection
from ingest.service import IngestService

_PAGE = 1000
_SOURCE = "mqtt"
_decode_sample = msgspec.json.Decoder(Sample).decode


@dataclass(frozen=True, slots=True)
class Letter:
    """A refused message. `tenant` is `!` where the topic named none of ours; `source` is `mqtt` or a bus stream."""

    id: int
    tenant: str
    received_at: datetime
    source: str
    topic: str
    thing: str | None
    reason: str
    detail: str
    payload: bytes
    replayed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Envelope:
    """A letter without its payload, which has `size` bytes."""

    id: int
    tenant: str
    received_at: datetime
    source: str
    topic: str
    thing: str | None
    reason: str
    detail: str
    size: int
    replayed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which letters; None: whichever. From `since` to before `until`."""

    tenant: str | None = None
    reason: str | None = None
    thing: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    replayed: bool | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a replayed letter, in samples (or events): newly stored, there before, refused again."""

    letter: Letter
    stored: int
    present: int
    refused: Sequence[Rejection]

    @property
    def is_settled(self) -> bool:
        """Nothing of it was refused again."""
        return not self.refused


async def listed(
    tx: Tx, *, tenant: str | None = None, reason: str | None = None, since: datetime | None = None, limit: int
) -> list[Letter]:
    """Letters newest first, for the operator's login."""
    params = {"tenant": tenant, "reason": reason, "since": since, "limit": limit}
    return [_letter(row) for row in await tx.all(QUERIES["list_letters"], params)]


async def page(tx: Tx, wanted: Wanted, *, after: tuple[datetime, int] | None, limit: int) -> list[Envelope]:
    """Letters newest first, those after the place `after`; a tenant's transaction sees its own alone."""
    at, id_ = after or (None, 0)
    params = {**asdict(wanted), "after_at": at, "after_id": id_, "limit": limit}
    return [
        Envelope(**{("tenant" if name == "tenant_id" else name): value for name, value in row.items()})
        for row in await tx.all(QUERIES["page_of_letters"], params)
    ]


async def open_ids(tx: Tx, *, reason: str, tenant: str | None = None, limit: int) -> list[int]:
    """Ids of the oldest letters of a reason that were not replayed yet."""
    params = {"reason": reason, "tenant": tenant, "limit": limit}
    return [row["id"] for row in await tx.all(QUERIES["open_letter_ids"], params)]


async def load(tx: Tx, ids: Sequence[int]) -> list[Letter]:
    """The letters with these ids, oldest first. Raises NoSuchLetter naming those that are not there."""
    found = [_letter(row) for row in await tx.all(QUERIES["load_letters"], {"ids": list(ids)})]
    if missing := sorted({*ids} - {letter.id for letter in found}):
        raise NoSuchLetter(f"there is no dead letter {', '.join(map(str, missing))}")
    return found


async def waiting(operator: Database, *, reason: str, tenant: str | None = None) -> AsyncGenerator[list[Letter]]:
    """Pages of the letters of a reason that were not replayed yet, oldest first."""
    after = 0
    while True:
        async with operator.unscoped(reason="dead letters of every tenant are replayed") as tx:
            params = {"reason": reason, "tenant": tenant, "after": after, "limit": _PAGE}
            page = [_letter(row) for row in await tx.all(QUERIES["open_letters"], params)]
        if not page:
            return
        yield page
        after = page[-1].id


async def replay(
    letters: Sequence[Letter], *, settings: Settings, ingest: Database, operator: Database, clock: Clock = utc_now
) -> list[Outcome]:
    """Run the payloads through the pipeline again, commit, and mark those of which nothing was refused.

    May be repeated: what is stored stays stored once. A letter refused again stays as it is and makes no second one.
    Raises NotReplayable.
    """
    if foreign := [letter for letter in letters if letter.source != _SOURCE]:
        raise NotReplayable(
            f"dead letter {foreign[0].id} is of the stream {foreign[0].source}: only device messages are replayed"
        )
    bus = Bus(settings.redis, settings.bus)
    service = IngestService(
        settings=settings.ingest, database=ingest, bus=bus, clock=clock, send_acks=lambda _acks: None
    )
    nobody = _Nobody()
    running = []
    for letter in letters:
        message = Message(_topic(letter).encode(), letter.payload, 0)
        received_ms = epoch_ms(letter.received_at)
        running.append(service.replay(message, nobody, received_ms=received_ms, reason=letter.reason))
    await _settle(service)
    await bus.close()
    outcomes = [Outcome(o, r.stored, r.present, tuple(r.refused)) for o, r in zip(letters, running, strict=True)]
    done = [outcome.letter for outcome in outcomes if outcome.is_settled]
    async with operator.unscoped(reason="dead letters of every tenant are marked") as tx:
        marks = {"at": clock(), "tenants": [o.tenant for o in done], "ids": [o.id for o in done]}
        await tx.execute(QUERIES["mark_replayed"], marks)
    return outcomes


async def _settle(service: IngestService) -> None:
    writer = asyncio.create_task(service.run())
    drained = asyncio.create_task(service.drain())
    try:
        await asyncio.wait({writer, drained}, return_when=asyncio.FIRST_COMPLETED)
        if writer.done():
            writer.result()
    finally:
        writer.cancel()
        drained.cancel()
        await asyncio.gather(writer, drained, return_exceptions=True)


class _Nobody:
    """Where a replayed message came from: its broker was answered long ago."""

    def ack(self, packet_ids: Sequence[int]) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


def _topic(letter: Letter) -> str:
    """The letter's topic; native telemetry for a single sample that was refused out of a message of another format."""
    try:
        inbound = topics.parse_inbound(letter.topic)
    except topics.InvalidTopic:
        return letter.topic
    if inbound.kind is topics.Kind.TELEMETRY and inbound.format is not topics.Format.JSON:
        try:
            _decode_sample(letter.payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return letter.topic
        return topics.telemetry(inbound.thing)
    return letter.topic


def _letter(row: DictRow) -> Letter:
    return Letter(
        id=row["id"],
        tenant=row["tenant_id"],
        received_at=row["received_at"],
        source=row["source"],
        topic=row["topic"],
        thing=row["thing"],
        reason=row["reason"],
        detail=row["detail"],
        payload=bytes(row["payload"]),
        replayed_at=row["replayed_at"],
    )
