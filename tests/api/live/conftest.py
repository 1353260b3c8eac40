"""A fleet whose devices move: state in the database first, then the news on the bus, as ingest does it."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from core.bus import Bus, Entry
from core.events import (
    DeviceConnected,
    DeviceDescribed,
    DeviceDisconnected,
    DeviceReported,
    DeviceStatusChanged,
    Event,
    Received,
    TelemetryReceived,
    encode,
)
from core.settings import LiveSettings, Settings
from core.telemetry import Position, Sample

_STATE = """
INSERT INTO device_state (tenant_id, device_id, last_seen_at, ts, boot, seq, lat, lon, speed, heading, ledger)
SELECT %s, s.*, '' FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[], %s::text[], %s::bigint[],
    %s::float8[], %s::float8[], %s::real[], %s::real[]) s
ON CONFLICT (tenant_id, device_id) DO UPDATE SET ts = excluded.ts, lat = excluded.lat, lon = excluded.lon,
    speed = excluded.speed, heading = excluded.heading
"""
_PRESENCE = """
INSERT INTO presence (tenant_id, device_id, online, since, session, version)
VALUES (%s, %s, %s, to_timestamp(%s), 's', 1)
ON CONFLICT (tenant_id, device_id) DO UPDATE SET online = excluded.online, since = excluded.since
"""


@dataclass
class Fleet:
    """Devices of one tenant."""

    tenant: str
    conn: psycopg.AsyncConnection[Any]
    bus: Bus
    ts: dict[str, int] = field(default_factory=dict)

    async def add(self, *names: str, labels: dict[str, str] | None = None, status: str = "active") -> None:
        async with self.conn.cursor() as cursor:
            await cursor.executemany(
                "INSERT INTO device (tenant_id, device_id, status, type, labels) VALUES (%s, %s, %s, 'tanker', %s)",
                [(self.tenant, name, status, Jsonb(labels or {})) for name in names],
            )

    async def move(self, *names: str, lat: float = 47.0, lon: float = 9.5) -> None:
        """Each device a second further in its own time, at a place."""
        await self.fix([(name, lat, lon) for name in names])

    async def fix(self, fixes: Sequence[tuple[str, float, float]], *, live: bool = True) -> None:
        samples = []
        for name, lat, lon in fixes:
            self.ts[name] = self.ts.get(name, 1_790_000_000_000) + 1000
            samples.append(Sample(ts=self.ts[name], pos=Position(lat=lat, lon=lon, speed=13.5, heading=90.0)))
        # The last fix of a device wins, as in ingest.
        last = {name: (sample, lat, lon) for (name, lat, lon), sample in zip(fixes, samples, strict=True)}
        columns = list(
            zip(
                *[
                    (name, _at(sample.ts), _at(sample.ts), "b", 1, lat, lon, 13.5, 90.0)
                    for name, (sample, lat, lon) in last.items()
                ],
                strict=True,
            )
        )
        await self.conn.execute(_STATE, (self.tenant, *[list(column) for column in columns]))
        things = [f"{self.tenant}:{name}" for name, _, _ in fixes]
        batches: dict[int, list[Received]] = {}
        for thing, sample in zip(things, samples, strict=True):
            batches.setdefault(self.bus.partition(thing), []).append(Received(thing, sample, live))
        await self.publish(
            *[
                TelemetryReceived(partition=n, received_ms=int(time.time() * 1000), samples=batch)
                for n, batch in batches.items()
            ]
        )

    async def presence(self, name: str, *, online: bool, at: int) -> None:
        await self.conn.execute(_PRESENCE, (self.tenant, name, online, at / 1000))
        thing = f"{self.tenant}:{name}"
        if online:
            await self.publish(DeviceConnected(thing=thing, at=at, session="s", version=1))
        else:
            await self.publish(DeviceDisconnected(thing=thing, at=at, session="s", version=2, reason="x"))

    async def status(self, name: str, status: str) -> None:
        await self.conn.execute(
            "UPDATE device SET status = %s WHERE tenant_id = %s AND device_id = %s", (status, self.tenant, name)
        )
        await self.publish(DeviceStatusChanged(thing=f"{self.tenant}:{name}", status=status))

    async def relabel(self, name: str, labels: dict[str, str]) -> None:
        await self.conn.execute(
            "UPDATE device SET labels = %s WHERE tenant_id = %s AND device_id = %s", (Jsonb(labels), self.tenant, name)
        )
        await self.publish(DeviceDescribed(thing=f"{self.tenant}:{name}", type="tanker", labels=labels))

    async def report(self, name: str, type_: str, **data: object) -> None:
        await self.publish(DeviceReported(thing=f"{self.tenant}:{name}", ts=1_790_000_000_000, type=type_, data=data))

    async def publish(self, *events: Event) -> None:
        entries = [
            Entry(e.stream, f"#{e.partition}" if isinstance(e, TelemetryReceived) else e.key, encode(e)) for e in events
        ]
        await self.bus.publish(entries)


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


@pytest.fixture
def live_settings() -> LiveSettings:
    """A module of tests puts its own in place of these."""
    return LiveSettings(connections_per_principal=1000, recheck_s=0.2, drain_s=0)


@pytest.fixture
def api_settings(api_settings: Settings, live_settings: LiveSettings) -> Settings:
    return api_settings.model_copy(update={"live": live_settings})


@pytest.fixture
async def fleets(api_settings: Settings, database) -> AsyncIterator[dict[str, Fleet]]:
    bus = Bus(api_settings.redis, api_settings.bus)
    conn = await psycopg.AsyncConnection.connect(database.owner, autocommit=True)
    yield {tenant: Fleet(tenant, conn, bus) for tenant in ("acme", "zeta")}
    await conn.close()
    await bus.close()


@pytest.fixture
def fleet(fleets: dict[str, Fleet]) -> Fleet:
    return fleets["acme"]


@pytest.fixture
async def moving(fleet: Fleet) -> AsyncIterator["Driving"]:
    """Ten devices that move until `stop`, some 200 events a second."""
    names = [f"truck-{n}" for n in range(10)]
    await fleet.add(*names)
    driving = Driving(asyncio.create_task(_drive(fleet, names)))
    yield driving
    await driving.stop()


@dataclass
class Driving:
    """Devices on their way."""

    task: "asyncio.Task[None]"

    async def stop(self) -> None:
        """Once this returns nothing more will be published."""
        self.task.cancel()
        await asyncio.wait([self.task])


async def _drive(fleet: Fleet, names: list[str]) -> None:
    for turn in itertools.count():
        # To the end, once begun: state and news belong together.
        await asyncio.shield(fleet.move(*names, lat=47 + turn * 1e-5))
        await asyncio.sleep(0.05)
