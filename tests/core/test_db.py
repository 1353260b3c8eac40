"""`tenant()` is the only door, and nothing that happens to a task leaves it open for the next."""

import ast
import asyncio
import random
import time
from pathlib import Path

import psycopg
import pytest

from core.db import Database, DatabaseUnavailable, redact
from core.tenancy import tenant_id
from tests.conftest import DatabaseUrls
from tests.house.tree import ROOT, sources
from tests.isolation.conftest import fill

pytestmark = pytest.mark.db

ACME, GLOBEX = tenant_id("acme"), tenant_id("globex")
SEEN = "SELECT DISTINCT tenant_id FROM device UNION SELECT DISTINCT tenant_id FROM positions"


@pytest.fixture(scope="module")
def filled(module_database: DatabaseUrls) -> DatabaseUrls:
    fill(module_database.owner)
    return module_database


async def seen(db: Database, tenant) -> set[str]:
    async with db.tenant(tenant) as tx:
        return {row["tenant_id"] for row in await tx.all(SEEN)}


async def test_a_tenant_sees_itself_and_an_unscoped_app_login_sees_nobody(filled):
    async with Database(filled.app) as db:
        assert await seen(db, ACME) == {ACME}
        assert await seen(db, GLOBEX) == {GLOBEX}
        async with db.unscoped(reason="to see that nothing is seen") as tx:
            assert await tx.all(SEEN) == []


async def test_unscoped_wants_a_reason(filled):
    async with Database(filled.app) as db:
        with pytest.raises(ValueError, match="reason"):
            async with db.unscoped(reason=""):
                pass


async def test_one_connection_serves_a_thousand_turns_of_two_tenants_through_every_accident(filled):  # noqa: C901
    """Exceptions, statement errors, timeouts, cancellation at a random await, `SET` that forgets LOCAL."""
    rng = random.Random(7)
    foreign: list[object] = []
    accidents: set[str] = set()

    async def turn(db: Database, tenant, accident: str) -> None:
        async with db.tenant(tenant) as tx:
            if accident == "error":
                raise ValueError("the caller's own")
            if accident == "statement":
                await tx.execute("SELECT no_such_column FROM device")
            if accident == "timeout":
                await tx.execute("SET LOCAL statement_timeout = 1")
                await tx.execute("SELECT pg_sleep(1)")
            if accident == "sticky":  # session-wide, as a careless caller would: rolled back with the transaction
                await tx.execute("SET app.tenant_id = 'globex'")
                raise ValueError("and then fails")
            await asyncio.sleep(0)
            for _ in range(2):
                found = {row["tenant_id"] for row in await tx.all(SEEN)}
                if found != {tenant}:
                    foreign.append((tenant, found))
            await tx.execute("UPDATE device SET type = 'van' WHERE device_id = 'truck-1'")

    async with Database(filled.app, pool_size=1) as db:
        for n in range(1000):
            tenant = (ACME, GLOBEX)[n % 2]
            accident = rng.choice(["none", "none", "error", "statement", "cancel", "cancel", "timeout", "sticky"])
            task = asyncio.create_task(turn(db, tenant, accident))
            if accident == "cancel":
                await asyncio.sleep(rng.random() * 0.004)
                task.cancel()
            try:
                await task
            except (ValueError, psycopg.Error, DatabaseUnavailable, asyncio.CancelledError) as error:
                accidents.add(type(error).__name__)
        assert foreign == []
        assert {"ValueError", "UndefinedColumn", "CancelledError", "DatabaseUnavailable"} <= accidents
        assert await seen(db, ACME) == {ACME}
        with psycopg.connect(filled.owner) as conn:
            left = conn.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = 'milkrun_app' AND datname = current_database()"
                " AND state LIKE 'idle in transaction%'"
            ).fetchone()
        assert left == (0,)


async def test_what_a_cancelled_task_wrote_is_gone(filled):
    async with Database(filled.app, pool_size=1) as db:
        started = asyncio.Event()

        async def write() -> None:
            async with db.tenant(ACME) as tx:
                await tx.execute("INSERT INTO device (tenant_id, device_id) VALUES ('acme', 'half')")
                started.set()
                await asyncio.sleep(3600)

        task = asyncio.create_task(write())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with db.tenant(ACME) as tx:
            assert await tx.one("SELECT 1 FROM device WHERE device_id = 'half'") is None


async def test_a_setting_that_outlived_its_transaction_does_not_open_the_next_ones_door(filled):
    """A committed `SET` stays with the connection; `tenant()` sets its own over it, and says so to nobody else."""
    async with Database(filled.app, pool_size=1) as db:
        async with db.tenant(ACME) as tx:
            await tx.execute("SET app.tenant_id = 'globex'")
        assert await seen(db, ACME) == {ACME}


async def test_a_statement_over_its_time_ends_and_the_pool_goes_on(filled):
    async with Database(filled.app, pool_size=1, statement_timeout_s=0.2) as db:
        with pytest.raises(DatabaseUnavailable, match="statement timeout"):
            async with db.tenant(ACME) as tx:
                await tx.execute("SELECT pg_sleep(5)")
        assert await seen(db, GLOBEX) == {GLOBEX}


