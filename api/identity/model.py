"""Accounts, their rights, and who may grant them."""

import dataclasses
import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NewType

from api.access import ROLE_SCOPES, Principal, Role, Scope
from api.identity.errors import GrantRefused, InvalidAccount
from core.tenancy import TenantId

type Kind = Literal["user", "client", "key"]

Owner = NewType("Owner", str)
"""A tenant, or '!' for what belongs to the operators; the tenant_id of identity's tables."""

OPERATORS = Owner("!")
PASSWORD_MIN, PASSWORD_MAX = 12, 256

_EMAIL = re.compile(r"[^\s@\x00-\x1f\x7f]{1,64}@[^\s@\x00-\x1f\x7f]{1,189}\Z")
_SITE = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_ROLES: dict[Kind, frozenset[Role]] = {
    "user": frozenset(Role) - {Role.INTEGRATION},
    "client": frozenset(Role),
    "key": frozenset(Role) - {Role.OPERATOR},
}


class Status(enum.StrEnum):
    """Whether an account may be used."""

    ACTIVE = "active"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Rights:
    """What an account may do. `scopes` None: all that its role may; `sites` are for role `site` alone."""

    role: Role
    scopes: frozenset[Scope] | None = None
    sites: frozenset[str] = frozenset()

    @property
    def effective(self) -> frozenset[Scope]:
        allowed = ROLE_SCOPES[self.role]
        return allowed if self.scopes is None else allowed & self.scopes


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What users, clients and keys have in common.

    `generation` counts what voids earlier credentials: other rights, another password, disabling. `version` counts
    every change.
    """

    owner: Owner
    id: str
    name: str
    rights: Rights
    created_at: datetime
    updated_at: datetime
    status: Status = Status.ACTIVE
    generation: int = 1
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Account):
    """A person who signs in with e-mail address and password."""

    email: str
    last_login_at: datetime | None = None
    locked_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """That a client has a secret, and until when it is good; never the secret."""

    id: str
    created_at: datetime
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Client(Account):
    """A program that exchanges its secret for short access tokens."""

    created_by: str
    last_used_at: datetime | None = None
    secrets: tuple[Secret, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey(Account):
    """A program that sends the same secret with every request. `id` is the public prefix of the key."""

    created_by: str
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What to change of an account; None leaves as it is."""

    name: str | None = None
    role: Role | None = None
    scopes: frozenset[Scope] | None = None
    sites: frozenset[str] | None = None
    status: Status | None = None

    def rights(self, now: Rights) -> Rights:
        """A new role starts from all it may, unless scopes are named with it; leaving role `site` leaves its sites."""
        role = self.role or now.role
        kept = now.scopes if role is now.role else None
        sites = now.sites if role is Role.SITE else frozenset[str]()
        return Rights(role, kept if self.scopes is None else self.scopes, sites if self.sites is None else self.sites)


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who changes something, for the decision whether he may and for the audit log."""

    principal: Principal
    kind: str
    request_id: str | None = None
    ip: str | None = None

    @staticmethod
    def command_line(user: str) -> "Actor":
        """Somebody at the machine, who has the database's password anyway."""
        everything = Principal(
            kind="user",
            id=f"cli:{user}"[:64],
            tenant=None,
            role=Role.OPERATOR,
            scopes=ROLE_SCOPES[Role.OPERATOR],
            name=user,
        )
        return Actor(principal=everything, kind="cli")


def owner_of(tenant: TenantId | None) -> Owner:
    return OPERATORS if tenant is None else Owner(tenant)


def tenant_of(owner: Owner) -> TenantId | None:
    """None for the operators. `owner` is from identity's tables, whose tenants were checked when they were made."""
    return None if owner == OPERATORS else TenantId(owner)


def email_of(text: str) -> str:
    """The address as it is stored and compared: trimmed, lower case. Raises InvalidAccount."""
    email = text.strip().lower()
    if len(email) > 254 or not _EMAIL.match(email):
        raise InvalidAccount(f"{text[:80]!r} is no e-mail address")
    return email


