"""Keeps the telemetry tables in shape: partitions ahead of the writers, rollups behind them, retention.

With TimescaleDB the same calls find little to do but retention: its own policies compress and roll up.
"""

import asyncio
from datetime import timedelta

import structlog
from prometheus_client import Counter, Gauge
from psycopg import Error

from core.clock import Clock
from core.db import Database
from core.errors import MilkrunError
from core.settings import TelemetrySettings
from ingest.store import QUERIES

RUNS = Counter("milkrun_maintenance_runs_total", "Maintenance runs by outcome", ["outcome"])
MINUTES = Counter("milkrun_maintenance_rollup_minutes_total", "Minutes whose rollups were refreshed")
DROPPED = Counter("milkrun_maintenance_partitions_dropped_total", "Partitions dropped by retention")
LAST = Gauge("milkrun_maintenance_last_success_timestamp_seconds", "When maintenance last succeeded")

_BEHIND, _AHEAD = timedelta(days=8), timedelta(days=3)
_MINUTES_AT_ONCE = 30
_RETENTION_EVERY = 60
_LETTERS_KEPT_DAYS = 30
_log = structlog.get_logger()


class Maintenance:
    """Runs forever in the ingest process; any number of workers may run it, the rows they claim are locked."""

    def __init__(self, database: Database, settings: TelemetrySettings, clock: Clock) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock

    async def run(self) -> None:
        """Maintain until cancelled; a failed run is logged, counted and tried again at the next turn."""
        turn = 0
        while True:
            try:
                await self.ensure_partitions()
                await self.refresh_rollups()
                if turn % _RETENTION_EVERY == 0:
                    await self.apply_retention()
                RUNS.labels("success").inc()
                LAST.set_to_current_time()
            except (MilkrunError, Error) as error:
                RUNS.labels("failure").inc()
                _log.warning("maintenance.failed", error=str(error))
            turn += 1
            await asyncio.sleep(self._settings.maintenance_every_s)

    async def ensure_partitions(self) -> None:
        now = self._clock()
        async with self._database.unscoped(reason="partitions hold every tenant") as tx:
            await tx.execute(QUERIES["ensure_partitions"], {"since": now - _BEHIND, "until": now + _AHEAD})

    async def refresh_rollups(self) -> int:
        """Bring the rollups up to date and return how many minutes were recomputed."""
        total = 0
        while True:
            async with self._database.unscoped(reason="rollups hold every tenant") as tx:
                await tx.execute(QUERIES["claim_rollups"], (_MINUTES_AT_ONCE,))
            async with self._database.unscoped(reason="rollups hold every tenant") as tx:
                row = await tx.one(QUERIES["refresh_rollups"])
            minutes = row["minutes"] if row else 0
            MINUTES.inc(minutes)
            total += minutes
            if minutes < _MINUTES_AT_ONCE:
                return total

    async def apply_retention(self) -> int:
        """Drop and delete what is over its time; returns the number of partitions dropped."""
        settings = self._settings
        async with self._database.unscoped(reason="retention concerns every tenant") as tx:
            kept = await tx.all(QUERIES["tenant_retention"])
            row = await tx.one(
                QUERIES["apply_retention"],
                {
                    "raw_days": settings.retention_days,
                    "rollup_days": settings.rollup_retention_days,
                    "tenants": [each["tenant_id"] for each in kept],
                    "days": [each["retention_days"] for each in kept],
                },
            )
            await tx.execute(QUERIES["expire_letters"], {"days": _LETTERS_KEPT_DAYS})
            await tx.execute(QUERIES["expire_events"], {"days": settings.retention_days})
        dropped = int(row["dropped"]) if row else 0
        DROPPED.inc(dropped)
        return dropped
