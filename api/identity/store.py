"""Identity's tables. Secrets go in as hashes and come out only to whoever has to compare them.

Methods take the transaction of a door and the owner they mean: through a tenant's door row level security shows that
tenant alone; the operator login sees all, and serves sign-in, proofs, and what belongs to the operators.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from api.access import Role, Scope
from api.identity.model import Account, Actor, ApiKey, Client, Kind, Owner, Rights, Secret, Status, User
from core import sql
from core.db import Tx


@dataclass(frozen=True, slots=True)
class Table[A: Account]:
    """One of the three kinds of account: the names of its queries, and how a row is read."""

    kind: Kind
    page: str
    lock: str
    save: str
    read: Callable[[DictRow], A]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which accounts a list shows; None: all."""

    id: str | None = None
    email: str | None = None
    role: Role | None = None
    status: Status | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which rows of the audit log; None: all. Times from `since` to before `until`."""

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """Who changed what, when, and what it was before and after."""

    id: int
    at: datetime
    actor_kind: str
    actor_id: str
    actor_name: str
    action: str
    target: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    request_id: str | None
    ip: str | None


@dataclass(frozen=True, slots=True)
class LockRule:
    """When an account is locked, for how long, and how long a wrong password is remembered."""

    most: int
    lock: timedelta


class IdentityStore:
    """One method a query."""

    def __init__(self) -> None:
        self._sql = sql.load("api.identity")

    async def tenant_exists(self, tx: Tx, owner: Owner) -> bool:
        return await tx.one(self._sql["tenant_exists"], {"owner": owner}) is not None

    async def page[A: Account](
        self, tx: Tx, table: Table[A], owner: Owner, wanted: Wanted, *, after: str, limit: int
    ) -> list[A]:
        """Accounts in the order in which they were made, those after the id `after`."""
        params = {
            "owner": owner,
            "after": after,
            "limit": limit,
            "id": wanted.id,
            "email": wanted.email,
            "role": wanted.role and wanted.role.value,
            "status": wanted.status and wanted.status.value,
        }
        return [table.read(row) for row in await tx.all(self._sql[table.page], params)]

    async def load[A: Account](
        self, tx: Tx, table: Table[A], owner: Owner, id_: str, *, lock: bool = False
    ) -> A | None:
        """One account; `lock` keeps others from changing it until the transaction ends."""
        if lock:
            await tx.execute(self._sql[table.lock], {"owner": owner, "id": id_})
        found = await self.page(tx, table, owner, Wanted(id=id_), after="", limit=1)
        return found[0] if found else None

    async def save[A: Account](self, tx: Tx, table: Table[A], account: A) -> None:
        params = {
            "owner": account.owner,
            "id": account.id,
            "name": account.name,
            **_rights(account.rights),
            "status": account.status.value,
            "generation": account.generation,
            "version": account.version,
            "updated_at": account.updated_at,
        }
        await tx.execute(self._sql[table.save], params)

    async def lock_admins(self, tx: Tx, owner: Owner) -> set[str]:
        """The ids of the tenant's active admins, none of whom can change until the transaction ends."""
        return {row["user_id"] for row in await tx.all(self._sql["lock_admins"], {"owner": owner})}

    async def add_user(self, tx: Tx, user: User, password_hash: str) -> bool:
        """Whether the address was free."""
        params = {**_new(user), "email": user.email, "password_hash": password_hash}
        return await tx.one(self._sql["add_user"], params) is not None

    async def set_password(self, tx: Tx, user: User, password_hash: str) -> None:
        params = {"owner": user.owner, "id": user.id, "password_hash": password_hash}
        await tx.execute(self._sql["set_password"], params)

    async def end_sessions(self, tx: Tx, user: User) -> None:
        await tx.execute(self._sql["end_sessions"], {"owner": user.owner, "id": user.id})

    async def add_client(self, tx: Tx, client: Client) -> bool:
        """Whether its id was free."""
        params = {**_new(client), "created_by": client.created_by}
        return await tx.one(self._sql["add_client"], params) is not None

    async def add_secret(self, tx: Tx, client: Client, secret_id: str, secret_hash: bytes, at: datetime) -> None:
        params = {
            "owner": client.owner,
            "id": client.id,
            "secret_id": secret_id,
            "secret_hash": secret_hash,
            "at": at,
        }
        await tx.execute(self._sql["add_client_secret"], params)

    async def end_secrets(self, tx: Tx, client: Client, *, until: datetime, at: datetime) -> None:
        """Let the client's secrets end at `until`; those that are over at `at` go."""
        key = {"owner": client.owner, "id": client.id}
        await tx.execute(self._sql["end_client_secrets"], {**key, "until": until})
        await tx.execute(self._sql["drop_client_secrets"], {**key, "at": at})

    async def secrets(self, tx: Tx, owner: Owner, ids: Sequence[str]) -> Mapping[str, tuple[Secret, ...]]:
        """What secrets clients have, by client; never the secrets."""
        found: dict[str, tuple[Secret, ...]] = {}
        for row in await tx.all(self._sql["client_secrets"], {"owner": owner, "ids": list(ids)}):
            secret = Secret(id=row["secret_id"], created_at=row["created_at"], expires_at=row["expires_at"])
            found[row["client_id"]] = (*found.get(row["client_id"], ()), secret)
        return found

    async def add_key(self, tx: Tx, key: ApiKey, secret_hash: bytes) -> None:
        params = {
            **_new(key),
            "secret_hash": secret_hash,
            "expires_at": key.expires_at,
            "created_by": key.created_by,
        }
        await tx.execute(self._sql["add_key"], params)

    async def clients_to_prove(self, tx: Tx, id_: str) -> list[Client]:
        """Clients of that id, of all tenants: ids are random, so one or none."""
        return [_client(row) for row in await tx.all(self._sql["client_to_prove"], {"id": id_})]

    async def secret_hashes(self, tx: Tx, client: Client, at: datetime) -> list[bytes]:
        params = {"owner": client.owner, "id": client.id, "at": at}
        return [bytes(row["secret_hash"]) for row in await tx.all(self._sql["secrets_to_prove"], params)]

    async def keys_to_prove(self, tx: Tx, id_: str) -> list[tuple[ApiKey, bytes]]:
        rows = await tx.all(self._sql["key_to_prove"], {"id": id_})
        return [(_key(row), bytes(row["secret_hash"])) for row in rows]

    async def note_use(self, tx: Tx, kind: Kind, account: Account, at: datetime) -> None:
        query = self._sql["client_used"] if kind == "client" else self._sql["key_used"]
        await tx.execute(query, {"owner": account.owner, "id": account.id, "at": at})

    async def living(self, tx: Tx, kind: Kind, ids: Sequence[str], at: datetime) -> set[tuple[Owner, str, int]]:
        """Owner, id and generation of those of `ids` that may be used at `at`, of all tenants."""
        names: dict[Kind, str] = {"user": "living_users", "client": "living_clients", "key": "living_keys"}
        rows = await tx.all(self._sql[names[kind]], {"ids": list(ids), "at": at})
        return {(Owner(r["tenant_id"]), r["id"], r["generation"]) for r in rows}

    async def living_sessions(self, tx: Tx, sessions: Collection[str], at: datetime) -> set[str]:
        """Those of `sessions` (hashes, hex) that nobody signed out of and whose time is not over."""
        if not sessions:
            return set()
        hashes = [bytes.fromhex(each) for each in sessions]
        rows = await tx.all(self._sql["living_sessions"], {"hashes": hashes, "at": at})
        return {bytes(row["token_hash"]).hex() for row in rows}

    async def take_attempt(self, tx: Tx, source: str, at: datetime, *, cost: timedelta, window: timedelta) -> bool:
        """Whether the network address `source` may try a password now; it has used the attempt up then."""
        params = {"source": source, "at": at, "cost": cost, "window": window}
        return await tx.one(self._sql["take_attempt"], params) is not None

    async def attempt_wait(self, tx: Tx, source: str) -> datetime | None:
        """When the allowance of `source` is whole again."""
        row = await tx.one(self._sql["attempt_wait"], {"source": source})
        return row["whole_at"] if row else None

    async def return_attempt(self, tx: Tx, source: str, *, cost: timedelta) -> None:
        await tx.execute(self._sql["return_attempt"], {"source": source, "cost": cost})

    async def begin_login(
        self, tx: Tx, email: str, owner: Owner | None, at: datetime, rule: LockRule
    ) -> list[tuple[User, str]]:
        """Users whose password may be tried, with its hash; the attempt counts already."""
        params = {"email": email, "owner": owner, "at": at, "memory": rule.lock, "lock": rule.lock, "most": rule.most}
        return [(_user(row), row["password_hash"]) for row in await tx.all(self._sql["begin_login"], params)]

    async def finish_login(self, tx: Tx, user: User, at: datetime) -> bool:
        """Forget the failed attempts; False when the user was changed meanwhile."""
        params = {"owner": user.owner, "id": user.id, "generation": user.generation, "at": at}
        return await tx.one(self._sql["finish_login"], params) is not None

    async def rehash(self, tx: Tx, user: User, *, old: str, new: str) -> None:
        params = {"owner": user.owner, "id": user.id, "old": old, "password_hash": new}
        await tx.execute(self._sql["rehash"], params)

    async def add_session(
        self, tx: Tx, user: User, token_hash: bytes, at: datetime, *, expires_at: datetime, ip: str | None
    ) -> None:
        params = {
            "owner": user.owner,
            "id": user.id,
            "generation": user.generation,
            "token_hash": token_hash,
            "at": at,
            "expires_at": expires_at,
            "ip": ip,
        }
        await tx.execute(self._sql["add_session"], params)

    async def session(
        self, tx: Tx, token_hash: bytes, at: datetime, *, idle: timedelta
    ) -> tuple[User, datetime, datetime] | None:
        """Whose session it is, when it was last used, and when it ends; None when it is over or void."""
        row = await tx.one(self._sql["session"], {"token_hash": token_hash, "at": at, "idle": idle})
        return (_user(row), row["seen_at"], row["expires_at"]) if row else None

    async def touch_session(self, tx: Tx, token_hash: bytes, at: datetime) -> None:
        await tx.execute(self._sql["touch_session"], {"token_hash": token_hash, "at": at})

    async def end_session(self, tx: Tx, token_hash: bytes) -> None:
        await tx.execute(self._sql["end_session"], {"token_hash": token_hash})

    async def add_audit(
        self,
        tx: Tx,
        owner: Owner,
        by: Actor,
        at: datetime,
        *,
        action: str,
        target: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        params = {
            "owner": owner,
            "at": at,
            "actor_kind": by.kind,
            "actor_id": by.principal.id,
            "actor_name": by.principal.name,
            "action": action,
            "target": target,
            "before": None if before is None else Jsonb(dict(before)),
            "after": None if after is None else Jsonb(dict(after)),
            "request_id": by.request_id,
            "ip": by.ip,
        }
        await tx.execute(self._sql["add_audit"], params)

    async def audit(
        self, tx: Tx, owner: Owner, wanted: AuditFilter, *, below: int | None, limit: int
    ) -> list[AuditRow]:
        """Newest first, those below the id `below`."""
        params = {
            "owner": owner,
            "below": below,
            "limit": limit,
            "actor": wanted.actor,
            "action": wanted.action,
            "target": wanted.target,
            "since": wanted.since,
            "until": wanted.until,
        }
        return [AuditRow(**row) for row in await tx.all(self._sql["audit"], params)]

    async def sweep(self, tx: Tx, at: datetime, *, idle: timedelta) -> None:
        """Remove what is over: sessions, allowances, secrets, tickets."""
        await tx.execute(self._sql["sweep_sessions"], {"at": at, "idle": idle})
        for name in ("sweep_attempts", "sweep_secrets", "sweep_tickets"):
            await tx.execute(self._sql[name], {"at": at})


def _new(account: Account) -> dict[str, Any]:
    facts = {"owner": account.owner, "id": account.id, "name": account.name, "at": account.created_at}
    return facts | _rights(account.rights)


def _rights(rights: Rights) -> dict[str, Any]:
    return {
        "role": rights.role.value,
        "scopes": None if rights.scopes is None else sorted(rights.scopes),
        "sites": sorted(rights.sites),
    }


def _account(row: DictRow) -> dict[str, Any]:
    scopes = row.get("scopes")
    return {
        "owner": Owner(row["tenant_id"]),
        "id": row["id"],
        "name": row["name"],
        "rights": Rights(
            Role(row["role"]),
            # A scope that a later release took away is no reason to refuse the rest.
            None if scopes is None else frozenset(Scope(s) for s in scopes if s in Scope),
            frozenset(row["sites"]),
        ),
        "status": Status(row["status"]),
        "generation": row["generation"],
        "version": row["version"],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }


def _user(row: DictRow) -> User:
    return User(
        **_account(row),
        email=row["email"],
        locked_until=row["locked_until"],
        last_login_at=row["last_login_at"],
    )


def _client(row: DictRow) -> Client:
    return Client(**_account(row), created_by=row["created_by"], last_used_at=row["last_used_at"])


def _key(row: DictRow) -> ApiKey:
    return ApiKey(
        **_account(row),
        created_by=row["created_by"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
    )


USERS = Table("user", "users", "lock_user", "save_user", _user)
CLIENTS = Table("client", "clients", "lock_client", "save_client", _client)
KEYS = Table("key", "keys", "lock_key", "save_key", _key)
