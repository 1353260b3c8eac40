"""Managing accounts over HTTP: what each may, and that nobody comes by more than he was given."""

import asyncio

import pytest

from api.access import ROLE_SCOPES, Role, Scope
from api.identity import model
from api.identity.errors import LastAdmin
from api.identity.model import Actor, Change, Status
from api.identity.service import IdentityService
from api.identity.store import USERS, AuditFilter
from tests.api.identity.conftest import (
    ACME,
    OPERATOR_ID,
    OPERATOR_SECRET,
    PASSWORD,
    ZETA,
    Platform,
    add_user,
)

pytestmark = [pytest.mark.db, pytest.mark.redis]

NEW_USER = {"email": "new@example.com", "role": "viewer"}
NEW_CLIENT = {"name": "erp", "role": "integration"}


async def test_an_admin_adds_changes_and_disables_a_user(platform: Platform):
    async with platform.http(await platform.token(ACME, Role.TENANT_ADMIN)) as admin:
        made = await admin.post("/v1/users", json={**NEW_USER, "name": "New"})
        assert made.status_code == 201, made.text
        user = made.json()
        assert made.headers["location"] == f"/v1/users/{user['id']}"
        assert made.headers["cache-control"] == "no-store"
        async with platform.signed_in("new@example.com", user["password"]) as browser:
            assert (await browser.get("/v1/me")).json()["scopes"] == sorted(ROLE_SCOPES[Role.VIEWER])
            path = f"/v1/users/{user['id']}"
            shown = await admin.get(path)
            assert "password" not in shown.json()
            assert shown.json() | {"password": user["password"]} == user | {
                "last_login_at": shown.json()["last_login_at"]
            }
            changed = await admin.patch(path, json={"role": "dispatcher"}, headers={"If-Match": shown.headers["etag"]})
            assert (changed.status_code, changed.json()["role"], changed.json()["version"]) == (200, "dispatcher", 2)
            assert (await browser.get("/v1/me")).status_code == 401, "other rights, another session"
        stale = await admin.patch(path, json={"name": "x"}, headers={"If-Match": shown.headers["etag"]})
        assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
        off = await admin.patch(path, json={"status": "disabled"})
        assert off.json()["status"] == "disabled"
        same = await admin.patch(path, json={"status": "disabled"})
        assert same.json()["version"] == off.json()["version"], "what changes nothing is no change"
        refused = await admin.post("/v1/session", json={"email": "new@example.com", "password": user["password"]})
        assert refused.status_code == 401


