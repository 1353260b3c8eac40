"""Who is calling: proofs become principals here, and principals are asked again whether they still hold."""

import asyncio
import hmac
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import structlog
from prometheus_client import Counter

from api.access import Principal, Scope, Session
from api.identity import keys, model
from api.identity.accounts import AccountService, hash_of
from api.identity.errors import InvalidToken
from api.identity.keys import KeyRing
from api.identity.login import LoginService
from api.identity.model import Account, Actor, ApiKey, Client, Kind, Owner, Status
from api.identity.passwords import Passwords
from api.identity.store import IdentityStore
from api.identity.tokens import Tokens
from core.clock import Clock, utc_now
from core.db import Database, DatabaseUnavailable, TenantTx, Tx
from core.settings import Settings

CACHE_S = 1.0
"""What is known of a client or key may be this old: so long a change made by another process goes unnoticed."""
SWEEP_EVERY_S = 300.0

REFUSED = Counter("milkrun_identity_refused_total", "Bearer tokens and sessions refused, by reason", ["reason"])

_CACHE_MOST = 10_000
_USE_NOTED = timedelta(seconds=60)
_KEY = re.compile(r"mk_([0-9a-z]{8,40})_([A-Za-z0-9_-]{43})\Z")
_log = structlog.get_logger()


class Who(Protocol):
    """What is audited of a request; `api.http.security.Caller` is one."""

    @property
    def principal(self) -> Principal: ...

    @property
    def request_id(self) -> str: ...

    @property
    def ip(self) -> str: ...


class Recent[T]:
    """What `load` found, for CACHE_S; of many who ask at once, one looks."""

    def __init__(self, load: Callable[[str], Awaitable[T]]) -> None:
        self._load = load
        self._found: dict[str, tuple[float, asyncio.Future[T]]] = {}

    async def get(self, key: str) -> T:
        now = asyncio.get_running_loop().time()
        known = self._found.get(key)
        if known is None or now - known[0] >= CACHE_S:
            if len(self._found) >= _CACHE_MOST:
                self._found.clear()
            known = now, asyncio.ensure_future(self._load(key))
            self._found[key] = known
            known[1].add_done_callback(lambda done: self._drop_if_failed(key, done))
        return await asyncio.shield(known[1])

    def forget(self, key: str) -> None:
        self._found.pop(key, None)

    def _drop_if_failed(self, key: str, done: asyncio.Future[T]) -> None:
        if done.cancelled() or done.exception() is not None:
            known = self._found.get(key)
            if known is not None and known[1] is done:
                self.forget(key)


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """What a client gets for its secret."""

    token: str
    expires_in_s: int
    scopes: frozenset[Scope]


