"""Arrival times live: from a stored fix to its new estimate on a trip's channel, 1,000 trucks with a fix a second each.

Fixes are stored and announced here, in batches as ingest makes them; what the way through the broker and ingest costs
is measured by `bench ingest`. From there on everything is the real stack: bus, eta, bus, live, WebSocket.
"""

import asyncio
import contextlib
import itertools
import json
import math
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import msgspec
import psutil
import psycopg
import uvloop
import websockets
from psycopg.types.json import Jsonb
from rich.console import Console

from bench.stack import Stack, running
from cli.stack.state import StackFile
from core.bus import Bus, Entry
from core.events import Received, TelemetryReceived, encode
from core.settings import BusSettings, RedisSettings
from core.telemetry import Position, Sample

_TRUCKS = int(os.environ.get("BENCH_ETA_TRUCKS", "1000"))
_SECONDS = float(os.environ.get("BENCH_ETA_SECONDS", "45"))
_WARM_UP_S = 60.0
"""All trucks set off in the same second, which no fleet does: that wave is over by then, and stops come as they do."""
_WATCHED, _A_CONNECTION = 64, 16
_STOPS, _SPACING_M = 21, 700.0
_EAST_M = 111_195.0 * math.cos(math.radians(47.0))
_BATCH_S = 0.025


def measure(console: Console) -> None:
    """Prints the figures. Ends by itself within four minutes."""
    settings = {"MILKRUN_LIVE_CONNECTIONS_PER_PRINCIPAL": "100", "MILKRUN_BUS_PARTITIONS": "16"}
    with running(settings, api=True) as stack:
        told = msgspec.json.decode((stack.data / "stack.json").read_bytes(), type=StackFile)
        _plan(told.database_url)
        time.sleep(3.0)
        before, base = stack.cpu_s(), _rss(stack)
        latencies, seconds = uvloop.run(_measured(told))
        used = {part: (cpu - before.get(part, 0.0)) / seconds for part, cpu in stack.cpu_s().items()}
        latencies.sort()
        p50, p99 = (latencies[int(len(latencies) * q)] * 1000 for q in (0.5, 0.99))
        console.print(
            f"stored fix to new estimate on trip:{{id}}, {_TRUCKS} trucks at 1 fix/s, {_STOPS - 1} stops each: "
            f"p50 {p50:.0f} ms, p99 {p99:.0f} ms ({len(latencies)} estimates seen of {_WATCHED} trips)"
        )
        console.print(f"memory of a followed trip in eta: {(_rss(stack) - base) / _TRUCKS / 1024:.0f} kB")
        shares = ", ".join(f"{part} {cpu:.2f}" for part, cpu in sorted(used.items()) if cpu > 0.01)
        console.print(f"cores used: {shares}")


def _rss(stack: Stack) -> int:
    total = 0
    for process in stack.processes().get("eta", []):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total


def _trip(number: int) -> str:
    return f"trip_{number:08}"


def _device(number: int) -> str:
    return f"truck-{number:05}"


def _speed_mps(truck: int) -> float:
    """Each truck's own, so that they do not reach their stops all in the same second."""
    return 6.0 + 4.0 * (truck % 97) / 97


def _place(along: float) -> tuple[float, float]:
    return 47.0, 9.5 + along / _EAST_M


def _plan(url: str) -> None:
    """A tenant whose trucks are all under way on the same road."""
    road = [_place(float(along)) for along in range(0, int(_STOPS * _SPACING_M), 100)]
    stops = [(n, *_place(n * _SPACING_M)) for n in range(_STOPS)]
    with psycopg.connect(url) as conn, conn.cursor() as cursor:
        cursor.execute("SET ROLE milkrun_operator")
        cursor.execute("INSERT INTO tenant (tenant_id, name) VALUES ('bench', 'bench') ON CONFLICT DO NOTHING")
        cursor.executemany(
            "INSERT INTO device (tenant_id, device_id, status) VALUES ('bench', %s, 'active')",
            [(_device(n),) for n in range(_TRUCKS)],
        )
        cursor.executemany(
            "INSERT INTO site (tenant_id, site_id, name, kind, lat, lon, radius_m, timezone, created_at, updated_at) "
            "VALUES ('bench', %s, 'Farm', 'farm', %s, %s, 50, 'UTC', now(), now())",
            [(f"site_{n:08}", lat, lon) for n, lat, lon in stops],
        )
        cursor.execute(
            "INSERT INTO route (tenant_id, route_id, name, timezone, shape, created_at, updated_at) "
            "VALUES ('bench', 'route_00000001', 'Road', 'UTC', %s, now(), now())",
            (Jsonb(road),),
        )
        cursor.executemany(
            "INSERT INTO trip (tenant_id, trip_id, route_id, device_id, day, planned_start, state, is_recurring, "
            "started_at, version, created_at, updated_at) VALUES ('bench', %s, 'route_00000001', %s, current_date, "
            "now(), 'under_way', false, now(), 1, now(), now())",
            [(_trip(n), _device(n)) for n in range(_TRUCKS)],
        )
        cursor.executemany(
            "INSERT INTO trip_stop (tenant_id, trip_id, stop_id, seq, site_id, name, lat, lon, radius_m, state) "
            "VALUES ('bench', %s, %s, %s, %s, 'Farm', %s, %s, 50, 'planned')",
            [
                (_trip(t), f"stop_{t:05}{n:03}", n + 1, f"site_{n:08}", lat, lon)
                for t, (n, lat, lon) in itertools.product(range(_TRUCKS), stops)
            ],
        )


