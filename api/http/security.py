"""Who is calling, and whether this route is his. Each route names the scope it needs; one without fails a test."""

import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol
from urllib.parse import urlsplit

from fastapi import Depends, Header, Query, Request, Security
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, APIWebSocketRoute
from fastapi.security import APIKeyCookie, OAuth2, SecurityScopes
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute

from api.access import Principal, Scope, Session
from api.http.errors import TenantRequired, Unauthorized, UnknownTenant
from api.http.limits import Limits
from core.errors import Forbidden
from core.tenancy import InvalidName, TenantId, Thing, device_id, tenant_id

COOKIE = "milkrun_session"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def _meaning(scope: Scope) -> str:
    what, _, verb = scope.partition(":")
    return f"{verb} {what.replace('_', ' ')}".capitalize()


_bearer = OAuth2(
    scheme_name="oauth2",
    flows={"clientCredentials": {"tokenUrl": "/oauth/token", "scopes": {str(s): _meaning(s) for s in Scope}}},
    description="Access token of POST /oauth/token, or an API key, as `Authorization: Bearer ...`",
    auto_error=False,
)
_cookie = APIKeyCookie(
    name=COOKIE,
    scheme_name="session",
    description="Signed in by POST /v1/session; changes carry X-CSRF-Token",
    auto_error=False,
)


class InsufficientScope(Forbidden):
    """The caller is known and does not have the scope this route needs."""

    code = "insufficient_scope"


class CsrfRefused(Forbidden):
    """A change that came with a cookie, without the proof that our own page sent it."""

    code = "csrf_refused"


class DeviceNotFound(UnknownTenant):
    """No such device, or another tenant's; both read the same."""

    code = "device_not_found"


class Authenticator(Protocol):
    """`api.identity` seen from here. The first two raise Unauthorized."""

    async def by_bearer(self, token: str) -> Principal: ...

    async def by_session(self, cookie: str) -> Session: ...

    async def still_valid(self, principals: Sequence[Principal]) -> list[bool]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sent this request, and in which tenant he acts."""

    principal: Principal
    chosen: TenantId | None
    request_id: str
    ip: str

    @property
    def tenant(self) -> TenantId:
        """Raises TenantRequired for an operator who named none."""
        if self.chosen is None:
            raise TenantRequired("this belongs to a tenant: name it in the header Milkrun-Tenant or as ?tenant=")
        return self.chosen

    def device(self, name: str) -> Thing:
        """The thing a path means by `truck-17` or `acme:truck-17`; raises DeviceNotFound for what cannot be his."""
        tenant, colon, device = name.rpartition(":")
        try:
            thing = Thing(tenant_id(tenant) if colon else self.tenant, device_id(device))
        except InvalidName as error:
            raise DeviceNotFound(f"there is no device {name[:100]!r}") from error
        mine = self.principal.tenant if self.chosen is None else self.chosen
        if mine is not None and thing.tenant != mine:
            raise DeviceNotFound(f"there is no device {name[:100]!r}")
        return thing


def needs(*scopes: Scope) -> Any:
    """The type of a route's caller: Annotated with what this gives for the scopes the route needs.

    Without a scope anybody who is known may call.
    """
    return Security(_authorise, scopes=[str(scope) for scope in scopes])


async def _public(connection: HTTPConnection) -> None:
    """Nobody need be signed in here; said openly, so that no route is open by oversight."""
    limits: Limits = connection.app.state.services.limits
    await limits.address(connection)


PUBLIC = Depends(_public)


async def _at_its_own_door() -> None:
    """The route itself finds out who calls: a socket may say so with its first message only."""


def within(scope: Scope) -> Any:
    """For a route that checks by itself that its caller has `scope`."""
    return Security(_at_its_own_door, scopes=[str(scope)])


async def authenticate(connection: HTTPConnection, authenticator: Authenticator) -> Principal:
    """Whom the Authorization header or session cookie speaks for, asked once. Raises Unauthorized, CsrfRefused."""
    known = getattr(connection.state, "principal", None)
    if isinstance(known, Principal):
        return known
    principal = await _recognise(connection, authenticator)
    connection.state.principal = principal
    return principal


async def _recognise(connection: HTTPConnection, authenticator: Authenticator) -> Principal:
    if authorization := connection.headers.get("authorization"):
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthorized("the Authorization header is written: Bearer TOKEN")
        return await authenticator.by_bearer(token.strip())
    if cookie := connection.cookies.get(COOKIE):
        session = await authenticator.by_session(cookie)
        if connection.scope.get("method", "GET") not in _SAFE:
            _require_own_page(connection, session)
        return session.principal
    raise Unauthorized("sign in, or send an access token: Authorization: Bearer TOKEN")


async def _authorise(
    request: Request,
    required: SecurityScopes,
    _token: Annotated[str | None, Depends(_bearer)],
    _session: Annotated[str | None, Depends(_cookie)],
    milkrun_tenant: Annotated[str | None, Header(description="Tenant an operator acts in", max_length=64)] = None,
    tenant: Annotated[str | None, Query(description="The same, where no header can be set", max_length=64)] = None,
) -> Caller:
    services = request.app.state.services
    limits: Limits = services.limits
    try:
        principal = await authenticate(request, services.identity)
    except Unauthorized:
        # Guessing costs its address what it would cost a caller.
        await limits.address(request)
        raise
    await limits.caller(request, principal)
    for scope in required.scopes:
        if not principal.may(Scope(scope)):
            raise InsufficientScope(f"this needs the scope {scope}; {principal.name or principal.id} has not got it")
    chosen = choose_tenant(principal, milkrun_tenant or tenant)
    if chosen is not None and chosen != principal.tenant and not await services.provisioning.has_tenant(chosen):
        raise UnknownTenant(f"there is no tenant {chosen!r}")
    request.state.tenant = chosen
    return Caller(
        principal=principal,
        chosen=chosen,
        request_id=request.state.request_id,
        ip=request.client.host if request.client else "",
    )


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call a route: everybody, or whoever has all of these scopes."""

    is_public: bool
    scopes: tuple[Scope, ...] = ()


