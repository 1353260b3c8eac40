"""The trips that routes have by plan: made some days ahead, on the weekdays of each route, in its own time zone."""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import date, timedelta

import structlog
from prometheus_client import Counter

from core.clock import Clock
from core.db import Database, DatabaseUnavailable
from core.tenancy import TenantId
from eta.sites import store
from eta.sites.model import Weekday
from eta.sites.store import Recurring
from eta.trips import plan
from eta.trips.errors import RouteNotFound, TripExists
from eta.trips.service import TripService

PLANNED = Counter("milkrun_eta_trips_planned_total", "Trips made from routes that are driven on weekdays")

_A_PAGE = 1000
_log = structlog.get_logger()


class RecurringTrips:
    """Makes each route's trip of a day once, however often and in however many processes it is asked to.

    `operator` is the milkrun_operator login, which finds the routes of every tenant; `trips` makes theirs. A trip is
    there from `days_ahead` days before its own. One that was abandoned is not made again, and a route that is made or
    changed after its time of the day has none that day.
    """

    def __init__(
        self, *, operator: Database, trips: TripService, clock: Clock, days_ahead: int = 2, every_s: float = 60.0
    ) -> None:
        self._operator = operator
        self._trips = trips
        self._clock = clock
        self._days_ahead = days_ahead
        self._every_s = every_s
        self._made: set[tuple[TenantId, str, date]] = set()

    async def run(self) -> None:
        """Look again and again until cancelled; an outage of the database is waited out."""
        while True:
            try:
                await self.make()
            except DatabaseUnavailable as error:
                _log.warning("eta.plans_waiting", error=str(error))
            await asyncio.sleep(self._every_s)

    async def make(self) -> int:
        """Make what is due now; returns how many trips that were."""
        due: set[tuple[TenantId, str, date]] = set()
        after = ("", "")
        while True:
            async with self._operator.unscoped(reason="routes of every tenant make their trips") as tx:
                page = await store.recurring(tx, after=after, limit=_A_PAGE)
            for route in page:
                due.update((route.tenant, route.route, day) for day in self._days(route))
            if len(page) < _A_PAGE:
                break
            after = (page[-1].tenant, page[-1].route)
        made = 0
        for tenant, route_id, day in sorted(due - self._made):
            # Another process was quicker, or the route was archived meanwhile.
            with contextlib.suppress(TripExists, RouteNotFound):
                await self._trips.by_plan(tenant, route_id, day)
                made += 1
        # What was due and is not any more has passed.
        self._made = due
        PLANNED.inc(made)
        if made:
            _log.info("eta.trips_planned", trips=made)
        return made

    def _days(self, route: Recurring) -> Iterator[date]:
        now = self._clock()
        today = plan.today(now, route.timezone)
        for day in (today + timedelta(days=ahead) for ahead in range(self._days_ahead + 1)):
            start = plan.start_of(day, route.starts_at, route.timezone)
            if Weekday.of(day) in route.weekdays and start is not None and start >= now:
                yield day
