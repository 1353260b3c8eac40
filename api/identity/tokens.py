"""Access tokens: JWTs of RFC 9068 signed with Ed25519, and the strict reading of what somebody sends as one.

Read: three base64url parts in their one canonical form; a header of `alg`, `kid` and `typ` and nothing else; the one
algorithm we sign with; a key of ours; every claim there and of its type; issuer and audience ours; times within
LEEWAY_S. Whether the client may still do it is for the store to say (`api.identity.service`).
"""

import base64
import json
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, override

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jws import JWSRegistry
from prometheus_client import Counter

from api.access import Role, Scope
from api.identity.errors import InvalidToken
from api.identity.keys import ALGORITHM, LEEWAY_S, KeyRing
from api.identity.model import Client, Owner, tenant_of
from core.clock import Clock

TYPE = "at+jwt"
MAX_BYTES = 8192

ISSUED = Counter("milkrun_identity_tokens_issued_total", "Access tokens issued to API clients")

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}\Z")


class _Registry(JWSRegistry):
    """Knows one algorithm, and does not warn of its name, which RFC 9864 replaces and most readers still expect."""

    max_payload_length = MAX_BYTES

    @override
    def get_alg(self, name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202  its type is private
        if name != ALGORITHM:
            raise UnsupportedAlgorithmError(name)
        return self.algorithms[ALGORITHM]


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    alg: Literal["EdDSA"]
    kid: str
    typ: Literal["at+jwt"]


class _Claims(msgspec.Struct, forbid_unknown_fields=True):
    iss: str
    aud: str
    sub: str
    client_id: str
    tenant: str | None
    role: Role
    scope: str
    sites: list[str]
    gen: int
    jti: str
    iat: int
    nbf: int
    exp: int


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token says, its signature and times being good."""

    owner: Owner
    client_id: str
    role: Role
    scopes: frozenset[Scope]
    sites: frozenset[str]
    generation: int
    expires_at: datetime


class Tokens:
    """Issues and reads access tokens."""

    def __init__(self, keys: KeyRing, *, issuer: str, audience: str, ttl_s: int, clock: Clock) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._registry = _Registry(algorithms=[ALGORITHM])
        self.ttl_s = ttl_s
        self._rules = jwt.JWTClaimsRegistry(
            now=lambda: int(clock().timestamp()),
            leeway=LEEWAY_S,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            nbf={"essential": True},
            iat={"essential": True},
        )

    async def issue(self, client: Client, scopes: frozenset[Scope]) -> str:
        """A token for `client`, narrowed to `scopes`. Raises InvalidKeys."""
        key = await self._keys.signing()
        now = int(self._clock().timestamp())
        claims = _Claims(
            iss=self._issuer,
            aud=self._audience,
            sub=client.id,
            client_id=client.id,
            tenant=tenant_of(client.owner),
            role=client.rights.role,
            scope=" ".join(sorted(scopes)),
            sites=sorted(client.rights.sites),
            gen=client.generation,
            jti=secrets.token_urlsafe(12),
            iat=now,
            nbf=now,
            exp=now + self.ttl_s,
        )
        header = {"alg": ALGORITHM, "kid": key.kid, "typ": TYPE}
        token = jwt.encode(header, msgspec.to_builtins(claims), key.jwk, registry=self._registry)
        ISSUED.inc()
        return token

    async def read(self, token: str) -> Grant:
        """What `token` grants. Raises InvalidToken."""
        header = _header(token)
        key = await self._keys.find(header.kid)
        if key is None:
            raise InvalidToken("the token was signed by a key that is not (any more) ours", reason="unknown_key")
        try:
            decoded = jwt.decode(token, key.jwk, registry=self._registry)
            claims = msgspec.convert(decoded.claims, _Claims)
            self._rules.validate(decoded.claims)
            scopes = frozenset(Scope(scope) for scope in claims.scope.split())
        except JoseError as error:
            raise InvalidToken(f"the token is not good: {error.error}", reason=error.error) from error
        except ValueError as error:  # msgspec's too
            raise InvalidToken("the token's claims are not those of an access token", reason="claims") from error
        return Grant(
            owner=Owner(claims.tenant if claims.tenant is not None else "!"),
            client_id=claims.sub,
            role=claims.role,
            scopes=scopes,
            sites=frozenset(claims.sites),
            generation=claims.gen,
            expires_at=datetime.fromtimestamp(claims.exp, UTC),
        )


def _header(token: str) -> _Header:
    """The header of a token. That it is in canonical form, as the rest, is for the library to see."""
    parts = _COMPACT.match(token) if len(token) <= MAX_BYTES else None
    if parts is None:
        raise InvalidToken("this is neither an access token nor an API key", reason="malformed")
    try:
        raw = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        json.loads(raw, object_pairs_hook=_once)
        return msgspec.json.decode(raw, type=_Header)
    except ValueError as error:
        raise InvalidToken("the token's header is not that of an access token", reason="header") from error


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name is there twice")
    return dict(pairs)
