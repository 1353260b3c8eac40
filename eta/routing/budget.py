"""How many calls a trip, a tenant and a day may make: taken from the database before each call, so it holds a crash."""

from core.clock import Clock
from core.db import Database
from core.settings import MapsSettings
from eta.routing import store
from eta.routing.errors import OverBudget
from eta.routing.model import Asker, Terms


class Budget:
    """Small accounts for engines that bill each call, large ones for our own."""

    def __init__(self, database: Database, settings: MapsSettings, clock: Clock) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock

    async def take(self, asker: Asker, terms: Terms) -> None:
        """Take one call from every account it goes to, or from none. Raises OverBudget, DatabaseUnavailable."""
        limits, day = self._settings, self._clock().date()
        paid = terms.is_paid
        accounts = (
            (f"trip:{asker.trip_id}", limits.paid_trip_calls if paid else limits.own_trip_calls, "this trip"),
            (f"day:{day}", limits.paid_tenant_day_calls if paid else limits.own_tenant_day_calls, "this day"),
        )
        async with self._database.unscoped(reason="the worker asks maps for trips of all tenants") as tx:
            for account, most, whose in accounts:
                if not await store.spend(tx, asker.tenant, account, is_paid=paid, day=day, most=most):
                    raise OverBudget(f"the {most} calls of {whose} are made")
            if paid and not await store.spend_total(tx, day=day, most=limits.paid_day_calls):
                raise OverBudget(f"the {limits.paid_day_calls} calls of all tenants for this day are made")
