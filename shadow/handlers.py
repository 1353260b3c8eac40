"""The shadow service at its desk: devices' requests, a batch in one transaction, answered in AWS IoT's words."""

import asyncio
import hashlib
from collections import Counter as Tally
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from prometheus_client import Counter, Histogram
from psycopg import errors as pg

from core import dead_letters, events, topics
from core.bus import Entry
from core.clock import Clock
from core.db import Database, DatabaseUnavailable, Tx
from core.mqtt.desk import Message, Reply, Settled
from core.settings import ShadowSettings
from core.tenancy import Thing
from core.topics import ShadowVerb
from shadow import model, store
from shadow.algebra import Tree
from shadow.errors import (
    InvalidShadowRequest,
    ShadowFailed,
    ShadowForbidden,
    ShadowMoved,
    ShadowRefused,
    ThingNotFound,
    TooManyShadowRequests,
)
from shadow.model import NOTHING, Document, Key, Outcome
from shadow.service import ShadowService, news

REQUESTS = Counter("milkrun_shadow_requests_total", "Shadow requests of devices answered", ["verb", "result"])
BATCH = Histogram(
    "milkrun_shadow_batch_requests", "Requests a transaction took", buckets=(1, 2, 5, 10, 25, 50, 100, 500)
)
COMMIT = Histogram("milkrun_shadow_commit_seconds", "Time from taking a batch to its commit")
RETRIES = Counter("milkrun_shadow_retries_total", "Batches tried again", ["why"])
REPEATED = Counter("milkrun_shadow_repeated_total", "Requests delivered again that had been carried out already")

_ACTIVE = "active"
_STATUS_FOR_S = 5.0
_MOST_STATUSES = 100_000
_TOLD_WITHIN_S = 5.0
"""So long the desk has to tell its news before the relay does; an answer told twice is allowed, a lost one is not."""
_SWEEP_EVERY_S = 1.0
_log = structlog.get_logger()


@dataclass(slots=True)
class Asked:
    """A request on its way: whose, what, and at last what is said to it."""

    topic: str
    message: Message
    verb: ShadowVerb
    key: Key
    body: Tree
    token: str | None = None
    refused: ShadowRefused | None = None
    failure: Exception | None = None

    @property
    def mark(self) -> int:
        """Names the delivery: the broker repeats a message under its packet id."""
        digest = hashlib.blake2b(self.message.packet_id.to_bytes(2), digest_size=8)
        digest.update(self.message.topic)
        digest.update(self.message.payload)
        return int.from_bytes(digest.digest()) >> 1


@dataclass(slots=True)
class _Batch:
    """What one transaction found and made."""

    at: datetime
    documents: dict[Key, Document]
    changes: dict[Key, tuple[Document, Document]]
    replies: list[Reply]
    entries: list[Entry]
    last_known: list[Asked]


