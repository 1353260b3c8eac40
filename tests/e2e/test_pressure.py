"""A database that stands still: what waits is bounded, the rest stays with the broker, and all of it lands."""

import asyncio
from collections.abc import Sequence

import psutil
import pytest

from core.bus import Bus
from core.clock import utc_now
from core.db import Database
from core.settings import BusSettings, IngestSettings, MqttSettings, RedisSettings
from ingest.service import IngestService
from ingest.source import MqttSource
from tests.e2e.convoy import driving
from tests.e2e.platform import assert_once
from tests.faults import frozen, until

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis, pytest.mark.mosquitto]

_READ_BYTES = 256 * 1024
_LEAST_MESSAGE_BYTES = 100


async def test_the_ingest_process_keeps_its_size_while_the_database_stands_still(
    platform, fleet, boot, record_property
):
    assert await platform.stop_ingest() == 0
    platform.configure({"MILKRUN_INGEST_RECEIVE_MAXIMUM": "1000"})
    await platform.start_ingest()
    process = psutil.Process(platform.ingest.child.pid)
    async with driving(platform, fleet(8), boot=boot, rate=2000, resends=False) as convoy:
        await until(lambda: convoy.durable > 2000)
        before = process.memory_info().rss
        with frozen(platform.postgres.child.pid):
            held = convoy.pubacked - convoy.durable
            await until(lambda: convoy.pubacked - convoy.durable > held + 10_000)
            grown = process.memory_info().rss - before
        await convoy.arrived()
        assert convoy.resent == 0
    assert_once(platform, boot, convoy.sent)
    assert process.is_running()
    record_property("messages", len(convoy.sent))
    record_property("grown MiB", grown / 2**20)
    # 10,000 messages in memory would be some 20 MiB.
    assert grown < 10 * 2**20
    assert await platform.stop_ingest() == 0
    platform.configure({})
    await platform.start_ingest()


class _Watched(IngestService):
    """Remembers the most that ever waited."""

    most = 0

    def offer(self, message, source) -> None:
        super().offer(message, source)
        self.most = max(self.most, self.waiting)


async def test_no_more_messages_wait_than_receive_maximum_and_one_read(platform, fleet, boot, record_property):
    """The service in our own process, in place of the other, to see what it holds."""
    assert await platform.stop_ingest() == 0
    environment = platform.environment
    settings = IngestSettings(receive_maximum=500, batch_rows=200, batch_wait_ms=5)
    mqtt = MqttSettings(
        port=int(environment["MILKRUN_MQTT_PORT"]),
        ca_file=environment["MILKRUN_MQTT_CA_FILE"],
        cert_file=environment["MILKRUN_MQTT_CERT_FILE"],
        key_file=environment["MILKRUN_MQTT_KEY_FILE"],
    )
    source = MqttSource(mqtt, settings, name="svc-ingest")
    bus = Bus(RedisSettings(url=environment["MILKRUN_REDIS_URL"]), BusSettings())
    async with Database(environment["MILKRUN_DATABASE_INGEST_URL"], pool_size=2) as database:
        service = _Watched(settings=settings, database=database, bus=bus, clock=utc_now, send_acks=source.send_acks)
        tasks = [asyncio.create_task(work) for work in (service.run(), service.announce(), source.run(service))]
        async with driving(platform, fleet(8), boot=boot, rate=2000, resends=False) as convoy:
            await until(lambda: convoy.durable > 500)
            with frozen(platform.postgres.child.pid):
                held = convoy.pubacked - convoy.durable
                await until(lambda: convoy.pubacked - convoy.durable > held + 5000)
            await convoy.arrived()
            assert convoy.resent == 0
        await _end(tasks, source)
    await bus.close()
    record_property("most waiting", service.most)
    assert service.most <= settings.receive_maximum + _READ_BYTES // _LEAST_MESSAGE_BYTES
    assert_once(platform, boot, convoy.sent)
    await platform.start_ingest()


async def _end(tasks: Sequence[asyncio.Task[None]], source: MqttSource) -> None:
    source.stop()
    await source.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
