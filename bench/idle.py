"""What ten thousand connected devices cost that say nothing: memory a connection, CPU of the broker."""

import asyncio
import os
import resource
import time
from pathlib import Path

import uvloop
from rich.console import Console

from bench.figures import machine
from bench.stack import Stack, running
from core.mqtt import ConnectOptions, MqttConnection, tls_context
from sim.link import Credentials
from sim.load import LoadPlan

_DEVICES = int(os.environ.get("BENCH_IDLE_DEVICES", "10000"))
_WATCH_S = 30.0
_AT_ONCE = 50


def main(console: Console) -> None:
    console.print(f"bench idle on {machine()}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with running() as stack:
        fleet = stack.fleet(_DEVICES)
        uvloop.run(_measure(console, stack, fleet))


async def _measure(console: Console, stack: Stack, fleet: list[Credentials]) -> None:
    plan = stack.plan(rate=0, duration_s=0)
    before = _resident_mb(stack)
    started = time.monotonic()
    connections: list[MqttConnection] = []
    for at in range(0, len(fleet), _AT_ONCE):
        connections += await asyncio.gather(*(_connect(plan, each) for each in fleet[at : at + _AT_ONCE]))
    took = time.monotonic() - started
    console.print(f"{len(connections):,} devices connected in {took:.0f} s ({len(connections) / took:.0f} a second)")
    await asyncio.sleep(10)
    after, cpu = _resident_mb(stack), stack.cpu_s()
    await asyncio.sleep(_WATCH_S)
    used = stack.cpu_s()
    for part in sorted(after):
        grown = after[part] - before.get(part, 0.0)
        share = (used[part] - cpu[part]) / _WATCH_S * 100
        console.print(
            f"  {part:12} {after[part]:7.0f} MB, {grown * 1024 / len(fleet):6.1f} kB a device, {share:5.1f} % of a core"
        )
    alive = sum(not connection.closed for connection in connections)
    console.print(f"still connected: {alive:,}")
    for connection in connections:
        connection.abort()


async def _connect(plan: LoadPlan, device: Credentials) -> MqttConnection:
    folder = device.folder
    return await MqttConnection.open(
        ConnectOptions(
            host=plan.host,
            port=plan.port,
            client_id=str(device.thing),
            tls=tls_context(folder / "ca.crt", folder / "device.crt", folder / "device.key"),
            keepalive_s=60,
            timeout_s=60,
        )
    )


def _resident_mb(stack: Stack) -> dict[str, float]:
    """Memory of each part that is not shared with others (Linux's RssAnon)."""
    return {
        part: sum(int(_status(p.pid).split("RssAnon:")[1].split()[0]) for p in processes) / 1024
        for part, processes in stack.processes().items()
    }


def _status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()
