"""A writer of a test's own: registered devices, messages through the real pipeline into the real store."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from core import topics
from core.bus import Bus
from core.db import Database
from core.mqtt import Message
from core.settings import IngestSettings, RedisSettings, Settings
from ingest.service import IngestService
from tests.conftest import DatabaseUrls


class Broker:
    """Where the messages of a test come from."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []

    def ack(self, packet_ids: Sequence[int]) -> None:
        self.acknowledged += packet_ids

    def pause(self) -> None: ...

    def resume(self) -> None: ...


def register(urls: DatabaseUrls, *things: str) -> None:
    """Put tenants and active devices into the registry."""
    with psycopg.connect(urls.operator) as conn:
        for thing in things:
            tenant, _, device = thing.partition(":")
            conn.execute("INSERT INTO tenant (tenant_id, name) VALUES (%s, 'T') ON CONFLICT DO NOTHING", (tenant,))
            conn.execute(
                "INSERT INTO device (tenant_id, device_id, status) VALUES (%s, %s, 'active')", (tenant, device)
            )


async def feed(
    urls: DatabaseUrls, *messages: tuple[str, Any], clock: datetime | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Deliver (topic or thing, payload) and wait for the commit; the durable acknowledgements by thing.

    A payload that is no bytes is sent as JSON. `clock` holds the time still.
    """
    said: dict[str, list[dict[str, Any]]] = {}

    def send_acks(acks: Sequence[tuple[str, bytes]]) -> None:
        for thing, body in acks:
            said.setdefault(thing, []).append(json.loads(body))

    settings = IngestSettings()
    bus = Bus(RedisSettings(url="redis://127.0.0.1:1/0"), Settings().bus)
    async with Database(urls.ingest, pool_size=1) as database:
        service = IngestService(
            settings=settings,
            database=database,
            bus=bus,
            clock=lambda: clock or datetime.now(UTC),
            send_acks=send_acks,
        )
        writer = asyncio.create_task(service.run())
        broker = Broker()
        for number, (to, payload) in enumerate(messages, 1):
            topic = to if "/" in to else topics.telemetry(to)
            body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
            service.offer(Message(topic.encode(), body, number), broker)
            await service.drain()
        writer.cancel()
        assert broker.acknowledged == list(range(1, len(messages) + 1))
    await bus.close()
    return said


def sample(at: datetime, seq: int | None = None, boot: str = "b1", lat: float = 47.0, **more: Any) -> dict[str, Any]:
    name = {} if seq is None else {"boot": boot, "seq": seq}
    return {"ts": int(at.timestamp() * 1000), **name, "pos": {"lat": lat, "lon": 9.0}, **more}


def minutes_ago(minutes: float) -> datetime:
    """On the whole second, as files show times."""
    return datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=minutes)


def letters(urls: DatabaseUrls) -> list[tuple[int, str, datetime | None]]:
    """Id, reason and time of replay of every dead letter, oldest first."""
    with psycopg.connect(urls.operator) as conn:
        rows = conn.execute("SELECT id, reason, replayed_at FROM dead_letter ORDER BY id").fetchall()
    return [(row[0], row[1], row[2]) for row in rows]


def stored(urls: DatabaseUrls) -> list[tuple[str, str, int]]:
    """Device, boot and seq of every stored position, in order of time."""
    with psycopg.connect(urls.ingest) as conn:
        rows = conn.execute("SELECT device_id, boot, seq FROM telemetry.position ORDER BY ts, device_id").fetchall()
    return [(row[0], row[1], row[2]) for row in rows]
