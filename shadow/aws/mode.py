"""Which of the two keeps the shadows."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core.clock import Clock
from core.db import Database
from core.settings import ShadowSettings
from shadow.aws.client import IotData
from shadow.aws.service import AwsShadows
from shadow.service import Shadows, ShadowService


@asynccontextmanager
async def shadows(settings: ShadowSettings, database: Database, clock: Clock) -> AsyncIterator[Shadows]:
    """The service that the setting `shadow.mode` names, for as long as the context lasts."""
    if settings.mode == "local":
        yield ShadowService(database=database, settings=settings, clock=clock)
        return
    async with IotData(settings) as plane:
        yield AwsShadows(plane=plane, database=database, settings=settings, clock=clock)
