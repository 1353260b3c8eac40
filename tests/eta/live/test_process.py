"""`python -m eta` as it runs: two processes, killed again and again, and nothing is lost or told twice."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime

import httpx
import pytest

from core.bus import Entry
from core.db import Database
from core.events import AlertRaised, Received, TelemetryReceived, encode
from core.outbox import Relay
from core.settings import BusSettings, RedisSettings
from core.telemetry import Position, Sample
from core.worker import Worker
from eta.trips.model import TripState
from tests.broker.brokers import eventually
from tests.eta.live.morning import Morning, moment
from tests.eta.live.test_states import fixes

pytestmark = [pytest.mark.db, pytest.mark.redis]

WITHIN_S = 60.0


class Service:
    """One process of ours."""

    def __init__(self, database, redis_url: str, tmp_path, port: int) -> None:
        self._port = port
        self._env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("MILKRUN_")},
            "MILKRUN_DATABASE_APP_URL": database.app,
            "MILKRUN_DATABASE_OPERATOR_URL": database.operator,
            "MILKRUN_REDIS_URL": redis_url,
            "MILKRUN_BUS_PARTITIONS": "2",
            "MILKRUN_BUS_RECLAIM_AFTER_S": "1",
            "MILKRUN_ETA_REFRESH_S": "0.1",
            "MILKRUN_MAPS_FOLDER": str(tmp_path / "maps"),
            "MILKRUN_METRICS_PORT": str(port),
        }
        self._log = (tmp_path / "eta.log").open("ab")
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "eta"], env=self._env, stdout=self._log, stderr=self._log)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = self._start()

    def _is_ready(self) -> bool:
        try:
            metrics = httpx.get(f"http://127.0.0.1:{self._port}/metrics", timeout=5.0).text
        except httpx.TransportError:
            return False
        return "milkrun_ready 1.0" in metrics

    def stop(self) -> int:
        """Told to end once it works: before that it would die of the signal as any program does."""
        assert eventually(self._is_ready, WITHIN_S)
        self._process.terminate()
        code = self._process.wait(30)
        self._log.close()
        return code


async def test_killed_at_any_moment_two_processes_bring_every_trip_to_its_end_and_tell_everything_once(
    morning: Morning, database, redis_url, tmp_path, free_port
):
    random.seed(7)
    # The drive ends now, so that its end is news.
    way = fixes(every_s=20.0)
    shift = time.time() - way[-1].at
    way = [fix._replace(at=round(fix.at + shift, 3)) for fix in way]
    morning.conn.execute("SELECT telemetry.ensure_partitions(now() - interval '1 day', now() + interval '1 day')")
    morning.now = datetime.now(UTC)
    trip = await morning.round(start=way[0].at + 180.0)
    other = await morning.round(start=way[0].at + 180.0, device="truck-2")
    bus = morning.bus.__class__.__base__(RedisSettings(url=redis_url), BusSettings(partitions=2))
    raised: Counter[tuple[str, str, str]] = Counter()
    ids: dict[str, tuple[str, str, str]] = {}

    async def hear(event, _delivery):
        assert ids.setdefault(event.alert, (event.trip, event.stop, event.kind)) == (event.trip, event.stop, event.kind)
        raised[event.trip, event.stop, event.kind] += 1

    async with Database(database.operator) as operator:
        probe = Worker(
            group="probe",
            handlers={AlertRaised: hear},
            bus=bus,
            database=operator,
            settings=BusSettings(partitions=2, reclaim_after_s=1),
        )
        beside = [asyncio.create_task(work) for work in (Relay(operator, bus).run(), probe.run())]
        services = [Service(database, redis_url, tmp_path, free_port()) for _ in range(2)]
        try:
            await asyncio.sleep(2.0)
            for n, fix in enumerate(way):
                for device in ("truck-1", "truck-2"):
                    morning.store([fix], device)
                    await tell(bus, device, fix)
                if n % 25 == 24:
                    random.choice(services).kill()
                await asyncio.sleep(0.1)
            await done(morning, [trip, other], bus, way[-1])
            await asyncio.sleep(3.0)
        finally:
            codes = [service.stop() for service in services]
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)
    assert codes == [0, 0], (tmp_path / "eta.log").read_text()[-2000:]
    for each in (trip, other):
        ended = await morning.trip(each)
        assert {stop.state.value for stop in ended.stops} == {"served"}
        assert ended.started_at >= moment(way[0].at)
    rows = morning.rows("SELECT trip_id, stop_id, kind FROM trip_alert")
    assert len(rows) == len(set(rows))
    assert set(rows) == set(raised)
    assert {kind for _, _, kind in rows} >= {"arrived"}
    await bus.close()


async def tell(bus, device: str, fix) -> None:
    thing = f"acme:{device}"
    sample = Sample(ts=round(fix.at * 1000), pos=Position(lat=fix.lat, lon=fix.lon))
    event = TelemetryReceived(
        partition=bus.partition(thing), received_ms=int(time.time() * 1000), samples=[Received(thing, sample, True)]
    )
    await bus.publish([Entry(event.stream, f"#{event.partition}", encode(event))])


async def done(morning, trips, bus, last) -> None:
    """Until they are over; a fix now and then, as a parked truck sends them."""
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        states = [(await morning.trip(each)).state for each in trips]
        if all(state is TripState.DONE for state in states):
            return
        await asyncio.sleep(0.5)
    pytest.fail(f"after {WITHIN_S} s the trips are {states}")
