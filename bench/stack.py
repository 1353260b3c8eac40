"""A stack of its own for a benchmark, in a temporary folder, and what its processes cost."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from cli import context
from cli.context import Context
from cli.enrolment import enrolled, listener
from core.tenancy import tenant_id
from sim.link import Credentials
from sim.load import LoadPlan

_START_S = 120.0


@contextlib.contextmanager
def running(extra: Mapping[str, str] | None = None, *, api: bool = False) -> Iterator["Stack"]:
    """`milkrun up` in a temporary folder with the shipped settings and `extra` ones; stopped and removed at the end.

    Without `api` neither the API runs nor anybody it serves, so that figures of the way in stay comparable.
    """
    folder = Path(tempfile.mkdtemp(prefix="milkrun-bench-"))
    folder.chmod(0o755)
    command = [sys.executable, "-m", "cli.main", "up", "--data", str(folder / "data"), "--mqtt-port", "0"]
    command.append("--api" if api else "--no-api")
    with (folder / "up.log").open("w") as log:
        up = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **(extra or {})})
    try:
        _wait(up, folder)
        yield Stack(up, folder / "data")
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait(120)
        shutil.rmtree(folder)


def _wait(up: "subprocess.Popen[bytes]", folder: Path) -> None:
    deadline = time.monotonic() + _START_S
    while not (folder / "data" / "stack.json").exists():
        if up.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the stack did not start:\n{(folder / 'up.log').read_text()}")
        time.sleep(0.2)


class Stack:
    """A running stack: its settings, its devices and its processes."""

    def __init__(self, up: "subprocess.Popen[bytes]", data: Path) -> None:
        self._up = up
        self.data = data
        self.context: Context = context.load(data)

    def fleet(self, count: int, tenant: str = "bench") -> list[Credentials]:
        names = [f"truck-{number:05}" for number in range(1, count + 1)]
        return list(asyncio.run(enrolled(self.context, tenant_id(tenant), names)).values())

    def plan(self, *, rate: float, duration_s: float, samples: int = 1, window: int = 150) -> LoadPlan:
        address = listener(self.context).mqtt
        return LoadPlan(
            host=address.host,
            port=address.port,
            rate=rate,
            duration_s=duration_s,
            samples_per_message=samples,
            window=window,
        )

    def processes(self) -> dict[str, list[psutil.Process]]:
        """The stack's processes by part: mosquitto, postgres, redis, ingest, broker, provisioning."""
        parts: dict[str, list[psutil.Process]] = {}
        for process in psutil.Process(self._up.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                parts.setdefault(_part(process), []).append(process)
        return parts

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds used so far by each part."""
        used: dict[str, float] = {}
        for part, processes in self.processes().items():
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    used[part] = used.get(part, 0.0) + times.user + times.system
        return used

    def peak_mb(self, part: str) -> float:
        """The most memory a part's processes ever held (Linux's VmHWM)."""
        total = 0
        for process in self.processes().get(part, []):
            status = Path(f"/proc/{process.pid}/status").read_text()
            total += int(status.split("VmHWM:")[1].split()[0])
        return total / 1024

    def pid(self, part: str) -> int:
        return self.processes()[part][0].pid


def _part(process: psutil.Process) -> str:
    command = process.cmdline()
    if "-m" in command:
        return command[command.index("-m") + 1]
    return process.name().split("-")[0].split(":")[0]
