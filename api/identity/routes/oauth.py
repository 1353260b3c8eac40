"""OAuth 2.0 client credentials (RFC 6749), the keys that check its tokens (RFC 7517), and its metadata (RFC 8414)."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote_plus

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from prometheus_client import Counter
from pydantic import BaseModel, Field

from api.access import Scope
from api.http import problems
from api.http.security import PUBLIC
from api.identity.routes.given import Identity
from api.identity.service import IdentityService, IssuedToken

router = APIRouter(tags=["oauth"], dependencies=[PUBLIC])

TOKEN_REQUESTS = Counter("milkrun_identity_token_requests_refused_total", "Token requests refused by error", ["error"])

_FORM = "application/x-www-form-urlencoded"
_FIELDS_MOST = 16


class TokenAnswer(BaseModel):
    """An access token (RFC 6749 5.1)."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int = Field(description="Seconds")
    scope: str = Field(description="Scopes, separated by spaces")


class TokenRefusal(BaseModel):
    """Why there is none (RFC 6749 5.2)."""

    error: Literal["invalid_request", "invalid_client", "unsupported_grant_type", "invalid_scope"]
    error_description: str


class TokenForm(BaseModel):
    """The form of a token request. Client id and secret are here or in HTTP Basic, not in both."""

    grant_type: Literal["client_credentials"]
    scope: str | None = Field(None, description="Fewer scopes than the client has, separated by spaces")
    client_id: str | None = None
    client_secret: str | None = None


class Jwk(BaseModel):
    """A public Ed25519 key."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str
    alg: Literal["EdDSA"]
    use: Literal["sig"]


class Jwks(BaseModel):
    """Every key whose tokens may be good now or soon."""

    keys: list[Jwk]


class Metadata(BaseModel):
    """Where to get a token, and how (RFC 8414)."""

    issuer: str
    token_endpoint: str
    jwks_uri: str
    grant_types_supported: list[str]
    response_types_supported: list[str]
    token_endpoint_auth_methods_supported: list[str]
    scopes_supported: list[str]
    service_documentation: str


class _Refused(Exception):
    """A token request that fails, as RFC 6749 wants it said."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error


@router.post(
    "/oauth/token",
    summary="Get an access token",
    response_model=TokenAnswer,
    responses={
        **problems.responses(503),
        400: {"description": "The request is not good", "model": TokenRefusal},
        401: {"description": "The client is not known", "model": TokenRefusal},
    },
    openapi_extra={"requestBody": {"required": True, "content": {_FORM: {"schema": TokenForm.model_json_schema()}}}},
)
async def token(request: Request, identity: Identity) -> JSONResponse:
    """Client id and secret for a short-lived token: as HTTP Basic, or as fields of the form."""
    try:
        issued = await _issue(request, identity)
    except _Refused as refused:
        return _refusal(refused)
    answer = TokenAnswer(
        access_token=issued.token,
        token_type="Bearer",  # noqa: S106  its kind, no password
        expires_in=issued.expires_in_s,
        scope=" ".join(sorted(issued.scopes)),
    )
    return JSONResponse(answer.model_dump(), headers=_NO_STORE)


@router.get("/.well-known/jwks.json", summary="Public keys of access tokens", response_model=Jwks)
async def jwks(identity: Identity) -> JSONResponse:
    """A new key is here well before it signs, so this may be cached for a minute; read it again at an unknown `kid`."""
    seconds = min(60, int(identity.settings.key_lead_s / 2))
    keys = await identity.keys.published()
    return JSONResponse({"keys": keys}, headers={"Cache-Control": f"public, max-age={seconds}"})


@router.get("/.well-known/oauth-authorization-server", summary="Where to get a token, and how")
async def metadata(request: Request, identity: Identity) -> Metadata:
    """For clients that configure themselves."""
    public_url: str = request.app.state.services.settings.api.public_url
    here = (public_url or str(request.base_url)).rstrip("/")
    return Metadata(
        issuer=identity.issuer,
        token_endpoint=f"{here}/oauth/token",
        jwks_uri=f"{here}/.well-known/jwks.json",
        grant_types_supported=["client_credentials"],
        response_types_supported=[],
        token_endpoint_auth_methods_supported=["client_secret_basic", "client_secret_post"],
        scopes_supported=[scope.value for scope in Scope],
        service_documentation=f"{here}/v1/openapi.json",
    )


_NO_STORE: Mapping[str, str] = {"Cache-Control": "no-store", "Pragma": "no-cache"}


async def _issue(request: Request, identity: IdentityService) -> IssuedToken:
    form = await _form(request)
    if form.get("grant_type") != "client_credentials":
        error = "unsupported_grant_type" if form.get("grant_type") else "invalid_request"
        raise _Refused(error, "grant_type is client_credentials")
    client_id, secret = _credentials(request, form)
    client = await identity.by_secret(client_id, secret)
    if client is None:
        raise _Refused("invalid_client", "client id or secret is wrong, or the client disabled")
    return await identity.issue(client, _scopes(form, client.rights.effective))


async def _form(request: Request) -> dict[str, str]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise _Refused("invalid_request", f"the body is {_FORM}")
    try:
        pairs = parse_qsl(
            (await request.body()).decode(), keep_blank_values=True, max_num_fields=_FIELDS_MOST, errors="strict"
        )
    except ValueError as error:
        raise _Refused("invalid_request", "the body is not a form in UTF-8") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        raise _Refused("invalid_request", "a parameter is there twice")
    return form


def _credentials(request: Request, form: Mapping[str, str]) -> tuple[str, str]:
    """Client id and secret."""
    authorization = request.headers.get("authorization")
    if authorization is None:
        if not form.get("client_id") or not form.get("client_secret"):
            raise _Refused("invalid_client", "the client authenticates by HTTP Basic, or client_id and client_secret")
        return _plain(form["client_id"]), form["client_secret"]
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise _Refused("invalid_client", "the client authenticates by HTTP Basic, or in the form")
    if "client_secret" in form:
        raise _Refused("invalid_request", "the client authenticates once: by HTTP Basic, or in the form")
    try:
        client_id, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise _Refused("invalid_client", "the HTTP Basic credentials cannot be read") from error
    # RFC 6749 2.3.1: both were form-encoded before they were joined.
    client_id, secret = unquote_plus(client_id), unquote_plus(secret)
    if not colon or form.get("client_id", client_id) != client_id:
        raise _Refused("invalid_client", "the HTTP Basic credentials are not those of client_id")
    return _plain(client_id), secret


def _plain(client_id: str) -> str:
    """A client id that could be one; NUL could not even be asked for."""
    return client_id if client_id.isascii() and client_id.isprintable() else ""


def _scopes(form: Mapping[str, str], allowed: frozenset[Scope]) -> frozenset[Scope] | None:
    asked = form.get("scope", "").split()
    if not asked:
        return None
    if beyond := [scope for scope in asked if scope not in {each.value for each in allowed}]:
        shown = beyond[0][:40].encode("ascii", "replace").decode().replace('"', "?").replace("\\", "?")
        raise _Refused("invalid_scope", f"this client has not got {shown}")
    return frozenset(Scope(scope) for scope in asked)


def _refusal(refused: _Refused) -> JSONResponse:
    TOKEN_REQUESTS.labels(refused.error).inc()
    headers: dict[str, Any] = dict(_NO_STORE)
    status = 401 if refused.error == "invalid_client" else 400
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="milkrun", charset="UTF-8"'
    return JSONResponse({"error": refused.error, "error_description": str(refused)}, status, headers)