def name_of(text: str, *, may_be_empty: bool = False) -> str:
    """Raises InvalidAccount unless it is up to 200 printable characters."""
    name = text.strip()
    if len(name) > 200 or _UNPRINTABLE.search(name) or not (name or may_be_empty):
        raise InvalidAccount("a name is 1 to 200 characters without control characters")
    return name


def check_password(password: str, email: str) -> None:
    """Raises InvalidAccount for one that is too easily guessed or too long to hash."""
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise InvalidAccount(f"a password has {PASSWORD_MIN} to {PASSWORD_MAX} characters")
    if password.strip().lower() in {email, email.partition("@")[0]} or len(set(password)) < 5:
        raise InvalidAccount("a password is not the e-mail address and has at least 5 different characters")


def check_rights(kind: Kind, owner: Owner, rights: Rights) -> None:
    """Raises InvalidAccount for a combination that means nothing."""
    if rights.role not in _ROLES[kind]:
        allowed = ", ".join(sorted(_ROLES[kind]))
        raise InvalidAccount(f"a {kind} cannot have the role {rights.role}; allowed are {allowed}")
    if (rights.role is Role.OPERATOR) != (owner == OPERATORS):
        raise InvalidAccount("the role operator is for accounts of no tenant, and the others are for a tenant's")
    if kind == "user" and rights.scopes is not None:
        raise InvalidAccount("a user has the scopes of his role")
    beyond = (rights.scopes or frozenset()) - ROLE_SCOPES[rights.role]
    if beyond:
        raise InvalidAccount(f"the role {rights.role} never has {', '.join(sorted(beyond))}")
    if rights.scopes is not None and not rights.scopes:
        raise InvalidAccount("an account without any scope can do nothing; leave scopes out for all its role may")
    if (rights.role is Role.SITE) != bool(rights.sites):
        raise InvalidAccount("the role site needs at least one site, and no other role has sites")
    if len(rights.sites) > 64 or not all(_SITE.match(site) for site in rights.sites):
        raise InvalidAccount(
            "a site is 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'; 64 of them at most, since a token names them"
        )


def check_grant(by: Principal, rights: Iterable[Rights]) -> None:
    """Raises GrantRefused where one of `rights` (what an account has, what it is to get) is beyond those of `by`."""
    for each in rights:
        if each.role is Role.OPERATOR and by.role is not Role.OPERATOR:
            raise GrantRefused("only an operator makes or changes operators")
        if beyond := each.effective - by.scopes:
            raise GrantRefused(f"{by.name or by.id} cannot grant what he has not got: {', '.join(sorted(beyond))}")
        if by.sites and not (each.sites and each.sites <= by.sites):
            raise GrantRefused(f"{by.name or by.id} can grant rights on his own sites alone")


def changed[A: Account](account: A, change: Change, at: datetime) -> A:
    """The account as `change` leaves it; the same object where nothing changes."""
    rights = change.rights(account.rights)
    status = change.status or account.status
    name = account.name if change.name is None else change.name
    if (name, rights, status) == (account.name, account.rights, account.status):
        return account
    is_void = rights != account.rights or status is not account.status
    return dataclasses.replace(
        account,
        name=name,
        rights=rights,
        status=status,
        generation=account.generation + is_void,
        version=account.version + 1,
        updated_at=at,
    )


def renewed[A: Account](account: A, at: datetime) -> A:
    """The account after its password or secret was replaced: what was issued before is void."""
    return dataclasses.replace(account, generation=account.generation + 1, version=account.version + 1, updated_at=at)


def principal(
    kind: Kind, account: Account, *, scopes: frozenset[Scope] | None = None, expires_at: datetime | None = None
) -> Principal:
    """Whoever proved to be `account`; `scopes` narrows what it may."""
    effective = account.rights.effective
    return Principal(
        kind=kind,
        id=account.id,
        tenant=tenant_of(account.owner),
        role=account.rights.role,
        scopes=effective if scopes is None else effective & scopes,
        name=account.name,
        sites=account.rights.sites,
        expires_at=expires_at,
        generation=account.generation,
    )


def with_secrets(client: Client, secrets: tuple[Secret, ...]) -> Client:
    return dataclasses.replace(client, secrets=secrets)
