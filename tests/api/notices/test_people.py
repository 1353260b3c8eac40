"""Inboxes, preferences, subscriptions, push tokens: one's own for all, those of others for who looks after them."""

import pytest

from api.access import Role
from tests.api.notices.conftest import Office
from tests.notify.world import FARM, OTHER, ZETA, alert

pytestmark = [pytest.mark.db, pytest.mark.redis]


async def test_a_farmer_subscribes_himself_and_finds_what_he_was_told(office: Office):
    async with office.user() as anna, office.user("ben", sites=(OTHER,)) as ben:
        made = await anna.post("/v1/subscriptions", json={"site": FARM})
        assert (made.status_code, made.json()["recipient"]) == (201, office.id_of("anna"))
        assert made.json()["kinds"] == ["10min", "5min", "delayed", "skipped", "missed"]
        await office.world.raise_(alert(at=office.world.now()))
        [notice] = (await anna.get("/v1/notices")).json()["items"]
        assert (notice["kind"], notice["site"], notice["read_at"]) == ("10min", FARM, None)
        assert (await anna.get("/v1/notices/unread")).json() == {"unread": 1}
        assert (await ben.get("/v1/notices")).json()["items"] == []
        assert (await ben.post(f"/v1/notices/{notice['id']}/read")).status_code == 404
        first = (await anna.post(f"/v1/notices/{notice['id']}/read")).json()["read_at"]
        assert (await anna.post(f"/v1/notices/{notice['id']}/read")).json()["read_at"] == first
        assert (await anna.get("/v1/notices", params={"unread": True})).json()["items"] == []


async def test_all_are_read_at_once_and_lists_come_in_pages(office: Office):
    async with office.user() as anna:
        await anna.post("/v1/subscriptions", json={"site": FARM})
        for n in range(5):
            await office.world.raise_(alert(trip=f"trip_number00000{n}", at=office.world.now()))
            office.world.now.pass_(milliseconds=1)
        seen, cursor = [], None
        while True:
            params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
            answer = (await anna.get("/v1/notices", params=params)).json()
            seen += [each["trip"] for each in answer["items"]]
            if (cursor := answer["next"]) is None:
                break
        assert seen == [f"trip_number00000{n}" for n in (4, 3, 2, 1, 0)]
        office.world.now.pass_(milliseconds=-2)
        until = office.world.now().isoformat(timespec="microseconds")
        assert (await anna.post("/v1/notices/read", json={"until": until})).json() == {"unread": 1}
        assert (await anna.post("/v1/notices/read", json={})).json() == {"unread": 0}


async def test_a_farmer_may_not_subscribe_to_another_site_nor_anybody_else(office: Office):
    async with office.user() as anna, office.user("ben") as ben:
        await ben.post("/v1/subscriptions", json={"site": FARM})
        refused = await anna.post("/v1/subscriptions", json={"site": OTHER})
        assert (refused.status_code, refused.json()["code"]) == (404, "place_not_found")
        other = await anna.post("/v1/subscriptions", json={"site": FARM, "recipient": office.id_of("ben")})
        assert (other.status_code, other.json()["code"]) == (403, "insufficient_scope")
        assert (await anna.get("/v1/subscriptions")).json()["items"] == []
        asked = await anna.get("/v1/subscriptions", params={"recipient": office.id_of("ben")})
        assert asked.json()["items"] == []
        [his] = (await ben.get("/v1/subscriptions")).json()["items"]
        for verb in ("get", "delete"):
            assert (await getattr(anna, verb)(f"/v1/subscriptions/{his['id']}")).status_code == 404
        assert (await anna.get("/v1/recipients")).status_code == 403


