"""What maps were asked and what it cost, and what the same trips would have cost by other methods."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from core.db import Database
from core.tenancy import TenantId
from eta.days import checked_days
from eta.routing import store
from eta.routing.cost.prices import Prices
from eta.routing.model import Engine
from eta.routing.store import Driven, Used

# Refused before anybody was asked.
_NOT_MADE = frozenset({"map_budget_spent", "database_unavailable"})


@dataclass(frozen=True, slots=True)
class EngineUse:
    """Calls of one engine for one purpose."""

    engine: str
    purpose: str
    calls: int
    failed: int
    refused: int
    """not made, since the budget was spent"""
    seconds: float


@dataclass(frozen=True, slots=True)
class Method:
    """One way to keep arrival times up to date: the calls it takes, and their price by the list."""

    name: str
    what: str
    calls: int
    cost: float


@dataclass(frozen=True, slots=True)
class MapsReport:
    since: date
    until: date
    trips: int
    """that have ended in these days"""
    hours: float
    """they were under way, together"""
    calls: int
    billed_calls: int
    billed_cost: float
    calls_per_trip: float
    uses: tuple[EngineUse, ...]
    methods: tuple[Method, ...]
    prices: Prices


class MapsService:
    def __init__(self, database: Database, prices: Prices) -> None:
        """`database`: the serving login."""
        self._database = database
        self._prices = prices

    async def report(self, tenant: TenantId, since: date, until: date) -> MapsReport:
        """Of these days (UTC), both included. Raises InvalidDays."""
        checked_days(since, until)
        async with self._database.tenant(tenant) as tx:
            used = await store.used(tx, since, until)
            driven = await store.driven(tx, since, until)
        return report(since, until, used, driven, self._prices)


def report(since: date, until: date, used: Sequence[Used], driven: Mapping[str, Driven], prices: Prices) -> MapsReport:
    """Prices go by the calendar month, so each is worked out for itself."""
    made = [use for use in used if use.outcome not in _NOT_MADE]
    by_month: dict[str, int] = {}
    for use in made:
        by_month[use.month] = by_month.get(use.month, 0) + use.calls
    billed: dict[str, int] = {}
    for use in made:
        if use.engine == Engine.GOOGLE.value:
            billed[use.month] = billed.get(use.month, 0) + use.calls
    calls, trips = sum(by_month.values()), sum(month.trips for month in driven.values())

    def method(name: str, what: str, counts: Mapping[str, int]) -> Method:
        return Method(name, what, sum(counts.values()), sum(prices.of_month(count) for count in counts.values()))

    def each(count: Callable[[Driven], float]) -> dict[str, int]:
        return {month: math.ceil(count(facts)) for month, facts in driven.items()}

    return MapsReport(
        since,
        until,
        trips,
        sum(month.seconds for month in driven.values()) / 3600.0,
        calls,
        sum(billed.values()),
        sum(prices.of_month(count) for count in billed.values()),
        calls / trips if trips else 0.0,
        _uses(used),
        (
            method("milkrun", "what was billed", billed),
            method("milkrun_all_billed", "every call made, had each been billed", by_month),
            method("once_a_trip", "every trip asked for once, 26 legs a call", each(lambda d: d.tours)),
            method("once_a_leg", "every leg asked for once", each(lambda d: d.legs)),
            method("every_5_min", "every running trip asked for each 5 minutes", each(lambda d: d.seconds / 300.0)),
            method("every_30_s", "every running trip asked for each 30 seconds", each(lambda d: d.seconds / 30.0)),
        ),
        prices,
    )


def _uses(used: Sequence[Used]) -> tuple[EngineUse, ...]:
    found: dict[tuple[str, str], EngineUse] = {}
    for use in used:
        key = (use.engine, use.purpose)
        before = found.get(key, EngineUse(*key, 0, 0, 0, 0.0))
        is_made = use.outcome not in _NOT_MADE
        found[key] = EngineUse(
            *key,
            before.calls + use.calls * is_made,
            before.failed + use.calls * (is_made and use.outcome != "ok"),
            before.refused + use.calls * (not is_made),
            before.seconds + use.seconds * is_made,
        )
    return tuple(found[key] for key in sorted(found))
