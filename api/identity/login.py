"""Signing in with e-mail address and password, and the sessions that come of it.

Whatever is wrong is answered alike and takes alike: unknown, disabled, locked, wrong password. Attempts are counted
before the password is looked at, for the account and for the network address.
"""

import base64
import hashlib
import hmac
import ipaddress
import re
import secrets
from datetime import timedelta

import structlog
from prometheus_client import Counter

from api.access import Session
from api.http.errors import TooMany
from api.identity import model
from api.identity.errors import ChooseTenant, InvalidAccount, InvalidToken, LoginFailed
from api.identity.model import Actor, User
from api.identity.passwords import Passwords
from api.identity.store import IdentityStore, LockRule
from core.clock import Clock
from core.db import Database
from core.settings import IdentitySettings
from core.tenancy import TenantId

LOGINS = Counter("milkrun_identity_logins_total", "Sign-ins with a password by result", ["result"])

_TOUCH = timedelta(seconds=60)
"""A session's last use is written when it is this old, not with each request."""
_COOKIE = re.compile(r"[A-Za-z0-9_-]{43}\Z")
_log = structlog.get_logger()


class LoginService:
    """Sign in, stay signed in, sign out. `operator` looks through all tenants, since an address names none."""

    def __init__(
        self,
        *,
        operator: Database,
        store: IdentityStore,
        passwords: Passwords,
        settings: IdentitySettings,
        clock: Clock,
    ) -> None:
        self._operator = operator
        self._store = store
        self._passwords = passwords
        self._clock = clock
        self._idle = timedelta(seconds=settings.session_idle_s)
        self._longest = timedelta(seconds=settings.session_max_s)
        self._rule = LockRule(settings.login_attempts, timedelta(seconds=settings.lock_s))
        self._window = timedelta(seconds=settings.address_window_s)
        self._cost = self._window / settings.address_attempts

    async def login(
        self, email: str, password: str, tenant: TenantId | None, *, ip: str, request_id: str | None = None
    ) -> tuple[str, Session, User]:
        """The cookie of a new session, the session, and whose it is.

        Raises LoginFailed, TooMany for the network address, and ChooseTenant where the password is right for users of
        several tenants.
        """
        source = source_of(ip)
        await self._take_attempt(source)
        try:
            address = model.email_of(email)
        except InvalidAccount:
            address = ""  # nobody's; found out after as long as everybody's
        owner = None if tenant is None else model.owner_of(tenant)
        async with self._operator.unscoped(reason="an e-mail address does not say whose user it is") as tx:
            tried = await self._store.begin_login(tx, address, owner, self._clock(), self._rule)
        right = await self._right(tried, password)
        await self._note_locks([user for user, stored in tried if (user, stored) not in right], ip, request_id)
        if not right:
            LOGINS.labels("failed").inc()
            raise LoginFailed("wrong e-mail address or password, or too many attempts; after a while, try again")
        if len(right) > 1:
            # The attempt stays counted: else somebody with a user of the same address elsewhere, whose password he
            # sets, could try passwords on this one without end.
            LOGINS.labels("tenant_required").inc()
            names = [model.tenant_of(user.owner) for user, _ in right]
            said = ", ".join(sorted(name or "none (operator)" for name in names))
            raise ChooseTenant(f"you have an account in several tenants: {said}; say which", tenants=names)
        user, stored = right[0]
        cookie, session = await self._open(user, ip, request_id)
        if len(tried) == 1:
            async with self._operator.unscoped(reason="network addresses belong to no tenant") as tx:
                await self._store.return_attempt(tx, source, cost=self._cost)
        if self._passwords.is_outdated(stored):
            await self._rehash(user, stored, password)
        LOGINS.labels("success").inc()
        return cookie, session, user

    async def confirm(self, user: User, password: str) -> bool:
        """Whether it is the password of a user who is signed in; counts as an attempt of his account."""
        async with self._operator.unscoped(reason="password hashes are not for the tenant's door") as tx:
            tried = await self._store.begin_login(tx, user.email, user.owner, self._clock(), self._rule)
        found, stored = tried[0] if tried else (None, None)
        if not await self._passwords.verify(stored, password) or found is None:
            return False
        async with self._operator.unscoped(reason="password hashes are not for the tenant's door") as tx:
            return await self._store.finish_login(tx, found, self._clock())

    async def open(self, user: User, *, ip: str, request_id: str | None) -> tuple[str, Session]:
        """A session for a user who has just proved himself."""
        return await self._open(user, ip, request_id)

    async def session(self, cookie: str) -> Session:
        """Whose session it is. Raises InvalidToken when it is over, void, or never was."""
        return (await self.session_and_user(cookie))[0]

    async def session_and_user(self, cookie: str) -> tuple[Session, User]:
        """The same with the user. Raises InvalidToken."""
        now = self._clock()
        found, digest = None, b""
        if _COOKIE.match(cookie):
            digest = _digest(cookie)
            async with self._operator.unscoped(reason="a cookie does not say whose it is") as tx:
                found = await self._store.session(tx, digest, now, idle=self._idle)
                if found and found[1] < now - _TOUCH:
                    await self._store.touch_session(tx, digest, now)
        if found is None:
            raise InvalidToken("the session is over: sign in again", reason="session")
        user, _, expires_at = found
        principal = model.principal("user", user, expires_at=expires_at, session=digest.hex())
        return Session(principal, csrf_of(cookie)), user

    async def logout(self, cookie: str) -> None:
        """End the session, if it is one."""
        if _COOKIE.match(cookie):
            async with self._operator.unscoped(reason="a cookie does not say whose it is") as tx:
                await self._store.end_session(tx, _digest(cookie))

    async def sweep(self) -> None:
        """Remove what is over."""
        async with self._operator.unscoped(reason="what is over goes in all tenants at once") as tx:
            await self._store.sweep(tx, self._clock(), idle=self._idle)

    async def _right(self, tried: list[tuple[User, str]], password: str) -> list[tuple[User, str]]:
        """Those whose password it is; where there is nobody, one password is looked at all the same."""
        if not tried:
            await self._passwords.verify(None, password)
        return [each for each in tried if await self._passwords.verify(each[1], password)]

    async def _take_attempt(self, source: str) -> None:
        now = self._clock()
        async with self._operator.unscoped(reason="network addresses belong to no tenant") as tx:
            if await self._store.take_attempt(tx, source, now, cost=self._cost, window=self._window):
                return
            whole_at = await self._store.attempt_wait(tx, source) or now
        LOGINS.labels("address_limited").inc()
        wait = (whole_at + self._cost - self._window - now).total_seconds()
        raise TooMany("too many failed sign-ins from this network address", retry_after_s=max(1.0, wait))

    async def _open(self, user: User, ip: str, request_id: str | None) -> tuple[str, Session]:
        now = self._clock()
        cookie = secrets.token_urlsafe(32)
        expires_at = now + self._longest
        principal = model.principal("user", user, expires_at=expires_at, session=_digest(cookie).hex())
        by = Actor(principal=principal, kind="user", request_id=request_id, ip=ip)
        async with self._operator.unscoped(reason="who signs in is known by his password alone") as tx:
            if not await self._store.finish_login(tx, user, now):
                raise LoginFailed("the account was changed at this moment; try again")
            await self._store.add_session(tx, user, _digest(cookie), now, expires_at=expires_at, ip=ip)
            await self._store.add_audit(
                tx, user.owner, by, now, action="session.opened", target=user.id, before=None, after=None
            )
        return cookie, Session(principal, csrf_of(cookie))

    async def _note_locks(self, users: list[User], ip: str, request_id: str | None) -> None:
        """In the audit log of each user whose account this attempt locked."""
        locked = [user for user in users if user.locked_until]
        if not locked:
            return
        async with self._operator.unscoped(reason="who fails to sign in may have meant any tenant") as tx:
            for user in locked:
                _log.warning("identity.account_locked", tenant=user.owner, user=user.id, ip=ip)
                by = Actor(principal=model.principal("user", user), kind="user", request_id=request_id, ip=ip)
                until = {"locked_until": user.locked_until.isoformat() if user.locked_until else None}
                await self._store.add_audit(
                    tx, user.owner, by, self._clock(), action="user.locked", target=user.id, before=None, after=until
                )

    async def _rehash(self, user: User, old: str, password: str) -> None:
        new = await self._passwords.hash(password)
        async with self._operator.unscoped(reason="password hashes are not for the tenant's door") as tx:
            await self._store.rehash(tx, user, old=old, new=new)


def csrf_of(cookie: str) -> str:
    """What a page must send beside the cookie: made from it, so stored nowhere, and of no use to get back to it."""
    digest = hmac.new(cookie.encode(), b"milkrun csrf", hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def source_of(ip: str) -> str:
    """The network address attempts are counted for: of IPv6 the /64, of which one subscriber has at least one."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ip[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)


def _digest(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()
