"""The API with its real identity: accounts in PostgreSQL, keys on disk, tokens and sessions as they are served."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from api.access import Role, Scope
from api.app import create_app
from api.identity import model
from api.identity.bootstrap import ensure_operator_client
from api.identity.model import Actor, Client, Rights, User
from api.identity.service import IdentityService, identity
from api.process import server, services
from api.services import Services
from core.db import Database
from core.settings import IdentitySettings, Settings
from core.tenancy import TenantId, tenant_id
from tests.conftest import DatabaseUrls

ACME, ZETA = tenant_id("acme"), tenant_id("zeta")
PASSWORD = "correct horse battery"
OPERATOR_ID, OPERATOR_SECRET = "milkrun-stack", "0123456789abcdef0123456789abcdef-operator"
SOMEBODY = Actor.command_line("tests")


class HeldClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass
class Platform:
    """A running API with two tenants, acme and zeta, and the ways to make accounts in them."""

    url: str
    services: Services

    @property
    def identity(self) -> IdentityService:
        assert isinstance(self.services.identity, IdentityService)
        return self.services.identity

    def http(self, token: str | None = None, **headers: str) -> httpx.AsyncClient:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30)

    async def user(
        self, tenant: TenantId | None, email: str, role: Role, *, sites: frozenset[str] = frozenset()
    ) -> User:
        return await add_user(self.identity, tenant, email, role, sites=sites)

    async def client(
        self, tenant: TenantId | None, role: Role = Role.INTEGRATION, *, scopes: frozenset[Scope] | None = None
    ) -> tuple[Client, str]:
        return await add_client(self.identity, tenant, role, scopes=scopes)

    async def token(
        self, tenant: TenantId | None, role: Role = Role.INTEGRATION, *, scopes: frozenset[Scope] | None = None
    ) -> str:
        """The access token of a new client, got as a client gets it."""
        return await self.exchange(*await self.client(tenant, role, scopes=scopes))

    async def exchange(self, client: Client, secret: str) -> str:
        async with self.http() as http:
            form = {"grant_type": "client_credentials"}
            answer = await http.post("/oauth/token", data=form, auth=(client.id, secret))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    @asynccontextmanager
    async def signed_in(self, email: str, password: str = PASSWORD) -> AsyncIterator[httpx.AsyncClient]:
        """A browser that is signed in and sends its CSRF token."""
        async with self.http() as http:
            answer = await http.post("/v1/session", json={"email": email, "password": password})
            assert answer.status_code == 200, answer.text
            http.headers["X-CSRF-Token"] = answer.json()["csrf"]
            yield http


async def add_user(
    service: IdentityService, tenant: TenantId | None, email: str, role: Role, *, sites: frozenset[str] = frozenset()
) -> User:
    owner = model.owner_of(tenant)
    user, _ = await service.accounts.add_user(
        SOMEBODY, owner, email=email, name="", rights=Rights(role, None, sites), password=PASSWORD
    )
    return user


async def add_client(
    service: IdentityService,
    tenant: TenantId | None,
    role: Role = Role.INTEGRATION,
    *,
    scopes: frozenset[Scope] | None = None,
) -> tuple[Client, str]:
    owner = model.owner_of(tenant)
    return await service.accounts.add_client(SOMEBODY, owner, name="erp", rights=Rights(role, scopes))


@pytest.fixture
def identity_settings(api_settings: Settings, tmp_path: Path) -> Settings:
    quick = IdentitySettings(
        keys_dir=tmp_path / "keys", key_lead_s=6, token_ttl_s=60, login_attempts=3, address_attempts=20
    )
    # Tests ask faster than people; what limits those is proved elsewhere.
    api = api_settings.api.model_copy(update={"address_rate": 1000.0, "address_burst": 10_000})
    return api_settings.model_copy(update={"identity": quick, "api": api})


@pytest.fixture
async def platform(identity_settings: Settings) -> AsyncIterator[Platform]:
    async with serve(identity_settings) as (given, url):
        for name in (ACME, ZETA):
            await given.provisioning.add_tenant(name)
        await ensure_operator_client(given.operator, OPERATOR_ID, OPERATOR_SECRET)
        yield Platform(url, given)


@asynccontextmanager
async def serve(settings: Settings) -> AsyncIterator[tuple[Services, str]]:
    """One API process, all but the process: on a port of its own until the context ends."""
    async with services(settings) as given:
        http = server(create_app(given), settings)
        listener = socket.create_server(("127.0.0.1", 0))
        serving = asyncio.create_task(http.serve(sockets=[listener]))
        try:
            while not http.started:  # noqa: ASYNC110  uvicorn tells it by this flag alone
                await asyncio.sleep(0.01)
            yield given, f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            http.should_exit = True
            await serving
            listener.close()


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
async def service(
    identity_settings: Settings, database: DatabaseUrls, clock: HeldClock
) -> AsyncIterator[IdentityService]:
    """Identity without HTTP, under a clock that stands still, with the tenants acme and zeta."""
    async with Database(database.app) as app, Database(database.operator) as operator:
        async with operator.unscoped(reason="two tenants to be in") as tx:
            for name in (ACME, ZETA):
                await tx.execute("INSERT INTO tenant (tenant_id, name) VALUES (%s, %s)", (name, name))
        async with identity(app=app, operator=operator, settings=identity_settings, clock=clock) as found:
            yield found
