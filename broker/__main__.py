"""The broker service of one broker: presence, guard, revocation. `python -m broker`."""

import asyncio
from pathlib import Path

import structlog
import uvloop

from broker.handlers import handlers
from broker.mosquitto import BrokerControl
from broker.revocation import RevocationFolder
from broker.service import BrokerWatch, Link, keep_revocations
from core import logs, metrics, settings
from core.bus import Bus
from core.clock import utc_now
from core.db import Database
from core.worker import Worker, until_stopped


async def main() -> None:
    loaded = settings.load()
    logs.configure(level=loaded.log.level, json=loaded.log.json_lines, process="broker")
    metrics.serve(loaded.metrics)
    folder = loaded.broker.folder
    crl_file = loaded.broker.crl_file or Path("device.crl")
    link = Link(loaded.mqtt)
    installs = RevocationFolder(crl_file, folder / "crl") if loaded.broker.kind == "mosquitto" else None
    control = BrokerControl(link.open, installs)
    bus = Bus(loaded.redis, loaded.bus)
    async with Database(
        loaded.database.operator_url,
        pool_size=loaded.database.pool_size,
        statement_timeout_s=loaded.database.statement_timeout_s,
    ) as database:
        watch = BrokerWatch(
            log_file=folder / "mosquitto.log",
            position_file=folder / "watch.json",
            grace_s=loaded.broker.presence_grace_s,
            control=control,
            database=database,
            tell=link.tell,
            clock=utc_now,
        )
        worker = Worker(
            group="broker", handlers=handlers(control, link.send), bus=bus, database=database, settings=loaded.bus
        )
        structlog.get_logger().info("broker.watching", log=str(folder / "mosquitto.log"))
        try:
            await until_stopped(watch.run(), link.run(), keep_revocations(control), worker.run())
        finally:
            await bus.close()


if __name__ == "__main__":
    asyncio.run(main(), loop_factory=uvloop.new_event_loop)
