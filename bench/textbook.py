"""The textbook consumer that ingest is measured against: aiomqtt and `executemany`, as tutorials write it.

It is given what is fair: batches by size and time, msgspec to decode, ON CONFLICT DO NOTHING on a table with the same
columns and key as telemetry.position, without partitions. It acknowledges on receipt, as aiomqtt 2 does, and so it may
lose what it has not written; it neither judges, nor keeps what is refused, nor confirms to devices.
"""

import asyncio
import ssl
from datetime import UTC, datetime

import aiomqtt
import msgspec
import psycopg

from core import topics
from core.settings import Settings
from core.telemetry import Sample

_BATCH = 1000
_WAIT_S = 0.1

TABLE = """
CREATE TABLE IF NOT EXISTS textbook_position (
    tenant_id text NOT NULL, device_id text NOT NULL, ts timestamptz NOT NULL, boot text NOT NULL, seq bigint NOT NULL,
    lat double precision NOT NULL, lon double precision NOT NULL, alt real, speed real, heading real, acc real,
    hdop real, sats smallint, received_at timestamptz NOT NULL, PRIMARY KEY (tenant_id, device_id, ts, boot, seq))
"""
_INSERT = """
INSERT INTO textbook_position VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


async def consume(settings: Settings) -> None:
    """Consume until cancelled."""
    mqtt = settings.mqtt
    tls = ssl.create_default_context(cafile=str(mqtt.ca_file))
    tls.load_cert_chain(str(mqtt.cert_file), str(mqtt.key_file))
    decode = msgspec.json.Decoder(Sample).decode
    rows: list[tuple[object, ...]] = []
    async with (
        aiomqtt.Client(
            mqtt.host, mqtt.port, identifier="textbook", tls_context=tls, protocol=aiomqtt.ProtocolVersion.V5
        ) as client,
        await psycopg.AsyncConnection.connect(settings.database.url) as conn,
    ):
        await client.subscribe(f"{topics.ROOT}/+/telemetry", qos=1)
        flushed = asyncio.get_running_loop().time()
        async for message in client.messages:
            tenant, _, device = str(message.topic).split("/")[2].partition(":")
            sample = decode(bytes(message.payload))
            pos = sample.pos
            assert pos is not None
            at = datetime.fromtimestamp(sample.ts / 1000, UTC)
            rows.append(
                (
                    *(tenant, device, at, sample.boot, sample.seq, pos.lat, pos.lon, pos.alt, pos.speed, pos.heading),
                    *(pos.acc, pos.hdop, pos.sats, datetime.now(UTC)),
                )
            )
            now = asyncio.get_running_loop().time()
            if len(rows) >= _BATCH or now - flushed > _WAIT_S:
                async with conn.cursor() as cursor:
                    await cursor.executemany(_INSERT, rows)
                await conn.commit()
                rows.clear()
                flushed = now


if __name__ == "__main__":
    from core import settings

    asyncio.run(consume(settings.load()))
