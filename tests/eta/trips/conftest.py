from collections.abc import AsyncIterator

import pytest

from core.db import Database
from tests.conftest import DatabaseUrls
from tests.eta.trips.rounds import Rounds, register


@pytest.fixture
async def rounds(database: DatabaseUrls) -> AsyncIterator[Rounds]:
    register(database)
    async with Database(database.app, pool_size=4) as app:
        yield Rounds(database, app)
