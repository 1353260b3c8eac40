"""`milkrun user`, `milkrun client` and `milkrun keys`: who may use the API, from the command line.

Whoever runs these is at the machine and acts as an operator; the audit log names his login there.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from api.access import Role, Scope
from api.identity import keys, model
from api.identity.errors import InvalidAccount, UserNotFound
from api.identity.model import Account, Actor, Change, Client, Owner, Rights, Status, User
from api.identity.service import IdentityService
from api.identity.store import CLIENTS, USERS, Wanted
from cli import context
from cli.output import fields, print_json, print_table, when
from cli.registry import DataOption, JsonOption
from cli.stack.state import DataFolder
from core import logs
from core.clock import utc_now
from core.db import Database
from core.tenancy import tenant_id

user_app = typer.Typer(
    help="People who sign in: add, list, disable, enable, set-password.", no_args_is_help=True, add_completion=False
)
client_app = typer.Typer(
    help="Programs that use the API: add, list, disable, enable, rotate.", no_args_is_help=True, add_completion=False
)
keys_app = typer.Typer(help="Keys that sign access tokens: list, rotate.", no_args_is_help=True, add_completion=False)

OperatorOption = Annotated[
    bool, typer.Option("--operator", help="An operator's, who belongs to no tenant; leave TENANT out.")
]
SiteOption = Annotated[list[str] | None, typer.Option("--site", help="For role site; may be repeated.")]
StdinOption = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
OwnedArgument = Annotated[list[str], typer.Argument(metavar="[TENANT] WHICH", show_default=False)]
OwnerArgument = Annotated[list[str] | None, typer.Argument(metavar="[TENANT]", show_default=False)]

_PAGE = 1000


@user_app.command("add")
def add_user(
    who: Annotated[list[str], typer.Argument(metavar="[TENANT] EMAIL", show_default=False)],
    role: Annotated[Role | None, typer.Option(help="What the user may do.", show_default=False)] = None,
    name: Annotated[str, typer.Option(help="Name to show.")] = "",
    site: SiteOption = None,
    operator: OperatorOption = False,
    password_stdin: StdinOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a user. The password is read, asked for at a terminal, or generated and shown this once."""
    owner, email = _owned(who, "EMAIL", is_operator=operator)
    rights = _rights(role, None, site, is_operator=operator)
    password = _password(from_stdin=password_stdin)
    user, generated = _run(
        data,
        lambda service: service.accounts.add_user(
            _me(), owner, email=email, name=name, rights=rights, password=password
        ),
    )
    if as_json:
        print_json({**_user_facts(user), "password": generated})
        return
    print(f"user {user.email} added with role {user.rights.role} ({user.id})")
    _show_once("password", generated)


