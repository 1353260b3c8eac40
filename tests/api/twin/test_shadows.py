"""AWS IoT's shadow semantics, numbered, over REST. S16 is about MQTT connections; S18 is in test_notices_over_mqtt."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from api.access import Role
from core.clock import utc_now
from core.tenancy import Thing
from shadow import algebra
from tests.api.twin.conftest import Fleet
from tests.ingest.feed import minutes_ago
from tests.shadow.test_algebra import STATES

pytestmark = [pytest.mark.db, pytest.mark.redis]

SHADOW = "/v1/devices/t1/shadow"


@pytest.fixture(autouse=True)
async def _devices(fleet: Fleet) -> None:
    await fleet.register("t1", "t2")
    await fleet.register("z1", tenant="zeta")


async def get(fleet: Fleet, path: str = SHADOW) -> Any:
    answer = await fleet.acme.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def patch(fleet: Fleet, body: Any, path: str = SHADOW, **more: Any) -> Any:
    answer = await fleet.acme.patch(path, json=body, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: httpx.Response) -> tuple[int, str, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    return answer.status_code, body["code"], body["detail"]


async def test_s01_get_of_an_absent_shadow_is_404(fleet: Fleet):
    none = (404, "shadow_not_found", "No shadow exists with name: 'acme:t1'")
    assert refused(await fleet.acme.get(SHADOW)) == none
    assert refused(await fleet.acme.delete(SHADOW)) == none
    named = await fleet.acme.get("/v1/devices/t1/shadows/milk")
    assert refused(named) == (404, "shadow_not_found", "No shadow exists with name: 'milk'")
    assert refused(await fleet.acme.get("/v1/devices/nobody/shadow"))[:2] == (404, "device_not_found")


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_s02_the_first_update_creates_version_1(fleet: Fleet, method: str):
    body = {"state": {"desired": {"fan": 3}}, "clientToken": "abc"}
    answer = await fleet.acme.request(method, SHADOW, json=body)
    said = answer.json()
    at = said["timestamp"]
    assert (answer.status_code, answer.headers["etag"]) == (200, '"v1"')
    assert said == {
        "state": {"desired": {"fan": 3}},
        "metadata": {"desired": {"fan": {"timestamp": at}}},
        "version": 1,
        "timestamp": at,
        "clientToken": "abc",
    }
    whole = await get(fleet)
    assert whole["state"] == {"desired": {"fan": 3}, "delta": {"fan": 3}}
    assert whole["metadata"] == {"desired": {"fan": {"timestamp": at}}}


async def test_s03_an_update_merges_and_keeps_siblings(fleet: Fleet):
    await patch(fleet, {"state": {"desired": {"a": 1, "deep": {"x": 1, "y": 2}}}})
    said = await patch(fleet, {"state": {"desired": {"deep": {"y": 3}}}})
    assert (said["state"], said["version"]) == ({"desired": {"deep": {"y": 3}}}, 2)
    assert (await get(fleet))["state"]["desired"] == {"a": 1, "deep": {"x": 1, "y": 3}}


async def test_s04_a_null_leaf_removes_the_key(fleet: Fleet):
    await patch(fleet, {"state": {"desired": {"deep": {"x": 1, "y": 2}}}})
    await patch(fleet, {"state": {"desired": {"deep": {"x": None}}}})
    assert (await get(fleet))["state"]["desired"] == {"deep": {"y": 2}}


async def test_s05_desired_null_removes_the_section(fleet: Fleet):
    await patch(fleet, {"state": {"desired": {"a": 1}, "reported": {"a": 2}}})
    await patch(fleet, {"state": {"desired": None}})
    assert (await get(fleet))["state"] == {"reported": {"a": 2}}
    await patch(fleet, {"state": None})
    assert (await get(fleet))["state"] == {}


async def test_s06_an_array_is_replaced_whole(fleet: Fleet):
    await patch(fleet, {"state": {"desired": {"stops": [1, 2, 3]}}})
    await patch(fleet, {"state": {"desired": {"stops": [4]}}})
    assert (await get(fleet))["state"]["desired"] == {"stops": [4]}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"state": {"desired": {"a": [None]}}}, "State contains an invalid node"),
        ({}, "Missing required node: state"),
        ([], "Invalid JSON"),
        ({"state": 1}, "State node must be an object"),
        ({"state": {"desired": 1}}, "Desired node must be an object"),
        ({"state": {"reported": []}}, "Reported node must be an object"),
        ({"state": {}, "version": "1"}, "Invalid version"),
        ({"state": {"desired": {"1": {"2": {"3": {"4": {"5": {"6": {"7": 1}}}}}}}}}, "JSON contains too many levels"),
    ],
)
async def test_s07_what_aws_refuses_with_400_is_refused_in_its_words(fleet: Fleet, body: Any, says: str):
    status, code, detail = refused(await fleet.acme.patch(SHADOW, json=body))
    assert (status, code) == (400, "invalid_shadow_request")
    assert detail.startswith(says)
    assert (await fleet.acme.get(SHADOW)).status_code == 404


async def test_s08_a_delta_names_its_path_from_the_root(fleet: Fleet):
    await patch(fleet, {"state": {"desired": {"a": {"b": {"c": 1, "d": 2}}}, "reported": {"a": {"b": {"d": 2}}}}})
    assert (await get(fleet))["state"]["delta"] == {"a": {"b": {"c": 1}}}


async def test_s09_a_delta_lists_old_and_new_differences(fleet: Fleet):
    await patch(fleet, {"state": {"desired": {"old": 1}}})
    await patch(fleet, {"state": {"desired": {"new": 2}}})
    assert (await get(fleet))["state"]["delta"] == {"old": 1, "new": 2}


async def test_s10_there_is_no_delta_where_both_are_equal(fleet: Fleet):
    await patch(fleet, {"state": {"desired": {"a": 1}, "reported": {"a": 1.0, "more": 2}}})
    assert "delta" not in (await get(fleet))["state"]


async def test_s11_a_stale_version_is_409_and_a_stale_etag_412_and_nothing_is_written(fleet: Fleet):
    await patch(fleet, {"state": {"desired": {"n": 1}}})
    body = {"state": {"desired": {"n": 2}}}
    assert refused(await fleet.acme.patch(SHADOW, json={**body, "version": 4})) == (
        409,
        "shadow_version_conflict",
        "Version conflict",
    )
    for method, more in (("PATCH", {"json": body}), ("POST", {"json": body}), ("DELETE", {})):
        answer = await fleet.acme.request(method, SHADOW, headers={"If-Match": '"v4"'}, **more)
        assert refused(answer)[:2] == (412, "precondition_failed")
        assert "at version 1 now, not at version 4" in answer.json()["detail"]
    whole = await get(fleet)
    assert (whole["state"]["desired"], whole["version"]) == ({"n": 1}, 1)
    await patch(fleet, {**body, "version": 1}, headers={"If-Match": '"v1"'})
    assert (await get(fleet))["version"] == 2
    missing = await fleet.acme.patch("/v1/devices/t2/shadow", json=body, headers={"If-Match": '"v1"'})
    assert refused(missing)[:2] == (412, "precondition_failed")


async def test_s12_a_shadow_made_again_continues_its_version(fleet: Fleet):
    for n in (1, 2):
        await patch(fleet, {"state": {"desired": {"n": n}}})
    gone = await fleet.acme.delete(SHADOW)
    assert (gone.status_code, gone.json()["version"]) == (200, 2)
    assert (await fleet.acme.get(SHADOW)).status_code == 404
    assert (await patch(fleet, {"state": {"desired": {"n": 3}}}))["version"] == 4


async def test_s13_8192_bytes_pass_and_one_more_is_413(fleet: Fleet):
    room = 8192 - len('{"a":""}')
    await patch(fleet, {"state": {"desired": {"a": "x" * room}}})
    larger = await fleet.acme.patch(SHADOW, json={"state": {"reported": {"b": 1}}})
    assert refused(larger) == (413, "shadow_too_large", "The payload exceeds the maximum size allowed")
    assert (await get(fleet))["version"] == 1


async def test_s14_a_token_of_64_bytes_passes_and_65_are_400(fleet: Fleet):
    assert (await patch(fleet, {"state": {}, "clientToken": "é" * 32}))["clientToken"] == "é" * 32
    for token in ("x" * 65, "é" * 33, 7):
        answer = await fleet.acme.patch(SHADOW, json={"state": {}, "clientToken": token})
        assert refused(answer) == (400, "invalid_shadow_request", "Invalid clientToken")


async def test_s15_classic_and_named_shadows_are_apart_and_the_named_ones_are_listed(fleet: Fleet):
    for name in ("", "s/milk", "s/$fw", "s/a:b"):
        await patch(fleet, {"state": {"desired": {"of": name}}}, SHADOW + name)
    for name in ("", "s/milk", "s/$fw", "s/a:b"):
        whole = await get(fleet, SHADOW + name)
        assert (whole["state"]["desired"], whole["version"]) == ({"of": name}, 1)
    listed = await get(fleet, "/v1/devices/t1/shadows?limit=2")
    assert [each["name"] for each in listed["items"]] == ["$fw", "a:b"]
    rest = await get(fleet, f"/v1/devices/t1/shadows?limit=2&cursor={listed['next']}")
    assert ([each["name"] for each in rest["items"]], rest["next"]) == (["milk"], None)
    wrong = await fleet.acme.get("/v1/devices/t1/shadows/a%20b")
    assert refused(wrong)[:2] == (400, "invalid_shadow_request")


async def test_s17_an_etag_holds_until_the_version_moves_whoever_moves_it(fleet: Fleet):
    await patch(fleet, {"state": {"desired": {"n": 1}}})
    first = await fleet.acme.get(SHADOW)
    known = {"If-None-Match": first.headers["etag"]}
    again = await fleet.acme.get(SHADOW, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    await fleet.api.services.shadows.update(Thing.parse("acme:t1"), b'{"state":{"reported":{"n":1}}}')
    moved = await fleet.acme.get(SHADOW, headers=known)
    assert (moved.status_code, moved.headers["etag"]) == (200, '"v2"')


async def test_s19_another_tenants_device_does_not_exist(fleet: Fleet):
    await fleet.zeta.patch("/v1/devices/z1/shadow", json={"state": {"reported": {"of": "zeta"}}})
    await fleet.zeta.patch("/v1/devices/z1/shadows/milk", json={"state": {"reported": {"of": "zeta"}}})
    for device in ("z1", "zeta:z1"):
        for method, rest in (
            ("GET", "shadow"), ("PATCH", "shadow"), ("POST", "shadow"), ("DELETE", "shadow"), ("GET", "shadows"),
            ("GET", "shadows/milk"), ("PATCH", "shadows/milk"), ("POST", "shadows/milk"), ("DELETE", "shadows/milk"),
            ("GET", "shadows/$milkrun"),
        ):  # fmt: skip
            body = {"json": {"state": {"reported": {"of": "acme"}}}} if method in {"PATCH", "POST"} else {}
            answer = await fleet.acme.request(method, f"/v1/devices/{device}/{rest}", **body)
            assert refused(answer)[:2] == (404, "device_not_found"), (method, device, rest)
    kept = (await fleet.zeta.get("/v1/devices/z1/shadow")).json()
    assert (kept["state"], kept["version"]) == ({"reported": {"of": "zeta"}}, 1)


async def test_s20_what_a_get_answers_as_delta_brings_reported_to_desired(fleet: Fleet):
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(desired=STATES, reported=STATES)
    def check(desired: algebra.Tree, reported: algebra.Tree) -> None:
        examples.append((desired, reported))

    examples: list[tuple[algebra.Tree, algebra.Tree]] = []
    check()
    for number, (desired, reported) in enumerate(examples):
        path = f"{SHADOW}s/s{number}"
        answer = await fleet.acme.patch(path, json={"state": {"desired": desired, "reported": reported}})
        if answer.status_code in {400, 413}:
            continue
        state = (await get(fleet, path))["state"]
        merged = algebra.merge(state.get("reported", {}), state.get("delta", {}))
        assert algebra.delta(state.get("desired", {}), merged) == {}
    assert len(examples) >= 20


async def test_every_change_is_in_the_audit_log_with_what_it_asked(fleet: Fleet):
    await patch(fleet, {"state": {"desired": {"fan": 3}}})
    await patch(fleet, {"state": {"desired": {"t": 4}}}, "/v1/devices/t1/shadows/milk")
    await fleet.acme.delete("/v1/devices/t1/shadows/milk")
    await fleet.acme.patch(SHADOW, json={"state": {}, "version": 9})
    said = [(each.action, each.target, each.after) for each in fleet.api.tokens.audited]
    assert said == [
        ("shadow.updated", "acme:t1", {"shadow": "", "version": 1, "state": {"desired": {"fan": 3}}}),
        ("shadow.updated", "acme:t1", {"shadow": "milk", "version": 1, "state": {"desired": {"t": 4}}}),
        ("shadow.deleted", "acme:t1", {"shadow": "milk", "version": 1}),
    ]


async def test_reading_needs_one_scope_and_writing_another(fleet: Fleet):
    async with fleet.api.client("acme", Role.VIEWER) as viewer, fleet.api.client("acme", Role.SITE) as site:
        await patch(fleet, {"state": {}})
        assert (await viewer.get(SHADOW)).status_code == 200
        assert refused(await viewer.patch(SHADOW, json={"state": {}}))[:2] == (403, "insufficient_scope")
        assert refused(await viewer.delete(SHADOW))[:2] == (403, "insufficient_scope")
        assert refused(await site.get(SHADOW))[:2] == (403, "insufficient_scope")


async def test_a_post_with_an_idempotency_key_is_done_once(fleet: Fleet):
    for _ in range(3):
        answer = await fleet.acme.post(SHADOW, json={"state": {"desired": {"n": 1}}}, headers={"Idempotency-Key": "k"})
        assert (answer.status_code, answer.json()["version"]) == (200, 1)


async def test_text_that_is_no_json_or_no_utf8_is_refused_whatever_it_calls_itself(fleet: Fleet):
    plain = {"Content-Type": "text/plain"}
    assert refused(await fleet.acme.patch(SHADOW, content=b"{", headers=plain))[::2] == (400, "Invalid JSON")
    status, code, _ = refused(
        await fleet.acme.patch(SHADOW, content=b'{"state":{"desired":{"a":"\xff"}}}', headers=plain)
    )
    assert (status, code) == (415, "shadow_not_utf8")
    as_json = {"Content-Type": "application/json"}
    assert refused(await fleet.acme.patch(SHADOW, content=b"{", headers=as_json))[:2] == (422, "invalid_request")


async def test_the_last_known_state_stays_readable_while_the_device_is_offline_and_says_its_age(fleet: Fleet):
    path = "/v1/devices/t1/shadows/$milkrun"
    assert refused(await fleet.acme.get(path))[:2] == (404, "shadow_not_found")
    at = minutes_ago(5)
    sample = {"ts": int(at.timestamp() * 1000), "boot": "b", "seq": 1, "pos": {"lat": 47.0, "lon": 9.5}, "m": {"f": 3}}
    await fleet.feed(("acme:t1", sample), clock=at + timedelta(seconds=1))
    fleet.connect("acme:t1", online=False, reason="CONNECTION_LOST")
    answer = await fleet.acme.get(path)
    said = answer.json()
    assert said["state"]["reported"]["position"] == {"lat": 47.0, "lon": 9.5}
    assert said["state"]["reported"]["presence"]["online"] is False
    assert said["age_s"].keys() == {"position", "presence", "last_seen", "metrics"}
    age = utc_now() - at
    assert 299 <= said["age_s"]["position"] <= age.total_seconds() + 1
    known = {"If-None-Match": answer.headers["etag"]}
    assert (await fleet.acme.get(path, headers=known)).status_code == 304
    fleet.connect("acme:t1", online=True)
    assert (await fleet.acme.get(path, headers=known)).status_code == 200, "presence changed, the position did not"
    for answer in (await fleet.acme.patch(path, json={"state": {}}), await fleet.acme.delete(path)):
        assert refused(answer) == (403, "shadow_forbidden", "Forbidden")
