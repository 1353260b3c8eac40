"""`python -m provisioning`, the process."""

import asyncio
import os
import signal
import sys
import urllib.request
from datetime import timedelta
from pathlib import Path

import pytest

from tests.provisioning.conftest import Registry, thing

pytestmark = pytest.mark.db


async def test_the_process_ends_overlaps_restores_the_list_and_stops_when_told(registry: Registry, free_port) -> None:
    old = await registry.add("truck-1")
    await registry.service.renew(thing("truck-1"), keep=registry.kept.append, overlap=timedelta(milliseconds=1))
    other = await registry.add("truck-2")
    await registry.service.revoke_device(thing("truck-2"))
    registry.authority.paths.crl.unlink()
    port = free_port()
    env = {key: value for key, value in os.environ.items() if not key.startswith("MILKRUN_")} | {
        "MILKRUN_DATABASE_APP_URL": registry.urls.app,
        "MILKRUN_DATABASE_OPERATOR_URL": registry.urls.operator,
        "MILKRUN_PROVISIONING_CA_DIR": str(registry.authority.paths.root),
        "MILKRUN_METRICS_PORT": str(port),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "provisioning", env=env, cwd=Path(__file__).parents[2]
    )
    try:
        for _ in range(600):
            assert process.returncode is None
            if await asyncio.to_thread(_is_ready, port):
                break
            await asyncio.sleep(0.05)
        assert registry.listed() == {old.record.serial: "superseded", other.record.serial: "unspecified"}
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
            return b"\nmilkrun_ready 1.0" in answer.read()
    except OSError:
        return False