class _Drive:
    """All trucks on their way, each at its own moment of the second."""

    def __init__(self, told: StackFile) -> None:
        self._told = told
        self._bus = Bus(RedisSettings(url=told.redis_url), BusSettings(partitions=16))
        self.given_at: dict[tuple[int, int], float] = {}
        """(truck, turn): when that fix was stored and handed over"""

    async def run(self, seconds: float) -> None:
        slots = round(1.0 / _BATCH_S)
        began = time.monotonic()
        async with await psycopg.AsyncConnection.connect(self._told.database_url, autocommit=True) as conn:
            for turn in range(int(seconds)):
                for slot in range(slots):
                    await asyncio.sleep(max(0.0, began + turn + slot * _BATCH_S - time.monotonic()))
                    await self._batch(conn, range(slot, _TRUCKS, slots), turn)
        await self._bus.close()

    async def _batch(self, conn: psycopg.AsyncConnection, trucks: range, turn: int) -> None:
        now_ms = int(time.time() * 1000)
        at = datetime.fromtimestamp(now_ms / 1000, UTC)
        async with (
            conn.cursor() as cursor,
            cursor.copy(
                "COPY telemetry.position (ts, seq, lat, lon, received_at, tenant_id, device_id, boot) FROM STDIN"
            ) as copy,
        ):
            for truck in trucks:
                lat, lon = _place(turn * _speed_mps(truck))
                await copy.write_row((at, turn, lat, lon, at, "bench", _device(truck), "b"))
        parts: dict[int, list[Received]] = {}
        for truck in trucks:
            thing = f"bench:{_device(truck)}"
            lat, lon = _place(turn * _speed_mps(truck))
            pos = Position(lat=lat, lon=lon, speed=_speed_mps(truck))
            received = Received(thing, Sample(ts=now_ms, pos=pos), True)
            parts.setdefault(self._bus.partition(thing), []).append(received)
        now = time.monotonic()
        self.given_at |= {(truck, turn): now for truck in trucks}
        news = [TelemetryReceived(partition=n, received_ms=now_ms, samples=part) for n, part in parts.items()]
        await self._bus.publish([Entry(each.stream, f"#{each.partition}", encode(each)) for each in news])


async def _measured(told: StackFile) -> tuple[list[float], float]:
    drive, latencies = _Drive(told), list[float]()
    assert told.api_url is not None
    assert told.admin is not None
    secret = {"client_id": told.admin.client_id, "client_secret": told.admin.client_secret}
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{told.api_url}/oauth/token", data={"grant_type": "client_credentials", **secret})
    headers = {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}
    url = f"{told.api_url.replace('http', 'ws', 1)}/v1/ws?tenant=bench"
    began = time.monotonic()
    watched = [n * _TRUCKS // _WATCHED for n in range(_WATCHED)]
    connections = [watched[n : n + _A_CONNECTION] for n in range(0, _WATCHED, _A_CONNECTION)]
    watching = [asyncio.create_task(_watch(url, headers, each, drive, latencies, began)) for each in connections]
    await drive.run(_WARM_UP_S + _SECONDS)
    await asyncio.sleep(2.0)
    for task in watching:
        task.cancel()
    outcomes = await asyncio.gather(*watching, return_exceptions=True)
    if failed := [each for each in outcomes if isinstance(each, Exception)]:
        raise SystemExit(f"a client failed: {failed[0]!r}")
    if not latencies:
        raise SystemExit("no estimate came through: the figures would mean nothing")
    return latencies, time.monotonic() - began


async def _watch(
    url: str, headers: dict[str, str], trucks: list[int], drive: _Drive, latencies: list[float], began: float
) -> None:
    async with websockets.connect(url, additional_headers=headers, max_size=None, compression=None) as socket:
        for truck in trucks:
            await socket.send(json.dumps({"type": "subscribe", "channel": f"trip:{_trip(truck)}"}))
        async for text in socket:
            now = time.monotonic()
            for truck, turn in _turns(text):
                given_at = drive.given_at.get((truck, turn))
                if given_at is not None and now - began > _WARM_UP_S:
                    latencies.append(now - given_at)


def _turns(text: str | bytes) -> Iterator[tuple[int, int]]:
    """Which fix each estimate follows from: the road is straight, so its progress names the turn."""
    frame = json.loads(text)
    for event in frame.get("events", ()):
        if event["type"] == "arrivals" and event["data"]["method"] != "aged":
            truck = int(event["data"]["trip"].removeprefix("trip_"))
            yield truck, round(event["data"]["progress_m"] / _speed_mps(truck))
