"""Live streams against their bars: publish to client, idle clients, a storm of reconnects; and the textbook server.

Devices, broker, ingest, PostgreSQL, Redis, the API and all clients share this machine. Clients read every event and
count every gap.
"""

import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import psutil
import uvloop
from rich.console import Console

from bench.figures import machine, spread
from bench.live_clients import Order, Report
from bench.stack import Stack, running
from cli.stack.process import free_port
from cli.stack.state import DataFolder, StackFile
from sim.link import Credentials
from sim.load import run_load

_RUNS = int(os.environ.get("BENCH_LIVE_RUNS", "3"))
_SECONDS = float(os.environ.get("BENCH_LIVE_SECONDS", "10"))
_RATE, _CLIENTS = 2_000, 200
_IDLE = 2_000
_STORM_CLIENTS, _STORM_RATE = 1_000, 200
_SETTINGS = {"MILKRUN_LIVE_CONNECTIONS_PER_PRINCIPAL": "5000", "MILKRUN_IDENTITY_TOKEN_TTL_S": "7200"}


def main(console: Console) -> None:
    console.print(f"bench live on {machine()}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with running(_SETTINGS, api=True) as stack:
        fleet = stack.fleet(100)
        address, token = _door(stack)
        _delivery(console, stack, fleet, address, token)
        _idle(console, stack, address, token)
        _storm(console, stack, fleet, address, token)


class Clients:
    """The clients' process, given orders one at a time or while something else goes on."""

    def __init__(self, popen: "subprocess.Popen[bytes]") -> None:
        self._popen = popen

    def begin(self, order: Order) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(msgspec.json.encode(order) + b"\n")
        self._popen.stdin.flush()

    def report(self) -> Report:
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        if not line:
            raise SystemExit("the clients' process ended")
        return msgspec.json.decode(line, type=Report)

    def do(self, order: Order) -> Report:
        self.begin(order)
        return self.report()


@contextlib.contextmanager
def clients(address: str, token: str) -> Iterator[Clients]:
    command = [sys.executable, "-m", "bench.live_clients", address]
    popen = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "BENCH_TOKEN": token}
    )
    try:
        yield Clients(popen)
    finally:
        assert popen.stdin is not None
        popen.stdin.close()
        popen.wait(30)


def _door(stack: Stack) -> tuple[str, str]:
    """Where the streams of the bench's tenant are, and a token for them."""
    told = msgspec.json.decode((stack.data / "stack.json").read_bytes(), type=StackFile)
    assert told.api_url is not None
    assert told.admin is not None
    secret = {"client_id": told.admin.client_id, "client_secret": told.admin.client_secret}
    answer = httpx.post(f"{told.api_url}/oauth/token", data={"grant_type": "client_credentials", **secret})
    answer.raise_for_status()
    return f"{told.api_url}/v1/ws?tenant=bench", answer.json()["access_token"]


def _load(stack: Stack, fleet: list[Credentials], rate: float, seconds: float) -> None:
    report = uvloop.run(run_load(stack.plan(rate=rate, duration_s=seconds), fleet))
    if report.durable != report.sent:
        raise SystemExit(f"{report.sent} messages sent and {report.durable} committed: the figures would mean nothing")


def _measured(stack: Stack, fleet: list[Credentials], each: Clients, rate: float) -> Report:
    """What the clients see in the middle of a load of `rate`."""
    load = subprocess_load(stack, fleet, rate, _SECONDS + 4)
    next(load)
    time.sleep(3)
    report = each.do(Order("measure", seconds=_SECONDS))
    next(load, None)
    return report


