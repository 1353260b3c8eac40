"""A registry on a real database with two tenants, a clock that stands until it is moved, and openssl as the judge."""

import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core import events
from core.bus import Entry
from core.db import Database
from core.outbox import _decoder
from core.settings import ProvisioningSettings
from core.tenancy import TenantId, Thing
from provisioning.ca import CertificateAuthority
from provisioning.model import Issued, new_device
from provisioning.service import ProvisioningService
from tests.conftest import DatabaseUrls

ACME, BETA = TenantId("acme"), TenantId("beta")


class StandingClock:
    """The real time of its making, until `advance`: openssl compares with the real clock."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def settings() -> ProvisioningSettings:
    return ProvisioningSettings()


@pytest.fixture
def authority(tmp_path: Path, settings: ProvisioningSettings, clock: StandingClock) -> CertificateAuthority:
    return CertificateAuthority.open(tmp_path / "ca", settings=settings, clock=clock)


@dataclass
class Registry:
    """The service under test with what a test wants to look at beside it."""

    service: ProvisioningService
    authority: CertificateAuthority
    app: Database
    operator: Database
    clock: StandingClock
    urls: DatabaseUrls
    kept: list[Issued] = field(default_factory=list)

    async def add(self, device: str, tenant: TenantId = ACME) -> Issued:
        await self.service.add_devices(tenant, [new_device(device)], keep=self.kept.append)
        return self.kept[-1]

    async def news(self) -> list[events.AnyEvent]:
        """Every event announced so far, in order."""
        async with self.operator.unscoped(reason="a test reads the outbox") as tx:
            rows = await tx.all("SELECT entries FROM outbox ORDER BY id")
        entries: list[Entry] = [entry for row in rows for entry in _decoder.decode(row["entries"])]
        return [events.decode(entry.body) for entry in entries]

    def listed(self) -> dict[str, str]:
        """Serial and reason of each entry of the revocation list on disk."""
        return {entry.serial: entry.reason for entry in self.authority.revocations.read()}


@pytest.fixture
async def registry(
    database: DatabaseUrls, authority: CertificateAuthority, settings: ProvisioningSettings, clock: StandingClock
) -> AsyncIterator[Registry]:
    async with Database(database.app, pool_size=4) as app, Database(database.operator, pool_size=2) as operator:
        service = ProvisioningService(app=app, operator=operator, authority=authority, settings=settings, clock=clock)
        for tenant in (ACME, BETA):
            await service.add_tenant(tenant)
        yield Registry(service, authority, app, operator, clock, database)


def thing(device: str, tenant: TenantId = ACME) -> Thing:
    return Thing.parse(f"{tenant}:{device}")


@pytest.fixture(scope="session")
def openssl() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the openssl program; stdout and stderr as text."""
    program = shutil.which("openssl")
    assert program, f"the openssl program is needed to judge what {ssl.OPENSSL_VERSION} made"

    def run(*args: str | Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([program, *map(str, args)], input=stdin, capture_output=True, check=False, timeout=30)
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run
