"""Table `idempotency`: a request's key, what was asked under it, and what was answered."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.types.json import Jsonb

from core import sql
from core.db import Database, Tx
from core.tenancy import TenantId

_SQL = sql.load("api.http")
_NO_TENANT = "!"
_ABANDONED_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a request's answer is kept: an actor's own key in a tenant, taken `at`. `key` is a hash, not the key."""

    tenant: TenantId | None
    actor: str
    key: str
    at: datetime

    def named(self, **more: object) -> dict[str, object]:
        return {
            "owner": self.tenant or _NO_TENANT,
            "actor": self.actor,
            "key": self.key,
            "at": self.at,
            **more,
        }


@dataclass(frozen=True, slots=True)
class Remembered:
    """`status` is None while the first request is at work."""

    request_hash: bytes
    status: int | None
    headers: Mapping[str, str]
    body: bytes


class RequestStore:
    """A tenant's rows go through its own door; those of an operator without a tenant through the operator's."""

    def __init__(self, app: Database, operator: Database, keep: timedelta) -> None:
        self._app = app
        self._operator = operator
        self._keep = keep

    async def reserve(self, slot: Slot, route: str, request_hash: bytes) -> Remembered | None:
        """Take the slot; or what is there already."""
        times = {"forgotten": slot.at - self._keep, "abandoned": slot.at - _ABANDONED_AFTER}
        async with self._door(slot) as tx:
            values = slot.named(route=route, request_hash=request_hash, **times)
            if await tx.one(_SQL["reserve"], values):
                return None
            row = await tx.one(_SQL["remembered"], slot.named())
        if row is None:  # released between the two statements: whoever had it did nothing
            return Remembered(request_hash, None, {}, b"")
        return Remembered(
            bytes(row["request_hash"]), row["status"], row["headers"] or {}, bytes(row["response"] or b"")
        )

    async def remember(self, slot: Slot, status: int, headers: Mapping[str, str], body: bytes) -> None:
        async with self._door(slot) as tx:
            await tx.execute(_SQL["remember"], slot.named(status=status, headers=Jsonb(dict(headers)), response=body))

    async def release(self, slot: Slot) -> None:
        """The request came to nothing that is worth remembering."""
        async with self._door(slot) as tx:
            await tx.execute(_SQL["release"], slot.named())

    async def forget(self, now: datetime) -> None:
        """Remove what is past its time, in all tenants."""
        async with self._operator.unscoped(reason="remembered requests of all tenants end") as tx:
            await tx.execute(_SQL["forget"], {"at": now - self._keep})

    def _door(self, slot: Slot) -> AbstractAsyncContextManager[Tx]:
        if slot.tenant is None:
            return self._operator.unscoped(reason="a request of an operator, who belongs to no tenant")
        return self._app.tenant(slot.tenant)
