"""Everything live of one process, built in one place."""

import asyncio
from collections.abc import Mapping

from api.http.security import Authenticator
from api.live import store
from api.live.guard import Guard
from api.live.publisher import Publisher
from api.live.stream.hub import Hub
from api.live.stream.snapshots import Line
from api.live.tickets import Tickets
from api.sites import SiteView
from core.bus import Bus
from core.channels import Admission, Channels
from core.clock import Clock
from core.db import Database
from core.settings import Settings
from core.tenancy import TenantId
from core.worker import Worker

GROUP = "live"
_TAKE_OVER_AFTER_S = 5.0
"""After this the others take over the partitions of a process that was killed; live has less patience than most."""


class DatabaseState:
    """What snapshots and label filters are made of, through the tenant's door."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def vehicles(self, tenant: TenantId) -> list[Line]:
        async with self._database.tenant(tenant) as tx:
            return list(await store.vehicles(tx))

    async def trip(self, tenant: TenantId, trip: str) -> list[Line]:
        async with self._database.tenant(tenant) as tx:
            found = await store.trip(tx, trip)
        return [] if found is None else [found]

    async def has_trip(self, tenant: TenantId, trip: str) -> bool:
        async with self._database.tenant(tenant) as tx:
            return await store.has_trip(tx, trip)

    async def labels(self, tenant: TenantId) -> Mapping[str, Mapping[str, object]]:
        async with self._database.tenant(tenant) as tx:
            return await store.labels(tx)


class Live:
    """`run` until cancelled, `drain` when the process is about to stop, `close` at the end."""

    def __init__(
        self,
        *,
        settings: Settings,
        bus: Bus,
        app: Database,
        operator: Database,
        rights: Authenticator,
        clock: Clock,
        sites: SiteView,
    ) -> None:
        self._channels = Channels(settings.redis, settings.live)
        self._admission = Admission(settings.redis, settings.live)
        self._publisher = Publisher(self._channels, app, clock)
        patience = min(settings.bus.reclaim_after_s, _TAKE_OVER_AFTER_S)
        self._worker = Worker(
            group=GROUP,
            handlers=self._publisher.handlers(),
            bus=bus,
            database=operator,
            settings=settings.bus.model_copy(update={"reclaim_after_s": patience}),
        )
        self.tickets = Tickets(app=app, operator=operator, clock=clock)
        self.hub = Hub(
            channels=self._channels,
            state=DatabaseState(app),
            site_view=sites,
            settings=settings.live,
            clock=clock,
        )
        self.guard = Guard(hub=self.hub, admission=self._admission, rights=rights, settings=settings.live, clock=clock)

    async def run(self) -> None:
        """Publish, follow and guard until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for part in (self._publisher.run(), self._worker.run(), self.hub.run(), self.guard.run()):
                tasks.create_task(part)

    def drain(self) -> None:
        """Send all clients away, each with its own time to come back."""
        self.guard.drain()

    async def close(self) -> None:
        await self._channels.close()
        await self._admission.close()
