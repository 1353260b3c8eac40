"""Which of the two keeps the shadows."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from core.clock import Clock
from core.db import Database
from core.settings import ShadowSettings
from shadow.aws.service import AwsShadows
from shadow.service import Shadows, ShadowService

if TYPE_CHECKING:
    from shadow.aws.client import IotData


def data_plane(settings: ShadowSettings) -> "IotData":
    """AWS IoT's, to be opened with `async with`."""
    # boto3 costs a process a quarter of a second and 14 MB, and the local mode never asks for it.
    from shadow.aws.client import IotData  # noqa: PLC0415

    return IotData(settings)


@asynccontextmanager
async def shadows(settings: ShadowSettings, database: Database, clock: Clock) -> AsyncIterator[Shadows]:
    """The service that the setting `shadow.mode` names, for as long as the context lasts."""
    if settings.mode == "local":
        yield ShadowService(database=database, settings=settings, clock=clock)
        return
    async with data_plane(settings) as plane:
        yield AwsShadows(plane=plane, database=database, settings=settings, clock=clock)
