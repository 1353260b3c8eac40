"""Links that show one stop of one trip to whoever has them."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from core.clock import Clock
from core.db import Database, TenantTx
from core.settings import NotifySettings
from core.tenancy import TenantId
from notify import model
from notify.errors import LinkNotFound, OverLong, UnknownPlace
from notify.tracking import store
from notify.tracking.store import Link, Sight
from notify.tracking.tokens import Grant, LinkKeys

type Witness = Callable[[TenantTx, str, str, Mapping[str, Any] | None, Mapping[str, Any] | None], Awaitable[None]]
"""Told of a change inside its transaction: the action, what was changed, and what it was and is."""

_MOST_HOURS = 168.0


class LinkService:
    """`database` is the milkrun_app login."""

    def __init__(self, *, database: Database, settings: NotifySettings, clock: Clock) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._keys = LinkKeys(settings.link_key_file)

    async def make(
        self,
        tenant: TenantId,
        trip: str,
        stop: str,
        *,
        by: str,
        note: str = "",
        expires_at: datetime | None = None,
        witness: Witness | None = None,
    ) -> tuple[Link, str]:
        """A link and its token, which is kept nowhere. Raises UnknownPlace, OverLong."""
        now = self._clock()
        until = expires_at or now + timedelta(hours=self._settings.link_hours)
        if not now < until <= now + timedelta(hours=_MOST_HOURS):
            raise OverLong(f"a tracking link ends within {_MOST_HOURS:g} hours from now")
        new = Link(
            id=model.new_id("lnk_", now),
            trip=trip,
            stop=stop,
            note=note,
            expires_at=until,
            created_by=by,
            created_at=now,
        )
        async with self._database.tenant(tenant) as tx:
            states = await store.stop_state(tx, trip, stop) if _can_be(trip) and _can_be(stop) else None
            if states is None:
                raise UnknownPlace(f"there is no stop {stop[:80]!r} on a trip {trip[:80]!r}")
            await store.add(tx, new)
            if witness:
                told = {"trip": trip, "stop": stop, "expires_at": until.isoformat()}
                await witness(tx, "link.created", new.id, None, told)
        return new, self.token(tenant, new)

    def token(self, tenant: TenantId, link: Link) -> str:
        """The same for the same link, so that whoever manages links can show it again."""
        return self._keys.issue(Grant(tenant, link.id, int(link.expires_at.timestamp())))

    async def page(self, tenant: TenantId, trip: str, *, after: str = "", limit: int) -> list[Link]:
        """The trip's links in the order in which they were made. Raises UnknownPlace."""
        async with self._database.tenant(tenant) as tx:
            if not _can_be(trip) or not await store.has_trip(tx, trip):
                raise UnknownPlace(f"there is no trip {trip[:80]!r}")
            return await store.links(tx, trip, after=after, limit=limit)

    async def revoke(self, tenant: TenantId, trip: str, id_: str, *, witness: Witness | None = None) -> None:
        """From now on it shows nothing. May be repeated. Raises LinkNotFound."""
        async with self._database.tenant(tenant) as tx:
            is_name = _can_be(trip) and _can_be(id_)
            if not is_name or await store.revoke(tx, trip, id_, self._clock()) is None:
                raise LinkNotFound(f"trip {trip[:80]!r} has no link {id_[:80]!r}")
            if witness:
                await witness(tx, "link.revoked", id_, None, {"trip": trip})

    def read(self, token: str) -> Grant:
        """What a token is for. Raises LinkNotFound."""
        return self._keys.read(token, self._clock())

    async def look(self, grant: Grant) -> Sight:
        """What the link shows at this moment. Raises LinkNotFound when it was revoked or its time is over."""
        async with self._database.tenant(grant.tenant) as tx:
            found = await store.sight(tx, grant.link, self._clock()) if _can_be(grant.link) else None
        if found is None:
            raise LinkNotFound("there is no such tracking link, or it is over")
        return found


def _can_be(id_: str) -> bool:
    return id_.isascii() and id_.isprintable()
