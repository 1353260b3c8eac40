"""REST at 50 requests a second: a fleet's last positions, a day's track, an hourly metric over 30 days.

Database, API and this client share the machine. Latency counts from when a request was due, so that one that had to
wait for those before it is not flattered. Beside each stands the textbook's answer, both asked one at a time.
"""

import asyncio
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import psycopg
import uvloop
from rich.console import Console

from bench.figures import machine, spread
from bench.stack import Stack, running
from cli.stack.process import free_port
from cli.stack.state import StackFile

_RATE = 50
_RUNS = int(os.environ.get("BENCH_REST_RUNS", "3"))
_SECONDS = float(os.environ.get("BENCH_REST_SECONDS", "10"))
_DEVICES = int(os.environ.get("BENCH_REST_DEVICES", "10000"))
_ALONE = 15
_NEIGHBOURS = int(os.environ.get("BENCH_REST_NEIGHBOURS", "20"))
_SETTINGS = {"MILKRUN_API_CLIENT_RATE": "100000", "MILKRUN_API_CLIENT_BURST": "100000"}

# A day at 1 Hz of one device, whose rows lie between those of its neighbours as they come in; 30 days of one signal
# each 10 s, and of four signals each minute for the neighbours; and the rollups that maintenance would have made.
_FILL = """
SELECT telemetry.ensure_partitions(%(day)s::timestamptz - interval '31 days', now() + interval '1 day');
INSERT INTO tenant (tenant_id, name) VALUES ('bench', 'bench');
INSERT INTO device (tenant_id, device_id, status, type, labels)
    SELECT 'bench', 'truck-' || lpad(n::text, 5, '0'), 'active', 'tanker', '{"depot": "north"}'
    FROM generate_series(1, %(devices)s) AS n;
INSERT INTO device_state (tenant_id, device_id, last_seen_at, ts, lat, lon, alt, speed, heading, acc, ledger)
    SELECT tenant_id, device_id, now(), now(), 47 + random(), 9 + random(), 455, 13.9 * random(), 360 * random(), 4, ''
    FROM device;
INSERT INTO presence (tenant_id, device_id, online, since, session, version)
    SELECT tenant_id, device_id, random() < 0.7, now(), 's', 1 FROM device;
INSERT INTO telemetry.position (ts, seq, lat, lon, received_at, alt, speed, heading, acc, hdop, sats, tenant_id,
                                device_id, boot)
    SELECT %(day)s::timestamptz + make_interval(secs => s), s, 47 + 0.2 * sin(s / 3000.0 + d) + 0.002 * sin(s / 100.0),
           9 + 0.2 * cos(s / 3000.0 + d), now(), 455, 13.9, 182, 4, 0.9, 11, 'bench', 'truck-' || lpad(d::text, 5, '0'),
           'k3f9'
    FROM generate_series(0, 86399) AS s, generate_series(1, %(neighbours)s) AS d;
INSERT INTO telemetry.metric (ts, seq, received_at, value, tenant_id, device_id, boot, name)
    SELECT %(day)s::timestamptz - interval '30 days' + make_interval(secs => s * 10), s, now(),
           50 + 10 * sin(s / 100.0), 'bench', 'truck-00001', 'k3f9', 'milk_temp_c'
    FROM generate_series(0, 259199) AS s;
INSERT INTO telemetry.metric (ts, seq, received_at, value, tenant_id, device_id, boot, name)
    SELECT %(day)s::timestamptz - interval '30 days' + make_interval(mins => s), s, now(), 50 + 10 * sin(s / 100.0),
           'bench', 'truck-' || lpad(d::text, 5, '0'), 'k3f9', name
    FROM generate_series(0, 43199) AS s, generate_series(2, %(neighbours)s) AS d,
         unnest(ARRAY['fuel_pct', 'milk_temp_c', 'odometer_m', 'milk_l']) AS name
"""
_ROLL_UP = """
INSERT INTO telemetry.metric_1m (bucket, samples, total, min, max, last, tenant_id, device_id, name)
    SELECT date_trunc('minute', ts), count(*), sum(value), min(value), max(value),
           (array_agg(value ORDER BY ts DESC, seq DESC))[1], tenant_id, device_id, name
    FROM telemetry.metric GROUP BY 1, tenant_id, device_id, name ORDER BY 1;
INSERT INTO telemetry.metric_1h (bucket, samples, total, min, max, last, tenant_id, device_id, name)
    SELECT date_trunc('hour', bucket, 'UTC'), sum(samples), sum(total), min(min), max(max),
           (array_agg(last ORDER BY bucket DESC))[1], tenant_id, device_id, name
    FROM telemetry.metric_1m GROUP BY 1, tenant_id, device_id, name ORDER BY 1;
INSERT INTO telemetry.position_1m (bucket, fixes, max_speed, last_lat, last_lon, tenant_id, device_id)
    SELECT date_trunc('minute', ts), count(*), max(speed), max(lat), max(lon), tenant_id, device_id
    FROM telemetry.position GROUP BY 1, tenant_id, device_id ORDER BY 1
"""


def main(console: Console) -> None:
    console.print(f"bench rest on {machine()}")
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    with running(_SETTINGS, api=True) as stack:
        _fill(stack, day)
        told = msgspec.json.decode((stack.data / "stack.json").read_bytes(), type=StackFile)
        assert told.api_url is not None
        headers = {"Authorization": f"Bearer {_token(told)}", "Milkrun-Tenant": "bench"}
        with _textbook(stack) as textbook_url:
            uvloop.run(_measure(console, told.api_url, headers, textbook_url, day))


