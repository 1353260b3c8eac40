"""The report on a tenant's own trips."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from core.db import Database
from core.tenancy import TenantId
from eta.accuracy import store
from eta.accuracy.figures import Report, figures
from eta.accuracy.tally import Tally
from eta.days import checked_days


@dataclass(frozen=True, slots=True)
class OwnReport:
    """`total` of all trips judged in these days, and each day for itself."""

    total: Report
    days: Mapping[date, Report]


class AccuracyService:
    def __init__(self, database: Database) -> None:
        """`database`: the serving login."""
        self._database = database

    async def report(self, tenant: TenantId, since: date, until: date, route: str | None = None) -> OwnReport:
        """Of the trips of these days, both included; of one route where it is named. Raises InvalidDays."""
        checked_days(since, until)
        async with self._database.tenant(tenant) as tx:
            rows = await store.judged(tx, since, until, route)
        total, days = Tally(), dict[date, Tally]()
        for day, sums in rows:
            total.add(sums)
            days.setdefault(day, Tally()).add(sums)
        return OwnReport(figures(total), {day: figures(sums) for day, sums in days.items()})
