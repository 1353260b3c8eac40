"""Writes down what was said of running trips, a sample each half minute, to be judged by when they are over."""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

import structlog

from core.db import Database, DatabaseUnavailable
from core.tenancy import TenantId
from eta.accuracy import store
from eta.accuracy.store import Sample

_EVERY_S = 30.0
_AHEAD_S = 2700.0  # as the backtest: nobody plans by an arrival further ahead
_FLUSH_S = 5.0
_MOST = 20_000
# Estimates that rest on bought traffic are not kept: the terms of who sold it allow no keeping.
_UNKEPT = frozenset({"traffic"})

_log = structlog.get_logger()


class Expected(NamedTuple):
    """The arrival at one stop; epoch seconds."""

    stop: str
    eta: float
    p10: float
    p90: float


class Recorder:
    """`heard` costs next to nothing and never waits; `run` writes. The last seconds' samples die with a crash."""

    def __init__(self, database: Database) -> None:
        """`database`: the operator's login."""
        self._database = database
        self._last: dict[tuple[TenantId, str], float] = {}
        self._waiting: list[Sample] = []

    def heard(self, tenant: TenantId, trip: str, made_at: float, method: str, arrivals: Iterable[Expected]) -> None:
        """Call it with every estimate made from a new fix; all but one in half a minute are passed over."""
        if made_at - self._last.get((tenant, trip), -_EVERY_S) < _EVERY_S or len(self._waiting) >= _MOST:
            return
        near = [a for a in arrivals if a.eta - made_at <= _AHEAD_S]
        if not near or method in _UNKEPT:
            return
        self._last[tenant, trip] = made_at
        self._waiting.append(
            Sample(
                tenant,
                trip,
                made_at,
                method,
                tuple(a.stop for a in near),
                tuple(round(a.eta - made_at) for a in near),
                tuple(round(a.p10 - made_at) for a in near),
                tuple(round(a.p90 - made_at) for a in near),
            )
        )

    def over(self, tenant: TenantId, trip: str) -> None:
        """The trip has ended or gone to another worker."""
        self._last.pop((tenant, trip), None)

    async def run(self) -> None:
        """Write every few seconds until cancelled."""
        while True:
            await asyncio.sleep(_FLUSH_S)
            await self.flush()

    async def flush(self) -> None:
        """Write what waits. Without a database it goes on waiting."""
        samples, self._waiting = self._waiting, []
        if not samples:
            return
        try:
            async with self._database.unscoped(reason="what was said of trips of all tenants") as tx:
                await store.keep_said(tx, samples)
        except DatabaseUnavailable as error:
            self._waiting = samples + self._waiting
            _log.warning("said_not_kept", samples=len(samples), reason=str(error))
