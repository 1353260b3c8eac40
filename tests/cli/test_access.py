"""`milkrun user`, `milkrun client` and `milkrun keys` as a person and as a script run them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from api.identity.model import OPERATORS, owner_of
from api.identity.service import IdentityService
from api.identity.store import AuditFilter
from core.db import Database
from core.settings import Settings
from core.tenancy import tenant_id
from tests.cli.conftest import Milkrun, milkrun_of_acme
from tests.conftest import DatabaseUrls

pytestmark = pytest.mark.db


PASSWORD = "correct horse battery"


@pytest.fixture
def milkrun(database: DatabaseUrls, tmp_path: Path) -> Milkrun:
    return milkrun_of_acme(database, tmp_path / "data")


@pytest.fixture(scope="module")
def refusing(module_database: DatabaseUrls, tmp_path_factory: pytest.TempPathFactory) -> Milkrun:
    """For commands that change nothing."""
    return milkrun_of_acme(module_database, tmp_path_factory.mktemp("data"))


async def test_a_user_is_added_listed_given_a_password_and_disabled(milkrun: Milkrun, database: DatabaseUrls):
    said = milkrun("user", "add", "acme", "Ann@example.com", "--role", "tenant_admin")
    generated = said.stdout.partition("password: ")[2].strip()
    assert len(generated) >= 16
    assert "ann@example.com" in said.stdout
    added = milkrun(
        "user", "add", "acme", "bob@example.com", "--role", "viewer", "--password-stdin", "--json", typed=PASSWORD
    )
    assert json.loads(added.stdout)["password"] is None, "what was given is not said again"
    listed = json.loads(milkrun("user", "list", "acme", "--json").stdout)
    assert [(user["email"], user["role"], user["tenant"]) for user in listed] == [
        ("ann@example.com", "tenant_admin", "acme"),
        ("bob@example.com", "viewer", "acme"),
    ]
    assert PASSWORD not in str(listed)
    async with _identity(database) as service:
        for email, password in (("ann@example.com", generated), ("bob@example.com", PASSWORD)):
            await service.logins.login(email, password, None, ip="192.0.2.1")
    other = milkrun("user", "set-password", "acme", "bob@example.com").stdout.partition("password: ")[2].strip()
    milkrun("user", "disable", "acme", listed[0]["id"])
    assert "disabled" in milkrun("user", "list", "acme").stdout
    async with _identity(database) as service:
        await service.logins.login("bob@example.com", other, None, ip="192.0.2.1")
        rows = await service.accounts.audit_log(owner_of(tenant_id("acme")), AuditFilter(actor="cli:jo"), limit=9)
    milkrun("user", "enable", "acme", "ann@example.com")
    async with _identity(database) as service:
        await service.logins.login("ann@example.com", generated, None, ip="192.0.2.1")
    assert [(row.actor_kind, row.action) for row in rows] == [
        ("cli", "user.changed"),
        ("cli", "user.password_set"),
        ("cli", "user.created"),
        ("cli", "user.created"),
    ]


async def test_an_operator_belongs_to_no_tenant(milkrun: Milkrun, database: DatabaseUrls):
    milkrun("user", "add", "--operator", "op@example.com", "--password-stdin", typed=PASSWORD)
    made = json.loads(milkrun("client", "add", "--operator", "terraform", "--json").stdout)
    assert (made["role"], made["tenant"]) == ("operator", None)
    async with _identity(database) as service:
        _, session, _ = await service.logins.login("op@example.com", PASSWORD, None, ip="192.0.2.1")
        assert session.principal.tenant is None
        client = await service.by_secret(made["client_id"], made["client_secret"])
        assert client is not None
        assert client.owner == OPERATORS
    assert json.loads(milkrun("user", "list", "--operator", "--json").stdout)[0]["email"] == "op@example.com"


async def test_a_client_is_added_rotated_and_disabled(milkrun: Milkrun, database: DatabaseUrls):
    scopes = ("--scope", "devices:read", "--scope", "live:read")
    made = json.loads(milkrun("client", "add", "acme", "erp", *scopes, "--json").stdout)
    assert made["scopes"] == ["devices:read", "live:read"]
    rotated = json.loads(milkrun("client", "rotate", "acme", made["client_id"], "--json").stdout)
    async with _identity(database) as service:
        for secret in (made["client_secret"], rotated["client_secret"]):
            assert await service.by_secret(made["client_id"], secret), "both, for the overlap"
    now = milkrun("client", "rotate", "acme", made["client_id"], "--overlap-hours", "0")
    last = now.stdout.partition("client secret: ")[2].strip()
    async with _identity(database) as service:
        assert await service.by_secret(made["client_id"], rotated["client_secret"]) is None
        assert await service.by_secret(made["client_id"], last)
    listed = milkrun("client", "list", "acme").stdout
    assert made["client_id"] in listed
    assert last not in listed
    milkrun("client", "disable", "acme", made["client_id"])
    async with _identity(database) as service:
        assert await service.by_secret(made["client_id"], last) is None
    assert "active" in milkrun("client", "enable", "acme", made["client_id"]).stdout
    async with _identity(database) as service:
        assert await service.by_secret(made["client_id"], last)


def test_keys_rotate_and_are_listed(milkrun: Milkrun, tmp_path: Path):
    first = json.loads(milkrun("keys", "rotate", "--json").stdout)
    assert first["phase"] == "signing", "the first one at once"
    second = milkrun("keys", "rotate").stdout
    assert "is published, and signs 20" in second
    listed = json.loads(milkrun("keys", "list", "--json").stdout)
    assert [key["phase"] for key in listed] == ["signing", "waiting"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "data").rglob("*.pem")} == {0o600}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("user", "add", "acme", "x", "--role", "viewer"), "no e-mail address"),
        (("user", "add", "acme", "x@example.com"), "--role is one of"),
        (("user", "add", "x@example.com", "--role", "viewer"), "name the TENANT and the EMAIL"),
        (("user", "add", "acme", "x@example.com", "--role", "operator"), "accounts of no tenant"),
        (("user", "add", "--operator", "x@example.com", "--role", "viewer"), "accounts of no tenant"),
        (("user", "add", "--operator", "acme", "x@example.com"), "--operator and the EMAIL"),
        (("user", "add", "acme", "x@example.com", "--role", "site"), "at least one site"),
        (("client", "add", "acme", "erp", "--scope", "users:write"), "never has users:write"),
    ],
)
def test_what_means_nothing_is_said_in_one_line(refusing: Milkrun, args, said):
    error = refusing(*args, code=2).stderr
    assert said in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("user", "list", "nowhere"), "there is no tenant"),
        (("user", "disable", "acme", "nobody@example.com"), "there is no user"),
        (("client", "rotate", "acme", "cli_0"), "there is no client"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(refusing: Milkrun, args, said):
    assert said in refusing(*args, code=1).stderr


@asynccontextmanager
async def _identity(database: DatabaseUrls) -> AsyncIterator[IdentityService]:
    async with Database(database.app) as app, Database(database.operator) as operator:
        service = IdentityService(app=app, operator=operator, settings=Settings())
        yield service
        service.passwords.close()
