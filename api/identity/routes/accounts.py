"""Users, API clients and API keys of a tenant. Operators' own accounts are made at the machine (`milkrun user add`)."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.access import Role, Scope
from api.http import problems
from api.http.etags import Expected, Tagged, etag
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode, page
from api.http.security import Caller, needs
from api.identity import model
from api.identity.model import Account, Status
from api.identity.routes import forms
from api.identity.routes.forms import (
    ClientBody,
    ClientMade,
    KeyBody,
    KeyMade,
    NewKey,
    NewProgram,
    NewUser,
    PasswordChange,
    PasswordMade,
    ProgramChange,
    Rotation,
    UserBody,
    UserChange,
    UserMade,
)
from api.identity.routes.given import AccountId, Identity, Text
from api.identity.service import actor
from api.identity.store import CLIENTS, KEYS, USERS, Table, Wanted

router = APIRouter()

UsersReader = Annotated[Caller, needs(Scope.USERS_READ)]
UsersWriter = Annotated[Caller, needs(Scope.USERS_WRITE)]
ClientsReader = Annotated[Caller, needs(Scope.CLIENTS_READ)]
ClientsWriter = Annotated[Caller, needs(Scope.CLIENTS_WRITE)]
OfRole = Annotated[Role | None, Query(description="Only those of this role")]
OfStatus = Annotated[Status | None, Query(description="Only these")]
_CHANGE = problems.responses(409, 412)


async def _listed[A: Account](
    identity: Identity, table: Table[A], caller: Caller, wanted: Wanted, limit: int, cursor: str | None
) -> list[A]:
    (after,) = decode(cursor, str) or ("",)
    owner = model.owner_of(caller.tenant)
    return await identity.accounts.page(table, owner, wanted, after=after, limit=limit + 1)


def _made(response: Response, path: str, account: Account) -> None:
    response.headers["Location"] = f"{path}/{account.id}"
    response.headers["ETag"] = etag(account.version)
    response.headers["Cache-Control"] = "no-store"


@router.get("/v1/users", tags=["users"], summary="List users")
async def list_users(
    caller: UsersReader,
    identity: Identity,
    email: Annotated[Text | None, Query(description="Only the one with this address")] = None,
    role: OfRole = None,
    status: OfStatus = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[UserBody]:
    """In the order in which they were made."""
    wanted = Wanted(email=email and email.strip().lower(), role=role, status=status)
    found = await _listed(identity, USERS, caller, wanted, limit, cursor)
    return page(found, limit, key=lambda user: (user.id,), item=forms.user)


@router.post("/v1/users", tags=["users"], status_code=201, summary="Add a user", responses=problems.responses(409))
async def add_user(form: NewUser, caller: UsersWriter, identity: Identity, response: Response) -> UserMade:
    """403 `grant_refused` for rights the caller has not got himself."""
    user, password = await identity.accounts.add_user(
        actor(caller),
        model.owner_of(caller.tenant),
        email=form.email,
        name=form.name,
        rights=forms.rights(form),
        password=form.password,
    )
    _made(response, "/v1/users", user)
    return forms.user_made(user, password)


@router.get("/v1/users/{user_id}", tags=["users"], summary="Show a user")
async def show_user(user_id: AccountId, caller: UsersReader, identity: Identity, tagged: Tagged) -> UserBody:
    user = await identity.accounts.show(USERS, model.owner_of(caller.tenant), user_id)
    tagged(user.version)
    return forms.user(user)


@router.patch("/v1/users/{user_id}", tags=["users"], summary="Change or disable a user", responses=_CHANGE)
async def change_user(
    user_id: AccountId, form: UserChange, caller: UsersWriter, identity: Identity, expected: Expected, tagged: Tagged
) -> UserBody:
    """Another role, other sites or disabling ends his sessions and live connections. 409 `last_admin`."""
    user = await identity.accounts.change(
        actor(caller), USERS, model.owner_of(caller.tenant), user_id, forms.change(form), version=expected
    )
    tagged(user.version)
    return forms.user(user)


@router.post("/v1/users/{user_id}/password", tags=["users"], summary="Set a user's password")
async def set_password(
    user_id: AccountId, form: PasswordChange, caller: UsersWriter, identity: Identity, response: Response
) -> PasswordMade:
    """Ends his sessions, and his lock. One's own: POST /v1/me/password."""
    owner = model.owner_of(caller.tenant)
    password = await identity.accounts.set_password(actor(caller), owner, user_id, form.password)
    response.headers["Cache-Control"] = "no-store"
    return PasswordMade(password=password)