class IdentityService:
    """Tokens, keys and sessions as principals. `accounts` manages accounts, `logins` signs people in."""

    def __init__(self, *, app: Database, operator: Database, settings: Settings, clock: Clock = utc_now) -> None:
        identity = settings.identity
        self.issuer = identity.issuer or settings.api.public_url or f"http://{settings.api.host}:{settings.api.port}"
        self.settings = identity
        self.passwords = Passwords()
        lead, life = keys.times(identity)
        self.keys = KeyRing(identity.keys_dir, lead=lead, life=life, clock=clock)
        self._tokens = Tokens(
            self.keys, issuer=self.issuer, audience=identity.audience, ttl_s=identity.token_ttl_s, clock=clock
        )
        self._operator = operator
        self._clock = clock
        self._store = IdentityStore()
        self._clients = Recent(self._load_clients)
        self._keys = Recent(self._load_keys)
        self._noted: dict[str, float] = {}
        self.accounts = AccountService(
            app=app,
            operator=operator,
            store=self._store,
            passwords=self.passwords,
            clock=clock,
            forget=self._forget,
        )
        self.logins = LoginService(
            operator=operator, store=self._store, passwords=self.passwords, settings=identity, clock=clock
        )

    async def by_bearer(self, token: str) -> Principal:
        """Whom an access token or an API key speaks for. Raises InvalidToken."""
        try:
            return await (self._by_key(token) if token.startswith("mk_") else self._by_token(token))
        except InvalidToken as error:
            REFUSED.labels(error.reason).inc()
            raise

    async def by_session(self, cookie: str) -> Session:
        """Whose session a cookie is. Raises InvalidToken."""
        try:
            return await self.logins.session(cookie)
        except InvalidToken as error:
            REFUSED.labels(error.reason).inc()
            raise

    async def by_secret(self, client_id: str, secret: str) -> Client | None:
        """The active client whose secret it is. Read from the database each time: a rotation holds at once."""
        proven = None
        digest = hash_of(secret)
        now = self._clock()
        async with self._operator.unscoped(reason="a client id does not say whose it is") as tx:
            for client in await self._store.clients_to_prove(tx, client_id):
                for stored in await self._store.secret_hashes(tx, client, now):
                    if hmac.compare_digest(stored, digest) and client.status is Status.ACTIVE:
                        proven = client
            if proven is not None:
                await self._store.note_use(tx, "client", proven, now)
        return proven

    async def issue(self, client: Client, scopes: frozenset[Scope] | None = None) -> IssuedToken:
        """An access token for a client that proved itself, narrowed to `scopes`. Raises InvalidKeys."""
        granted = client.rights.effective if scopes is None else client.rights.effective & scopes
        return IssuedToken(await self._tokens.issue(client, granted), self._tokens.ttl_s, granted)

    async def still_valid(self, principals: Sequence[Principal]) -> list[bool]:
        """For each whether it still holds: not expired, its account active and with the rights and password it had."""
        now = self._clock()
        living: dict[Kind, set[tuple[Owner, str, int]]] = {}
        asked: dict[Kind, set[str]] = {}
        for each in principals:
            asked.setdefault(each.kind, set()).add(each.id)
        async with self._operator.unscoped(reason="connections of all tenants are asked about at once") as tx:
            for kind, ids in asked.items():
                living[kind] = await self._store.living(tx, kind, sorted(ids), now)
        return [
            (each.expires_at is None or each.expires_at > now)
            and (model.owner_of(each.tenant), each.id, each.generation) in living[each.kind]
            for each in principals
        ]

    async def audit(
        self,
        tx: Tx,
        caller: Who,
        action: str,
        target: str,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Write down in the caller's transaction who changed what; `before` and `after` hold JSON and no secret.

        The row is the tenant's whose transaction it is; of a transaction without a tenant, the operators'.
        """
        owner = model.owner_of(tx.tenant if isinstance(tx, TenantTx) else None)
        await self._store.add_audit(
            tx, owner, actor(caller), self._clock(), action=action, target=target, before=before, after=after
        )

    async def run(self) -> None:
        """Remove what is over, every few minutes, until cancelled."""
        while True:
            try:
                await self.logins.sweep()
            except DatabaseUnavailable as error:
                _log.warning("identity.waiting", error=str(error))
            await asyncio.sleep(SWEEP_EVERY_S)

    async def _by_token(self, token: str) -> Principal:
        grant = await self._tokens.read(token)
        client = next((c for c in await self._clients.get(grant.client_id) if c.owner == grant.owner), None)
        if client is None or client.status is not Status.ACTIVE:
            raise InvalidToken("the token's client is disabled or gone", reason="client_disabled")
        if client.generation != grant.generation:
            raise InvalidToken("the token is from before its client was changed: get another", reason="superseded")
        return model.principal("client", client, scopes=grant.scopes, expires_at=grant.expires_at)

    async def _by_key(self, token: str) -> Principal:
        parts = _KEY.match(token)
        if parts is None:
            raise InvalidToken("this is no API key", reason="malformed")
        digest = hash_of(parts[2])
        proven = None
        for key, stored in await self._keys.get(parts[1]):
            if hmac.compare_digest(stored, digest):
                proven = key
        if proven is None:
            raise InvalidToken("the API key is not known", reason="key_unknown")
        if proven.status is not Status.ACTIVE:
            raise InvalidToken("the API key is disabled", reason="key_disabled")
        now = self._clock()
        if proven.expires_at is not None and proven.expires_at <= now:
            raise InvalidToken("the API key has expired", reason="key_expired")
        await self._note_use(proven)
        return model.principal("key", proven, expires_at=proven.expires_at)

    async def _note_use(self, key: ApiKey) -> None:
        """When a key was last used, to the minute."""
        now, loop_now = self._clock(), asyncio.get_running_loop().time()
        is_recent = key.last_used_at is not None and key.last_used_at > now - _USE_NOTED
        if is_recent or loop_now - self._noted.get(key.id, float("-inf")) < _USE_NOTED.total_seconds():
            return
        if len(self._noted) >= _CACHE_MOST:
            self._noted.clear()
        self._noted[key.id] = loop_now
        async with self._operator.unscoped(reason="whoever is proved has no transaction of his own yet") as tx:
            await self._store.note_use(tx, "key", key, now)

    async def _load_clients(self, client_id: str) -> list[Client]:
        async with self._operator.unscoped(reason="a client id does not say whose it is") as tx:
            return await self._store.clients_to_prove(tx, client_id)

    async def _load_keys(self, key_id: str) -> list[tuple[ApiKey, bytes]]:
        async with self._operator.unscoped(reason="an API key does not say whose it is") as tx:
            return await self._store.keys_to_prove(tx, key_id)

    def _forget(self, account: Account) -> None:
        self._clients.forget(account.id)
        self._keys.forget(account.id)


@asynccontextmanager
async def identity(
    *, app: Database, operator: Database, settings: Settings, clock: Clock = utc_now
) -> AsyncIterator[IdentityService]:
    """The service, with its keys read and its sweeper running. Raises InvalidKeys."""
    service = IdentityService(app=app, operator=operator, settings=settings, clock=clock)
    await service.keys.open()
    sweeper = asyncio.create_task(service.run())
    try:
        yield service
    finally:
        sweeper.cancel()
        await asyncio.gather(sweeper, return_exceptions=True)
        service.passwords.close()


def actor(caller: Who) -> Actor:
    """The caller as the audit log and the rules about granting see him."""
    return Actor(
        principal=caller.principal,
        kind=caller.principal.kind,
        request_id=caller.request_id or None,
        ip=caller.ip or None,
    )