@user_app.command("list")
def list_users(
    tenant: OwnerArgument = None, operator: OperatorOption = False, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """List a tenant's users."""
    owner = _owner(tenant or [], is_operator=operator)
    users = _run(data, lambda service: service.accounts.page(USERS, owner, Wanted(), limit=_PAGE))
    if as_json:
        print_json([_user_facts(user) for user in users])
        return
    print_table(
        ("email", "role", "status", "last sign-in", "sites", "id"),
        [
            (u.email, u.rights.role, u.status, when(u.last_login_at), " ".join(sorted(u.rights.sites)), u.id)
            for u in users
        ],
    )


@user_app.command("disable")
def disable_user(
    who: OwnedArgument, operator: OperatorOption = False, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Let a user sign in no more; ends his sessions. WHICH is his address or id."""
    _turn_user(who, Status.DISABLED, operator, data, as_json)


@user_app.command("enable")
def enable_user(
    who: OwnedArgument, operator: OperatorOption = False, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Let a disabled user sign in again, with the password he had. WHICH is his address or id."""
    _turn_user(who, Status.ACTIVE, operator, data, as_json)


@user_app.command("set-password")
def set_password(
    who: OwnedArgument,
    operator: OperatorOption = False,
    password_stdin: StdinOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a user another password; ends his sessions, and his lock. WHICH is his address or id."""
    owner, which = _owned(who, "EMAIL", is_operator=operator)
    password = _password(from_stdin=password_stdin)

    async def change(service: IdentityService) -> tuple[User, str | None]:
        user = await _user(service, owner, which)
        return user, await service.accounts.set_password(_me(), owner, user.id, password)

    user, generated = _run(data, change)
    if as_json:
        print_json({"id": user.id, "email": user.email, "password": generated})
        return
    print(f"user {user.email} has another password")
    _show_once("password", generated)


@client_app.command("add")
def add_client(
    what: Annotated[list[str], typer.Argument(metavar="[TENANT] NAME", show_default=False)],
    role: Annotated[Role | None, typer.Option(help="The most it may do (default: integration).")] = None,
    scope: Annotated[
        list[Scope] | None, typer.Option("--scope", help="Only these of its role's; may be repeated.")
    ] = None,
    site: SiteOption = None,
    operator: OperatorOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add an API client; its secret is shown this once."""
    owner, name = _owned(what, "NAME", is_operator=operator)
    rights = _rights(role or (None if operator else Role.INTEGRATION), scope, site, is_operator=operator)
    client, secret = _run(data, lambda service: service.accounts.add_client(_me(), owner, name=name, rights=rights))
    _tell_secret(client, secret, "added", as_json)


@client_app.command("list")
def list_clients(
    tenant: OwnerArgument = None, operator: OperatorOption = False, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """List a tenant's API clients."""
    owner = _owner(tenant or [], is_operator=operator)
    clients = _run(data, lambda service: service.accounts.page(CLIENTS, owner, Wanted(), limit=_PAGE))
    if as_json:
        print_json([_client_facts(client) for client in clients])
        return
    print_table(
        ("client", "name", "role", "status", "last token", "made by"),
        [(c.id, c.name, c.rights.role, c.status, when(c.last_used_at), c.created_by) for c in clients],
    )


@client_app.command("disable")
def disable_client(
    what: OwnedArgument, operator: OperatorOption = False, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Give a client no more tokens; those it has are void. WHICH is its id."""
    _turn_client(what, Status.DISABLED, operator, data, as_json)


@client_app.command("enable")
def enable_client(
    what: OwnedArgument, operator: OperatorOption = False, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Give a disabled client tokens again, for the secret it had. WHICH is its id."""
    _turn_client(what, Status.ACTIVE, operator, data, as_json)


@client_app.command("rotate")
def rotate_secret(
    what: OwnedArgument,
    overlap_hours: Annotated[
        float | None,
        typer.Option(min=0, help="The old secret still works this long; 0 also voids its tokens.", show_default=False),
    ] = None,
    operator: OperatorOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a client another secret, shown this once. WHICH is its id."""
    owner, which = _owned(what, "CLIENT", is_operator=operator)

    async def rotate(service: IdentityService) -> tuple[Client, str]:
        hours = service.settings.secret_overlap_hours if overlap_hours is None else overlap_hours
        return await service.accounts.rotate_secret(_me(), owner, which, overlap=timedelta(hours=hours))

    client, secret = _run(data, rotate)
    _tell_secret(client, secret, "has another secret", as_json)


@keys_app.command("list")
def list_keys(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the keys that sign access tokens, and what each does now."""
    folder, lead, life = _key_rule(data)
    found = sorted(keys.load(folder).values(), key=lambda key: key.kid)
    phases = keys.phases(found, utc_now(), lead=lead, life=life)
    if as_json:
        print_json([{**fields(key, "kid", "created_at"), "phase": phases[key.kid]} for key in found])
        return
    print_table(("key", "made", "phase"), [(key.kid, when(key.created_at), phases[key.kid]) for key in found])


@keys_app.command("rotate")
def rotate_keys(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Add a signing key and remove those that are retired. Every API process notices by itself."""
    folder, lead, life = _key_rule(data)
    now = utc_now()
    new, gone = keys.rotate(folder, now, lead=lead, life=life)
    phase = keys.phases([*keys.load(folder).values()], now, lead=lead, life=life)[new.kid]
    if as_json:
        print_json({**fields(new, "kid", "created_at"), "phase": phase, "removed": gone})
        return
    waits = f", and signs {when(new.created_at + lead)}" if phase is keys.Phase.WAITING else ", and signs"
    print(f"key {new.kid} is published{waits}")
    for kid in gone:
        print(f"key {kid} was retired and is removed")


def _run[T](data: Path | None, work: Callable[[IdentityService], Awaitable[T]]) -> T:
    """Do `work` with the accounts of the stack in `data`."""
    found = context.load(data)
    logs.configure(level="warning", json=found.settings.log.json_lines, process="cli")
    database = found.settings.database

    async def main() -> T:
        app = Database(database.app_url, pool_size=1, statement_timeout_s=database.statement_timeout_s)
        operator = Database(database.operator_url, pool_size=1, statement_timeout_s=database.statement_timeout_s)
        async with app, operator:
            service = IdentityService(app=app, operator=operator, settings=found.settings)
            try:
                return await work(service)
            finally:
                service.passwords.close()

    return asyncio.run(main())


def _key_rule(data: Path | None) -> tuple[Path, timedelta, timedelta]:
    """Folder of the keys, how long one is published before it signs, and how long a token of it may be good."""
    found = context.load(data)
    identity = found.settings.identity
    is_named = "keys_dir" in identity.model_fields_set
    return identity.keys_dir if is_named else DataFolder(found.data).keys, *keys.times(identity)


def _owner(given: list[str], *, is_operator: bool) -> Owner:
    if len(given) != (0 if is_operator else 1):
        raise InvalidAccount("name the TENANT, or --operator and no tenant")
    return model.OPERATORS if is_operator else model.owner_of(tenant_id(given[0]))


def _owned(given: list[str], what: str, *, is_operator: bool) -> tuple[Owner, str]:
    if len(given) != (1 if is_operator else 2):
        raise InvalidAccount(f"name the TENANT and the {what}, or --operator and the {what}")
    return _owner(given[:-1], is_operator=is_operator), given[-1]


def _rights(role: Role | None, scopes: list[Scope] | None, sites: list[str] | None, *, is_operator: bool) -> Rights:
    role = role or (Role.OPERATOR if is_operator else None)
    if role is None:
        raise InvalidAccount(f"--role is one of {', '.join(role for role in Role if role is not Role.OPERATOR)}")
    return Rights(role, frozenset(scopes) if scopes else None, frozenset(sites or ()))


def _password(*, from_stdin: bool) -> str | None:
    """None: to be generated."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        return None
    typed: str = typer.prompt("Password (empty: generate one)", hide_input=True, default="", show_default=False)
    if typed and typer.prompt("Again", hide_input=True) != typed:
        raise InvalidAccount("the two passwords are not the same")
    return typed or None


def _me() -> Actor:
    return Actor.command_line(os.environ.get("USER") or f"uid {os.getuid()}")


async def _user(service: IdentityService, owner: Owner, which: str) -> User:
    if "@" not in which:
        return await service.accounts.show(USERS, owner, which)
    found = await service.accounts.page(USERS, owner, Wanted(email=model.email_of(which)), limit=1)
    if not found:
        raise UserNotFound(f"there is no user {which[:80]!r}")
    return found[0]


def _turn_user(who: list[str], status: Status, is_operator: bool, data: Path | None, as_json: bool) -> None:
    owner, which = _owned(who, "EMAIL", is_operator=is_operator)

    async def turn(service: IdentityService) -> User:
        user = await _user(service, owner, which)
        return await service.accounts.change(_me(), USERS, owner, user.id, Change(status=status))

    _tell(_run(data, turn), as_json)


def _turn_client(what: list[str], status: Status, is_operator: bool, data: Path | None, as_json: bool) -> None:
    owner, which = _owned(what, "CLIENT", is_operator=is_operator)
    change = Change(status=status)
    _tell(_run(data, lambda service: service.accounts.change(_me(), CLIENTS, owner, which, change)), as_json)


def _tell(account: Account, as_json: bool) -> None:
    if as_json:
        print_json(_user_facts(account) if isinstance(account, User) else _common(account))
    else:
        print(f"{account.email if isinstance(account, User) else account.id} is {account.status}")


def _tell_secret(client: Client, secret: str, what: str, as_json: bool) -> None:
    if as_json:
        print_json({**_client_facts(client), "client_id": client.id, "client_secret": secret})
        return
    print(f"client {client.name} {what}")
    print(f"client id: {client.id}")
    _show_once("client secret", secret)


def _show_once(what: str, secret: str | None) -> None:
    if secret is not None:
        print(f"{what}: {secret}")
        print("It is shown this once and kept nowhere.", file=sys.stderr)


def _common(account: Account) -> dict[str, object]:
    return {
        **fields(account, "id", "name", "status", "created_at"),
        "tenant": model.tenant_of(account.owner),
        "role": account.rights.role,
        "sites": sorted(account.rights.sites),
    }


def _user_facts(user: User) -> dict[str, object]:
    return {**_common(user), **fields(user, "email", "last_login_at", "locked_until")}


def _client_facts(client: Client) -> dict[str, object]:
    scopes = sorted(client.rights.effective)
    return {**_common(client), "scopes": scopes, **fields(client, "last_used_at", "created_by")}
