"""No secret is anywhere but with whom it was made for: not in logs, lists, the audit log or the database."""

import io
import sys

import psycopg
import pytest
from psycopg import sql

from api.access import Role
from api.identity.bootstrap import ensure_operator_client
from api.identity.errors import InvalidAccount
from api.identity.model import OPERATORS, Change, Status
from api.identity.store import CLIENTS, AuditFilter
from core import logs
from tests.api.identity.conftest import ACME, OPERATOR_ID, OPERATOR_SECRET, PASSWORD, SOMEBODY, Platform
from tests.conftest import DatabaseUrls

pytestmark = [pytest.mark.db, pytest.mark.redis]


async def test_no_secret_is_in_logs_lists_or_the_database(platform: Platform, database: DatabaseUrls, monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    logs.configure(level="debug", json=True, process="test")
    secrets = {"operator": OPERATOR_SECRET, "password": PASSWORD}
    await platform.user(ACME, "ann@example.com", Role.TENANT_ADMIN)
    async with platform.signed_in("ann@example.com") as admin:
        secrets["cookie"] = admin.cookies["milkrun_session"]
        secrets["csrf"] = admin.headers["X-CSRF-Token"]
        user = (await admin.post("/v1/users", json={"email": "new@example.com", "role": "viewer"})).json()
        secrets["generated"] = user["password"]
        again = (await admin.post(f"/v1/users/{user['id']}/password", json={})).json()
        secrets["generated again"] = again["password"]
        client = (await admin.post("/v1/clients", json={"name": "erp"}, headers={"Idempotency-Key": "k1"})).json()
        secrets["client"] = client["client_secret"]
        rotated = (await admin.post(f"/v1/clients/{client['id']}/secrets", json={})).json()
        secrets["rotated"] = rotated["client_secret"]
        key = (await admin.post("/v1/api-keys", json={"name": "gate"}, headers={"Idempotency-Key": "k2"})).json()
        secrets["key"] = key["key"].rpartition("_")[2] if key["key"].count("_") == 2 else key["key"][-43:]
        form = {"grant_type": "client_credentials", "client_id": client["id"]}
        token = await admin.post("/oauth/token", data={**form, "client_secret": rotated["client_secret"]})
        secrets["token"] = token.json()["access_token"]
        # What fails is logged with most zeal.
        await admin.post("/oauth/token", data={**form, "client_secret": client["client_secret"] + "x"})
        for broken in (token.json()["access_token"] + "x", key["key"] + "x"):
            await admin.get("/v1/me", headers={"Authorization": f"Bearer {broken}"})
        await admin.post("/v1/session", json={"email": "ann@example.com", "password": f"{PASSWORD} not"})
        await admin.post("/v1/users", json={"email": "x", "role": "viewer", "password": f"{PASSWORD} refused"})
        lists = [
            (await admin.get(path)).text
            for path in (
                *("/v1/users", "/v1/clients", "/v1/api-keys", "/v1/audit", "/v1/me", "/metrics"),
                *(f"/v1/users/{user['id']}", f"/v1/clients/{client['id']}", f"/v1/api-keys/{key['id']}"),
            )
        ]
    assert all(len(secret) >= 20 for secret in secrets.values())
    places = {"logs": written.getvalue(), "lists": "\n".join(lists), "database": _everything(database.owner)}
    assert "api.request" in places["logs"]
    assert "new@example.com" in places["lists"]
    assert "argon2id" in places["database"]
    assert "argon2id" not in places["lists"]
    found = [(name, place) for name, secret in secrets.items() for place, text in places.items() if secret in text]
    assert found == []


def _everything(owner_url: str) -> str:
    """All rows of all tables as text, bytes as the text they may be."""
    with psycopg.connect(owner_url) as conn:
        tables = conn.execute(
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_schema IN ('public', 'telemetry')"
        ).fetchall()
        rows = [row for name in tables for row in conn.execute(sql.SQL("TABLE {}").format(sql.Identifier(*name)))]
    return "\n".join(
        part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part) for row in rows for part in row
    )


async def test_the_first_operator_client_is_made_once_and_follows_its_secret(platform: Platform):
    operator, identity = platform.services.operator, platform.identity
    assert await ensure_operator_client(operator, OPERATOR_ID, OPERATOR_SECRET) is False
    client = await identity.by_secret(OPERATOR_ID, OPERATOR_SECRET)
    assert client is not None
    assert (client.owner, client.rights.role) == (OPERATORS, Role.OPERATOR)
    token = (await identity.issue(client)).token
    another = OPERATOR_SECRET[::-1]
    assert await ensure_operator_client(operator, OPERATOR_ID, another) is True
    assert await identity.by_secret(OPERATOR_ID, OPERATOR_SECRET) is None
    assert await identity.by_secret(OPERATOR_ID, another)
    async with platform.http(token) as http:
        assert (await http.get("/v1/me")).status_code == 401, "what the old secret got is void"
    rows = await identity.accounts.audit_log(OPERATORS, AuditFilter(target=OPERATOR_ID), limit=9)
    assert [row.action for row in rows] == ["client.secret_rotated", "client.created"]


async def test_an_operator_client_that_somebody_disabled_stays_so(platform: Platform):
    change = Change(status=Status.DISABLED)
    await platform.identity.accounts.change(SOMEBODY, CLIENTS, OPERATORS, OPERATOR_ID, change)
    assert await ensure_operator_client(platform.services.operator, OPERATOR_ID, OPERATOR_SECRET) is False
    assert await platform.identity.by_secret(OPERATOR_ID, OPERATOR_SECRET) is None


async def test_an_operators_secret_cannot_be_a_word(database: DatabaseUrls):
    with pytest.raises(InvalidAccount, match="32"):
        await ensure_operator_client(database.operator, OPERATOR_ID, "secret")
    assert await ensure_operator_client(database.operator, OPERATOR_ID, OPERATOR_SECRET) is True
