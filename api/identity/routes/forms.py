"""Accounts as JSON: what is asked and what is answered. Secrets are in the answer that made them and in no other."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.access import Role, Scope
from api.http.numbers import WHOLE
from api.http.times import Moment, Time
from api.identity.model import PASSWORD_MAX, PASSWORD_MIN, Account, ApiKey, Change, Client, Rights, Status, User
from api.identity.routes.given import Password, Text

Name = Annotated[Text, StringConstraints(max_length=200)]
ProgramName = Annotated[
    str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$")
]
Email = Annotated[
    str, StringConstraints(max_length=254, pattern=r"^[^\s@\x00-\x1f\x7f]{1,64}@[^\s@\x00-\x1f\x7f]{1,189}$")
]
Chosen = Annotated[Password, StringConstraints(min_length=PASSWORD_MIN, max_length=PASSWORD_MAX)]
Site = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewUser(_Form):
    """A user; without `password` one is generated and answered, once."""

    email: Email
    role: Role
    name: Name = ""
    sites: list[Site] = Field(default_factory=list, max_length=64, description="For role site alone")
    password: Chosen | None = None


class UserChange(_Form):
    """What to change; what is left out or null stays."""

    name: Name | None = None
    role: Role | None = None
    sites: list[Site] | None = Field(None, max_length=64)
    status: Status | None = None


class PasswordChange(_Form):
    """Without `password` one is generated and answered, once."""

    password: Chosen | None = None


class NewProgram(_Form):
    """An API client or API key. Without `scopes` it has all that its role may."""

    name: ProgramName
    role: Role = Role.INTEGRATION
    scopes: list[Scope] | None = Field(None, min_length=1, max_length=len(Scope))
    sites: list[Site] = Field(default_factory=list, max_length=64, description="For role site alone")


class NewKey(NewProgram):
    """An API key; without `expires_at` it is good until it is disabled."""

    expires_at: Moment | None = None


class ProgramChange(_Form):
    """What to change; what is left out or null stays."""

    name: ProgramName | None = None
    role: Role | None = None
    scopes: list[Scope] | None = Field(None, min_length=1, max_length=len(Scope))
    sites: list[Site] | None = Field(None, max_length=64)
    status: Status | None = None


class Rotation(_Form):
    """How long the secrets so far still work; 0 also voids the tokens they got. Left out: the deployment's setting."""

    overlap_s: Annotated[int, Field(ge=0, le=90 * 86_400), WHOLE] | None = None


class _AccountBody(BaseModel):
    id: str
    name: str
    role: Role
    sites: list[str]
    status: Status
    version: int
    created_at: Time
    updated_at: Time


class UserBody(_AccountBody):
    """A person who signs in."""

    email: str
    last_login_at: Time | None
    locked_until: Time | None = Field(description="After too many wrong passwords; null or past: not locked")


class UserMade(UserBody):
    """The same with the generated password, which is nowhere else; null where one was named."""

    password: str | None


class PasswordMade(BaseModel):
    """The generated password, which is nowhere else; null where one was named."""

    password: str | None


class SecretBody(BaseModel):
    """That a client has a secret; never the secret."""

    id: str
    created_at: Time
    expires_at: Time | None


class ClientBody(_AccountBody):
    """A program that gets access tokens with its id and secret."""

    scopes: list[Scope]
    last_used_at: Time | None = Field(description="When it last got a token")
    created_by: str
    secrets: list[SecretBody] = Field(description="Empty in lists")


class ClientMade(ClientBody):
    """The same with its new secret, which is nowhere else."""

    client_secret: str


class KeyBody(_AccountBody):
    """A program that sends the same key with each request. `id` is the key's public prefix."""

    scopes: list[Scope]
    last_used_at: Time | None = Field(description="To the minute")
    expires_at: Time | None
    created_by: str


class KeyMade(KeyBody):
    """The same with the key itself, which is nowhere else."""

    key: str


def rights(form: NewUser | NewProgram) -> Rights:
    scopes = form.scopes if isinstance(form, NewProgram) else None
    return Rights(form.role, None if scopes is None else frozenset(scopes), frozenset(form.sites))


def change(form: UserChange | ProgramChange) -> Change:
    scopes = form.scopes if isinstance(form, ProgramChange) else None
    return Change(
        name=form.name,
        role=form.role,
        scopes=None if scopes is None else frozenset(scopes),
        sites=None if form.sites is None else frozenset(form.sites),
        status=form.status,
    )


def user(account: User) -> UserBody:
    return UserBody(**_common(account), **_of_user(account))


def user_made(account: User, password: str | None) -> UserMade:
    return UserMade(**_common(account), **_of_user(account), password=password)


def client(account: Client) -> ClientBody:
    return ClientBody(**_common(account), **_of_client(account))


def client_made(account: Client, secret: str) -> ClientMade:
    return ClientMade(**_common(account), **_of_client(account), client_secret=secret)


def key(account: ApiKey) -> KeyBody:
    return KeyBody(**_common(account), **_of_key(account))


def key_made(account: ApiKey, text: str) -> KeyMade:
    return KeyMade(**_common(account), **_of_key(account), key=text)


def _common(account: Account) -> dict[str, object]:
    return {
        "id": account.id,
        "name": account.name,
        "role": account.rights.role,
        "sites": sorted(account.rights.sites),
        "status": account.status,
        "version": account.version,
        "created_at": account.created_at,
        "updated_at": account.updated_at,
    }


def _of_user(account: User) -> dict[str, object]:
    return {
        "email": account.email,
        "last_login_at": account.last_login_at,
        "locked_until": account.locked_until,
    }


def _of_client(account: Client) -> dict[str, object]:
    return {
        "scopes": sorted(account.rights.effective),
        "last_used_at": account.last_used_at,
        "created_by": account.created_by,
        "secrets": [
            SecretBody(id=each.id, created_at=each.created_at, expires_at=each.expires_at) for each in account.secrets
        ],
    }


def _of_key(account: ApiKey) -> dict[str, object]:
    return {
        "scopes": sorted(account.rights.effective),
        "last_used_at": account.last_used_at,
        "expires_at": account.expires_at,
        "created_by": account.created_by,
    }
