"""Ends overlaps, counts expiring certificates and keeps the revocation list in force."""

import asyncio

from core import logs, metrics
from core.db import Database
from core.settings import Settings, load
from core.worker import until_stopped
from provisioning.ca import CertificateAuthority
from provisioning.service import ProvisioningService


async def main(settings: Settings) -> None:
    database = settings.database
    authority = CertificateAuthority.open(settings.provisioning.ca_dir, settings=settings.provisioning)
    timeout_s = database.statement_timeout_s
    app = Database(database.app_url, pool_size=2, statement_timeout_s=timeout_s)
    operator = Database(database.operator_url, pool_size=2, statement_timeout_s=timeout_s)
    async with app, operator:
        await until_stopped(
            ProvisioningService(app=app, operator=operator, authority=authority, settings=settings.provisioning).run()
        )


if __name__ == "__main__":
    configured = load()
    logs.configure(level=configured.log.level, json=configured.log.json_lines, process="provisioning")
    metrics.serve(configured.metrics)
    asyncio.run(main(configured))
