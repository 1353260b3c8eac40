"""Which vehicles and trips a site may see: those on their way to it, while they are."""

from typing import Protocol

from core.tenancy import TenantId


class SiteView(Protocol):
    """Trips, as the API sees them."""

    async def devices(self, tenant: TenantId, sites: frozenset[str]) -> frozenset[str]:
        """Names of the devices that are on their way to one of `sites` now."""
        ...

    async def trips(self, tenant: TenantId, sites: frozenset[str]) -> frozenset[str]:
        """Ids of the trips that are on their way to one of `sites` now."""
        ...


class NoTrips:
    """There are no trips, so nothing is on its way to anybody."""

    async def devices(self, tenant: TenantId, sites: frozenset[str]) -> frozenset[str]:
        del tenant, sites
        return frozenset()

    async def trips(self, tenant: TenantId, sites: frozenset[str]) -> frozenset[str]:
        del tenant, sites
        return frozenset()
