"""The broker service of one broker: presence, guard, revocation. `python -m broker`."""

import asyncio
from pathlib import Path

import structlog
import uvloop

from broker.handlers import handlers
from broker.mosquitto import BrokerControl
from broker.presence.attendance import keep_bounded
from broker.presence.aws import LifecycleWatch
from broker.revocation import RevocationFolder
from broker.service import BrokerWatch, Cutter, Link, keep_revocations
from core import logs, metrics, settings
from core.bus import Bus
from core.clock import utc_now
from core.db import Database
from core.worker import Worker, until_stopped

_TIDY_EVERY_S = 3600.0


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
        cutter = Cutter(control)
        watch: BrokerWatch | LifecycleWatch
        if loaded.broker.kind == "aws":
            watch = LifecycleWatch(
                resume=link.resume,
                grace_s=loaded.broker.presence_grace_s,
                database=database,
                cut=cutter.cut_barred,
                clock=utc_now,
            )
        else:
            watch = BrokerWatch(
                log_file=folder / "mosquitto.log",
                position_file=folder / "watch.json",
                grace_s=loaded.broker.presence_grace_s,
                cutter=cutter,
                database=database,
                tell=link.tell,
                clock=utc_now,
            )
        worker = Worker(
            group="broker", handlers=handlers(control, link.send), bus=bus, database=database, settings=loaded.bus
        )
        structlog.get_logger().info("broker.watching", broker=loaded.broker.kind)
        timeline = keep_bounded(
            database, days=loaded.broker.presence_days, turns=loaded.broker.presence_turns, every_s=_TIDY_EVERY_S
        )
        lists = [] if loaded.broker.kind == "aws" else [keep_revocations(control)]
        try:
            await until_stopped(watch.run(), link.run(), timeline, *lists, worker.run())
        finally:
            cutter.close()
            await bus.close()


if __name__ == "__main__":
    asyncio.run(main(), loop_factory=uvloop.new_event_loop)