@router.get("/v1/clients", tags=["clients"], summary="List API clients")
async def list_clients(
    caller: ClientsReader,
    identity: Identity,
    role: OfRole = None,
    status: OfStatus = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[ClientBody]:
    """In the order in which they were made."""
    found = await _listed(identity, CLIENTS, caller, Wanted(role=role, status=status), limit, cursor)
    return page(found, limit, key=lambda client: (client.id,), item=forms.client)


@router.post("/v1/clients", tags=["clients"], status_code=201, summary="Add an API client")
async def add_client(form: NewProgram, caller: ClientsWriter, identity: Identity, response: Response) -> ClientMade:
    """The answer alone holds the secret. 403 `grant_refused` for rights the caller has not got himself."""
    client, secret = await identity.accounts.add_client(
        actor(caller), model.owner_of(caller.tenant), name=form.name, rights=forms.rights(form)
    )
    _made(response, "/v1/clients", client)
    return forms.client_made(client, secret)


@router.get("/v1/clients/{client_id}", tags=["clients"], summary="Show an API client")
async def show_client(client_id: AccountId, caller: ClientsReader, identity: Identity, tagged: Tagged) -> ClientBody:
    client = await identity.accounts.client(model.owner_of(caller.tenant), client_id)
    tagged(client.version)
    return forms.client(client)


@router.patch("/v1/clients/{client_id}", tags=["clients"], summary="Change or disable an API client", responses=_CHANGE)
async def change_client(
    client_id: AccountId,
    form: ProgramChange,
    caller: ClientsWriter,
    identity: Identity,
    expected: Expected,
    tagged: Tagged,
) -> ClientBody:
    """Other rights or disabling voids its tokens."""
    owner = model.owner_of(caller.tenant)
    await identity.accounts.change(actor(caller), CLIENTS, owner, client_id, forms.change(form), version=expected)
    client = await identity.accounts.client(owner, client_id)
    tagged(client.version)
    return forms.client(client)


@router.post(
    "/v1/clients/{client_id}/secrets", tags=["clients"], status_code=201, summary="Give an API client another secret"
)
async def rotate_secret(
    client_id: AccountId, form: Rotation, caller: ClientsWriter, identity: Identity, response: Response
) -> ClientMade:
    """The answer alone holds the secret. The one before works until the overlap is over."""
    seconds = identity.settings.secret_overlap_hours * 3600 if form.overlap_s is None else form.overlap_s
    client, secret = await identity.accounts.rotate_secret(
        actor(caller), model.owner_of(caller.tenant), client_id, overlap=timedelta(seconds=seconds)
    )
    _made(response, "/v1/clients", client)
    return forms.client_made(client, secret)


@router.get("/v1/api-keys", tags=["api-keys"], summary="List API keys")
async def list_keys(
    caller: ClientsReader,
    identity: Identity,
    role: OfRole = None,
    status: OfStatus = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[KeyBody]:
    """In the order in which they were made."""
    found = await _listed(identity, KEYS, caller, Wanted(role=role, status=status), limit, cursor)
    return page(found, limit, key=lambda key: (key.id,), item=forms.key)


@router.post("/v1/api-keys", tags=["api-keys"], status_code=201, summary="Add an API key")
async def add_key(form: NewKey, caller: ClientsWriter, identity: Identity, response: Response) -> KeyMade:
    """The answer alone holds the key. 403 `grant_refused` for rights the caller has not got himself."""
    key, text = await identity.accounts.add_key(
        actor(caller),
        model.owner_of(caller.tenant),
        name=form.name,
        rights=forms.rights(form),
        expires_at=form.expires_at,
    )
    _made(response, "/v1/api-keys", key)
    return forms.key_made(key, text)


@router.get("/v1/api-keys/{key_id}", tags=["api-keys"], summary="Show an API key")
async def show_key(key_id: AccountId, caller: ClientsReader, identity: Identity, tagged: Tagged) -> KeyBody:
    key = await identity.accounts.show(KEYS, model.owner_of(caller.tenant), key_id)
    tagged(key.version)
    return forms.key(key)


@router.patch("/v1/api-keys/{key_id}", tags=["api-keys"], summary="Change or disable an API key", responses=_CHANGE)
async def change_key(
    key_id: AccountId,
    form: ProgramChange,
    caller: ClientsWriter,
    identity: Identity,
    expected: Expected,
    tagged: Tagged,
) -> KeyBody:
    """In force within a second, and at once in the process that was asked."""
    key = await identity.accounts.change(
        actor(caller), KEYS, model.owner_of(caller.tenant), key_id, forms.change(form), version=expected
    )
    tagged(key.version)
    return forms.key(key)
