"""Who may do what. Pure: roles are sets of scopes, a principal is whoever a request speaks for."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from core.tenancy import TenantId


class Scope(enum.StrEnum):
    """What a route asks for; `read` never changes anything."""

    TENANTS_READ = "tenants:read"
    TENANTS_WRITE = "tenants:write"
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    CLIENTS_READ = "clients:read"
    CLIENTS_WRITE = "clients:write"
    AUDIT_READ = "audit:read"
    DEVICES_READ = "devices:read"
    DEVICES_WRITE = "devices:write"
    TELEMETRY_READ = "telemetry:read"
    EVENTS_READ = "events:read"
    DEAD_LETTERS_READ = "dead_letters:read"
    DEAD_LETTERS_WRITE = "dead_letters:write"
    LIVE_READ = "live:read"
    SITES_READ = "sites:read"
    SITES_WRITE = "sites:write"
    TRIPS_READ = "trips:read"
    TRIPS_WRITE = "trips:write"
    ALERTS_READ = "alerts:read"
    ALERTS_WRITE = "alerts:write"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    SHADOWS_READ = "shadows:read"
    SHADOWS_WRITE = "shadows:write"
    COMMANDS_READ = "commands:read"
    COMMANDS_SEND = "commands:send"
    COMMANDS_APPROVE = "commands:approve"
    COMMANDS_WRITE = "commands:write"


class Role(enum.StrEnum):
    """What a user or a client is to the platform. `operator` runs it and belongs to no tenant."""

    OPERATOR = "operator"
    TENANT_ADMIN = "tenant_admin"
    DISPATCHER = "dispatcher"
    VIEWER = "viewer"
    INTEGRATION = "integration"
    SITE = "site"


_VIEWER = frozenset(
    {
        Scope.DEVICES_READ,
        Scope.TELEMETRY_READ,
        Scope.EVENTS_READ,
        Scope.LIVE_READ,
        Scope.SITES_READ,
        Scope.TRIPS_READ,
        Scope.ALERTS_READ,
        Scope.SHADOWS_READ,
        Scope.COMMANDS_READ,
    }
)
_DISPATCHER = _VIEWER | {
    Scope.DEAD_LETTERS_READ,
    Scope.SITES_WRITE,
    Scope.TRIPS_WRITE,
    Scope.ALERTS_WRITE,
    Scope.SHADOWS_WRITE,
    Scope.COMMANDS_SEND,
}
_TENANT_ADMIN = frozenset(Scope) - {Scope.TENANTS_READ, Scope.TENANTS_WRITE}

ROLE_SCOPES: Mapping[Role, frozenset[Scope]] = {
    Role.OPERATOR: frozenset(Scope),
    Role.TENANT_ADMIN: _TENANT_ADMIN,
    Role.DISPATCHER: _DISPATCHER,
    Role.VIEWER: _VIEWER,
    # The most an integration can be given; it has what its client was granted of these.
    Role.INTEGRATION: _TENANT_ADMIN - {Scope.USERS_READ, Scope.USERS_WRITE, Scope.CLIENTS_READ, Scope.CLIENTS_WRITE},
    # A supplier: the truck that is on its way to his site, while it is, and the alerts of that; nothing else.
    Role.SITE: frozenset({Scope.LIVE_READ, Scope.TRIPS_READ, Scope.ALERTS_READ}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Whoever a request speaks for. `tenant` is None for an operator; `expires_at` None: while the account lives."""

    kind: Literal["user", "client", "key"]
    id: str
    tenant: TenantId | None
    role: Role
    scopes: frozenset[Scope]
    name: str = ""
    sites: frozenset[str] = field(default_factory=frozenset)
    expires_at: datetime | None = None
    generation: int = 0
    """of the account, when this principal was made: what changes its rights or password raises it and voids this"""
    session: str = ""
    """of a signed-in browser, by the hash its cookie is kept under: signing out voids this and nothing else"""

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser: whom it speaks for, and the token every change must carry beside the cookie."""

    principal: Principal
    csrf: str
