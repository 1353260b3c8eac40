"""Builds the shadow process and runs it until it is told to stop; then settles what it holds and goes."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from core import topics
from core.clock import utc_now
from core.db import Database
from core.mqtt.desk import Desk, DeskOptions
from core.settings import Settings, ShadowSettings
from core.worker import until_stopped
from shadow.aws.mirror import ShadowMirror
from shadow.aws.mode import data_plane
from shadow.handlers import ShadowClerk
from shadow.service import ShadowService

NAME = "svc-shadow"
_DRAIN_WITHIN_S = 20.0


async def run(settings: Settings) -> None:
    """One desk. What it does not settle in time stays with the broker and comes again."""
    database = settings.database
    tenants = Database(database.app_url, pool_size=2, statement_timeout_s=database.statement_timeout_s)
    everyone = Database(database.operator_url, pool_size=2, statement_timeout_s=database.statement_timeout_s)
    async with tenants, everyone:
        if settings.shadow.mode == "aws":
            await _mirror(settings, everyone)
        else:
            await _answer(settings, tenants, everyone)


async def _answer(settings: Settings, tenants: Database, everyone: Database) -> None:
    """Devices ask here."""
    service = ShadowService(database=tenants, settings=settings.shadow, clock=utc_now)
    clerk = ShadowClerk(database=everyone, service=service, settings=settings.shadow, clock=utc_now)
    desk = Desk(settings.mqtt, _options(settings.shadow, topics.shadow_filters()), clerk)
    await until_stopped(desk.run(), clerk.sweep(), before_cancel=_drain(desk))


async def _mirror(settings: Settings, everyone: Database) -> None:
    """Devices ask AWS IoT, and it is told here what changed."""
    async with data_plane(settings.shadow) as plane:
        mirror = ShadowMirror(database=everyone, source=plane, settings=settings.shadow, clock=utc_now)
        desk = Desk(settings.mqtt, _options(settings.shadow, topics.shadow_news_filters()), mirror)
        await until_stopped(desk.run(), mirror.refresh(), before_cancel=_drain(desk))


def _options(shadow: ShadowSettings, filters: tuple[str, ...]) -> DeskOptions:
    return DeskOptions(
        name=NAME,
        filters=filters,
        batch_requests=shadow.batch_requests,
        batch_wait_s=shadow.batch_wait_ms / 1000,
        receive_maximum=shadow.receive_maximum,
    )


def _drain(desk: Desk) -> Callable[[], Awaitable[None]]:
    async def drain() -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(desk.drain(), _DRAIN_WITHIN_S)

    return drain
