"""Which vehicles and trips a site may see: those on their way to it, while they are."""

from typing import Protocol

from core.tenancy import TenantId
from eta.sites.service import SiteService
from eta.trips.service import TripService


class SiteView(Protocol):
    """Trips, as those see them who wait for them. `sites` are ids or the tenant's codes, as accounts name them."""

    async def devices(self, tenant: TenantId, sites: frozenset[str]) -> frozenset[str]:
        """Names of the devices that are on their way to one of `sites` now."""
        ...

    async def trips(self, tenant: TenantId, sites: frozenset[str]) -> frozenset[str]:
        """Ids of the trips that are on their way to one of `sites` now."""
        ...

    async def ids(self, tenant: TenantId, sites: frozenset[str]) -> frozenset[str]:
        """The ids of those of `sites` that there are."""
        ...


class OnTheirWay:
    """What the trips of now say."""

    def __init__(self, trips: TripService, places: SiteService) -> None:
        self._trips = trips
        self._places = places

    async def devices(self, tenant: TenantId, sites: frozenset[str]) -> frozenset[str]:
        return await self._trips.devices(tenant, sites)

    async def trips(self, tenant: TenantId, sites: frozenset[str]) -> frozenset[str]:
        return await self._trips.trips_to(tenant, sites)

    async def ids(self, tenant: TenantId, sites: frozenset[str]) -> frozenset[str]:
        return await self._places.ids(tenant, sites)
