"""`python -m eta` killed before each single thing it says to PostgreSQL or Redis while it follows a trip."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core import events
from core.bus import Bus, Entry, stream_key
from core.clock import play
from core.events import AlertRaised, Received, TelemetryReceived
from core.settings import BusSettings, RedisSettings
from core.telemetry import Position, Sample
from eta.engine.track import Fix
from eta.trips.model import StopState
from tests.dying import Cradle, Mortal, Point, die_everywhere, end_leases, has_read_all
from tests.eta.live.morning import Morning
from tests.eta.live.test_states import fixes

pytestmark = [pytest.mark.db, pytest.mark.redis]

_WITHIN_S = 60.0
_WAY = fixes()
_DRIVEN, _BATCHES = _WAY[:30], [_WAY[n : n + 3] for n in range(30, 48, 3)]
"""The truck has left its depot; it will be noticed that it has, announce itself at two stops and arrive at one."""


class Mornings:
    """Trip after trip, each followed by a process that dies, and by one that takes over."""

    def __init__(self, morning: Morning, bus: Bus, cradle: Cradle, clock: Path) -> None:
        self._morning = morning
        self._bus = bus
        self._cradle = cradle
        self._clock = clock
        self._trips = itertools.count()
        self.wanted: set[tuple[str, str]] = set()

    async def run(self, point: Point | None) -> Mortal:
        device = f"truck-n{next(self._trips)}"
        self._morning.conn.execute(
            "INSERT INTO device (tenant_id, device_id, status) VALUES ('acme', %s, 'active')", (device,)
        )
        trip = await self._morning.round(device=device)
        self._morning.store(_DRIVEN, device)
        self._it_is(_DRIVEN[-1].at)
        process = mortal = await self._cradle.start("eta", point)
        async with asyncio.timeout(_WITHIN_S):
            for batch in [[], *_BATCHES]:
                if batch:
                    await self._tell(batch, device)
                while not await self._is_handled():
                    if not process.is_alive:
                        assert process is mortal, process.errors
                        assert mortal.was_killed, mortal.errors
                        await end_leases(self._bus)
                        process = await self._cradle.start("eta", is_watched=False)
                    await asyncio.sleep(0.005)
        process.kill()
        await end_leases(self._bus)
        await self._check(trip.id)
        self._morning.conn.execute("UPDATE trip SET state = 'abandoned' WHERE trip_id = %s", (trip.id,))
        return mortal

    def _it_is(self, at: float) -> None:
        play(self._clock, began_at_ms=int(time.time() * 1000), at_ms=round(at * 1000) + 1000, speed=0.0)

    async def _tell(self, batch: list[Fix], device: str) -> None:
        self._it_is(batch[-1].at)
        self._morning.store(batch, device)
        samples = [
            Received(f"acme:{device}", Sample(ts=round(f.at * 1000), pos=Position(lat=f.lat, lon=f.lon)), True)
            for f in batch
        ]
        event = TelemetryReceived(partition=0, received_ms=int(time.time() * 1000), samples=samples)
        await self._bus.publish([Entry(event.stream, "#0", events.encode(event))])

    async def _is_handled(self) -> bool:
        """The fixes, the news that came of them, and the news that came of that."""
        return (
            await has_read_all(self._bus, "telemetry", "eta")
            and self._nothing_waits()
            and await has_read_all(self._bus, "trip", "eta")
            and self._nothing_waits()
            and await has_read_all(self._bus, "trip", "eta")
        )

    def _nothing_waits(self) -> bool:
        row = self._morning.conn.execute("SELECT NOT EXISTS (SELECT FROM outbox)").fetchone()
        return row is not None and row[0]

    async def _check(self, trip: str) -> None:
        told = self._morning.rows(
            "SELECT s.name, a.kind, a.alert_id FROM trip_alert a JOIN trip_stop s USING (tenant_id, trip_id, stop_id)"
            f" WHERE a.trip_id = '{trip}'"
        )
        found = {(name, kind) for name, kind, _ in told}
        assert len(told) == len(found)
        self.wanted = self.wanted or found
        assert found == self.wanted
        stops = self._morning.rows(f"SELECT state FROM trip_stop WHERE trip_id = '{trip}' ORDER BY seq")
        assert [state for (state,) in stops] == [StopState.SERVED, StopState.ARRIVED, *[StopState.PLANNED] * 4]
        # The relay may say a thing twice when it dies; it is then the same thing, by the same name.
        rows = await self._bus._redis.xrange(stream_key("trip", 0))
        news = [events.decode(fields[b"e"]) for _, fields in rows]
        raised = Counter(each.alert for each in news if isinstance(each, AlertRaised) and each.trip == trip)
        assert set(raised) == {alert for _, _, alert in told}
        assert max(raised.values()) <= 2


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    made = Bus(RedisSettings(url=redis_url), BusSettings(partitions=1))
    yield made
    await made.close()


async def test_killed_before_any_step_it_tells_every_alert_and_none_twice(
    morning: Morning, database, redis_url: str, bus: Bus, tmp_path: Path
):
    clock = tmp_path / "clock.json"
    env = {
        "MILKRUN_DATABASE_APP_URL": database.app,
        "MILKRUN_DATABASE_OPERATOR_URL": database.operator,
        "MILKRUN_REDIS_URL": redis_url,
        "MILKRUN_BUS_PARTITIONS": "1",
        "MILKRUN_ETA_CLOCK_FILE": str(clock),
        "MILKRUN_ETA_REFRESH_S": "60",
        "MILKRUN_MAPS_FOLDER": str(tmp_path / "maps"),
    }
    async with Cradle(tmp_path, env) as cradle:
        mornings = Mornings(morning, bus, cradle, clock)
        died_at = await die_everywhere(mornings.run)
    assert {kind for _, kind in mornings.wanted} >= {"started", "5min", "arrived"}
    assert len(died_at) > 60
    # The moments that matter are among them: both sides of each commit, of the news of it, and of the acknowledgement.
    names = {point.name for point in died_at}
    for start in (
        "XREADGROUP",
        "-- Only over the version that was read. UPDATE trip SET",
        "-- Of two who find it due one gets a row",
        "WITH added AS (INSERT INTO outbox",
        "COMMIT after WITH added AS (INSERT INTO outbox",
        "INSERT INTO trip_estimate",
        "COMMIT after INSERT INTO trip_estimate",
        "XADD milkrun:{trip",
        "XACK",
        "DELETE FROM outbox",
        "COMMIT after DELETE FROM outbox",
    ):
        assert any(each.startswith(start) for each in names), (start, sorted(names))
