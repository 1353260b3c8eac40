"""Builds the ladder that the settings ask for, and keeps its tables small."""

import asyncio
import stat
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import structlog

from core.clock import Clock
from core.db import Database, DatabaseUnavailable
from core.settings import InvalidSettings, MapsSettings
from eta.routing import store
from eta.routing.engines.google import GoogleRoutes
from eta.routing.engines.local import LocalOsrm
from eta.routing.engines.server import OsrmServer
from eta.routing.ladder import Ladder
from eta.routing.model import Router

_log = structlog.get_logger()
_SWEEP_S = 3600.0
_SPENDS_DAYS = 60  # longer than any trip


@asynccontextmanager
async def opened(database: Database, settings: MapsSettings, clock: Clock) -> AsyncIterator[Ladder]:
    """The ladder, at once: while a map is being built or read, the other rungs answer.

    `database` is the operator's login, since trips of all tenants ask. Raises InvalidSettings.
    """
    routers: list[Router] = []
    async with AsyncExitStack() as stack:
        if settings.osm_file is not None:
            local = LocalOsrm(settings.osm_file, settings.folder)
            stack.callback(local.close)
            await stack.enter_async_context(_beside(local.open()))
            routers.append(local)
        if settings.osrm_url:
            server = OsrmServer(settings.osrm_url, settings.osrm_profile, timeout_s=settings.timeout_s)
            stack.push_async_callback(server.close)
            routers.append(server)
        if settings.google_key_file is not None:
            google = GoogleRoutes(_key(settings.google_key_file), settings.google_url, timeout_s=settings.timeout_s)
            stack.push_async_callback(google.close)
            routers.append(google)
        await stack.enter_async_context(_beside(_sweep(database, settings, clock)))
        yield Ladder(routers, database, settings, clock)


@asynccontextmanager
async def _beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _sweep(database: Database, settings: MapsSettings, clock: Clock) -> None:
    """Drop what is too old to be of use, every hour."""
    while True:
        now = clock()
        try:
            async with database.unscoped(reason="rows of all tenants age alike") as tx:
                await store.forget(
                    tx,
                    legs_before=now - timedelta(days=2 * settings.keep_days),
                    spends_before=now.date() - timedelta(days=_SPENDS_DAYS),
                    uses_before=now.date() - timedelta(days=settings.report_days),
                )
        except DatabaseUnavailable as error:
            _log.warning("map_tables_not_swept", reason=str(error))
        await asyncio.sleep(_SWEEP_S)


def _key(file: Path) -> str:
    """The key in a file that others cannot read. Raises InvalidSettings."""
    try:
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            raise InvalidSettings(f"MILKRUN_MAPS_GOOGLE_KEY_FILE: {file} is readable by others; chmod 600 it")
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"MILKRUN_MAPS_GOOGLE_KEY_FILE: {error}") from error
    if not key or not key.isascii() or any(c.isspace() for c in key):
        raise InvalidSettings(f"MILKRUN_MAPS_GOOGLE_KEY_FILE: {file} holds no key")
    return key
