"""Judges finished trips by what was said of them while they ran and by when the truck was really there."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import structlog
from prometheus_client import Counter

from core.clock import Clock
from core.db import Database
from core.errors import Unavailable
from core.settings import AccuracySettings
from eta.accuracy import store, truth
from eta.accuracy.store import Finished, Visit
from eta.accuracy.tally import Tally, of_trip
from eta.engine.route import Stop
from eta.engine.track import Fix

JUDGED = Counter("milkrun_eta_trips_judged_total", "finished trips whose arrival times were judged")

_BATCH = 100
_BEFORE = timedelta(minutes=2)
_log = structlog.get_logger()


class Judge:
    """`tenants`: the serving login, for positions; `everyone`: the operator's, for what is kept of all tenants."""

    def __init__(self, tenants: Database, everyone: Database, settings: AccuracySettings, clock: Clock) -> None:
        self._tenants = tenants
        self._everyone = everyone
        self._settings = settings
        self._clock = clock

    async def run(self) -> None:
        """Judge what has ended, and drop what is too old, every now and then until cancelled."""
        while True:
            try:
                judged = _BATCH
                while judged == _BATCH:
                    judged = await self.sweep()
                await self.forget()
            except Unavailable as error:
                _log.warning("trips_not_judged", reason=str(error))
            await asyncio.sleep(self._settings.every_s)

    async def sweep(self) -> int:
        """Judge up to a hundred trips that ended long enough ago; returns how many."""
        now = self._clock()
        until = now - timedelta(minutes=self._settings.settle_minutes)
        since = now - timedelta(days=self._settings.said_days)
        async with self._everyone.unscoped(reason="finished trips of all tenants") as tx:
            trips = await store.to_judge(tx, since, until, _BATCH)
        for trip in trips:
            await self._judge(trip)
        return len(trips)

    async def forget(self) -> None:
        now, settings = self._clock(), self._settings
        async with self._everyone.unscoped(reason="rows of all tenants age alike") as tx:
            await store.forget(
                tx,
                said_before=now - timedelta(days=settings.said_days),
                judged_before=now.date() - timedelta(days=settings.keep_days),
            )

    async def _judge(self, trip: Finished) -> None:
        fixes: list[Fix] = []
        if trip.device is not None:
            async with self._tenants.tenant(trip.tenant) as tenant_tx:
                fixes = await store.fixes(tenant_tx, trip.device, trip.driven_since - _BEFORE, trip.ended_at)
        async with self._everyone.unscoped(reason="what is kept of a trip of any tenant") as tx:
            visits = await store.visits(tx, trip.tenant, trip.trip)
            reached = arrivals(visits, fixes)
            sums: Tally = of_trip(
                await store.said(tx, trip.tenant, trip.trip),
                await store.told(tx, trip.tenant, trip.trip),
                reached,
                trip.started_at.timestamp(),
                map_calls=await store.map_calls(tx, trip.tenant, trip.trip),
            )
            await store.keep_judged(tx, trip, sums, self._clock())
        JUDGED.inc()


def arrivals(visits: Sequence[Visit], fixes: Sequence[Fix]) -> dict[object, float]:
    """When each stop was reached: by the fixes, measured as the backtest does, or as the trip has it without any."""
    found: dict[object, float] = {visit.stop: visit.arrived_at for visit in visits if visit.arrived_at is not None}
    if not visits or len(fixes) < 2:
        return found
    stops = [Stop(visit.stop, visit.lat, visit.lon) for visit in visits]
    measured = truth.arrivals(fixes, stops)
    return {visit.stop: at for visit, at in zip(visits, measured, strict=True) if at is not None}
