"""Builds the ingest process and runs it until it is told to stop; then settles what it holds and goes."""

import asyncio
import gc

import structlog

from core.bus import Bus, BusUnavailable
from core.clock import utc_now
from core.db import Database
from core.outbox import Relay
from core.settings import Settings
from core.worker import until_stopped
from ingest.history.maintenance import Maintenance
from ingest.service import IngestService
from ingest.source import MqttSource

_DRAIN_WITHIN_S = 20.0
_log = structlog.get_logger()


async def run(settings: Settings, *, name: str = "svc-ingest") -> None:
    """One ingest worker: source, writer, announcer, outbox relay and maintenance. `name` is its MQTT client id."""
    # Samples live for one batch: the collector would walk thousands of them for nothing at its default pace.
    gc.set_threshold(50_000, 20, 50)
    bus = Bus(settings.redis, settings.bus)
    source = MqttSource(settings.mqtt, settings.ingest, name=name)
    async with Database(settings.database.ingest_url, pool_size=settings.database.pool_size) as database:
        service = IngestService(
            settings=settings.ingest, database=database, bus=bus, clock=utc_now, send_acks=source.send_acks
        )
        relay = Relay(database, bus)
        writer = asyncio.create_task(service.run())
        await until_stopped(
            source.run(service),
            service.announce(),
            service.follow_registry(),
            relay.run(),
            relay.count(),
            Maintenance(database, settings.telemetry, utc_now).run(),
            _trim(bus),
            _watch(writer),
            before_cancel=lambda: _drain(source, service),
        )
        writer.cancel()
    await bus.close()


async def _drain(source: MqttSource, service: IngestService) -> None:
    source.stop()
    try:
        await asyncio.wait_for(service.drain(), _DRAIN_WITHIN_S)
        _log.info("ingest.drained")
    except TimeoutError:
        _log.warning("ingest.undrained", messages=service.waiting)
    await source.close()


async def _trim(bus: Bus) -> None:
    while True:
        try:
            await bus.trim()
        except BusUnavailable as error:
            _log.warning("bus.untrimmed", error=str(error))
        await asyncio.sleep(1.0)


async def _watch(writer: "asyncio.Task[None]") -> None:
    """A writer that dies takes the process with it: it must not stay up and take messages it will never commit."""
    await writer
