"""The registry over HTTP, against what provisioning, ingest and the broker's presence wrote."""

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from cryptography import x509

from api.access import Role
from core.clock import utc_now
from tests.api.fleet.conftest import ZETA, Fleet, csr
from tests.ingest.feed import minutes_ago

pytestmark = [pytest.mark.db, pytest.mark.redis]


async def listed(fleet: Fleet, **params: object) -> list[str]:
    answer = await fleet.acme.get("/v1/devices", params=params)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


async def test_a_device_is_shown_with_what_everybody_knows_of_it(fleet: Fleet):
    await fleet.register("truck-17", type_="tanker", labels={"depot": "north"})
    at = minutes_ago(2)
    where = {"lat": 47.141, "lon": 9.5215, "alt": 455.5, "speed": 13.9, "heading": 182.0}
    await fleet.feed(("acme:truck-17", {"ts": int(at.timestamp() * 1000), "boot": "b", "seq": 1, "pos": where}))
    fleet.connect("acme:truck-17", online=True)
    answer = await fleet.acme.get("/v1/devices/truck-17")
    assert answer.status_code == 200
    body = answer.json()
    assert body["thing"] == "acme:truck-17"
    assert (body["type"], body["labels"], body["status"], body["version"]) == (
        "tanker",
        {"depot": "north"},
        "active",
        2,
    )
    assert body["position"] == {
        **where,
        "ts": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "acc": None,
    }
    assert body["presence"]["online"] is True
    assert body["presence"]["disconnect_reason"] is None
    assert body["last_seen_at"].endswith("Z")
    assert body["certificate"]["state"] == "valid"
    assert (await fleet.acme.get("/v1/devices/acme:truck-17")).json() == body


async def test_a_device_that_never_spoke_has_nulls(fleet: Fleet):
    await fleet.acme.post("/v1/devices", json={"id": "truck-1"})
    body = (await fleet.acme.get("/v1/devices/truck-1")).json()
    assert (body["position"], body["last_seen_at"]) == (None, None)
    assert body["presence"] == {"online": False, "since": None, "disconnect_reason": None}
    assert body["certificate"] == {"state": "none", "serial": None, "not_after": None}


async def test_the_list_is_filtered_by_every_property(fleet: Fleet):
    await fleet.register("truck-1", type_="tanker", labels={"depot": "north", "plate": "FL 4711"})
    await fleet.register("truck-2", type_="van", labels={"depot": "south"})
    await fleet.register("van_3", type_="van", labels={"depot": "north"})
    await fleet.acme.post("/v1/devices", json={"id": "yard-4"})
    fleet.connect("acme:truck-1", online=True)
    fleet.connect("acme:truck-2", online=False, reason="CONNECTION_LOST")
    await fleet.acme.post("/v1/devices/van_3/suspend")
    assert await listed(fleet) == ["truck-1", "truck-2", "van_3", "yard-4"]
    assert await listed(fleet, status="pending") == ["yard-4"]
    assert await listed(fleet, type="van") == ["truck-2", "van_3"]
    assert await listed(fleet, label="depot:north") == ["truck-1", "van_3"]
    assert await listed(fleet, label=["depot:north", "plate:FL 4711"]) == ["truck-1"]
    assert await listed(fleet, online=True) == ["truck-1"]
    assert await listed(fleet, online=False) == ["truck-2", "van_3", "yard-4"]
    assert await listed(fleet, certificate="none") == ["yard-4"]
    assert await listed(fleet, certificate="held") == ["van_3"]
    assert await listed(fleet, certificate="valid") == ["truck-1", "truck-2"]
    assert await listed(fleet, q="TRUCK") == ["truck-1", "truck-2"]
    assert await listed(fleet, q="fl 47") == ["truck-1"]
    assert await listed(fleet, q="%") == []
    assert await listed(fleet, q="_3") == ["van_3"]
    gone = (await fleet.acme.get("/v1/devices/truck-2")).json()["presence"]
    assert (gone["online"], gone["disconnect_reason"]) == (False, "CONNECTION_LOST")


async def test_certificates_that_end_soon_or_have_ended_are_found(fleet: Fleet):
    await fleet.register("late", "soon", "well")
    with psycopg.connect(fleet.urls.operator) as conn:
        for name, days in (("late", -1), ("soon", 20)):
            conn.execute(
                "UPDATE certificate SET not_after = %s WHERE device_id = %s", (utc_now() + timedelta(days=days), name)
            )
    assert await listed(fleet, certificate="expired") == ["late"]
    assert await listed(fleet, certificate="expiring") == ["soon"]
    assert await listed(fleet, certificate="valid") == ["well"]


