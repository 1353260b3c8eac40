from collections.abc import AsyncIterator, Callable

import psycopg
import pytest

from core.db import Database
from core.settings import MapsSettings
from core.tenancy import tenant_id
from eta.routing.engines.google import GoogleRoutes
from eta.routing.engines.server import OsrmServer
from eta.routing.ladder import Ladder
from eta.routing.model import Asker
from tests.conftest import DatabaseUrls
from tests.eta.routing.engines import Pretender, StillClock

ASKER = Asker(tenant_id("acme"), "trip_00000001")


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
async def operator(database: DatabaseUrls) -> AsyncIterator[Database]:
    """The worker's login, with two tenants there."""
    async with await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as conn:
        await conn.execute("INSERT INTO tenant (tenant_id, name) VALUES ('acme', 'Acme'), ('globex', 'Globex')")
    async with Database(database.operator, pool_size=4) as opened:
        yield opened


@pytest.fixture
async def osrm() -> AsyncIterator[Pretender]:
    pretender = await Pretender().start()
    yield pretender
    await pretender.stop()


@pytest.fixture
async def google() -> AsyncIterator[Pretender]:
    pretender = await Pretender().start()
    yield pretender
    await pretender.stop()


@pytest.fixture
async def ladder_of(
    operator: Database, osrm: Pretender, google: Pretender, clock: StillClock
) -> AsyncIterator[Callable[..., Ladder]]:
    """Makes a ladder of an OSRM server and Google, with settings of the test's own."""
    opened = []

    def make(**settings: object) -> Ladder:
        maps = MapsSettings(**{"timeout_s": 20.0, "failures": 2, "rest_s": 30.0, **settings})
        routers = [
            OsrmServer(osrm.url, "driving", timeout_s=maps.timeout_s),
            GoogleRoutes("the-key", google.url, timeout_s=maps.timeout_s),
        ]
        opened.extend(routers)
        return Ladder(routers, operator, maps, clock)

    yield make
    for router in opened:
        await router.close()
