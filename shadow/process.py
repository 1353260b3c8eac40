"""Builds the shadow process and runs it until it is told to stop; then settles what it holds and goes."""

import asyncio
from contextlib import suppress

from core import topics
from core.clock import utc_now
from core.db import Database
from core.mqtt.desk import Desk, DeskOptions
from core.settings import Settings
from core.worker import until_stopped
from shadow.handlers import ShadowClerk
from shadow.service import ShadowService

NAME = "svc-shadow"
_DRAIN_WITHIN_S = 20.0


async def run(settings: Settings) -> None:
    """One desk. What it does not settle in time stays with the broker and comes again."""
    shadow, database = settings.shadow, settings.database
    tenants = Database(database.app_url, pool_size=2, statement_timeout_s=database.statement_timeout_s)
    everyone = Database(database.operator_url, pool_size=2, statement_timeout_s=database.statement_timeout_s)
    async with tenants, everyone:
        service = ShadowService(database=tenants, settings=shadow, clock=utc_now)
        clerk = ShadowClerk(database=everyone, service=service, settings=shadow, clock=utc_now)
        options = DeskOptions(
            name=NAME,
            filters=topics.shadow_filters(),
            batch_requests=shadow.batch_requests,
            batch_wait_s=shadow.batch_wait_ms / 1000,
            receive_maximum=shadow.receive_maximum,
        )
        desk = Desk(settings.mqtt, options, clerk)

        async def drain() -> None:
            with suppress(TimeoutError):
                await asyncio.wait_for(desk.drain(), _DRAIN_WITHIN_S)

        await until_stopped(desk.run(), clerk.sweep(), before_cancel=drain)
