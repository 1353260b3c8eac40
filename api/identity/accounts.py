"""Managing users, API clients and API keys: one method a use case, each with its row in the audit log.

A tenant's accounts are reached through the tenant's door, where the database shows no other; operators' through the
operator login. Who changes an account must have all the rights it has and all it is to get.
"""

import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Protocol

from api.access import Role, Scope
from api.http.errors import PreconditionFailed, UnknownTenant
from api.identity import model, passwords
from api.identity.errors import (
    ClientNotFound,
    GrantRefused,
    InvalidAccount,
    KeyNotFound,
    LastAdmin,
    UserExists,
    UserNotFound,
)
from api.identity.model import Account, Actor, ApiKey, Change, Client, Owner, Rights, Status, User
from api.identity.passwords import Passwords
from api.identity.store import CLIENTS, USERS, AuditFilter, AuditRow, IdentityStore, Table, Wanted
from core.clock import Clock, epoch_ms
from core.db import Database, Tx

_NOT_FOUND = {"user": UserNotFound, "client": ClientNotFound, "key": KeyNotFound}
_WORD = {"user": "user", "client": "client", "key": "api_key"}


class Forget(Protocol):
    """Told of each account that was changed, so that no cache vouches for it any longer."""

    def __call__(self, account: Account) -> None: ...