def subprocess_load(stack: Stack, fleet: list[Credentials], rate: float, seconds: float) -> Iterator[None]:
    """The generator in a process of its own (forked): begun at the first `next`, waited for at the second."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _load(stack, fleet, rate, seconds)
            code = 0
        finally:
            os._exit(code)
    yield
    _, status = os.waitpid(pid, 0)
    if status:
        raise SystemExit("the load generator failed")


def _delivery(console: Console, stack: Stack, fleet: list[Credentials], address: str, token: str) -> None:
    _load(stack, fleet, 500, 2)
    p50, p99, rates, per_cpu = [], [], [], []
    with clients(address, token) as each:
        each.do(Order("open", count=_CLIENTS))
        for _ in range(_RUNS):
            before = stack.cpu_s()
            report = _measured(stack, fleet, each, _RATE)
            _require_whole(report)
            used = stack.cpu_s()["api"] - before["api"]
            p50.append(report.p50_ms)
            p99.append(report.p99_ms)
            rates.append(report.events / report.seconds)
            # The load goes on a little before and after what the clients measured; the API's CPU is of all of it.
            per_cpu.append(rates[-1] * (_SECONDS + 4) / used)
    console.print(f"publish to WebSocket client, {_RATE:,} msg/s, {_CLIENTS} clients, p50: {spread(p50, ' ms')}")
    console.print(f"the same, p99:                                          {spread(p99, ' ms')}")
    console.print(f"event deliveries a second:                              {spread(rates)}")
    console.print(f"deliveries a second of the API's CPU:                   {spread(per_cpu)}")
    baseline = [_textbook(stack, fleet) for _ in range(_RUNS)]
    console.print(f"textbook server, the same:                              {spread(baseline)}")
    ratios = [a / b for a, b in zip(per_cpu, baseline, strict=True)]
    console.print(f"ratio: {min(ratios):.1f} to {max(ratios):.1f}")


def _textbook(stack: Stack, fleet: list[Credentials]) -> float:
    """Deliveries a second of its CPU, at the rate it is offered; far more than it can do, so it is never idle."""
    port = free_port()
    env = {**os.environ, **DataFolder(stack.data).environment()}
    server = subprocess.Popen([sys.executable, "-m", "bench.textbook_live", str(port)], env=env)
    try:
        time.sleep(3)
        with clients(f"http://127.0.0.1:{port}/ws", "none") as each:
            each.do(Order("open", count=_CLIENTS, channel=None))
            process = psutil.Process(server.pid)
            load = subprocess_load(stack, fleet, _RATE, _SECONDS + 4)
            next(load)
            time.sleep(3)
            before = process.cpu_times()
            report = each.do(Order("measure", seconds=_SECONDS))
            after = process.cpu_times()
            next(load, None)
        return report.events / (after.user + after.system - before.user - before.system)
    finally:
        server.kill()
        server.wait()


def _idle(console: Console, stack: Stack, address: str, token: str) -> None:
    before = _resident_mb(stack)
    with clients(address, token) as each:
        opened = each.do(Order("open", count=_IDLE, channel="events"))
        console.print(f"{_IDLE:,} clients connected and subscribed in {opened.seconds:.1f} s")
        time.sleep(5)
        after, cpu = _resident_mb(stack), stack.cpu_s()["api"]
        seconds = max(30.0, _SECONDS)
        held = each.do(Order("measure", seconds=seconds))
        share = (stack.cpu_s()["api"] - cpu) / seconds * 100
        console.print(f"memory of the API: {after:.0f} MB, {(after - before) * 1024 / _IDLE:.1f} kB an idle client")
        console.print(f"CPU of the API with them: {share:.1f} % of a core; lost: {held.lost}")


def _storm(console: Console, stack: Stack, fleet: list[Credentials], address: str, token: str) -> None:
    whole, p50, p99 = [], [], []
    with clients(address, token) as each:
        each.do(Order("open", count=_STORM_CLIENTS))
        for _ in range(_RUNS):
            load = subprocess_load(stack, fleet, _STORM_RATE, 25)
            next(load)
            time.sleep(6)
            report = each.do(Order("storm"))
            after = each.do(Order("measure", seconds=5))
            next(load, None)
            if report.recovered != _STORM_CLIENTS or report.gaps or after.gaps or after.lost:
                raise SystemExit(f"not all came back as they should: {report} {after}")
            whole.append(report.seconds)
            p50.append(report.clients_p50_s * 1000)
            p99.append(report.clients_p99_s * 1000)
    console.print(f"{_STORM_CLIENTS:,} clients dropped at once at {_STORM_RATE} msg/s, all resumed without a gap:")
    console.print(f"  until the last one had its place: {spread([1000 * each for each in whole], ' ms')}")
    console.print(f"  a client, p50 {spread(p50, ' ms')}, p99 {spread(p99, ' ms')}")


def _require_whole(report: Report) -> None:
    if report.gaps or report.lost or report.snapshots:
        raise SystemExit(f"clients missed something: {report}")


def _resident_mb(stack: Stack) -> float:
    """Memory of the API that is not shared with others (Linux's RssAnon)."""
    status = Path(f"/proc/{stack.pid('api')}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024
