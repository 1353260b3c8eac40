"""The API over two tenants with the same sites and trips, and farmers who sign in as users of a site."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from api.access import ROLE_SCOPES, Principal, Role
from core.clock import utc_now
from core.db import Database
from core.settings import NotifySettings, Settings
from core.tenancy import TenantId
from tests.api.conftest import Api
from tests.conftest import DatabaseUrls
from tests.notify.world import ACME, FARM, Now, World, place


@dataclass
class Office:
    """`world` raises alerts and moves trips behind the API's back."""

    api: Api
    world: World

    def user(
        self, name: str = "anna", role: Role = Role.SITE, *, sites: tuple[str, ...] = (FARM,), tenant: TenantId = ACME
    ) -> httpx.AsyncClient:
        """A client signed in as a user, whose account is there; close it."""
        id_ = self.id_of(name)
        self.world.change(
            "INSERT INTO user_account (tenant_id, user_id, email, name, role, sites, password_hash, created_at,"
            " updated_at) VALUES (%(t)s, %(id)s, %(mail)s, %(name)s, %(role)s, %(sites)s, 'h', now(), now())"
            " ON CONFLICT DO NOTHING",
            t=tenant,
            id=id_,
            mail=f"{name}@farm.example",
            name=name,
            role=role.value,
            sites=list(sites),
        )
        token = secrets.token_hex(8)
        self.api.tokens.known[token] = Principal(
            kind="user",
            id=id_,
            tenant=tenant,
            role=role,
            scopes=ROLE_SCOPES[role],
            sites=frozenset(sites) if role is Role.SITE else frozenset(),
        )
        return httpx.AsyncClient(base_url=self.api.url, headers={"Authorization": f"Bearer {token}"})

    @staticmethod
    def id_of(name: str) -> str:
        return f"usr_{name}00000000"


@pytest.fixture
def api_settings(api_settings: Settings, tmp_path: Path) -> Settings:
    notify = NotifySettings(
        link_key_file=tmp_path / "links.key",
        secret_key_file=tmp_path / "webhooks.key",
        webhook_http=True,
        webhook_networks=["127.0.0.0/8"],
    )
    return api_settings.model_copy(update={"notify": notify})


@pytest.fixture
async def office(api: Api, api_settings: Settings, database: DatabaseUrls) -> AsyncIterator[Office]:
    place(database, utc_now())
    async with Database(database.app, pool_size=2) as app, Database(database.operator, pool_size=2) as operator:
        world = World(database, app, operator, api_settings.notify, Now(utc_now()))
        yield Office(api, world)
