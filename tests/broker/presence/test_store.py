"""The timeline's rows: written once, whatever comes twice, and bounded by age and by number."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from broker import store
from broker.presence.model import Presence
from core.clock import epoch_ms
from core.db import Database
from core.tenancy import device_id, tenant_id
from tests.conftest import DatabaseUrls

pytestmark = pytest.mark.db

ACME = tenant_id("acme")
NOW = datetime.now(UTC)


@pytest.fixture
def registered(database: DatabaseUrls) -> DatabaseUrls:
    with psycopg.connect(database.owner) as conn:
        conn.execute(
            "INSERT INTO tenant (tenant_id, name, retention_days) VALUES ('acme', 'A', NULL), ('brief', 'B', 5)"
        )
        conn.execute(
            "INSERT INTO device (tenant_id, device_id, status)"
            " VALUES ('acme', 't1', 'active'), ('brief', 't1', 'active')"
        )
    return database


def turn(version: int, days_ago: float, thing: str = "acme:t1") -> Presence:
    since_ms = epoch_ms(NOW - timedelta(days=days_ago))
    is_online = version % 2 == 1
    reason = None if is_online else "CONNECTION_LOST"
    return Presence(thing, is_online, f"s{version}", version, since_ms, "10.0.0.1", reason)


async def keep(database: Database, *turns: Presence) -> None:
    async with database.unscoped(reason="a test writes what the broker service does") as tx:
        newest = {each.thing: each for each in turns}
        await store.save(tx, list(newest.values()))
        await store.remember(tx, turns)


def versions(urls: DatabaseUrls, tenant: str = "acme") -> list[int]:
    with psycopg.connect(urls.owner) as conn:
        rows = conn.execute("SELECT version FROM presence_span WHERE tenant_id = %s ORDER BY 1", (tenant,))
        return [row[0] for row in rows]


async def test_what_is_told_twice_stands_once_as_it_was_told_first(registered):
    async with Database(registered.operator) as database:
        await keep(database, turn(1, 2), turn(2, 1))
        await keep(database, turn(2, 0.5))
        async with Database(registered.app) as app, app.tenant(ACME) as tx:
            turns = await store.turns(tx, device_id("t1"), since=NOW - timedelta(days=9), after=0, limit=9)
    assert [(each.version, each.online) for each in turns] == [(1, True), (2, False)]
    assert epoch_ms(turns[1].since) == turn(2, 1).since_ms


async def test_old_turns_go_and_the_one_that_lasted_then_stays(registered):
    async with Database(registered.operator) as database:
        await keep(database, *(turn(version, days) for version, days in enumerate((200, 150, 100, 95, 40, 1), start=1)))
        async with database.unscoped(reason="as keep_bounded does") as tx:
            await store.forget(tx, days=90, turns=10_000)
    assert versions(registered) == [4, 5, 6]


async def test_a_tenant_that_keeps_less_keeps_less_of_this_too(registered):
    async with Database(registered.operator) as database:
        for thing in ("acme:t1", "brief:t1"):
            await keep(database, *(turn(version, days, thing) for version, days in enumerate((50, 40, 30, 1), start=1)))
        async with database.unscoped(reason="as keep_bounded does") as tx:
            await store.forget(tx, days=90, turns=10_000)
    assert versions(registered) == [1, 2, 3, 4]
    assert versions(registered, "brief") == [3, 4]


async def test_a_device_that_changes_all_the_time_keeps_its_last_turns(registered):
    async with Database(registered.operator) as database:
        await keep(database, *(turn(version, 1 - version / 1000) for version in range(1, 301)))
        async with database.unscoped(reason="as keep_bounded does") as tx:
            await store.forget(tx, days=90, turns=100)
    assert versions(registered) == list(range(201, 301))


async def test_a_device_that_has_been_silent_for_years_keeps_its_last_turn(registered):
    async with Database(registered.operator) as database:
        await keep(database, turn(1, 900), turn(2, 800))
        async with database.unscoped(reason="as keep_bounded does") as tx:
            await store.forget(tx, days=90, turns=100)
    assert versions(registered) == [2]
