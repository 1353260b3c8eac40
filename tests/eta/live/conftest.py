from collections.abc import AsyncIterator

import pytest

from core.db import Database
from core.settings import BusSettings, RedisSettings
from tests.conftest import DatabaseUrls
from tests.eta.live.morning import Morning, Telling


@pytest.fixture
async def morning(database: DatabaseUrls, redis_url: str) -> AsyncIterator[Morning]:
    bus = Telling(RedisSettings(url=redis_url), BusSettings(partitions=2))
    async with Database(database.app) as app, Database(database.operator) as operator:
        found = Morning(database, app, operator, bus)
        yield found
        found.conn.close()
    await bus.close()