async def test_a_connection_the_server_ended_is_replaced(filled):
    async with Database(filled.app, pool_size=1) as db:
        async with db.tenant(ACME) as tx:
            row = await tx.one("SELECT pg_backend_pid() AS pid")
        with psycopg.connect(filled.owner, autocommit=True) as conn:
            conn.execute("SELECT pg_terminate_backend(%s)", (row["pid"],))
        assert await seen(db, ACME) == {ACME}


async def test_connections_that_the_server_ended_all_at_once_cost_no_transaction(filled):
    async with Database(filled.app, pool_size=4) as db:

        async def pid(barrier: asyncio.Barrier) -> int:
            async with db.tenant(ACME) as tx:
                row = await tx.one("SELECT pg_backend_pid() AS pid")
                await barrier.wait()  # each on a connection of its own
                return int(row["pid"])

        barrier = asyncio.Barrier(4)
        pids = await asyncio.gather(*(pid(barrier) for _ in range(4)))
        assert len(set(pids)) == 4
        with psycopg.connect(filled.owner, autocommit=True) as conn:
            conn.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", (pids,))
        assert await asyncio.gather(*(seen(db, ACME) for _ in range(8))) == [{ACME}] * 8


async def test_a_server_that_is_not_there_is_named_without_its_password(free_port):
    url = f"postgresql://milkrun_app:hush@127.0.0.1:{free_port()}/milkrun"
    async with Database(url) as db:
        db._pool.timeout = 0.2
        with pytest.raises(DatabaseUnavailable, match=r"milkrun_app:\*\*\*@") as caught:
            await seen(db, ACME)
    assert "hush" not in str(caught.value)
    assert (caught.value.kind, caught.value.code) == ("unavailable", "database_unavailable")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:p%40q@h:1/d?a=b", "postgresql://u:***@h:1/d?a=b"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("redis://:p@h:1/0", "redis://:***@h:1/0"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    assert redact(url) == shown


def test_only_the_door_sets_the_tenant_and_makes_its_transaction():
    def doors(root: Path) -> set[str]:
        found = set()
        for path, tree in sources(root):
            for node in ast.walk(tree):
                is_set = isinstance(node, ast.Constant) and "app.tenant_id'" in str(node.value)
                is_made = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "TenantTx"
                if is_set or is_made:
                    found.add(path)
        return found

    assert doors(ROOT) == {"core/db.py"}


async def test_a_tenant_that_holds_all_it_may_leaves_the_rest_to_others(filled):
    async with Database(filled.app, pool_size=4, tenant_most=2) as db:
        release = asyncio.Event()
        held = []

        async def hold() -> None:
            async with db.tenant(ACME):
                held.append(1)
                await release.wait()

        noisy = [asyncio.create_task(hold()) for _ in range(20)]
        assert await asyncio.gather(*(seen(db, GLOBEX) for _ in range(20))) == [{GLOBEX}] * 20
        assert len(held) == 2
        release.set()
        await asyncio.gather(*noisy)
        assert len(held) == 20
        assert await seen(db, ACME) == {ACME}


async def test_whoever_waits_for_his_tenants_turn_too_long_is_told(filled, monkeypatch):
    monkeypatch.setattr("core.db._PATIENCE_S", 0.05)
    async with Database(filled.app, pool_size=4, tenant_most=1) as db:
        async with db.tenant(ACME):
            with pytest.raises(DatabaseUnavailable, match="as many connections as one tenant may"):
                await seen(db, ACME)
            assert await seen(db, GLOBEX) == {GLOBEX}
        assert await seen(db, ACME) == {ACME}


async def test_a_server_that_is_away_is_told_within_seconds_and_taken_back_when_it_returns(filled, free_port):
    port = free_port()
    url = f"postgresql://milkrun_app@127.0.0.1:{port}/milkrun"
    async with Database(url) as db:
        began = time.monotonic()
        answers = await asyncio.gather(*(seen(db, ACME) for _ in range(20)), return_exceptions=True)
        assert all(isinstance(answer, DatabaseUnavailable) for answer in answers)
        assert time.monotonic() - began < 3.0 + 2.0, "all of them at once, on a slow machine too"
    async with Database(filled.app) as db:
        assert await seen(db, ACME) == {ACME}


async def test_a_server_that_accepts_and_says_nothing_is_away_too():
    over = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        try:
            async with Database(f"postgresql://milkrun_app@127.0.0.1:{port}/milkrun") as db:
                began = time.monotonic()
                with pytest.raises(DatabaseUnavailable, match="takes no connection"):
                    await seen(db, ACME)
                assert time.monotonic() - began < 3.0 + 2.0
        finally:
            # A server closes when its last caller is gone, and this one's never hangs up.
            over.set()


async def test_a_pool_that_is_busy_is_waited_for_however_long_that_is_suspicious(filled, monkeypatch):
    monkeypatch.setattr("core.db._SUSPECT_AFTER_S", 0.05)
    async with Database(filled.app, pool_size=1) as db:
        holding = asyncio.Event()

        async def hold() -> None:
            async with db.tenant(GLOBEX):
                holding.set()
                await asyncio.sleep(0.6)

        task = asyncio.create_task(hold())
        await holding.wait()
        assert await asyncio.gather(*(seen(db, ACME) for _ in range(5))) == [{ACME}] * 5
        await task
