from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from core.bus import Bus
from core.db import Database
from core.settings import BusSettings, RedisSettings
from tests.conftest import DatabaseUrls


@pytest.fixture
def bus_settings() -> BusSettings:
    return BusSettings(partitions=2, max_lag=100, retry_limit=3)


@pytest.fixture
async def make_bus(redis_url: str, bus_settings: BusSettings) -> AsyncIterator[Callable[[], Bus]]:
    """Makes further processes' view of the bus, closed at the end."""
    async with AsyncExitStack() as stack:

        def make() -> Bus:
            bus = Bus(RedisSettings(url=redis_url), bus_settings)
            stack.push_async_callback(bus.close)
            return bus

        yield make


@pytest.fixture
def bus(make_bus: Callable[[], Bus]) -> Bus:
    return make_bus()


@pytest.fixture
async def ingest_db(database: DatabaseUrls) -> AsyncIterator[Database]:
    async with Database(database.ingest) as db:
        yield db


@pytest.fixture
async def app_db(database: DatabaseUrls) -> AsyncIterator[Database]:
    async with Database(database.app) as db:
        yield db