async def test_pages_hold_every_device_once_and_end(fleet: Fleet):
    names = [f"truck-{n:03}" for n in range(25)]
    await fleet.register(*names)
    await fleet.register("other", tenant=ZETA)
    found, cursor = [], None
    for size in (10, 10, 5):
        params = {"limit": 10} | ({"cursor": cursor} if cursor else {})
        body = (await fleet.acme.get("/v1/devices", params=params)).json()
        assert len(body["items"]) == size
        found += [item["id"] for item in body["items"]]
        cursor = body["next"]
    assert found == names
    assert cursor is None
    exact = (await fleet.acme.get("/v1/devices", params={"limit": 25})).json()
    assert (len(exact["items"]), exact["next"]) == (25, None)


async def test_a_device_is_registered_pending_without_a_csr_and_active_with_one(fleet: Fleet):
    answer = await fleet.acme.post("/v1/devices", json={"id": "truck-1", "type": "tanker", "labels": {"depot": "n"}})
    assert answer.status_code == 201
    assert answer.headers["location"] == "/v1/devices/truck-1"
    body = answer.json()
    assert (body["status"], body["issued"], body["labels"]) == ("pending", None, {"depot": "n"})
    body = (await fleet.acme.post("/v1/devices", json={"id": "truck-2", "csr": csr()})).json()
    assert (body["status"], body["certificate"]["state"]) == ("active", "valid")
    certificate = x509.load_pem_x509_certificate(body["issued"]["certificate_pem"].encode())
    assert certificate.subject.rfc4514_string() == "CN=acme:truck-2"
    authority = x509.load_pem_x509_certificate(body["issued"]["ca_pem"].encode())
    certificate.verify_directly_issued_by(authority)
    assert body["issued"]["serial"] == body["certificate"]["serial"]


async def test_a_repeat_with_the_same_key_registers_once(fleet: Fleet):
    send = {"json": {"id": "truck-1", "csr": csr()}, "headers": {"Idempotency-Key": "k1"}}
    first = await fleet.acme.post("/v1/devices", **send)
    again = await fleet.acme.post("/v1/devices", **send)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    taken = await fleet.acme.post("/v1/devices", json={"id": "truck-1"})
    assert (taken.status_code, taken.json()["code"]) == (409, "device_exists")


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"id": "truck 1"}, "id"),
        ({"id": ""}, "id"),
        ({"id": "a" * 65}, "id"),
        ({"id": "a", "type": "a b"}, "type"),
        ({"id": "a", "labels": {"": "x"}}, "labels"),
        ({"id": "a", "labels": {"k": ""}}, "labels"),
        ({"id": "a", "labels": {"k": 5}}, "labels"),
        ({"id": "a", "labels": {f"k{n}": "v" for n in range(33)}}, "labels"),
        ({"id": "a", "colour": "red"}, "colour"),
        ({"type": "tanker"}, "id"),
    ],
)
async def test_a_device_that_cannot_be_is_refused_with_its_field(fleet: Fleet, body, at):
    answer = await fleet.acme.post("/v1/devices", json=body)
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_request"
    assert at in answer.json()["errors"][0]["at"]