async def test_a_list_has_pages_and_filters(platform: Platform):
    for n in range(5):
        await platform.user(ACME, f"user{n}@example.com", Role.VIEWER if n else Role.DISPATCHER)
    await platform.user(ZETA, "other@example.com", Role.VIEWER)
    async with platform.http(await platform.token(ACME, Role.TENANT_ADMIN)) as admin:
        seen, cursor = [], None
        while True:
            params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            page = (await admin.get("/v1/users", params=params)).json()
            seen += [user["email"] for user in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert seen == [f"user{n}@example.com" for n in range(5)]
        found = (await admin.get("/v1/users", params={"role": "dispatcher"})).json()["items"]
        assert [user["email"] for user in found] == ["user0@example.com"]
        found = (await admin.get("/v1/users", params={"email": "User3@example.com"})).json()["items"]
        assert [user["email"] for user in found] == ["user3@example.com"]
        assert (await admin.get("/v1/users", params={"cursor": "xx"})).status_code == 422


async def test_the_same_address_may_be_in_two_tenants_and_tells_neither_of_the_other(platform: Platform):
    await platform.user(ZETA, "new@example.com", Role.VIEWER)
    async with platform.http(await platform.token(ACME, Role.TENANT_ADMIN)) as admin:
        assert (await admin.post("/v1/users", json=NEW_USER)).status_code == 201
        again = await admin.post("/v1/users", json={**NEW_USER, "email": "NEW@example.com"})
    assert (again.status_code, again.json()["code"]) == (409, "user_exists")


async def test_a_foreign_account_is_as_unknown_as_one_that_never_was(platform: Platform):
    user = await platform.user(ZETA, "ann@example.com", Role.VIEWER)
    client, _ = await platform.client(ZETA)
    async with platform.http(await platform.token(ZETA, Role.TENANT_ADMIN)) as theirs:
        key = (await theirs.post("/v1/api-keys", json=NEW_CLIENT)).json()
    async with platform.http(await platform.token(ACME, Role.TENANT_ADMIN)) as admin:
        for place, id_ in (("users", user.id), ("clients", client.id), ("api-keys", key["id"])):
            answers = []
            for tried in (id_, id_[:-1] + ("0" if id_[-1] != "0" else "1"), "x", "é"):
                path = f"/v1/{place}/{tried}"
                both = await admin.get(path), await admin.patch(path, json={"status": "disabled"})
                answers += [(answer.status_code, answer.json()["code"]) for answer in both]
                if place != "api-keys":
                    more = f"{path}/{'password' if place == 'users' else 'secrets'}"
                    answer = await admin.post(more, json={})
                    answers.append((answer.status_code, answer.json()["code"]))
            assert set(answers) == {(404, f"{place[:-1].replace('-', '_')}_not_found")}, place
    shown = await platform.identity.accounts.show(USERS, model.owner_of(ZETA), user.id)
    assert (shown.status, shown.version) == (Status.ACTIVE, 1)


async def test_nobody_grants_more_than_he_has(platform: Platform):
    """A client that may manage accounts, and little else, cannot make itself an heir with more."""
    few = frozenset({Scope.USERS_WRITE, Scope.CLIENTS_WRITE, Scope.DEVICES_READ})
    async with platform.http(await platform.token(ACME, Role.TENANT_ADMIN, scopes=few)) as http:
        answers = {
            "an admin": await http.post("/v1/users", json={**NEW_USER, "role": "tenant_admin"}),
            "a viewer": await http.post("/v1/users", json=NEW_USER),
            "a client with all": await http.post("/v1/clients", json={"name": "x", "role": "tenant_admin"}),
            "an integration": await http.post("/v1/clients", json=NEW_CLIENT),
            "a key with all": await http.post("/v1/api-keys", json={"name": "x", "role": "tenant_admin"}),
            "a key with another scope": await http.post(
                "/v1/api-keys", json={"name": "x", "role": "tenant_admin", "scopes": ["devices:write"]}
            ),
        }
        got = {name: (answer.status_code, answer.json()["code"]) for name, answer in answers.items()}
        assert set(got.values()) == {(403, "grant_refused")}, got
        fitting = {"name": "x", "role": "integration", "scopes": ["devices:read"]}
        made = await http.post("/v1/clients", json=fitting)
        assert made.status_code == 201
        widened = await http.patch(f"/v1/clients/{made.json()['id']}", json={"scopes": ["devices:write"]})
        assert widened.status_code == 403
        by_role = await http.patch(f"/v1/clients/{made.json()['id']}", json={"role": "tenant_admin"})
        assert by_role.status_code == 403


async def test_a_token_narrowed_by_scope_grants_no_more_than_it_has(platform: Platform):
    client, secret = await platform.client(ACME, Role.TENANT_ADMIN)
    async with platform.http() as http:
        form = {"grant_type": "client_credentials", "scope": "users:write"}
        token = (await http.post("/oauth/token", data=form, auth=(client.id, secret))).json()["access_token"]
        answer = await http.post("/v1/users", json=NEW_USER, headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (403, "grant_refused")


async def test_nobody_takes_over_an_account_that_has_more_than_he(platform: Platform):
    admin = await platform.user(ACME, "admin@example.com", Role.TENANT_ADMIN)
    strong, _ = await platform.client(ACME, Role.TENANT_ADMIN)
    few = frozenset({Scope.USERS_WRITE, Scope.CLIENTS_WRITE})
    async with platform.http(await platform.token(ACME, Role.TENANT_ADMIN, scopes=few)) as http:
        for answer in (
            await http.post(f"/v1/users/{admin.id}/password", json={}),
            await http.post(f"/v1/users/{admin.id}/password", json={"password": "a chosen pass phrase"}),
            await http.patch(f"/v1/users/{admin.id}", json={"status": "disabled"}),
            await http.patch(f"/v1/users/{admin.id}", json={"name": "x"}),
            await http.post(f"/v1/clients/{strong.id}/secrets", json={}),
            await http.patch(f"/v1/clients/{strong.id}", json={"status": "disabled"}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "grant_refused")


async def test_a_tenant_makes_no_operators(platform: Platform):
    async with platform.http(await platform.token(ACME, Role.TENANT_ADMIN)) as admin:
        user = (await admin.post("/v1/users", json=NEW_USER)).json()
        answers = [
            await admin.post("/v1/users", json={**NEW_USER, "email": "x@example.com", "role": "operator"}),
            await admin.post("/v1/clients", json={"name": "x", "role": "operator"}),
            await admin.post("/v1/api-keys", json={"name": "x", "role": "operator"}),
            await admin.patch(f"/v1/users/{user['id']}", json={"role": "operator"}),
            await admin.post("/v1/clients", json={"name": "x", "role": "integration", "scopes": ["tenants:read"]}),
            await admin.post("/v1/clients", json={"name": "x", "role": "viewer", "scopes": ["users:write"]}),
        ]
        assert {answer.status_code for answer in answers} <= {403, 422}
        elsewhere = await admin.get("/v1/users", headers={"Milkrun-Tenant": "zeta"})
        assert (elsewhere.status_code, elsewhere.json()["code"]) == (404, "tenant_not_found")
    # Nor does an operator through the API: an operator belongs to no tenant, and every path here is a tenant's.
    async with platform.http() as http:
        form = {"grant_type": "client_credentials"}
        answer = await http.post("/oauth/token", data=form, auth=(OPERATOR_ID, OPERATOR_SECRET))
        http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        nowhere = await http.get("/v1/users")
        assert (nowhere.status_code, nowhere.json()["code"]) == (400, "tenant_required")
        http.headers["Milkrun-Tenant"] = "acme"
        assert (await http.get("/v1/users")).status_code == 200
        refused = await http.post("/v1/users", json={"email": "x@example.com", "role": "operator"})
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_account")
        made = await http.post("/v1/users", json={"email": "x@example.com", "role": "tenant_admin"})
        assert made.status_code == 201
        http.headers["Milkrun-Tenant"] = "nowhere"
        assert (await http.post("/v1/users", json=NEW_USER)).json()["code"] == "tenant_not_found"


async def test_every_role_reaches_exactly_the_account_routes_its_scopes_say(platform: Platform):
    routes = {
        "/v1/users": Scope.USERS_READ,
        "/v1/clients": Scope.CLIENTS_READ,
        "/v1/api-keys": Scope.CLIENTS_READ,
        "/v1/audit": Scope.AUDIT_READ,
    }
    for role in (Role.TENANT_ADMIN, Role.DISPATCHER, Role.VIEWER, Role.INTEGRATION):
        async with platform.http(await platform.token(ACME, role)) as http:
            for path, scope in routes.items():
                answer = await http.get(path)
                assert answer.status_code == (200 if scope in ROLE_SCOPES[role] else 403), (role, path)
                if answer.status_code == 403:
                    assert answer.json()["code"] == "insufficient_scope"


async def test_a_tenants_last_admin_stays(platform: Platform):
    ann = await platform.user(ACME, "ann@example.com", Role.TENANT_ADMIN)
    bob = await platform.user(ACME, "bob@example.com", Role.TENANT_ADMIN)
    async with platform.signed_in("ann@example.com") as http:
        assert (await http.patch(f"/v1/users/{bob.id}", json={"role": "viewer"})).status_code == 200
        for change in ({"status": "disabled"}, {"role": "viewer"}):
            answer = await http.patch(f"/v1/users/{ann.id}", json=change)
            assert (answer.status_code, answer.json()["code"]) == (409, "last_admin")
        assert (await http.patch(f"/v1/users/{ann.id}", json={"name": "Ann"})).status_code == 200


async def test_two_admins_cannot_put_each_other_out_of_office_at_once(service: IdentityService):
    for attempt in range(5):
        pair = [await add_user(service, ACME, f"{name}{attempt}@example.com", Role.TENANT_ADMIN) for name in "ab"]
        changes = [
            service.accounts.change(
                Actor(principal=model.principal("user", by), kind="user"),
                USERS,
                whom.owner,
                whom.id,
                Change(status=Status.DISABLED),
            )
            for by, whom in (pair, pair[::-1])
        ]
        results = await asyncio.gather(*changes, return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["LastAdmin", "User"]
        left = next(user for user, result in zip(pair[::-1], results, strict=True) if isinstance(result, LastAdmin))
        await service.accounts.change(Actor.command_line("tests"), USERS, left.owner, left.id, Change(role=Role.VIEWER))


async def test_a_user_that_means_nothing_is_refused(platform: Platform):
    forms = [
        {"email": "no address"},
        {"email": "a@" + "b" * 300},
        {"role": "integration"},
        {"role": "emperor"},
        {"role": "site"},
        {"role": "viewer", "sites": ["farm-1"]},
        {"role": "site", "sites": ["a b"]},
        {"role": "site", "sites": [f"s{n}" for n in range(65)]},
        {"password": "short"},
        {"password": "x" * 257},
        {"password": "new@example.com"},
        {"password": "ababababababab"},
        {"name": "a\nb"},
        {"name": "x" * 201},
        {"admin": True},
        {"email": "a\u0000b@example.com"},
    ]
    async with platform.http(await platform.token(ACME, Role.TENANT_ADMIN)) as admin:
        answers = [(form, await admin.post("/v1/users", json={**NEW_USER, **form})) for form in forms]
        users = (await admin.get("/v1/users")).json()["items"]
    passed = [form for form, answer in answers if answer.status_code != 422]
    assert (passed, users) == ([], [])
    assert {answer.json()["code"] for _, answer in answers} == {"invalid_request", "invalid_account"}


async def test_a_supplier_has_his_sites_in_his_session_and_in_his_tokens(platform: Platform):
    async with platform.http(await platform.token(ACME, Role.TENANT_ADMIN)) as admin:
        form = {"email": "farm@example.com", "role": "site", "sites": ["farm-2", "farm-1"], "password": PASSWORD}
        assert (await admin.post("/v1/users", json=form)).status_code == 201
        made = await admin.post("/v1/clients", json={"name": "farm", "role": "site", "sites": ["farm-3"]})
        client = made.json()
        form = {"grant_type": "client_credentials", "client_id": client["id"]}
        form |= {"client_secret": client["client_secret"]}
        token = (await admin.post("/oauth/token", data=form, headers={"Authorization": ""})).json()
        assert token.get("error") == "invalid_client", "an Authorization header is an attempt to authenticate"
        del admin.headers["Authorization"]
        token = (await admin.post("/oauth/token", data=form)).json()["access_token"]
        me = (await admin.get("/v1/me", headers={"Authorization": f"Bearer {token}"})).json()
        assert (me["role"], me["sites"]) == ("site", ["farm-3"])
        assert me["scopes"] == ["alerts:read", "live:read", "trips:read"]
    async with platform.signed_in("farm@example.com") as farmer:
        assert (await farmer.get("/v1/me")).json()["sites"] == ["farm-1", "farm-2"]
        assert (await farmer.get("/v1/users")).status_code == 403


async def test_clients_and_keys_are_made_shown_and_rotated(platform: Platform):
    async with platform.http(await platform.token(ACME, Role.TENANT_ADMIN)) as admin:
        client = (await admin.post("/v1/clients", json=NEW_CLIENT)).json()
        rotated = await admin.post(f"/v1/clients/{client['id']}/secrets", json={"overlap_s": 60})
        assert rotated.status_code == 201
        assert rotated.json()["client_secret"] != client["client_secret"]
        assert [bool(secret["expires_at"]) for secret in rotated.json()["secrets"]] == [True, False]
        shown = (await admin.get(f"/v1/clients/{client['id']}")).json()
        assert "client_secret" not in shown
        key = (await admin.post("/v1/api-keys", json={**NEW_CLIENT, "scopes": ["devices:read"]})).json()
        assert key["key"].startswith(f"mk_{key['id']}_")
        me = await admin.get("/v1/me", headers={"Authorization": f"Bearer {key['key']}"})
        assert (me.json()["kind"], me.json()["scopes"]) == ("key", ["devices:read"])
        shown = (await admin.get(f"/v1/api-keys/{key['id']}")).json()
        assert shown["last_used_at"] is not None
        off = await admin.patch(f"/v1/api-keys/{key['id']}", json={"status": "disabled"})
        assert off.status_code == 200
        me = await admin.get("/v1/me", headers={"Authorization": f"Bearer {key['key']}"})
        assert me.status_code == 401, "at once in the process that was asked"
        past = await admin.post("/v1/api-keys", json={**NEW_CLIENT, "expires_at": "2020-01-01T00:00:00Z"})
        assert (past.status_code, past.json()["code"]) == (422, "invalid_account")


async def test_the_audit_log_says_who_changed_what(platform: Platform):
    ann = await platform.user(ACME, "ann@example.com", Role.TENANT_ADMIN)
    async with platform.signed_in("ann@example.com") as http:
        user = (await http.post("/v1/users", json=NEW_USER)).json()
        changed = await http.patch(f"/v1/users/{user['id']}", json={"role": "dispatcher"})
        await http.post(f"/v1/users/{user['id']}/password", json={})
        rows = (await http.get("/v1/audit", params={"actor": ann.id})).json()["items"]
        assert [row["action"] for row in rows] == [
            "user.password_set",
            "user.changed",
            "user.created",
            "session.opened",
        ]
        one = rows[1]
        assert (one["actor_kind"], one["target"], one["ip"]) == ("user", user["id"], "127.0.0.1")
        assert (one["before"]["role"], one["after"]["role"]) == ("viewer", "dispatcher")
        assert one["request_id"] == changed.headers["x-request-id"]
        assert one["at"].endswith("Z")
        only = (await http.get("/v1/audit", params={"action": "user.changed", "target": user["id"]})).json()["items"]
        assert only == [one]
        late = (await http.get("/v1/audit", params={"actor": ann.id, "from": one["at"]})).json()["items"]
        early = (await http.get("/v1/audit", params={"actor": ann.id, "to": one["at"]})).json()["items"]
        assert [row["id"] for row in (*late, *early)] == [row["id"] for row in rows]
        first = (await http.get("/v1/audit", params={"limit": 2})).json()
        rest = (await http.get("/v1/audit", params={"limit": 1000, "cursor": first["next"]})).json()
        ids = [row["id"] for row in (*first["items"], *rest["items"])]
        assert ids == sorted(ids, reverse=True)
        assert len(ids) == len(set(ids)) >= 5
    async with platform.http(await platform.token(ZETA, Role.TENANT_ADMIN)) as other:
        assert (await other.get("/v1/audit", params={"actor": ann.id})).json()["items"] == []


async def test_what_is_refused_leaves_no_row_and_a_change_that_fails_neither(service: IdentityService):
    user = await add_user(service, ACME, "ann@example.com", Role.TENANT_ADMIN)
    before = await service.accounts.audit_log(user.owner, AuditFilter(), limit=100)
    by = Actor(principal=model.principal("user", user), kind="user")
    with pytest.raises(LastAdmin):
        await service.accounts.change(by, USERS, user.owner, user.id, Change(role=Role.VIEWER))
    assert await service.accounts.audit_log(user.owner, AuditFilter(), limit=100) == before


async def test_a_repeat_of_the_same_request_makes_no_second_account(platform: Platform):
    async with platform.http(await platform.token(ACME, Role.TENANT_ADMIN)) as admin:
        answers = [
            await admin.post("/v1/clients", json=NEW_CLIENT, headers={"Idempotency-Key": "once"}) for _ in range(2)
        ]
        assert answers[0].json() == answers[1].json()
        assert len((await admin.get("/v1/clients", params={"role": "integration"})).json()["items"]) == 1
