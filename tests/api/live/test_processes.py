"""Several API processes serve the same streams: one is killed, one is stopped."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
import pytest

from core.settings import LiveSettings, Settings
from tests.api.live.test_resume import all_of, channels, database_state, passed, server_log, settled, shown
from tests.api.live.wire import Follower, Live

__all__ = ["channels"]


@dataclass
class Process:
    """An API process: `url` is where it listens."""

    url: str
    popen: "subprocess.Popen[bytes]"

    def stop(self, number: signal.Signals) -> int:
        self.popen.send_signal(number)
        return self.popen.wait(30)


@pytest.fixture
def live_settings() -> LiveSettings:
    return LiveSettings(connections_per_principal=1000)


@pytest.fixture
def processes(api_settings: Settings, free_port: Callable[[], int]) -> Iterator[list[Process]]:
    with psycopg.connect(api_settings.database.url, autocommit=True) as conn:
        conn.execute("INSERT INTO tenant (tenant_id, name) VALUES ('acme', 'Acme')")
    database = api_settings.database
    env = {name: value for name, value in os.environ.items() if not name.startswith("MILKRUN_")} | {
        "MILKRUN_DATABASE_APP_URL": database.app_url,
        "MILKRUN_DATABASE_INGEST_URL": database.ingest_url,
        "MILKRUN_DATABASE_OPERATOR_URL": database.operator_url,
        "MILKRUN_REDIS_URL": api_settings.redis.url,
        "MILKRUN_BUS_PARTITIONS": str(api_settings.bus.partitions),
        "MILKRUN_PROVISIONING_CA_DIR": str(api_settings.provisioning.ca_dir),
        "MILKRUN_LIVE_DRAIN_S": "1",
    }
    started = []
    for _ in range(2):
        port = free_port()
        popen = subprocess.Popen([sys.executable, "-m", "tests.api.live.serve", str(port)], env=env)
        started.append(Process(f"http://127.0.0.1:{port}", popen))
    yield started
    for process in started:
        if process.popen.poll() is None:
            process.stop(signal.SIGKILL)


async def reachable(process: Process) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                live = await Live.open(process, "acme")
            except OSError:
                await asyncio.sleep(0.1)
            else:
                await live.close()
                return


async def test_a_killed_process_leaves_no_gap_in_the_streams_of_the_other(processes, moving, fleet, channels):
    await asyncio.gather(*map(reachable, processes))
    alive = list(processes)

    def connect_to_one(n: int):
        async def connect() -> Live:
            return await Live.open(alive[n % len(alive)], "acme")

        return connect

    followers = [Follower(connect_to_one(n)).start() for n in range(20)]
    await all_of(followers, lambda each: len(each.log) > 50)
    for victim in processes[:1]:
        alive.remove(victim)
        victim.stop(signal.SIGKILL)
        # Within some seconds the other has taken over what the dead one carried from the bus to the log.
        await passed(channels, 200)
    await moving.stop()
    end = await settled(channels)
    await asyncio.gather(*(each.reaches(f"{end.epoch:x}", end.offset, 60) for each in followers))
    end, log = await server_log(channels)
    truth = await database_state(fleet)
    for each in followers:
        assert each.wrong == []
        assert each.snapshots == [None]
        assert each.log == {offset: log[offset] for offset in range(min(each.log), end.offset + 1)}
        assert shown(each) == truth
    assert sum(each.resumed for each in followers) >= 10
    await asyncio.gather(*(each.stop() for each in followers))


async def test_a_stopping_process_tells_its_clients_when_to_come_back(processes, fleet):
    await asyncio.gather(*map(reachable, processes))
    await fleet.add("truck-1")
    clients = [await Live.open(processes[0], "acme") for _ in range(10)]
    for live in clients:
        await live.subscribe()
    assert await asyncio.to_thread(processes[0].stop, signal.SIGTERM) == 0
    waits = []
    for live in clients:
        frame = await live.until("reconnect")
        waits.append(frame["after_ms"])
        assert await live.closed() == 1012
        assert live.socket.close_reason == f"after_ms={frame['after_ms']}"
    assert all(0 <= wait <= 1000 for wait in waits)
    assert len(set(waits)) > 1  # they do not all come back at once
