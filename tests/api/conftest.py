"""The API as it is served: a real port over real PostgreSQL and Redis."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from api.access import ROLE_SCOPES, Principal, Role, Scope, Session
from api.app import create_app
from api.http.errors import Unauthorized
from api.process import server, services
from api.services import Services
from core.settings import BusSettings, DatabaseSettings, ProvisioningSettings, RedisSettings, Settings
from core.tenancy import TenantId, tenant_id
from tests.conftest import DatabaseUrls


class Audited(NamedTuple):
    """What a route told the audit log."""

    action: str
    target: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass
class Tokens:
    """An authenticator that knows the tokens it was asked to make, for tests about other things than identity."""

    known: dict[str, Principal] = field(default_factory=dict)
    audited: list[Audited] = field(default_factory=list)

    def of(self, tenant: str | None, role: Role, *, scopes: frozenset[Scope] | None = None) -> str:
        token = secrets.token_hex(8)
        mine: TenantId | None = None if tenant is None else tenant_id(tenant)
        granted = ROLE_SCOPES[role] if scopes is None else scopes
        self.known[token] = Principal(kind="client", id=token, tenant=mine, role=role, scopes=granted)
        return token

    async def by_bearer(self, token: str) -> Principal:
        if token not in self.known:
            raise Unauthorized("this token is not known")
        return self.known[token]

    async def by_session(self, cookie: str) -> Session:
        raise Unauthorized("this session is over")

    async def audit(self, tx, caller, action, target, *, before=None, after=None) -> None:
        self.audited.append(Audited(action, target, before, after))

    async def still_valid(self, principals: Sequence[Principal]) -> list[bool]:
        return [principal in self.known.values() for principal in principals]


@dataclass
class Api:
    """A running API and the way to it."""

    url: str
    services: Services
    tokens: Tokens

    def client(self, tenant: str | None, role: Role = Role.TENANT_ADMIN, **kwargs: object) -> httpx.AsyncClient:
        """A client with a token of `role` in `tenant` (None: an operator)."""
        headers = {"Authorization": f"Bearer {self.tokens.of(tenant, role, **kwargs)}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers)


@pytest.fixture
def api_settings(database: DatabaseUrls, redis_url: str, tmp_path: Path, free_port: Callable[[], int]) -> Settings:
    return Settings(
        database=DatabaseSettings(
            url=database.owner,
            app_url=database.app,
            ingest_url=database.ingest,
            operator_url=database.operator,
        ),
        redis=RedisSettings(url=redis_url),
        bus=BusSettings(partitions=4),
        provisioning=ProvisioningSettings(ca_dir=tmp_path / "ca"),
    )


@pytest.fixture
async def api(api_settings: Settings) -> AsyncIterator[Api]:
    """The API with two tenants, acme and zeta, on a port of its own."""
    tokens = Tokens()
    async with services(api_settings, tokens) as given:
        for name in ("acme", "zeta"):
            await given.provisioning.add_tenant(tenant_id(name))
        http = server(create_app(given), api_settings)
        listener = socket.create_server(("127.0.0.1", 0))
        serving = asyncio.create_task(http.serve(sockets=[listener]))
        live = asyncio.create_task(given.live.run())
        try:
            while not http.started:  # noqa: ASYNC110  uvicorn tells it by this flag alone
                await asyncio.sleep(0.01)
            yield Api(f"http://127.0.0.1:{listener.getsockname()[1]}", given, tokens)
        finally:
            given.live.drain()
            http.should_exit = True
            await serving
            live.cancel()
            await asyncio.wait([live])
            listener.close()