class ShadowClerk:
    """Settles what the desk brings. `database` sees every tenant, since a batch is of many; keys name the tenant."""

    def __init__(self, *, database: Database, service: ShadowService, settings: ShadowSettings, clock: Clock) -> None:
        self._database = database
        self._service = service
        self._settings = settings
        self._clock = clock
        self._told: list[int] = []
        self._statuses: dict[Thing, tuple[str | None, float]] = {}

    async def settle(self, requests: Sequence[Message], *, is_backlog: bool) -> Settled:
        """One answer or more for each request, in their order."""
        replies: list[Reply] = []
        asked = [each for message in requests if (each := self._read(message, replies)) is not None]
        if not is_backlog:
            # Refusing the newest of what piled up while we were away would leave the shadow behind the device.
            _refuse_too_many(asked, self._settings.inflight)
        BATCH.observe(len(requests))
        settled = await self._settle(asked)
        return Settled([*replies, *settled.replies], settled.receipts)

    def told(self, receipts: Sequence[int]) -> None:
        self._told += receipts

    async def sweep(self) -> None:
        """Remove told news when no batch comes to do it, until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_EVERY_S)
            told, self._told = self._told, []
            try:
                if told:
                    async with self._database.unscoped(reason="the outbox carries every tenant's news") as tx:
                        await store.drop_told(tx, told)
            except DatabaseUnavailable:
                self._told += told

    # --- reading --------------------------------------------------------------------------------------------------

    def _read(self, message: Message, replies: list[Reply]) -> Asked | None:
        topic = message.topic.decode("utf-8", "replace")
        try:
            request = topics.parse_shadow(topic)
        except topics.InvalidTopic:
            verb = ShadowVerb.UPDATE
            _, body = model.refusal(verb, InvalidShadowRequest("Invalid shadow name"), None, self._at_s())
            replies.append(Reply(f"{topic}/rejected", body))
            REQUESTS.labels(topic.rpartition("/")[2], "400").inc()
            return None
        asked = Asked(topic, message, request.verb, Key(request.thing, request.name), {})
        try:
            is_update = request.verb is ShadowVerb.UPDATE
            asked.body = model.read(message.payload) if is_update else model.read_leniently(message.payload)
            asked.token = model.token_of(asked.body)
            if request.verb is not ShadowVerb.GET:
                model.guard_last_known(asked.key)
        except ShadowRefused as error:
            asked.refused = error
        return asked

    # --- one transaction ------------------------------------------------------------------------------------------

    async def _settle(self, asked: list[Asked]) -> Settled:
        """Commit, whatever it takes: outages are waited out, a poisonous request is found and set aside."""
        pause = 0.05
        while True:
            try:
                with COMMIT.time():
                    return await self._commit(asked)
            except ShadowMoved:
                RETRIES.labels("moved").inc()
            except DatabaseUnavailable as error:
                RETRIES.labels("database").inc()
                _log.warning("shadow.waiting", error=str(error), requests=len(asked))
                await asyncio.sleep(pause)
                pause = min(5.0, pause * 2)
            except (pg.OperationalError, pg.ProgrammingError, pg.NotSupportedError, pg.InternalError):
                raise  # no request's fault: the process ends, is started anew, and the broker still has them all
            except Exception as error:  # noqa: BLE001  one request must not hold up the others, whatever is wrong with it
                RETRIES.labels("bad_request").inc()
                return await self._bisect(asked, error)

    async def _bisect(self, asked: list[Asked], error: Exception) -> Settled:
        if len(asked) > 1:
            middle = len(asked) // 2
            one, other = await self._settle(asked[:middle]), await self._settle(asked[middle:])
            return Settled([*one.replies, *other.replies], [*one.receipts, *other.receipts])
        if asked[0].failure is not None:
            raise error  # it is out of the way already: the fault is not in the request
        _log.error("shadow.failed", topic=asked[0].topic, error=repr(error))
        asked[0].refused, asked[0].failure = ShadowFailed(), error
        return await self._settle(asked)

    async def _commit(self, asked: list[Asked]) -> Settled:
        batch = _Batch(self._clock(), {}, {}, [], [], [])
        told, self._told = self._told, []
        receipts: list[int] = []
        try:
            async with self._database.unscoped(reason="a batch is of many tenants' devices") as tx:
                await self._identify(tx, asked)
                await self._load(tx, asked, batch)
                for each in asked:
                    self._answer(each, batch)
                await store.save(tx, batch.changes, batch.at, searched=self._settings.search_leaves)
                if batch.entries:
                    receipts.append(await store.add_news(tx, batch.entries, due_in_s=_TOLD_WITHIN_S))
                await store.drop_told(tx, told)
                await dead_letters.keep(tx, [_letter(each, batch.at) for each in asked if each.failure is not None])
        except BaseException:
            self._told += told
            raise
        for each in batch.last_known:
            batch.replies.append(await self._last_known(each))
        return Settled(batch.replies, receipts)

    async def _identify(self, tx: Tx, asked: Sequence[Asked]) -> None:
        """Who is not in service is refused. The registry's word is good for some seconds."""
        now = asyncio.get_running_loop().time()
        wanted = {each.key.thing for each in asked if self._statuses.get(each.key.thing, (None, 0.0))[1] < now}
        if wanted:
            if len(self._statuses) > _MOST_STATUSES:
                self._statuses.clear()
            found = await store.statuses(tx, wanted)
            self._statuses |= {thing: (found.get(thing), now + _STATUS_FOR_S) for thing in wanted}
        for each in asked:
            if each.refused is None:
                status = self._statuses[each.key.thing][0]
                if status != _ACTIVE:
                    each.refused = ThingNotFound() if status is None else ShadowForbidden()

    async def _load(self, tx: Tx, asked: Sequence[Asked], batch: _Batch) -> None:
        good = [each for each in asked if each.refused is None and each.key.name != model.LAST_KNOWN]
        changed = {each.key for each in good if each.verb is not ShadowVerb.GET}
        batch.documents = await store.load(tx, sorted(changed), lock=True)
        batch.documents |= await store.load(tx, sorted({each.key for each in good} - changed), lock=False)

    def _answer(self, asked: Asked, batch: _Batch) -> None:
        if asked.refused is None and asked.key.name == model.LAST_KNOWN:
            batch.last_known.append(asked)
            return
        before = batch.documents.get(asked.key, NOTHING)
        if asked.message.is_redelivery and asked.refused is None and asked.mark in before.recent:
            REPEATED.inc()  # carried out before a crash; its news is in the outbox
            return
        at_s = int(batch.at.timestamp())
        try:
            if asked.refused is not None:
                raise asked.refused
            outcome = HANDLERS[asked.verb](asked, before, at_s, self._settings)
        except ShadowRefused as error:
            rest, payload = model.refusal(asked.verb, error, asked.token, at_s)
            batch.replies.append(Reply(asked.key.topic(rest), payload))
            REQUESTS.labels(asked.verb.value, str(error.aws_code)).inc()
            return
        REQUESTS.labels(asked.verb.value, "accepted").inc()
        event = news(asked.key, outcome.messages)
        batch.replies += [Reply(each.topic, each.payload) for each in event.messages]
        if outcome.document is not before:
            first = batch.changes[asked.key][0] if asked.key in batch.changes else before
            after = outcome.document.remembering(asked.mark, first)
            batch.documents[asked.key] = after
            batch.changes[asked.key] = first, after
            batch.entries.append(Entry(event.stream, event.key, events.encode(event)))

    async def _last_known(self, asked: Asked) -> Reply:
        at_s = self._at_s()
        try:
            answer = await self._service.get(asked.key.thing, asked.key.name)
        except (ShadowRefused, DatabaseUnavailable) as error:
            refused = error if isinstance(error, ShadowRefused) else ShadowFailed()
            rest, payload = model.refusal(asked.verb, refused, asked.token, at_s)
            return Reply(asked.key.topic(rest), payload)
        token = {} if asked.token is None else {"clientToken": asked.token}
        return Reply(asked.key.topic("get/accepted"), model.encode({**answer, **token}))

    def _at_s(self) -> int:
        return int(self._clock().timestamp())