async def test_a_dispatcher_looks_after_people_without_an_account(office: Office):
    async with office.user("dora", Role.DISPATCHER) as dora:
        made = (await dora.post("/v1/recipients", json={"name": "Uncle Ed", "language": "de"})).json()
        for path, body in (
            ("/v1/subscriptions", {"site": FARM, "recipient": made["id"], "kinds": ["5min"]}),
            ("/v1/push-tokens", {"platform": "fcm", "token": "eds-old-phone", "recipient": made["id"]}),
        ):
            assert (await dora.post(path, json=body)).status_code == 201
        again = await dora.post("/v1/subscriptions", json={"site": FARM, "recipient": made["id"]})
        assert (again.status_code, again.json()["code"]) == (409, "subscription_exists")
        [token] = (await dora.get("/v1/push-tokens", params={"recipient": made["id"]})).json()["items"]
        assert token["ends_with"] == "hone"
        assert "token" not in token
        await office.world.raise_(alert("5min", at=office.world.now()))
        [row] = office.world.rows("SELECT title, body FROM notice")
        assert row["body"].startswith("Das Fahrzeug kommt in etwa 5 Minuten")
        assert (await dora.delete(f"/v1/recipients/{made['id']}")).status_code == 204
        assert office.world.rows("SELECT 1 FROM push_token") == []
        assert (await dora.get(f"/v1/recipients/{made['id']}")).status_code == 404


async def test_preferences_have_a_version_and_say_what_is_wrong(office: Office):
    async with office.user() as anna:
        before = await anna.get("/v1/notices/preferences")
        assert before.json()["quiet"] is None
        wanted = {"quiet": {"from": "21:00", "to": "05:30"}, "timezone": "Europe/Vaduz", "daily_cap": 6}
        set_ = await anna.put("/v1/notices/preferences", json=wanted, headers={"If-Match": before.headers["etag"]})
        assert set_.status_code == 200, set_.text
        assert set_.json()["quiet"] == {"from": "21:00", "to": "05:30"}
        stale = await anna.put("/v1/notices/preferences", json={}, headers={"If-Match": before.headers["etag"]})
        assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
        for wrong in ({"timezone": "Mars/Olympus"}, {"quiet": {"from": "25:00", "to": "05:00"}}, {"daily_cap": -1}):
            assert (await anna.put("/v1/notices/preferences", json=wrong)).status_code == 422, wrong
        assert [each.action for each in office.api.tokens.audited] == ["recipient.changed"]


async def test_a_phone_that_changes_hands_is_the_new_ones_alone(office: Office):
    async with office.user() as anna, office.user("ben") as ben:
        phone = {"platform": "apns", "token": "one-phone-for-both"}
        first = (await anna.post("/v1/push-tokens", json=phone)).json()
        second = (await ben.post("/v1/push-tokens", json=phone)).json()
        assert second["id"] == first["id"]
        assert (await anna.get("/v1/push-tokens")).json()["items"] == []
        assert (await anna.delete(f"/v1/push-tokens/{first['id']}")).status_code == 404
        assert (await ben.delete(f"/v1/push-tokens/{first['id']}")).status_code == 204


async def test_a_program_has_no_inbox_and_names_whom_it_acts_for(office: Office):
    async with office.api.client("acme", Role.SITE) as program, office.api.client("acme") as admin:
        assert (await program.get("/v1/notices")).json() == {"items": [], "next": None}
        for asked in (
            program.get("/v1/notices/preferences"),
            program.post("/v1/push-tokens", json={"platform": "fcm", "token": "a-phone-token"}),
            admin.post("/v1/subscriptions", json={"site": FARM}),
        ):
            answer = await asked
            assert (answer.status_code, answer.json()["code"]) == (409, "no_inbox")
        unknown = await admin.post("/v1/subscriptions", json={"site": FARM, "recipient": "usr_nobody0000000"})
        assert (unknown.status_code, unknown.json()["code"]) == (404, "recipient_not_found")


async def test_another_tenants_things_do_not_exist(office: Office):
    async with office.user() as anna, office.user("zoe", Role.TENANT_ADMIN, tenant=ZETA) as zoe:
        mine = (await anna.post("/v1/subscriptions", json={"site": FARM})).json()
        token = (await anna.post("/v1/push-tokens", json={"platform": "fcm", "token": "annas-phone"})).json()
        await office.world.raise_(alert(at=office.world.now()))
        assert (await zoe.get("/v1/notices")).json()["items"] == []
        assert (await zoe.get("/v1/subscriptions")).json()["items"] == []
        assert (await zoe.get("/v1/recipients")).json()["items"] == []
        for path in (
            f"/v1/subscriptions/{mine['id']}",
            f"/v1/push-tokens/{token['id']}",
            f"/v1/recipients/{mine['recipient']}",
        ):
            assert (await zoe.delete(path)).status_code == 404
        answer = await zoe.post("/v1/subscriptions", json={"site": FARM, "recipient": mine["recipient"]})
        assert answer.status_code == 404