async def _measure(console: Console, url: str, headers: Mapping[str, str], textbook_url: str, day: datetime) -> None:
    span = {"since": day.isoformat(), "until": (day + timedelta(days=1)).isoformat()}
    month = {"since": (day - timedelta(days=30)).isoformat(), "until": day.isoformat()}
    track = f"/v1/devices/truck-00001/track?{_query(span)}&points=1000"
    metric = f"/v1/devices/truck-00001/metrics/milk_temp_c?{_query(month)}&bucket=1h"
    asked: tuple[tuple[str, str, str, str, dict[str, str]], ...] = (
        (f"last positions of {_DEVICES:,} devices, gzip", "/v1/positions", "gzip", "/positions", {}),
        (f"last positions of {_DEVICES:,} devices, plain", "/v1/positions", "identity", "/positions", {}),
        ("a day's track, 86,400 fixes to 1,000", track, "gzip", "/track", {"device": "truck-00001", **span}),
        ("an hourly metric over 30 days", metric, "gzip", "/metric", _naming("milk_temp_c", month)),
    )
    limits = httpx.Limits(max_connections=500)
    async with (
        httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=60) as ours,
        httpx.AsyncClient(base_url=textbook_url, timeout=60) as textbook,
    ):
        for name, path, encoding, textbook_path, params in asked:
            accept = {"Accept-Encoding": encoding}
            alone = await _alone(ours, path, accept, {})
            theirs = await _alone(textbook, textbook_path, accept, params)
            p50, p99 = [], []
            for _ in range(_RUNS):
                latencies = await _offered(ours, path, accept)
                p50.append(_share(latencies, 0.5))
                p99.append(_share(latencies, 0.99))
            console.print(f"{name}, {_RATE} requests/s")
            console.print(f"  p50 {spread(p50, ' ms')}, p99 {spread(p99, ' ms')}")
            console.print(f"  one at a time {alone:.0f} ms, the textbook {theirs:.0f} ms: ratio {theirs / alone:.1f}")


async def _offered(client: httpx.AsyncClient, path: str, headers: Mapping[str, str]) -> list[float]:
    """Milliseconds of each request of an open loop."""
    loop = asyncio.get_running_loop()
    begin = loop.time() + 0.1

    async def one(number: int) -> float:
        due = begin + number / _RATE
        await asyncio.sleep(due - loop.time())
        await _get(client, path, headers, {})
        return (loop.time() - due) * 1000

    return await asyncio.gather(*(one(number) for number in range(int(_RATE * _SECONDS))))


async def _alone(client: httpx.AsyncClient, path: str, headers: Mapping[str, str], params: Mapping[str, str]) -> float:
    """Median milliseconds of requests one after the other."""
    taken = []
    for _ in range(_ALONE):
        started = time.monotonic()
        await _get(client, path, headers, params)
        taken.append((time.monotonic() - started) * 1000)
    return statistics.median(taken)


async def _get(client: httpx.AsyncClient, path: str, headers: Mapping[str, str], params: Mapping[str, str]) -> None:
    """As raw bytes: unpacking and reading them is the client's own business."""
    request = client.build_request("GET", path, headers=headers, params=params or None)
    answer = await client.send(request, stream=True)
    size = 0
    async for part in answer.aiter_raw():
        size += len(part)
    await answer.aclose()
    if answer.status_code != 200 or size < 1000:
        raise SystemExit(f"{path} answered {answer.status_code} with {size} bytes: the figures would mean nothing")


def _share(latencies: list[float], share: float) -> float:
    return sorted(latencies)[min(len(latencies) - 1, int(len(latencies) * share))]


def _query(span: Mapping[str, str]) -> str:
    return str(httpx.QueryParams({"from": span["since"], "to": span["until"]}))


def _naming(name: str, span: Mapping[str, str]) -> dict[str, str]:
    return {"device": "truck-00001", "name": name, **span}


def _fill(stack: Stack, day: datetime) -> None:
    params = {"day": day, "devices": _DEVICES, "neighbours": _NEIGHBOURS}
    with psycopg.connect(stack.context.settings.database.url, autocommit=True) as conn:
        timescale = conn.execute("SELECT FROM pg_extension WHERE extname = 'timescaledb'").fetchone() is not None
        for statement in _FILL.split(";\n") + ([] if timescale else _ROLL_UP.split(";\n")):
            conn.execute(psycopg.sql.SQL(statement), params if "%(" in statement else None)
        conn.execute("VACUUM ANALYZE")


def _token(told: StackFile) -> str:
    assert told.admin is not None
    secret = {"client_id": told.admin.client_id, "client_secret": told.admin.client_secret}
    answer = httpx.post(f"{told.api_url}/oauth/token", data={"grant_type": "client_credentials", **secret})
    answer.raise_for_status()
    return str(answer.json()["access_token"])


@contextlib.contextmanager
def _textbook(stack: Stack) -> Iterator[str]:
    port = free_port()
    given = {"BENCH_DATABASE_URL": stack.context.settings.database.app_url, "BENCH_PORT": str(port)}
    server = subprocess.Popen([sys.executable, "-m", "bench.textbook_rest"], env={**os.environ, **given})
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{port}/openapi.json")
                break
            if time.monotonic() > deadline:
                raise SystemExit("the textbook server did not start")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
