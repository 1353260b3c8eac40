"""One ingest worker on a real database, without a broker in front: the test is what messages come from."""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Self

import psycopg

from core import events, topics
from core.bus import Bus
from core.db import Database
from core.mqtt import Message
from core.outbox import _decoder
from core.settings import BusSettings, IngestSettings, RedisSettings
from ingest import batch, service
from ingest.service import IngestService
from tests.conftest import DatabaseUrls

_NO_REDIS = "redis://127.0.0.1:1/0"


class Writer:
    """`offer` gives it a message, `settled` waits for the commit. What it acknowledges and tells devices is kept.

    `clock` holds the time still. An `ack` that raises is a death between commit and acknowledgement.
    """

    def __init__(
        self,
        urls: DatabaseUrls,
        *,
        clock: datetime | None = None,
        ingest_url: str | None = None,
        redis_url: str = _NO_REDIS,
        dies_before_ack: bool = False,
        **settings: Any,
    ) -> None:
        self.settings = IngestSettings(**settings)
        self.acknowledged: list[int] = []
        self.told: dict[str, list[dict[str, Any]]] = {}
        self.pauses = self.resumes = 0
        self._dies_before_ack = dies_before_ack
        self._database = Database(ingest_url or urls.ingest, pool_size=2)
        self._bus = Bus(RedisSettings(url=redis_url), BusSettings())
        self._packet_id = 0
        self.service = IngestService(
            settings=self.settings,
            database=self._database,
            bus=self._bus,
            clock=lambda: clock or datetime.now(UTC),
            send_acks=self._tell,
        )
        self.loop: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._database.__aenter__()
        self.loop = asyncio.create_task(self.service.run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self.loop is not None
        self.loop.cancel()
        await asyncio.gather(self.loop, return_exceptions=True)
        await self._database.__aexit__()
        await self._bus.close()

    def offer(self, to: str, payload: Any, *, is_redelivery: bool = False) -> None:
        """Deliver to a topic, or to the telemetry topic of a thing; a payload that is no bytes as JSON."""
        topic = to if "/" in to else topics.telemetry(to)
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self._packet_id += 1
        self.service.offer(Message(topic.encode(), body, self._packet_id, is_redelivery), self)

    async def settled(self) -> None:
        assert self.loop is not None
        drained = asyncio.create_task(self.service.drain())
        try:
            async with asyncio.timeout(60):
                await asyncio.wait({drained, self.loop}, return_when=asyncio.FIRST_COMPLETED)
            if self.loop.done():
                self.loop.result()
        finally:
            drained.cancel()

    def ack(self, packet_ids: Sequence[int]) -> None:
        if self._dies_before_ack:
            raise Died
        self.acknowledged += packet_ids

    def pause(self) -> None:
        self.pauses += 1

    def resume(self) -> None:
        self.resumes += 1

    def _tell(self, acks: Sequence[tuple[str, bytes]]) -> None:
        for thing, body in acks:
            self.told.setdefault(thing, []).append(json.loads(body))


class Died(Exception):
    """The process is gone after the commit and before the acknowledgement."""


def query(urls: DatabaseUrls, statement: str, *params: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(urls.operator if "dead_letter" in statement else urls.owner) as conn:
        return conn.execute(statement, params).fetchall()  # type: ignore[arg-type]


def execute(urls: DatabaseUrls, statement: str, *params: Any) -> None:
    with psycopg.connect(urls.owner) as conn:
        conn.execute(statement, params)  # type: ignore[arg-type]


def names(urls: DatabaseUrls) -> list[tuple[str, str, int]]:
    """Device, boot and seq of every stored position, sorted."""
    return query(urls, "SELECT device_id, boot, seq FROM telemetry.position ORDER BY 1, 2, 3")


def digests(urls: DatabaseUrls, tenant: str) -> dict[str, str]:
    """Of every row of the tenant, all columns but the time of receipt, of what a batch writes for good."""
    found = {}
    for table, columns in (
        ("telemetry.position", "ts, seq, lat, lon, alt, speed, heading, acc, hdop, sats, device_id, boot"),
        ("telemetry.metric", "ts, seq, value, text, device_id, boot, name"),
        ("device_event", "ts, seq, type, data, device_id, boot"),
        ("device_state", "device_id, ts, boot, seq, lat, lon, alt, speed, heading, acc"),
    ):
        rows = query(urls, f"SELECT {columns} FROM {table} WHERE tenant_id = %s ORDER BY {columns}", tenant)
        found[table] = f"{len(rows)} rows, {hashlib.sha256(repr(rows).encode()).hexdigest()}"
    return found


def letters(urls: DatabaseUrls) -> list[tuple[str, str, bytes]]:
    """Topic, reason and payload of each dead letter, in order of keeping."""
    rows = query(urls, "SELECT topic, reason, payload FROM dead_letter ORDER BY id")
    return [(topic, reason, bytes(payload)) for topic, reason, payload in rows]


def news(urls: DatabaseUrls) -> list[tuple[str, str, int | None]]:
    """Thing, boot and seq of every sample in the outbox."""
    found = []
    for (packed,) in query(urls, "SELECT entries FROM outbox ORDER BY id"):
        for entry in _decoder.decode(packed):
            event = events.decode(entry.body)
            if isinstance(event, events.TelemetryReceived):
                found += [(r.thing, r.sample.boot, r.sample.seq) for r in event.samples]
    return found


def reported(urls: DatabaseUrls) -> list[str]:
    """Types of the events in the outbox."""
    rows = query(urls, "SELECT entries FROM outbox ORDER BY id")
    found = [events.decode(entry.body) for (packed,) in rows for entry in _decoder.decode(packed)]
    return [event.type for event in found if isinstance(event, events.DeviceReported)]


def counted() -> dict[str, int]:
    """The counters of this process, by label."""
    found: dict[str, int] = {}
    for counter, prefix in (
        (batch.REJECTED, ""),
        (batch.SHED, "shed "),
        (batch.SAMPLES, ""),
        (service.RETRIES, "retry "),
        (service.MESSAGES, "messages"),
    ):
        for metric in counter.collect():
            for each in metric.samples:
                if each.name.endswith("_total"):
                    found[prefix + "".join(each.labels.values())] = int(each.value)
    return found
