"""What AWS IoT says of shadows, kept here as well: the search reads it, and a shadow outlives a move away from AWS.

The news is read at a desk, so it is acknowledged after the commit and comes again after a crash. What was said while
nobody was there for longer than AWS keeps a session is found by reading all shadows, at the start and once a day.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Protocol

import msgspec
import structlog
from prometheus_client import Counter

from core import dead_letters, topics
from core.clock import Clock
from core.db import Database, DatabaseUnavailable
from core.errors import MilkrunError
from core.mqtt.desk import Message, Settled
from core.settings import ShadowSettings
from core.tenancy import Thing
from shadow import algebra, model, store
from shadow.algebra import Tree
from shadow.errors import ShadowMoved, ShadowNotFound
from shadow.model import NOTHING, Document, Key, Section

MIRRORED = Counter("milkrun_shadow_mirrored_total", "Changes that AWS IoT told, by what became of them", ["result"])
_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 5.0
_PAGE = 200
_log = structlog.get_logger()


class Source(Protocol):
    """AWS's data plane, as seen from here."""

    async def get(self, key: Key) -> Tree: ...

    async def names(self, key: Key) -> list[str]: ...


class ShadowMirror:
    """Sits at the desk in the clerk's place. `database` sees every tenant: a batch is of many."""

    def __init__(self, *, database: Database, source: Source, settings: ShadowSettings, clock: Clock) -> None:
        self._database = database
        self._source = source
        self._settings = settings
        self._clock = clock

    async def settle(self, requests: Sequence[Message], *, is_backlog: bool) -> Settled:
        """The newest of each shadow, in one transaction."""
        del is_backlog
        told: dict[Key, Document] = {}
        letters = []
        for message in requests:
            try:
                key, document = read_news(message.topic, message.payload)
            except (ValueError, msgspec.ValidationError, MilkrunError) as error:
                letters.append(self._letter(message, error))
                continue
            told[key] = newer(told.get(key, NOTHING), document)
        await self._keep(told, letters)
        return Settled([])

    def told(self, receipts: Sequence[int]) -> None:
        del receipts  # nothing is answered

    async def refresh(self) -> None:
        """Read all shadows of all devices, and again after a while, until cancelled."""
        while True:
            try:
                await self._read_all()
            except DatabaseUnavailable as error:
                _log.warning("shadow.waiting", error=str(error))
                await asyncio.sleep(_LONGEST_PAUSE_S)
            else:
                await asyncio.sleep(self._settings.aws_refresh_s)

    async def _read_all(self) -> None:
        async for thing in self._things():
            try:
                await self._read(thing)
            except DatabaseUnavailable:
                raise
            except (ValueError, msgspec.ValidationError, MilkrunError) as error:
                MIRRORED.labels("unread").inc()
                _log.warning("shadow.not_read", thing=str(thing), error=str(error))

    async def _read(self, thing: Thing) -> None:
        found: dict[Key, Document] = {}
        for name in ("", *await self._names(thing)):
            key = Key(thing, name)
            try:
                found[key] = document_of(await self._source.get(key))
            except ShadowNotFound:
                continue
        await self._keep(found, [])

    async def _names(self, thing: Thing) -> list[str]:
        """What AWS lists and what is mirrored; the mirror alone where AWS does not list."""
        async with self._database.unscoped(reason="the mirror is of every tenant") as tx:
            known = await store.names_of(tx, thing)
        try:
            return sorted({*known, *await self._source.names(Key(thing, ""))})
        except MilkrunError as error:
            _log.warning("shadow.names_not_read", thing=str(thing), error=str(error))
            return known

    async def _things(self) -> AsyncIterator[Thing]:
        after: Thing | None = None
        while True:
            async with self._database.unscoped(reason="the mirror is of every tenant") as tx:
                page = await store.things(tx, after=after, limit=_PAGE)
            for thing in page:
                yield thing
            if len(page) < _PAGE:
                return
            after = page[-1]

    async def _keep(self, told: Mapping[Key, Document], letters: Sequence[dead_letters.DeadLetter]) -> None:
        pause = _PAUSE_S
        while True:
            try:
                await self._commit(told, letters)
            except ShadowMoved:
                continue
            except DatabaseUnavailable as error:
                _log.warning("shadow.waiting", error=str(error), changes=len(told))
                await asyncio.sleep(pause)
                pause = min(_LONGEST_PAUSE_S, pause * 2)
            else:
                return

    async def _commit(self, told: Mapping[Key, Document], letters: Sequence[dead_letters.DeadLetter]) -> None:
        async with self._database.unscoped(reason="the mirror is of every tenant") as tx:
            known = await store.statuses(tx, {key.thing for key in told})
            ours = {key: document for key, document in told.items() if key.thing in known}
            before = await store.load(tx, sorted(ours), lock=True)
            changes = {
                key: (before.get(key, NOTHING), document)
                for key, document in ours.items()
                if newer(before.get(key, NOTHING), document) is document
            }
            await store.save(tx, changes, self._clock(), searched=self._settings.search_leaves)
            await dead_letters.keep(tx, letters)
        MIRRORED.labels("kept").inc(len(changes))
        MIRRORED.labels("known").inc(len(ours) - len(changes))
        MIRRORED.labels("unknown_device").inc(len(told) - len(ours))
        MIRRORED.labels("unreadable").inc(len(letters))

    def _letter(self, message: Message, error: Exception) -> dead_letters.DeadLetter:
        topic = message.topic.decode("utf-8", "replace").replace("\0", "")
        return dead_letters.DeadLetter(
            tenant=dead_letters.UNATTRIBUTED,
            received_at=self._clock().isoformat(),
            source="mqtt",
            topic=topic,
            thing=None,
            reason="shadow_failed",
            detail=repr(error)[:1000].replace("\0", ""),
            payload=message.payload,
        )


class _Deleted(msgspec.Struct, frozen=True):
    version: Annotated[int, msgspec.Meta(gt=0)]


class _Whole(_Deleted, frozen=True):
    state: dict[str, dict[str, Any]]
    metadata: dict[str, dict[str, Any]] = {}


class _Changed(msgspec.Struct, frozen=True):
    current: _Whole


def read_news(topic: bytes, payload: bytes) -> tuple[Key, Document]:
    """The shadow that a message of AWS tells of, as it is after the change.

    Raises UnicodeDecodeError, InvalidTopic, ShadowRefused, msgspec.ValidationError, ValueError.
    """
    news = topics.parse_shadow_news(topic.decode())
    key, body = Key(news.thing, news.name), model.read(payload)
    if news.is_deletion:
        return key, Document(version=msgspec.convert(body, _Deleted).version)
    return key, _document(msgspec.convert(body, _Changed).current)


def document_of(said: Tree) -> Document:
    """A shadow from AWS's answer to a get. Raises msgspec.ValidationError, ValueError."""
    return _document(msgspec.convert(said, _Whole))


def _document(said: _Whole) -> Document:
    """Its delta is told anew where it is needed."""
    if not algebra.is_storable(said.state):
        raise ValueError("a state with a null in an array or the character NUL cannot be kept")
    desired, reported = (
        Section(said.state.get(name, {}), said.metadata.get(name, {})) for name in ("desired", "reported")
    )
    return Document(version=said.version, exists=True, desired=desired, reported=reported)


def newer(one: Document, other: Document) -> Document:
    """Of two, by version. A deletion names the version that it ended, so it comes after a document of that version."""
    if other.version == one.version:
        return other if one.exists and not other.exists else one
    return other if other.version > one.version else one