def declared(route: BaseRoute) -> Access | None:
    """What a route says about who may call it; None when it says nothing, which is a mistake."""
    if not isinstance(route, APIRoute | APIWebSocketRoute):
        return None
    said = list(_flat(route.dependant))
    needed = [each for each in said if each.call in {_authorise, _at_its_own_door}]
    if needed:
        return Access(False, tuple(Scope(scope) for each in needed for scope in each.own_oauth_scopes or ()))
    return Access(True) if any(each.call is _public for each in said) else None


def _flat(dependant: Dependant) -> Iterator[Dependant]:
    for each in dependant.dependencies:
        yield each
        yield from _flat(each)


def choose_tenant(principal: Principal, named: str | None) -> TenantId | None:
    """The tenant a request acts in. Raises UnknownTenant when it is not the caller's."""
    if principal.tenant is not None:
        if named is not None and named != principal.tenant:
            raise UnknownTenant(f"there is no tenant {named[:64]!r}")
        return principal.tenant
    if named is None:
        return None
    try:
        return tenant_id(named)
    except InvalidName as error:
        raise UnknownTenant(f"there is no tenant {named[:64]!r}") from error


def _require_own_page(connection: HTTPConnection, session: Session) -> None:
    sent = connection.headers.get("x-csrf-token", "")
    if not hmac.compare_digest(sent.encode(), session.csrf.encode()):
        raise CsrfRefused("a change by a signed-in browser carries the X-CSRF-Token of GET /v1/session")
    if not is_own_origin(connection):
        raise CsrfRefused(f"{connection.headers['origin'][:200]} is not the origin of this API")


def is_own_origin(connection: HTTPConnection) -> bool:
    """Whether the page that sent this, if a page did, is this API's own."""
    origin = connection.headers.get("origin")
    if origin is None:
        return True
    public_url: str = connection.app.state.services.settings.api.public_url
    return urlsplit(origin).netloc in {connection.headers.get("host"), urlsplit(public_url).netloc or None}
