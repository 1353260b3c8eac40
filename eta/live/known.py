"""What is known of each tenant's roads and times in this process, kept up with what any process has learned."""

import asyncio
import time
from dataclasses import dataclass, field

import structlog

from core.db import Database, TenantTx
from core.tenancy import TenantId
from eta.engine.fleet import Fleet
from eta.live import knowledge, store

_RENEW_S = 300.0
_REFRESH_S = 30.0
_UNUSED_S = 3600.0
_log = structlog.get_logger()


@dataclass(slots=True)
class Knowledge:
    """A tenant's fleet as its lessons up to `lesson` have made it."""

    fleet: Fleet
    lesson: int = 0
    looked_at: float = float("-inf")
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Known:
    """Knowledge by tenant, loaded when it is first asked for."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[TenantId, Knowledge] = {}

    async def of(self, tenant: TenantId) -> Fleet:
        """The tenant's fleet, half a minute behind at most. Raises DatabaseUnavailable."""
        known = self._known.setdefault(tenant, Knowledge(Fleet(renew_s=_RENEW_S)))
        if time.monotonic() - known.looked_at > _REFRESH_S:
            async with known.lock:
                if time.monotonic() - known.looked_at > _REFRESH_S:
                    async with self._database.tenant(tenant) as tx:
                        await self.catch_up(tx)
        return known.fleet

    async def catch_up(self, tx: TenantTx) -> Knowledge:
        """Take the lessons that came since, in their order."""
        known = self._known.setdefault(tx.tenant, Knowledge(Fleet(renew_s=_RENEW_S)))
        rows = await store.lessons(tx, known.lesson)
        if rows:
            knowledge.take_roads(known.fleet, await store.leg_roads(tx, known.lesson))
        for row in rows:
            if row["lesson"]:
                lesson = knowledge.decode(row["lesson"])
                knowledge.take(known.fleet, row["trip_id"], row["route_id"], lesson)
            known.lesson = row["lesson_id"]
        known.looked_at = time.monotonic()
        return known

    def forget(self, tenant: TenantId) -> None:
        self._known.pop(tenant, None)

    def forget_unused(self) -> None:
        """Tenants none of whose trips was followed for an hour are loaded again when one is."""
        for tenant, known in list(self._known.items()):
            if not known.fleet.trips and time.monotonic() - known.looked_at > _UNUSED_S:
                del self._known[tenant]