class AccountService:
    """Add, show, change and disable accounts; `app` is the tenants' door, `operator` the operators'."""

    def __init__(
        self,
        *,
        app: Database,
        operator: Database,
        store: IdentityStore,
        passwords: Passwords,
        clock: Clock,
        forget: Forget,
    ) -> None:
        self._app = app
        self._operator = operator
        self._store = store
        self._passwords = passwords
        self._clock = clock
        self._forget = forget

    async def add_user(
        self, by: Actor, owner: Owner, *, email: str, name: str, rights: Rights, password: str | None = None
    ) -> tuple[User, str | None]:
        """A new user; without `password` one is generated and given back, to be shown once.

        Raises InvalidAccount, GrantRefused, UnknownTenant, UserExists.
        """
        address = model.email_of(email)
        model.check_rights("user", owner, rights)
        model.check_grant(by.principal, [rights])
        generated = passwords.generate() if password is None else None
        model.check_password(password or generated or "", address)
        hashed = await self._passwords.hash(password or generated or "")
        user = User(**self._new("usr_", owner, model.name_of(name, may_be_empty=True), rights), email=address)
        async with self._door(owner) as tx:
            if not await self._store.add_user(tx, user, hashed):
                raise UserExists(f"there is a user {address} already")
            await self._note(tx, by, user, "created", None, facts(user))
        return user, generated

    async def add_client(self, by: Actor, owner: Owner, *, name: str, rights: Rights) -> tuple[Client, str]:
        """A new client and its secret, which is nowhere else. Raises InvalidAccount, GrantRefused, UnknownTenant."""
        model.check_rights("client", owner, rights)
        model.check_grant(by.principal, [rights])
        client = Client(**self._new("cli_", owner, model.name_of(name), rights), created_by=by.principal.id)
        async with self._door(owner) as tx:
            await self._store.add_client(tx, client)
            secret = await self._add_secret(tx, client)
            await self._note(tx, by, client, "created", None, facts(client))
            return await self._with_secrets(tx, client), secret

    async def rotate_secret(self, by: Actor, owner: Owner, id_: str, *, overlap: timedelta) -> tuple[Client, str]:
        """Another secret; those so far work for `overlap` yet. Without overlap the client's tokens are void too.

        Raises ClientNotFound, GrantRefused.
        """
        now = self._clock()
        async with self._door(owner) as tx:
            before = client = await self._one(tx, CLIENTS, owner, id_, lock=True)
            model.check_grant(by.principal, [client.rights])
            await self._store.end_secrets(tx, client, until=now + overlap, at=now)
            secret = await self._add_secret(tx, client)
            if not overlap:
                client = model.renewed(client, now)
                await self._store.save(tx, CLIENTS, client)
            after = {"overlap_s": int(overlap.total_seconds())}
            await self._note(tx, by, client, "secret_rotated", None, after)
            client = await self._with_secrets(tx, client)
        self._forget(before)
        return client, secret

    async def add_key(
        self, by: Actor, owner: Owner, *, name: str, rights: Rights, expires_at: datetime | None = None
    ) -> tuple[ApiKey, str]:
        """A new key and the text to send, which is nowhere else. Raises InvalidAccount, GrantRefused, UnknownTenant."""
        model.check_rights("key", owner, rights)
        model.check_grant(by.principal, [rights])
        if expires_at is not None and expires_at <= self._clock():
            raise InvalidAccount(f"a key that ended at {expires_at.isoformat()} would never work")
        key = ApiKey(
            **self._new("", owner, model.name_of(name), rights), created_by=by.principal.id, expires_at=expires_at
        )
        secret = secrets.token_urlsafe(32)
        async with self._door(owner) as tx:
            await self._store.add_key(tx, key, hash_of(secret))
            await self._note(tx, by, key, "created", None, facts(key))
        return key, f"mk_{key.id}_{secret}"

    async def page[A: Account](
        self, table: Table[A], owner: Owner, wanted: Wanted, *, after: str = "", limit: int
    ) -> list[A]:
        """Accounts in the order in which they were made. Raises UnknownTenant."""
        async with self._door(owner) as tx:
            return await self._store.page(tx, table, owner, wanted, after=after, limit=limit)

    async def show[A: Account](self, table: Table[A], owner: Owner, id_: str) -> A:
        """Raises UserNotFound, ClientNotFound, KeyNotFound."""
        async with self._door(owner) as tx:
            return await self._one(tx, table, owner, id_)

    async def client(self, owner: Owner, id_: str) -> Client:
        """A client with what is known of its secrets. Raises ClientNotFound."""
        async with self._door(owner) as tx:
            return await self._with_secrets(tx, await self._one(tx, CLIENTS, owner, id_))

    async def change[A: Account](
        self, by: Actor, table: Table[A], owner: Owner, id_: str, change: Change, *, version: int | None = None
    ) -> A:
        """Change name, rights or status; other rights or disabling end sessions and void what was issued.

        `version`: the one the caller saw. Raises PreconditionFailed when it is another by now, InvalidAccount,
        GrantRefused, LastAdmin, and the account's NotFound.
        """
        if change.name is not None:
            model.name_of(change.name, may_be_empty=table.kind == "user")
        async with self._door(owner) as tx:
            # Before the row itself: everybody takes locks in this order.
            admins = await self._store.lock_admins(tx, owner) if table.kind == "user" else set()
            before = await self._one(tx, table, owner, id_, lock=True)
            if version is not None and version != before.version:
                raise PreconditionFailed(f"it was changed: this is version {before.version}, not {version}")
            after = model.changed(before, change, self._clock())
            if after is before:
                return before
            model.check_rights(table.kind, owner, after.rights)
            model.check_grant(by.principal, [before.rights, after.rights])
            is_admin = after.rights.role is Role.TENANT_ADMIN and after.status is Status.ACTIVE
            if admins == {id_} and not is_admin and by.principal.role is not Role.OPERATOR:
                raise LastAdmin("this is the tenant's last administrator: make another one first")
            await self._store.save(tx, table, after)
            if isinstance(after, User) and after.generation != before.generation:
                await self._store.end_sessions(tx, after)
            await self._note(tx, by, after, "changed", facts(before), facts(after))
        self._forget(before)
        return after

    async def set_password(
        self, by: Actor, owner: Owner, id_: str, password: str | None = None, *, is_own: bool = False
    ) -> str | None:
        """Another password, generated and given back where none is named; ends the user's sessions and his lock.

        `is_own`: he has just shown the old one. Raises UserNotFound, GrantRefused, InvalidAccount.
        """
        async with self._door(owner) as tx:
            user = await self._one(tx, USERS, owner, id_)
        if not is_own and by.principal.kind == "user" and by.principal.id == user.id:
            raise GrantRefused("for one's own password the old one is asked: POST /v1/me/password")
        if not is_own:
            model.check_grant(by.principal, [user.rights])
        generated = passwords.generate() if password is None else None
        model.check_password(password or generated or "", user.email)
        hashed = await self._passwords.hash(password or generated or "")
        async with self._door(owner) as tx:
            user = await self._one(tx, USERS, owner, id_, lock=True)
            if not is_own:
                model.check_grant(by.principal, [user.rights])
            after = model.renewed(user, self._clock())
            await self._store.set_password(tx, after, hashed)
            await self._store.save(tx, USERS, after)
            await self._store.end_sessions(tx, after)
            await self._note(tx, by, after, "password_set", None, None)
        self._forget(user)
        return generated

    async def audit_log(
        self, owner: Owner, wanted: AuditFilter, *, below: int | None = None, limit: int
    ) -> list[AuditRow]:
        """Rows of the audit log, newest first. Raises UnknownTenant."""
        async with self._door(owner) as tx:
            return await self._store.audit(tx, owner, wanted, below=below, limit=limit)

    @asynccontextmanager
    async def _door(self, owner: Owner) -> AsyncIterator[Tx]:
        """A transaction that sees what `owner` has. Raises UnknownTenant."""
        tenant = model.tenant_of(owner)
        if tenant is None:
            async with self._operator.unscoped(reason="operators' accounts belong to no tenant") as tx:
                yield tx
            return
        async with self._app.tenant(tenant) as tx:
            if not await self._store.tenant_exists(tx, owner):
                raise UnknownTenant(f"there is no tenant {tenant!r}")
            yield tx

    async def _one[A: Account](self, tx: Tx, table: Table[A], owner: Owner, id_: str, *, lock: bool = False) -> A:
        could_be = id_.isascii() and id_.isprintable()
        found = await self._store.load(tx, table, owner, id_, lock=lock) if could_be else None
        if found is None:
            raise _NOT_FOUND[table.kind](f"there is no {_WORD[table.kind]} {id_[:80]!r}")
        return found

    async def _add_secret(self, tx: Tx, client: Client) -> str:
        secret = secrets.token_urlsafe(32)
        await self._store.add_secret(tx, client, secrets.token_hex(8), hash_of(secret), self._clock())
        return secret

    async def _with_secrets(self, tx: Tx, client: Client) -> Client:
        known = await self._store.secrets(tx, client.owner, [client.id])
        return model.with_secrets(client, known.get(client.id, ()))

    async def _note(
        self,
        tx: Tx,
        by: Actor,
        account: Account,
        what: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        action = f"{_WORD[_kind(account)]}.{what}"
        await self._store.add_audit(
            tx, account.owner, by, self._clock(), action=action, target=account.id, before=before, after=after
        )

    def _new(self, prefix: str, owner: Owner, name: str, rights: Rights) -> dict[str, Any]:
        """An id that sorts by the time it was made, so that lists need no other order."""
        now = self._clock()
        id_ = f"{prefix}{epoch_ms(now):012x}{secrets.token_hex(5)}"
        return {"owner": owner, "id": id_, "name": name, "rights": rights, "created_at": now, "updated_at": now}


def facts(account: Account) -> dict[str, Any]:
    """What the audit log says of an account: everything but what proves it."""
    rights = account.rights
    said: dict[str, Any] = {"name": account.name, "role": rights.role.value, "status": account.status.value}
    if rights.scopes is not None:
        said["scopes"] = _sorted(rights.scopes)
    if rights.sites:
        said["sites"] = sorted(rights.sites)
    if isinstance(account, User):
        said["email"] = account.email
    if isinstance(account, ApiKey) and account.expires_at:
        said["expires_at"] = account.expires_at.isoformat()
    return said


def hash_of(secret: str) -> bytes:
    """What is stored of a random secret of 256 bits: there is nothing to guess, so a fast hash is enough."""
    return hashlib.sha256(secret.encode()).digest()


def _kind(account: Account) -> str:
    return "user" if isinstance(account, User) else "client" if isinstance(account, Client) else "key"


def _sorted(scopes: frozenset[Scope]) -> list[str]:
    return sorted(scope.value for scope in scopes)
