"""Two tenants with devices that reported, all of it through provisioning and ingest's own pipeline and store."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from api.access import Role
from core.clock import utc_now
from core.db import Database
from core.settings import TelemetrySettings
from core.tenancy import TenantId
from ingest.history.maintenance import Maintenance
from provisioning.model import new_device
from tests.api.conftest import Api
from tests.conftest import DatabaseUrls
from tests.ingest.feed import feed

ACME, ZETA = TenantId("acme"), TenantId("zeta")


@dataclass
class Fleet:
    """The API with ways to fill what stands behind it. `acme` and `zeta` are clients of their tenant's admin."""

    api: Api
    urls: DatabaseUrls
    acme: httpx.AsyncClient
    zeta: httpx.AsyncClient
    operator: httpx.AsyncClient

    async def register(self, *names: str, tenant: TenantId = ACME, **more: Any) -> None:
        """Active devices with certificates."""
        wanted = [new_device(name, **more) for name in names]
        await self.api.services.provisioning.add_devices(tenant, wanted, keep=lambda _: None)

    async def feed(self, *messages: tuple[str, Any], clock: datetime | None = None) -> None:
        """Deliver (topic or thing, payload) and wait for the commit."""
        await feed(self.urls, *messages, clock=clock)

    async def roll_up(self) -> int:
        """Bring the rollups up to date, as maintenance does each minute."""
        async with Database(self.urls.ingest, pool_size=1) as database:
            return await Maintenance(database, TelemetrySettings(), utc_now).refresh_rollups()

    def connect(self, thing: str, *, online: bool, reason: str | None = None) -> None:
        """What the broker service writes when a device comes or goes."""
        tenant, _, device = thing.partition(":")
        with psycopg.connect(self.urls.operator) as conn:
            conn.execute(
                "INSERT INTO presence (tenant_id, device_id, online, since, session, disconnect_reason, version)"
                " VALUES (%s, %s, %s, now(), 's', %s, 1) ON CONFLICT (tenant_id, device_id) DO UPDATE"
                " SET online = excluded.online, disconnect_reason = excluded.disconnect_reason",
                (tenant, device, online, reason),
            )


@pytest.fixture
async def fleet(api: Api, database: DatabaseUrls) -> AsyncIterator[Fleet]:
    async with api.client("acme") as acme, api.client("zeta") as zeta, api.client(None, Role.OPERATOR) as operator:
        yield Fleet(api, database, acme, zeta, operator)


def csr(name: str = "whatever") -> str:
    """A signing request for a key of its own."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return request.sign(ec.generate_private_key(ec.SECP256R1()), SHA256()).public_bytes(Encoding.PEM).decode()
