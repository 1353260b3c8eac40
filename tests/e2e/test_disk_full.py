"""A disk that fills while the whole stack runs on it: everything waits, nothing confirmed is lost, and it goes on."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from core.tenancy import Thing
from sim.link import Credentials
from tests.cli.test_up import PARTS, Up, run
from tests.e2e.convoy import Convoy, driving
from tests.e2e.platform import Name, Observed, assert_once
from tests.faults import until

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis, pytest.mark.mosquitto]

_DISK_MIB = 512
_WAITING = 'milkrun_ingest_retries_total{why="database"}'


class Stack(Observed):
    """`milkrun up` with all its data on a disk of its own."""

    def __init__(self, disk: Path, up: Up) -> None:
        found = up.wait_ready()
        self.disk = disk
        self.up = up
        self.database_url = found["database_url"]
        self.device_port = found["mqtt"]["port"]
        self.metrics_port = json.loads((up.data / "run" / "ports.json").read_text())["metrics-ingest"]
        self._filler = disk / "filler"

    def fill(self) -> None:
        """Take what is left, to the last block."""
        with self._filler.open("ab", buffering=0) as filler:
            for size in (1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while True:
                        filler.write(bytes(size))

    def free(self) -> None:
        self._filler.unlink()

    def said(self, part: str) -> str:
        return (self.up.data / "logs" / f"{part}.log").read_text(errors="replace")

    def is_whole(self) -> bool:
        """Whether every part runs, and is written down."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return set(self.up.parts()) == PARTS | {"up"}
        return False

    def part(self, name: str) -> psutil.Process:
        return self.up.parts()[name]


@pytest.fixture(scope="module")
def disk(work_dir: Path) -> Iterator[Path]:
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("NOT PROVEN: a small disk (tmpfs) can only be mounted by root on Linux")
    folder = Path(tempfile.mkdtemp(dir=work_dir))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK_MIB}m,mode=711", "none", folder], check=False)
    if mounted.returncode != 0:
        pytest.skip("NOT PROVEN: this machine does not let root mount a tmpfs")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def stack(disk: Path, mosquitto_path: Path) -> Iterator[Stack]:
    with Up(disk / "data") as up:
        yield Stack(disk, up)
        assert up.process.poll() is None, up.output.read_text()


@pytest.fixture
def fleet(stack: Stack, tenant: str, work_dir: Path) -> Callable[[int], list[Credentials]]:
    def equip(count: int) -> list[Credentials]:
        out = Path(tempfile.mkdtemp(dir=work_dir))
        for command in (("tenant", "add", tenant), ("device", "add", tenant, "truck", "--count", str(count))):
            options = ("--out", str(out)) if "device" in command else ()
            added = run(*command, *options, "--data", str(stack.up.data))
            assert added.returncode == 0, added.stderr
        return [Credentials(Thing.parse(f"{tenant}:{folder.name}"), folder) for folder in sorted(out.iterdir())]

    return equip


def durable(convoy: Convoy) -> set[Name]:
    """What the devices were told is durable: everything they took and no longer hold."""
    held = {(str(link.thing), each.boot, each.seq) for link in convoy.links for each in link._all()}
    return convoy.sent - held


async def test_it_delays_everything_and_loses_nothing(stack: Stack, fleet, boot: str, record_property) -> None:
    async with driving(stack, fleet(8), boot=boot, rate=500) as convoy:
        await until(lambda: convoy.durable > 500)
        waited = stack.metric(_WAITING)
        stack.fill()
        await until(lambda: stack.metric(_WAITING) > waited)
        await until(lambda: "No space left on device" in stack.said("ingest"))
        # Not the tables alone: a new WAL segment finds no room either, and PostgreSQL goes down.
        with contextlib.suppress(psycopg.Error), psycopg.connect(stack.database_url, autocommit=True) as conn:
            conn.execute("SELECT pg_switch_wal()")
        stack.part("mosquitto").kill()
        before = convoy.durable
        await asyncio.sleep(8)
        confirmed = durable(convoy)
        record_property("confirmed while full", convoy.durable - before)
        stack.free()
        await convoy.arrived(within_s=180)
        record_property("messages", len(convoy.sent))
        record_property("sent again", convoy.resent)
    assert confirmed <= set(stack.stored(boot))
    assert_once(stack, boot, convoy.sent)
    assert f"no space left on the disk of {stack.up.data}" in stack.up.output.read_text()
    await until(stack.is_whole)  # a part that was down waits up to 30 s before it is started again
