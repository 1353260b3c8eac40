"""Ingest against its bars: messages and samples a second, latency, memory, CPU by part, and the textbook consumer.

Everything runs on this machine: generator, broker, PostgreSQL, Redis and ingest.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import uvloop
from rich.console import Console

from bench.figures import machine, spread
from bench.stack import Stack, running
from bench.textbook import TABLE
from cli.stack.state import DataFolder
from core.mqtt import ConnectOptions, MqttConnection, tls_context
from sim.link import Credentials
from sim.load import LoadReport, run_load

_RUNS = 3
_SECONDS = 10.0
_TEXTBOOK_RATES = (6_000, 9_000, 12_000, 16_000)


def main(console: Console) -> None:
    console.print(f"bench ingest on {machine()}")
    with running() as stack:
        fleet = stack.fleet(100)
        _load(stack, fleet, rate=2_000, seconds=3)
        ours, textbook = [], []
        for run in range(_RUNS):
            before = stack.cpu_s()
            report = _load(stack, fleet, rate=0, seconds=_SECONDS)
            ours.append(report.durable_per_s)
            if run == 0:
                _tell_cpu(console, before, stack.cpu_s(), report)
            textbook.append(_textbook(stack, fleet))
        console.print(f"QoS 1 messages committed and acknowledged, 1 sample each: {spread(ours, '/s')}")
        console.print(f"textbook consumer (aiomqtt + executemany), same run:      {spread(textbook, '/s')}")
        ratios = [a / b for a, b in zip(ours, textbook, strict=True)]
        console.print(f"ratio: {min(ratios):.1f} to {max(ratios):.1f}")
        samples = [
            10 * _load(stack, fleet, rate=0, seconds=_SECONDS, samples=10, window=40).durable_per_s
            for _ in range(_RUNS)
        ]
        console.print(f"samples committed, 10 a message:                          {spread(samples, '/s')}")
        console.print(f"ingest process at its peak: {stack.peak_mb('ingest'):.0f} MB")
        calm = [_load(stack, fleet, rate=5_000, seconds=_SECONDS) for _ in range(_RUNS)]
        for share in (0.5, 0.99):
            latencies = [1000 * (report.latency_s(share) or 0.0) for report in calm]
            console.print(f"publish to committed at 5,000 msg/s, p{share * 100:.0f}: {spread(latencies, ' ms')}")
        _verify(console, stack)


def _load(
    stack: Stack, fleet: list[Credentials], *, rate: float, seconds: float, samples: int = 1, window: int = 150
) -> LoadReport:
    plan = stack.plan(rate=rate, duration_s=seconds, samples=samples, window=window)
    report = uvloop.run(run_load(plan, fleet))
    if report.durable != report.sent:
        raise SystemExit(f"{report.sent} messages sent and {report.durable} committed: the figures would mean nothing")
    return report


def _tell_cpu(console: Console, before: dict[str, float], after: dict[str, float], report: LoadReport) -> None:
    console.print("CPU a message, by part:")
    for part in sorted(after, key=lambda each: before.get(each, 0.0) - after[each]):
        cost = (after[part] - before.get(part, 0.0)) / report.durable * 1e6
        if cost >= 0.1:
            console.print(f"  {part:12} {cost:5.1f} us")
    console.print(f"  {'generator':12} {report.cpu_s / report.durable * 1e6:5.1f} us")


def _textbook(stack: Stack, fleet: list[Credentials]) -> float:
    """The best rate of committed rows over a row of offered rates, with ingest standing still."""
    with _ingest_stopped(stack), psycopg.connect(stack.context.settings.database.url, autocommit=True) as conn:
        conn.execute(TABLE)
        best = 0.0
        for rate in _TEXTBOOK_RATES:
            conn.execute("TRUNCATE textbook_position")
            best = max(best, _textbook_at(stack, fleet, rate, conn))
    return best


def _textbook_at(stack: Stack, fleet: list[Credentials], rate: int, conn: "psycopg.Connection[tuple[int]]") -> float:
    certificate = {
        "MILKRUN_MQTT_CERT_FILE": str(stack.context.ca_dir / "services" / "svc-ingest.crt"),
        "MILKRUN_MQTT_KEY_FILE": str(stack.context.ca_dir / "services" / "svc-ingest.key"),
    }
    env = {**os.environ, **DataFolder(stack.data).environment(), **certificate}
    consumer = subprocess.Popen([sys.executable, "-m", "bench.textbook"], env=env)
    try:
        time.sleep(1.5)
        # It confirms nothing to devices, so the generator goes by its rate alone.
        plan = stack.plan(rate=rate, duration_s=6.0, window=10**9)
        counts: list[tuple[float, int]] = []

        def watch(_report: LoadReport) -> None:
            row = conn.execute("SELECT count(*) FROM textbook_position").fetchone()
            counts.append((time.monotonic(), row[0] if row else 0))

        uvloop.run(run_load(replace(plan, settle_s=0.0), fleet, watch))
        (start, first), (end, last) = counts[1], counts[-1]
        return (last - first) / (end - start)
    finally:
        consumer.send_signal(signal.SIGKILL)
        consumer.wait()


@contextlib.contextmanager
def _ingest_stopped(stack: Stack) -> Iterator[None]:
    """Ingest stands still, and the broker keeps nothing for it: else each message would be handled twice over there."""
    pid = stack.pid("ingest")
    os.kill(pid, signal.SIGSTOP)
    try:
        asyncio.run(_forget_ingest(stack))
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
        time.sleep(5)


async def _forget_ingest(stack: Stack) -> None:
    mqtt, services = stack.context.settings.mqtt, stack.context.ca_dir / "services"
    tls = tls_context(mqtt.ca_file, services / "svc-ingest.crt", services / "svc-ingest.key")
    options = ConnectOptions(host=mqtt.host, port=mqtt.port, client_id="svc-ingest", tls=tls, clean_start=True)
    await (await MqttConnection.open(options)).disconnect()


def _verify(console: Console, stack: Stack) -> None:
    with psycopg.connect(stack.context.settings.database.url) as conn:
        row = conn.execute(
            "SELECT count(*), count(DISTINCT (device_id, boot, seq)), (SELECT count(*) FROM dead_letter) "
            "FROM telemetry.position"
        ).fetchone()
    assert row is not None
    console.print(f"in the table: {row[0]:,} rows, {row[0] - row[1]} doubled, {row[2]} dead letters")
