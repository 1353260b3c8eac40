"""The use cases of shadow.service where AWS IoT keeps the shadows."""

from typing import Protocol

from core.clock import Clock
from core.db import Database
from core.settings import ShadowSettings
from core.tenancy import Thing
from shadow import model
from shadow.algebra import Tree
from shadow.errors import ShadowVersionConflict, ShadowVersionMoved
from shadow.model import Key
from shadow.service import ShadowService, Witness, checked, require_device


class DataPlane(Protocol):
    """`shadow.aws.client.IotData`, as seen from here."""

    async def get(self, key: Key) -> Tree: ...

    async def update(self, key: Key, payload: bytes) -> Tree: ...

    async def delete(self, key: Key) -> Tree: ...


class AwsShadows:
    """As ShadowService, of which it keeps what AWS does not know: which devices there are, and `$milkrun`.

    AWS tells devices and listeners by itself. A change is AWS's own transaction: the audit log is written after it.
    """

    def __init__(self, *, plane: DataPlane, database: Database, settings: ShadowSettings, clock: Clock) -> None:
        self._plane = plane
        self._database = database
        self._local = ShadowService(database=database, settings=settings, clock=clock)

    async def get(self, thing: Thing, name: str = "") -> Tree:
        """Raises ThingNotFound, ShadowNotFound, InvalidShadowRequest, AwsUnavailable."""
        key = checked(thing, name)
        if name == model.LAST_KNOWN:
            return await self._local.get(thing, name)
        await self._require(thing)
        return await self._plane.get(key)

    async def update(
        self,
        thing: Thing,
        payload: bytes,
        name: str = "",
        *,
        expected: int | None = None,
        witness: Witness | None = None,
    ) -> Tree:
        """What is wrong by itself is refused here, in AWS's words; the version and the size are for AWS to judge.

        Raises ThingNotFound, InvalidShadowRequest, ShadowVersionConflict, ShadowVersionMoved, ShadowTooLarge,
        ShadowForbidden, TooManyShadowRequests, AwsUnavailable.
        """
        key = checked(thing, name)
        model.guard_last_known(key)
        body = model.read(payload)
        request = model.read_update(body)
        await self._require(thing)
        if expected is not None:
            if request.version not in {None, expected}:
                raise ShadowVersionConflict
            payload = model.encode({**body, "version": expected})
        try:
            answer = await self._plane.update(key, payload)
        except ShadowVersionConflict as error:
            if expected is None:
                raise
            raise ShadowVersionMoved(f"this has changed: it is not at version {expected} any more") from error
        await self._witnessed(thing, answer, witness)
        return answer

    async def delete(
        self, thing: Thing, name: str = "", *, expected: int | None = None, witness: Witness | None = None
    ) -> Tree:
        """AWS deletes whatever version there is: one made between our look at `expected` and the deletion goes, too.

        Raises ThingNotFound, ShadowNotFound, ShadowVersionMoved, ShadowForbidden, AwsUnavailable.
        """
        key = checked(thing, name)
        model.guard_last_known(key)
        await self._require(thing)
        if expected is not None and (there := (await self._plane.get(key))["version"]) != expected:
            raise ShadowVersionMoved(f"this has changed: it is at version {there} now, not at version {expected}")
        answer = await self._plane.delete(key)
        await self._witnessed(thing, answer, witness)
        return answer

    async def names(self, thing: Thing, *, after: str = "", limit: int = 100) -> list[str]:
        """From the mirror, which is some moments behind. Raises ThingNotFound."""
        return await self._local.names(thing, after=after, limit=limit)

    async def _require(self, thing: Thing) -> None:
        async with self._database.tenant(thing.tenant) as tx:
            await require_device(tx, thing)

    async def _witnessed(self, thing: Thing, answer: Tree, witness: Witness | None) -> None:
        if witness is not None:
            async with self._database.tenant(thing.tenant) as tx:
                await witness(tx, answer)
