"""Tenants, as operators manage them; nobody else."""

import pytest

from api.access import Role
from tests.api.fleet.conftest import Fleet

pytestmark = [pytest.mark.db, pytest.mark.redis]
PATH = "/v1/tenants"


async def test_a_tenant_is_added_shown_and_changed(fleet: Fleet):
    made = await fleet.operator.post(PATH, json={"id": "milk", "name": "Milk & Sons", "retention_days": 30})
    assert (made.status_code, made.headers["location"]) == (201, "/v1/tenants/milk")
    await fleet.register("truck-1", tenant="milk")
    shown = await fleet.operator.get(f"{PATH}/milk")
    body = shown.json()
    assert (body["name"], body["retention_days"], body["devices"], body["version"]) == ("Milk & Sons", 30, 1, 1)
    changed = await fleet.operator.patch(
        f"{PATH}/milk", json={"retention_days": None}, headers={"If-Match": shown.headers["etag"]}
    )
    assert (changed.json()["retention_days"], changed.json()["name"], changed.json()["version"]) == (
        None,
        "Milk & Sons",
        2,
    )
    stale = await fleet.operator.patch(f"{PATH}/milk", json={"name": "x"}, headers={"If-Match": shown.headers["etag"]})
    assert stale.status_code == 412
    assert [(a.action, a.target) for a in fleet.api.tokens.audited] == [
        ("tenant.added", "milk"),
        ("tenant.changed", "milk"),
    ]
    assert (await fleet.operator.post(PATH, json={"id": "milk"})).json()["code"] == "tenant_exists"


async def test_tenants_are_listed_in_pages(fleet: Fleet):
    first = (await fleet.operator.get(PATH, params={"limit": 1})).json()
    second = (await fleet.operator.get(PATH, params={"limit": 1, "cursor": first["next"]})).json()
    assert [item["id"] for item in first["items"] + second["items"]] == ["acme", "zeta"]
    assert second["next"] is None


async def test_a_tenant_that_is_not_there_is_not_found(fleet: Fleet):
    for name in ("nowhere", "A!", "x" * 60):
        answer = await fleet.operator.get(f"{PATH}/{name}")
        assert (answer.status_code, answer.json()["code"]) == (404, "tenant_not_found")
        assert (await fleet.operator.patch(f"{PATH}/{name}", json={})).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"id": "A"},
        {"id": "a"},
        {"id": "ok", "name": ""},
        {"id": "ok", "name": "a\u0007b"},
        {"id": "ok", "name": "a\u0000b"},
        {"id": "ok", "retention_days": 0},
        {"id": "ok", "retention_days": 10**12},
        {"id": "ok", "plan": "gold"},
    ],
)
async def test_a_tenant_that_cannot_be_is_refused(fleet: Fleet, body):
    assert (await fleet.operator.post(PATH, json=body)).status_code == 422


async def test_only_operators_see_tenants(fleet: Fleet):
    for role in Role:
        if role is Role.OPERATOR:
            continue
        async with fleet.api.client("acme", role) as client:
            for answer in (
                await client.get(PATH),
                await client.get(f"{PATH}/acme"),
                await client.get(f"{PATH}/nowhere"),
                await client.post(PATH, json={"id": "mine"}),
                await client.patch(f"{PATH}/acme", json={"name": "Mine"}),
            ):
                assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
