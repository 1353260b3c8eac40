"""Simulated devices of the running stack: where they connect, and their registration and certificates."""

from collections.abc import Sequence

import msgspec

from cli.context import Context
from cli.stack.errors import NotRunning
from cli.stack.state import DataFolder, StackFile
from core.db import Database
from core.tenancy import TenantId
from provisioning.ca import CertificateAuthority
from provisioning.service import ProvisioningService
from sim.fleet import enrol
from sim.link import Credentials


def listener(found: Context) -> StackFile:
    try:
        return msgspec.json.decode(DataFolder(found.data).stack_file.read_bytes(), type=StackFile)
    except FileNotFoundError:
        raise NotRunning(f"no stack runs in {found.data}: start it with `milkrun up --data {found.data}`") from None


async def enrolled(found: Context, tenant: TenantId, devices: Sequence[str]) -> dict[str, Credentials]:
    settings = found.settings
    authority = CertificateAuthority.open(found.ca_dir, settings=settings.provisioning)
    app = Database(settings.database.app_url, pool_size=1)
    operator = Database(settings.database.operator_url, pool_size=1)
    async with app, operator:
        service = ProvisioningService(app=app, operator=operator, authority=authority, settings=settings.provisioning)
        return await enrol(service, tenant, devices, found.data / "sim" / "devices" / tenant)
