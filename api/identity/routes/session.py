"""Signing in and out with a browser, and who one is."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from api.access import Principal, Role, Scope, Session
from api.http import problems
from api.http.errors import Unauthorized
from api.http.problems import FieldError
from api.http.security import COOKIE, PUBLIC, Caller, CsrfRefused, is_own_origin, needs
from api.http.times import Time
from api.identity import model
from api.identity.errors import ChooseTenant, LoginFailed, NotAPerson
from api.identity.model import User
from api.identity.routes.given import Identity, Password, Text
from api.identity.service import IdentityService, actor
from api.identity.store import USERS
from core.tenancy import InvalidName, TenantId, tenant_id

router = APIRouter(tags=["session"])


class SignIn(BaseModel):
    """E-mail address and password; the tenant where the same address and password are known to several."""

    model_config = ConfigDict(extra="forbid")

    email: Text
    password: Password
    tenant: Text | None = None


class NewPassword(BaseModel):
    """One's own password, the old and the new."""

    model_config = ConfigDict(extra="forbid")

    current: Password
    new: Password = Field(min_length=model.PASSWORD_MIN, max_length=model.PASSWORD_MAX)


class Me(BaseModel):
    """Whom the credentials of a request speak for."""

    kind: str = Field(description="user, client or key")
    id: str
    name: str
    role: Role
    tenant: str | None = Field(description="null for an operator")
    scopes: list[Scope]
    sites: list[str]
    expires_at: Time | None


class SignedIn(Me):
    """The same of a signed-in browser; every change it asks for carries `csrf` in the header X-CSRF-Token."""

    email: str
    csrf: str


@router.post(
    "/v1/session",
    summary="Sign in",
    dependencies=[PUBLIC],
    response_model=SignedIn,
    responses=problems.responses(401, 403, 409, 503),
)
async def sign_in(form: SignIn, request: Request, response: Response, identity: Identity) -> SignedIn | JSONResponse:
    """Sets the cookie `milkrun_session`. 401 `login_failed` whatever was wrong.

    409 `tenant_required` where the password is right for users of several tenants: `errors` names each of them as a
    `message` at `tenant`.
    """
    if not is_own_origin(request):
        raise CsrfRefused("signing in is for this API's own pages")
    try:
        cookie, session, user = await identity.logins.login(
            form.email, form.password, _tenant(form.tenant), ip=_ip(request), request_id=request.state.request_id
        )
    except ChooseTenant as choose:
        named = [FieldError(where="body", at="tenant", message=tenant) for tenant in choose.tenants if tenant]
        return problems.problem(request, 409, choose.code, str(choose), errors=named)
    _set_cookie(request, response, identity, cookie)
    return _signed_in(session, user)


@router.get("/v1/session", summary="Who is signed in", responses=problems.responses(409))
async def read_session(caller: Annotated[Caller, needs()], request: Request, identity: Identity) -> SignedIn:
    """401 when nobody is, 409 `not_a_person` with a token."""
    session, user = await identity.logins.session_and_user(_cookie(caller, request))
    return _signed_in(session, user)


@router.delete("/v1/session", status_code=204, summary="Sign out", responses=problems.responses(409))
async def sign_out(
    caller: Annotated[Caller, needs()], request: Request, response: Response, identity: Identity
) -> None:
    """Ends the session at once."""
    await identity.logins.logout(_cookie(caller, request))
    response.delete_cookie(COOKIE, path="/", secure=_is_secure(request), httponly=True, samesite="strict")


@router.get("/v1/me", summary="Whom the credentials speak for")
async def me(caller: Annotated[Caller, needs()]) -> Me:
    """For tokens, keys and sessions alike."""
    return Me(**_facts(caller.principal))


@router.post("/v1/me/password", summary="Change one's own password", responses=problems.responses(409))
async def change_password(
    form: NewPassword,
    caller: Annotated[Caller, needs()],
    request: Request,
    response: Response,
    identity: Identity,
) -> SignedIn:
    """Ends all of one's sessions; the cookie and `csrf` of the answer are those of a new one.

    401 `login_failed` for a wrong `current`, which counts as a failed sign-in.
    """
    session, user = await identity.logins.session_and_user(_cookie(caller, request))
    if not await identity.logins.confirm(user, form.current):
        raise LoginFailed("the current password is wrong, or there were too many attempts")
    await identity.accounts.set_password(actor(caller), user.owner, user.id, form.new, is_own=True)
    user = await identity.accounts.show(USERS, user.owner, user.id)
    cookie, session = await identity.logins.open(user, ip=caller.ip, request_id=caller.request_id)
    _set_cookie(request, response, identity, cookie)
    return _signed_in(session, user)


def _tenant(named: str | None) -> TenantId | None:
    """A tenant that cannot be one is answered as a wrong password."""
    if not named:
        return None
    try:
        return tenant_id(named)
    except InvalidName:
        return TenantId("?")


def _cookie(caller: Caller, request: Request) -> str:
    if caller.principal.kind != "user":
        raise NotAPerson("this is for somebody who signed in with a password, not for tokens and keys")
    cookie = request.cookies.get(COOKIE)
    if cookie is None:
        raise Unauthorized("nobody is signed in")
    return cookie


def _set_cookie(request: Request, response: Response, identity: IdentityService, cookie: str) -> None:
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=identity.settings.session_max_s,
        path="/",
        secure=_is_secure(request),
        httponly=True,
        samesite="strict",
    )
    response.headers["Cache-Control"] = "no-store"


def _is_secure(request: Request) -> bool:
    public_url: str = request.app.state.services.settings.api.public_url
    return request.url.scheme == "https" or public_url.startswith("https:")


def _ip(request: Request) -> str:
    return request.client.host if request.client else ""


def _facts(principal: Principal) -> dict[str, object]:
    return {
        "kind": principal.kind,
        "id": principal.id,
        "name": principal.name,
        "role": principal.role,
        "tenant": principal.tenant,
        "scopes": sorted(principal.scopes),
        "sites": sorted(principal.sites),
        "expires_at": principal.expires_at,
    }


def _signed_in(session: Session, user: User) -> SignedIn:
    facts = _facts(session.principal) | {"name": user.name or user.email}
    return SignedIn(**facts, email=user.email, csrf=session.csrf)
