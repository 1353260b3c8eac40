"""What a client may follow, and what it is shown of it: to a site, what concerns it and nothing else."""

from collections.abc import Awaitable, Callable

from api.access import Role
from api.http.security import InsufficientScope
from api.live.stream import channels
from api.live.stream.channels import View
from api.live.stream.client import Client
from api.live.stream.filters import Filter, Labels, Selection
from api.sites import SiteView
from core.tenancy import TenantId
from eta.trips.errors import TripNotFound


class Sight:
    """Asked when a subscription begins, and again and again while a site holds one."""

    def __init__(self, site_view: SiteView, has_trip: Callable[[TenantId, str], Awaitable[bool]]) -> None:
        self.site_view = site_view
        self._has_trip = has_trip

    async def admit(self, client: Client, channel: str) -> None:
        """Raises InsufficientScope, and TripNotFound: no such trip, or none that this site may see now."""
        kind, trip = channels.kind_of(channel), channels.one_of(channel)
        if kind.scope is not None and not client.principal.may(kind.scope):
            raise InsufficientScope(f"the channel {kind.name} needs the scope {kind.scope}")
        if trip is None:
            return
        if client.principal.role is Role.SITE:
            is_there = await self._is_coming(client, trip)
        else:
            is_there = await self._has_trip(client.tenant, trip)
        if not is_there:
            raise TripNotFound(f"there is no trip {trip!r}")

    async def selection(self, client: Client, channel: str, wanted: Filter, labels: Labels) -> Selection:
        """What this client gets of the channel now."""
        sites, view = client.principal.sites, channels.kind_of(channel).view
        if view is View.OWN:
            return Selection(wanted, None, labels, recipient=client.principal.id)
        if client.principal.role is not Role.SITE:
            return Selection(wanted, None, labels)
        match view:
            case View.DEVICES:
                return Selection(wanted, await self.site_view.devices(client.tenant, sites), labels)
            case View.SITES:
                own = await self.site_view.ids(client.tenant, sites)
                return Selection(wanted, None, labels, sites=own)
            case View.TRIP:
                is_coming = await self._is_coming(client, channels.one_of(channel) or "")
                own = await self.site_view.ids(client.tenant, sites)
                return Selection(wanted, None if is_coming else frozenset(), labels, sites=own)

    async def _is_coming(self, client: Client, trip: str) -> bool:
        return trip in await self.site_view.trips(client.tenant, client.principal.sites)
