"""Webhooks over HTTP: secrets told once, URLs that may not be, deliveries and what can be done with them."""

from datetime import timedelta

import pytest

from api.access import Role
from tests.api.notices.conftest import Office
from tests.notify.world import ACME, alert

pytestmark = [pytest.mark.db, pytest.mark.redis]

HOOK = {"url": "https://erp.example/hook", "kinds": ["alert.10min", "stop.changed"]}


async def test_a_secret_is_told_when_it_is_made_and_never_again(office: Office):
    async with office.api.client("acme") as admin:
        made = await admin.post("/v1/webhooks", json=HOOK)
        assert made.status_code == 201, made.text
        assert made.json()["secret"].startswith("whsec_")
        shown = await admin.get(made.headers["location"])
        assert "secret" not in shown.json()
        assert len(shown.json()["secrets"]) == 1
        rotated = await admin.post(f"{made.headers['location']}/secret", json={"overlap_hours": 1})
        assert (rotated.status_code, len(rotated.json()["secrets"])) == (201, 2)
        assert rotated.json()["secret"] != made.json()["secret"]
        newest, oldest = rotated.json()["secrets"]
        assert (newest["expires_at"], oldest["expires_at"] is None) == (None, False)
        at_once = (await admin.post(f"{made.headers['location']}/secret", json={"overlap_hours": 0})).json()
        assert len(at_once["secrets"]) == 1
        told = str([(each.before, each.after) for each in office.api.tokens.audited])
        assert "whsec_" not in told


@pytest.mark.parametrize(
    "url",
    [
        "http://erp.example/hook#part",
        "ftp://erp.example/hook",
        "https://user:pass@erp.example/",
        "https://10.1.2.3/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://167772161/",
        "https://0x0a000001/",
        "https://012.1.2.3/",
        "https:///nothing",
        "https://erp.example:99999/",
    ],
)
async def test_a_url_that_may_not_be_is_refused(office: Office, url: str):
    async with office.api.client("acme") as admin:
        answer = await admin.post("/v1/webhooks", json={**HOOK, "url": url})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_webhook_url"), answer.text
    assert office.world.rows("SELECT 1 FROM webhook") == []


async def test_kinds_that_are_none_are_refused_and_so_is_one_webhook_too_many(office: Office):
    async with office.api.client("acme") as admin:
        wrong = await admin.post("/v1/webhooks", json={**HOOK, "kinds": ["alert.sometime"]})
        assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_notify")
        for _ in range(20):
            assert (await admin.post("/v1/webhooks", json=HOOK)).status_code == 201
        answer = await admin.post("/v1/webhooks", json=HOOK)
        assert (answer.status_code, answer.json()["code"]) == (409, "too_many_webhooks")


async def test_deliveries_are_listed_shown_and_sent_again(office: Office):
    async with office.api.client("acme") as admin:
        hook = (await admin.post("/v1/webhooks", json=HOOK)).json()["id"]
        await office.world.raise_(alert(at=office.world.now()))
        test = await admin.post(f"/v1/webhooks/{hook}/test")
        assert (test.status_code, test.json()["kind"], test.json()["state"]) == (202, "webhook.test", "pending")
        listed = (await admin.get(f"/v1/webhooks/{hook}/deliveries")).json()["items"]
        assert {each["kind"] for each in listed} == {"webhook.test", "alert.10min"}
        [told] = [each for each in listed if each["kind"] == "alert.10min"]
        path = f"/v1/webhooks/{hook}/deliveries/{told['id']}"
        assert '"type":"alert.10min"' in (await admin.get(path)).json()["payload"]
        office.world.change("UPDATE delivery SET state = 'dead', next_at = NULL, attempts = 8")
        assert (await admin.get(f"/v1/webhooks/{hook}/deliveries", params={"state": "pending"})).json()["items"] == []
        again = await admin.post(f"{path}/redeliver")
        assert (again.status_code, again.json()["state"], again.json()["attempts"]) == (202, "pending", 0)
        assert again.json()["message"] == told["message"]


async def test_disabling_gives_up_what_waits_and_enabling_begins_anew(office: Office):
    async with office.api.client("acme") as admin:
        made = await admin.post("/v1/webhooks", json=HOOK)
        path = made.headers["location"]
        await office.world.raise_(alert(at=office.world.now()))
        stale = await admin.patch(path, json={"status": "disabled"}, headers={"If-Match": '"v9"'})
        assert stale.status_code == 412
        off = await admin.patch(path, json={"status": "disabled"}, headers={"If-Match": made.headers["etag"]})
        assert (off.json()["status"], off.json()["disabled_reason"]) == ("disabled", "by request")
        [delivery] = office.world.deliveries()
        assert (delivery["state"], delivery["error"]) == ("dead", "webhook_disabled")
        for refused in (f"{path}/test", f"{path}/deliveries/{delivery['delivery_id']}/redeliver"):
            answer = await admin.post(refused)
            assert (answer.status_code, answer.json()["code"]) == (409, "webhook_disabled")
        await office.world.raise_(alert("5min", at=office.world.now() + timedelta(minutes=5)))
        assert len(office.world.deliveries()) == 1
        on = await admin.patch(path, json={"status": "active"})
        assert (on.json()["status"], on.json()["disabled_reason"]) == ("active", "")


async def test_nobody_but_an_admin_or_integration_touches_webhooks(office: Office):
    made, _ = await office.world.webhooks.add(ACME, url=HOOK["url"], kinds=HOOK["kinds"])
    for role in (Role.DISPATCHER, Role.VIEWER, Role.SITE):
        async with office.api.client("acme", role) as client:
            assert (await client.get("/v1/webhooks")).status_code == 403
            assert (await client.post(f"/v1/webhooks/{made.id}/test")).status_code == 403
    async with office.api.client("zeta") as foreign:
        assert (await foreign.get("/v1/webhooks")).json()["items"] == []
        assert (await foreign.get(f"/v1/webhooks/{made.id}")).status_code == 404
        assert (await foreign.post(f"/v1/webhooks/{made.id}/secret", json={})).status_code == 404