@pytest.mark.parametrize(
    "bad", ["no pem", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"]
)
async def test_a_csr_that_cannot_be_read_is_refused_and_registers_nothing(fleet: Fleet, bad):
    answer = await fleet.acme.post("/v1/devices", json={"id": "truck-1", "csr": bad})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_csr")
    assert (await fleet.acme.get("/v1/devices/truck-1")).status_code == 404


async def test_type_and_labels_change_for_the_version_that_was_seen(fleet: Fleet):
    await fleet.register("truck-1", labels={"depot": "north"})
    tag = (await fleet.acme.get("/v1/devices/truck-1")).headers["etag"]
    answer = await fleet.acme.patch(
        "/v1/devices/truck-1", json={"labels": {"depot": "south"}}, headers={"If-Match": tag}
    )
    assert (answer.status_code, answer.json()["labels"], answer.json()["type"]) == (200, {"depot": "south"}, "tracker")
    stale = await fleet.acme.patch("/v1/devices/truck-1", json={"type": "van"}, headers={"If-Match": tag})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    fresh = answer.headers["etag"]
    assert (await fleet.acme.patch("/v1/devices/truck-1", json={"type": "van"}, headers={"If-Match": fresh})).json()[
        "type"
    ] == "van"
    without = await fleet.acme.patch("/v1/devices/truck-1", json={"labels": {}})
    assert (without.json()["labels"], without.json()["type"]) == ({}, "van")
    nothing = await fleet.acme.patch("/v1/devices/truck-1", json={})
    assert nothing.json()["version"] == without.json()["version"]


async def test_of_changes_at_the_same_time_for_one_version_one_wins(fleet: Fleet):
    await fleet.register("truck-1")
    tag = (await fleet.acme.get("/v1/devices/truck-1")).headers["etag"]
    answers = await asyncio.gather(
        *(
            fleet.acme.patch("/v1/devices/truck-1", json={"labels": {"n": str(n)}}, headers={"If-Match": tag})
            for n in range(5)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412]


async def test_a_known_answer_is_not_sent_again_until_something_live_changes(fleet: Fleet):
    await fleet.register("truck-1")
    tag = (await fleet.acme.get("/v1/devices/truck-1")).headers["etag"]
    assert (await fleet.acme.get("/v1/devices/truck-1", headers={"If-None-Match": tag})).status_code == 304
    fleet.connect("acme:truck-1", online=True)
    answer = await fleet.acme.get("/v1/devices/truck-1", headers={"If-None-Match": tag})
    assert (answer.status_code, answer.json()["presence"]["online"]) == (200, True)


async def test_a_device_goes_through_its_life(fleet: Fleet):
    await fleet.acme.post("/v1/devices", json={"id": "truck-1"})

    async def move(to: str) -> tuple[int, str]:
        answer = await fleet.acme.post(f"/v1/devices/truck-1/{to}")
        return answer.status_code, answer.json().get("status") if answer.status_code == 200 else answer.json()["code"]

    assert await move("activate") == (409, "move_not_allowed")
    assert (await fleet.acme.post("/v1/devices/truck-1/certificates", json={"csr": csr()})).status_code == 201
    assert await move("activate") == (409, "move_not_allowed")  # it is already: the certificate did that
    assert await move("suspend") == (200, "suspended")
    assert await move("suspend") == (409, "move_not_allowed")
    assert await move("resume") == (200, "active")
    assert await move("decommission") == (200, "decommissioned")
    assert await move("resume") == (409, "move_not_allowed")
    renamed = await fleet.acme.patch("/v1/devices/truck-1", json={"type": "van"})
    assert (renamed.status_code, renamed.json()["code"]) == (409, "move_not_allowed")


async def test_certificates_follow_each_other_and_are_revoked(fleet: Fleet):
    first = (await fleet.acme.post("/v1/devices", json={"id": "truck-1", "csr": csr()})).json()["issued"]
    second = await fleet.acme.post("/v1/devices/truck-1/certificates", json={"csr": csr(), "overlap_hours": 1})
    assert second.status_code == 201
    path = "/v1/devices/truck-1/certificates"
    shown = (await fleet.acme.get(path)).json()
    assert [(c["serial"], c["status"]) for c in shown["items"]] == [
        (second.json()["serial"], "active"),
        (first["serial"], "superseded"),
    ]
    ends = datetime.fromisoformat(shown["items"][1]["overlap_ends_at"])
    assert timedelta(minutes=59) < ends - datetime.now(UTC) <= timedelta(hours=1)
    spelt = ":".join(first["serial"][at : at + 2] for at in range(0, 32, 2)).upper()
    answer = await fleet.acme.post(f"{path}/{spelt}/revoke", json={"reason": "key_compromise"})
    assert (answer.status_code, answer.json()["status"], answer.json()["reason"]) == (200, "revoked", "key_compromise")
    unknown = await fleet.acme.post(f"{path}/abc/revoke", json={})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "certificate_not_found")
    hold = await fleet.acme.post(f"{path}/{first['serial']}/revoke", json={"reason": "certificate_hold"})
    assert hold.status_code == 422
    last = await fleet.acme.post(f"{path}/{second.json()['serial']}/revoke", json={})
    assert last.status_code == 200
    assert (await fleet.acme.get("/v1/devices/truck-1")).json()["status"] == "pending"


async def test_every_change_is_told_to_the_audit_log_before_and_after(fleet: Fleet):
    audited = fleet.api.tokens.audited
    await fleet.acme.post("/v1/devices", json={"id": "truck-1", "csr": csr()})
    await fleet.acme.patch("/v1/devices/truck-1", json={"labels": {"depot": "north"}})
    await fleet.acme.patch("/v1/devices/truck-1", json={"labels": {"depot": "north"}})  # changes nothing
    await fleet.acme.post("/v1/devices/truck-1/suspend")
    await fleet.acme.post("/v1/devices/truck-1/suspend")  # refused
    assert [(a.action, a.target) for a in audited] == [
        ("device.registered", "acme:truck-1"),
        ("device.described", "acme:truck-1"),
        ("device.suspended", "acme:truck-1"),
    ]
    assert audited[0].before is None
    assert audited[1].before["labels"] == {}
    assert audited[1].after["labels"] == {"depot": "north"}
    assert [*audited[2].after["certificates"].values()] == ["held"]


async def test_a_foreign_device_is_as_unknown_as_one_that_is_not(fleet: Fleet):
    await fleet.register("truck-1")
    paths = ("", "/certificates", "/track", "/metrics", "/metrics/fuel_pct", "/events")
    for path in paths:
        foreign = await fleet.zeta.get(f"/v1/devices/acme:truck-1{path}")
        unknown = await fleet.zeta.get(f"/v1/devices/acme:truck-2{path}")
        own_name = await fleet.zeta.get(f"/v1/devices/truck-1{path}")
        assert [a.status_code for a in (foreign, unknown, own_name)] == [404, 404, 404], path
        for answer in (foreign, unknown, own_name):
            assert answer.json()["code"] == "device_not_found"
        assert said(foreign) == said(unknown).replace("truck-2", "truck-1")
    for move in ("activate", "suspend", "resume", "decommission"):
        assert (await fleet.zeta.post(f"/v1/devices/acme:truck-1/{move}")).status_code == 404
        assert (await fleet.zeta.post(f"/v1/devices/truck-1/{move}")).status_code == 404
    assert (await fleet.zeta.patch("/v1/devices/acme:truck-1", json={"type": "x"})).status_code == 404
    made = await fleet.zeta.post("/v1/devices/acme:truck-1/certificates", json={"csr": csr()})
    assert made.status_code == 404
    assert (await fleet.acme.get("/v1/devices/truck-1")).json()["status"] == "active"


def said(answer) -> str:
    body = answer.json()
    return f"{body['title']} {body['code']} {body['detail']}"


@pytest.mark.parametrize("name", ["a%20b", "%00", "a" * 101, "%F0%9F%9A%9A", "acme:", ":x", "a:b:c", "..", "%ff"])
async def test_a_name_that_no_device_can_have_is_not_found_or_refused(fleet: Fleet, name):
    answer = await fleet.acme.get(f"/v1/devices/{name}/metrics")
    assert answer.status_code in {404, 422}, answer.text


async def test_an_operator_acts_in_the_tenant_he_names(fleet: Fleet):
    await fleet.register("truck-1")
    nowhere = await fleet.operator.get("/v1/devices")
    assert (nowhere.status_code, nowhere.json()["code"]) == (400, "tenant_required")
    there = await fleet.operator.get("/v1/devices", headers={"Milkrun-Tenant": "acme"})
    assert [item["id"] for item in there.json()["items"]] == ["truck-1"]
    assert (await fleet.operator.get("/v1/devices/acme:truck-1")).status_code == 200
    assert (await fleet.operator.get("/v1/devices", params={"tenant": "zeta"})).json()["items"] == []


@pytest.mark.parametrize(
    ("query", "at"),
    [
        ("colour=red", "colour"),
        ("status=broken", "status"),
        ("label=depot", "label.0"),
        ("label=depot:a&label=depot:b", "label"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=99999999999999999999999", "limit"),
        ("online=perhaps", "online"),
        ("certificate=lost", "certificate"),
        ("q=", "q"),
    ],
)
async def test_a_filter_that_cannot_be_is_refused_with_its_name(fleet: Fleet, query, at):
    answer = await fleet.acme.get(f"/v1/devices?{query}")
    assert answer.status_code == 422, answer.text
    error = answer.json()["errors"][0]
    assert (error["in"], error["at"]) == ("query", at)


async def test_an_unknown_parameter_is_answered_with_those_there_are(fleet: Fleet):
    message = (await fleet.acme.get("/v1/devices?lable=depot:north")).json()["errors"][0]["message"]
    assert "label" in message
    assert "cursor" in message


@pytest.mark.parametrize(
    "cursor", ["x", "bnVsbA", "WyJhIiwgImIiXQ", "WyJcdTAwMDAiXQ", "W10", "WzFd", "....", "WyJcdWQ4MDAiXQ"]
)
async def test_a_made_up_cursor_is_refused(fleet: Fleet, cursor):
    answer = await fleet.acme.get("/v1/devices", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


async def test_a_viewer_reads_and_changes_nothing(fleet: Fleet):
    await fleet.register("truck-1")
    async with fleet.api.client("acme", Role.VIEWER) as viewer:
        assert (await viewer.get("/v1/devices/truck-1")).status_code == 200
        refused = await viewer.post("/v1/devices/truck-1/suspend")
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
