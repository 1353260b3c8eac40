"""One-time tickets: a right to open one live connection, for pages that can neither set a header nor send a cookie."""

import dataclasses
import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any

from api.access import Principal, Role, Scope
from api.live import store
from api.live.errors import TicketRefused
from core.clock import Clock
from core.db import Database
from core.tenancy import TenantId

TTL_S = 30


class Tickets:
    """Kept by their digest in table live_ticket, so that every API process knows them."""

    def __init__(self, *, app: Database, operator: Database, clock: Clock) -> None:
        self._app = app
        self._operator = operator
        self._clock = clock

    async def issue(self, principal: Principal, tenant: TenantId) -> tuple[str, datetime]:
        """A ticket for `principal` in `tenant`, and its end. Raises DatabaseUnavailable."""
        ticket = secrets.token_urlsafe(32)
        expires_at = self._clock() + timedelta(seconds=TTL_S)
        async with self._app.tenant(tenant) as tx:
            await store.add_ticket(tx, _digest(ticket), _packed(principal), expires_at)
        return ticket, expires_at

    async def redeem(self, ticket: str) -> tuple[Principal, TenantId]:
        """Whom the ticket was made for and in which tenant, once. Raises TicketRefused, DatabaseUnavailable."""
        now = self._clock()
        async with self._operator.unscoped(reason="a ticket says whose it is only once it is found") as tx:
            found = await store.take_ticket(tx, _digest(ticket))
            await store.drop_tickets(tx, now)
        if found is None or found.expires_at <= now:
            raise TicketRefused(f"this ticket is not good (any more): one works once, within {TTL_S} s")
        return _unpacked(found.principal), found.tenant


def _digest(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode()).digest()


def _packed(principal: Principal) -> dict[str, object]:
    expires_at = principal.expires_at
    return {
        **dataclasses.asdict(principal),
        "scopes": sorted(principal.scopes),
        "sites": sorted(principal.sites),
        "expires_at": expires_at and expires_at.isoformat(),
    }


def _unpacked(facts: dict[str, Any] | Any) -> Principal:
    expires_at = facts["expires_at"]
    return Principal(
        kind=facts["kind"],
        id=facts["id"],
        tenant=None if facts["tenant"] is None else TenantId(facts["tenant"]),
        role=Role(facts["role"]),
        scopes=frozenset(Scope(scope) for scope in facts["scopes"]),
        name=facts["name"],
        sites=frozenset(facts["sites"]),
        expires_at=expires_at and datetime.fromisoformat(expires_at),
        generation=facts["generation"],
    )