def _refuse_too_many(asked: Sequence[Asked], most: int) -> None:
    seen = Tally[Thing]()
    for each in asked:
        seen[each.key.thing] += 1
        if seen[each.key.thing] > most:
            each.refused = TooManyShadowRequests()


def _letter(asked: Asked, at: datetime) -> dead_letters.DeadLetter:
    return dead_letters.DeadLetter(
        tenant=asked.key.thing.tenant,
        received_at=at.isoformat(),
        source="mqtt",
        topic=asked.topic,
        thing=str(asked.key.thing),
        reason="shadow_failed",
        detail=repr(asked.failure)[:1000].replace("\0", ""),
        payload=asked.message.payload,
    )


def _get(asked: Asked, before: Document, at_s: int, _settings: ShadowSettings) -> Outcome:
    return model.get(asked.key, before, asked.token, at_s)


def _update(asked: Asked, before: Document, at_s: int, settings: ShadowSettings) -> Outcome:
    return model.update(before, model.read_update(asked.body), at_s, most_bytes=settings.document_bytes)


def _delete(asked: Asked, before: Document, at_s: int, _settings: ShadowSettings) -> Outcome:
    return model.delete(asked.key, before, asked.token, at_s)


HANDLERS: Mapping[ShadowVerb, Callable[[Asked, Document, int, ShadowSettings], Outcome]] = {
    ShadowVerb.GET: _get,
    ShadowVerb.UPDATE: _update,
    ShadowVerb.DELETE: _delete,
}
