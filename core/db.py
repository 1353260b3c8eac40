"""The database door. `tenant()` is the only way to tenant data; `unscoped()` names its reason and is easy to grep.

Each process holds one `Database` per login it needs. Row level security compares `app.tenant_id`, which `tenant()`
sets for one transaction only; without it a query sees no rows.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, LiteralString, Self
from weakref import WeakValueDictionary

from psycopg import AsyncConnection, AsyncCursor, OperationalError, sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from core.errors import Unavailable
from core.tenancy import TenantId

_PATIENCE_S = 10.0
_SUSPECT_AFTER_S = 1.5
_PROBE_S = 1.0
_BEGIN = sql.SQL("BEGIN")
# In one message, for a round trip more is half as much again for a short transaction.
_BEGIN_AS = sql.SQL("BEGIN; SELECT set_config('app.tenant_id', {}, true)")

Connection = AsyncConnection[DictRow]
Params = Sequence[Any] | Mapping[str, Any] | None


class DatabaseUnavailable(Unavailable):
    """PostgreSQL cannot be reached or has no connection free."""

    code = "database_unavailable"


@dataclass(frozen=True, slots=True)
class Tx:
    """One open transaction. Store methods take it, so code without a transaction does not type-check."""

    conn: Connection

    async def execute(self, query: LiteralString, params: Params = None) -> AsyncCursor[DictRow]:
        return await self.conn.execute(query, params)

    async def one(self, query: LiteralString, params: Params = None) -> DictRow | None:
        return await (await self.execute(query, params)).fetchone()

    async def all(self, query: LiteralString, params: Params = None) -> list[DictRow]:
        return await (await self.execute(query, params)).fetchall()


@dataclass(frozen=True, slots=True)
class TenantTx(Tx):
    """A transaction that sees one tenant and nothing else. Only `Database.tenant` makes one."""

    tenant: TenantId


class Database:
    """A pool of one login. `async with Database(url) as db:` opens it.

    `tenant_most`: so many connections one tenant holds at most, so that others find one however much it asks for.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 8,
        statement_timeout_s: float | None = None,
        tenant_most: int | None = None,
    ) -> None:
        options = f"-c statement_timeout={int(statement_timeout_s * 1000)}" if statement_timeout_s else ""
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=pool_size,
            open=False,
            timeout=_PATIENCE_S,
            # Autocommit: transactions are begun here, and not by the driver with a message of its own.
            kwargs={"row_factory": dict_row, "options": options, "application_name": "milkrun", "autocommit": True},
        )
        self._url = url
        self._where = redact(url)
        self._tenant_most = tenant_most
        self._turns: WeakValueDictionary[TenantId, asyncio.Semaphore] = WeakValueDictionary()
        self._held = 0

    async def __aenter__(self) -> Self:
        await self._pool.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def tenant(self, tenant: TenantId) -> AsyncIterator[TenantTx]:
        """One transaction in which row level security shows `tenant` alone. Raises DatabaseUnavailable."""
        async with self._turn(tenant), self._transaction(_BEGIN_AS.format(tenant)) as conn:
            yield TenantTx(conn, tenant)

    @asynccontextmanager
    async def _turn(self, tenant: TenantId) -> AsyncIterator[None]:
        """Wait until the tenant holds fewer connections than it may. Raises DatabaseUnavailable."""
        if self._tenant_most is None:
            yield
            return
        turns = self._turns.setdefault(tenant, asyncio.Semaphore(self._tenant_most))
        try:
            await asyncio.wait_for(turns.acquire(), _PATIENCE_S)
        except TimeoutError as error:
            raise DatabaseUnavailable(f"{tenant} holds as many connections as one tenant may") from error
        try:
            yield
        finally:
            turns.release()

    @asynccontextmanager
    async def unscoped(self, *, reason: str) -> AsyncIterator[Tx]:
        """One transaction without a tenant, for the ingest and operator logins; `reason` says why to a reader."""
        if not reason:
            raise ValueError("unscoped() needs a reason")
        async with self._transaction(_BEGIN) as conn:
            yield Tx(conn)

    async def listen(self, channel: LiteralString, wake: Callable[[], None]) -> None:
        """Call `wake` at each NOTIFY of `channel` until cancelled, on a connection of its own.

        Raises DatabaseUnavailable when that ends; what was notified meanwhile is not told.
        """
        try:
            async with await AsyncConnection.connect(self._url, autocommit=True, application_name="milkrun") as conn:
                await conn.execute(f"LISTEN {channel}")
                wake()
                async for _ in conn.notifies():
                    wake()
        except OperationalError as error:
            raise DatabaseUnavailable(f"{self._where} does not answer: {error}") from error

    @asynccontextmanager
    async def _transaction(self, begin: sql.SQL | sql.Composed) -> AsyncIterator[Connection]:
        try:
            conn = await self._begun(begin)
            try:
                async with conn:  # commits, or rolls back what raised
                    yield conn
            finally:
                self._held -= 1
                await self._pool.putconn(conn)
        except (PoolTimeout, OperationalError) as error:
            raise DatabaseUnavailable(f"{self._where} does not answer: {error}") from error

    async def _begun(self, begin: sql.SQL | sql.Composed) -> Connection:
        """A connection on which `begin` was said. One that the server had ended loses nothing: the next is tried.

        Raises PoolTimeout, OperationalError.
        """
        tries_left = self._pool.max_size
        while True:
            conn = await self._take()
            self._held += 1
            try:
                await conn.execute(begin, prepare=False)
            except BaseException as error:
                self._held -= 1
                with suppress(OperationalError):
                    await conn.rollback()
                await self._pool.putconn(conn)
                tries_left -= 1
                if not isinstance(error, OperationalError) or not conn.broken or tries_left < 0:
                    raise
            else:
                return conn

    async def _take(self) -> Connection:
        """A connection of the pool. One that is busy is waited for; a server that is away soon is not.

        Raises PoolTimeout, OperationalError.
        """
        suspect_after_s = min(_SUSPECT_AFTER_S, _PATIENCE_S)
        try:
            return await self._pool.getconn(suspect_after_s)
        except PoolTimeout:
            if self._held == 0:
                await self._probe()
            return await self._pool.getconn(_PATIENCE_S - suspect_after_s)

    async def _probe(self) -> None:
        """Nobody holds a connection and yet none is free: see whether the server is there. Raises OperationalError."""
        try:
            async with asyncio.timeout(_PROBE_S):
                await (await AsyncConnection.connect(self._url, application_name="milkrun")).close()
        except TimeoutError as error:
            raise OperationalError("it takes no connection") from error


def redact(url: str) -> str:
    """The URL without its password, for messages and logs."""
    return re.sub(r"(//[^:/@]*):[^@]*@", r"\1:***@", url)
