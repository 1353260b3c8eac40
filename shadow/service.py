"""What a tenant may do with its devices' shadows, whoever asks: REST, rules, the command line, the desk."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from core import outbox, topics
from core.clock import Clock
from core.db import Database, TenantTx
from core.events import Issued, MessagesIssued
from core.settings import ShadowSettings
from core.tenancy import Thing
from shadow import last_known, model, store
from shadow.algebra import Tree
from shadow.errors import InvalidShadowRequest, ShadowMoved, ShadowVersionMoved, ThingNotFound
from shadow.model import NOTHING, Document, Key, Message, Outcome

_TRIES = 10

type Change = Callable[[Document, int], Outcome]
type Witness = Callable[[TenantTx, Tree], Awaitable[None]]
"""Told of a change in its own transaction, by the document that answers it."""


class Shadows(Protocol):
    """Who keeps the shadows: Milkrun itself, or AWS IoT (shadow.aws). Documents and errors are the same."""

    async def get(self, thing: Thing, name: str = "") -> Tree: ...

    async def update(
        self,
        thing: Thing,
        payload: bytes,
        name: str = "",
        *,
        expected: int | None = None,
        witness: Witness | None = None,
    ) -> Tree: ...

    async def delete(
        self, thing: Thing, name: str = "", *, expected: int | None = None, witness: Witness | None = None
    ) -> Tree: ...

    async def names(self, thing: Thing, *, after: str = "", limit: int = 100) -> list[str]: ...


class ShadowService:
    """The digital twin of each device: what it reports, what we want, what still differs.

    Answers are AWS IoT's documents; `name` is empty for the classic shadow. A change tells the device and whoever
    listens by the same messages as a change over MQTT. `expected` is the version the caller has seen.
    """

    def __init__(self, *, database: Database, settings: ShadowSettings, clock: Clock) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock

    async def get(self, thing: Thing, name: str = "") -> Tree:
        """The shadow with its delta. Raises ThingNotFound, ShadowNotFound, InvalidShadowRequest."""
        key = checked(thing, name)
        async with self._database.tenant(thing.tenant) as tx:
            if name == model.LAST_KNOWN:
                known = await store.last_known(tx, thing.device)
                if known is None:
                    raise ThingNotFound
                return last_known.answer(key, known, self._at_s())
            await require_device(tx, thing)
            documents = await store.load(tx, [key], lock=False)
        return model.get(key, documents.get(key, NOTHING), None, self._at_s()).answer

    async def update(
        self,
        thing: Thing,
        payload: bytes,
        name: str = "",
        *,
        expected: int | None = None,
        witness: Witness | None = None,
    ) -> Tree:
        """Lay an update request over the shadow; gives what the device reads as accepted.

        Raises ThingNotFound, InvalidShadowRequest, ShadowVersionConflict, ShadowVersionMoved, ShadowTooLarge,
        ShadowForbidden.
        """
        key = checked(thing, name)
        model.guard_last_known(key)
        request = model.read_update(model.read(payload))

        def change(before: Document, at_s: int) -> Outcome:
            _require_version(before, expected)
            return model.update(before, request, at_s, most_bytes=self._settings.document_bytes)

        return await self._change(key, change, witness)

    async def delete(
        self, thing: Thing, name: str = "", *, expected: int | None = None, witness: Witness | None = None
    ) -> Tree:
        """Forget the shadow; its version goes on.

        Raises ThingNotFound, ShadowNotFound, ShadowVersionMoved, ShadowForbidden.
        """
        key = checked(thing, name)
        model.guard_last_known(key)

        def change(before: Document, at_s: int) -> Outcome:
            outcome = model.delete(key, before, None, at_s)
            _require_version(before, expected)
            return outcome

        return await self._change(key, change, witness)

    async def names(self, thing: Thing, *, after: str = "", limit: int = 100) -> list[str]:
        """The device's named shadows by name, a page of those after `after`. Raises ThingNotFound."""
        async with self._database.tenant(thing.tenant) as tx:
            await require_device(tx, thing)
            return await store.names(tx, thing.device, after=after, limit=limit)

    async def _change(self, key: Key, change: Change, witness: Witness | None) -> Tree:
        """In one transaction the shadow and the news of it."""
        for _ in range(_TRIES):
            at = self._clock()
            try:
                async with self._database.tenant(key.thing.tenant) as tx:
                    await require_device(tx, key.thing)
                    before = (await store.load(tx, [key], lock=True)).get(key, NOTHING)
                    outcome = change(before, int(at.timestamp()))
                    await store.save(tx, {key: (before, outcome.document)}, at, searched=self._settings.search_leaves)
                    await outbox.add(tx, [news(key, outcome.messages)])
                    if witness is not None:
                        await witness(tx, outcome.answer)
            except ShadowMoved:  # two made it at the same time; the next look finds it there
                continue
            return outcome.answer
        raise ShadowMoved(f"shadow {key.name!r} of {key.thing} was written by others {_TRIES} times in a row")

    def _at_s(self) -> int:
        return int(self._clock().timestamp())


def news(key: Key, messages: tuple[Message, ...]) -> MessagesIssued:
    """The messages on their topics, as an event."""
    return MessagesIssued(
        thing=str(key.thing), messages=[Issued(key.topic(rest), payload) for rest, payload in messages]
    )


def checked(thing: Thing, name: str) -> Key:
    """Raises InvalidShadowRequest for what cannot be the name of a shadow."""
    if name and not topics.is_shadow_name(name):
        raise InvalidShadowRequest(
            f"shadow name {name[:80]!r} is not allowed: use 1 to 64 characters of A-Z, a-z, 0-9, '$', ':', '_' and '-'"
        )
    return Key(thing, name)


async def require_device(tx: TenantTx, thing: Thing) -> None:
    """Raises ThingNotFound."""
    if thing not in await store.statuses(tx, [thing]):
        raise ThingNotFound


def _require_version(before: Document, expected: int | None) -> None:
    if expected is not None and (not before.exists or before.version != expected):
        there = f"at version {before.version}" if before.exists else "not there"
        raise ShadowVersionMoved(f"this has changed: it is {there} now, not at version {expected}")
