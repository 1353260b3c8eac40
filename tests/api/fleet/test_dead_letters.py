"""Dead letters: each tenant its own, the operator all; replayed through the real pipeline."""

import base64
import json
from typing import Any

import psycopg
import pytest

from api.access import Role
from core import topics
from tests.api.fleet.conftest import ZETA, Fleet
from tests.ingest.feed import minutes_ago, sample, stored

pytestmark = [pytest.mark.db, pytest.mark.redis]
PATH = "/v1/dead-letters"


async def refused(fleet: Fleet) -> None:
    """Two letters of acme (not registered; not JSON), one of zeta, one that names no tenant."""
    await fleet.register("truck-1")
    await fleet.feed(
        ("acme:truck-9", sample(minutes_ago(5), 1)),
        ("acme:truck-1", b"\xff\xfe no JSON"),
        ("zeta:truck-9", sample(minutes_ago(5), 1)),
        ("nobody:truck-9", sample(minutes_ago(5), 1)),
    )


async def letters(client: Any, **params: object) -> list[dict[str, Any]]:
    answer = await client.get(PATH, params=params)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def test_a_tenant_sees_its_own_and_the_operator_all(fleet: Fleet):
    await refused(fleet)
    assert {letter["thing"] for letter in await letters(fleet.acme)} == {"acme:truck-9", "acme:truck-1"}
    assert {letter["thing"] for letter in await letters(fleet.zeta)} == {"zeta:truck-9"}
    everything = await letters(fleet.operator)
    assert len(everything) == 4
    assert [letter["topic"] for letter in everything if letter["tenant"] is None] == [
        topics.telemetry("nobody:truck-9")
    ]
    assert {letter["tenant"] for letter in await letters(fleet.operator, tenant="acme")} == {"acme"}


async def test_letters_are_filtered_and_come_in_pages(fleet: Fleet):
    await refused(fleet)
    [unknown] = await letters(fleet.acme, device="truck-9")
    assert [letter["id"] for letter in await letters(fleet.acme, reason=unknown["reason"])] == [unknown["id"]]
    assert await letters(fleet.acme, replayed=True) == []
    assert len(await letters(fleet.acme, replayed=False)) == 2
    assert await letters(fleet.acme, to="2020-01-01T00:00:00Z") == []
    assert len(await letters(fleet.acme, **{"from": unknown["received_at"]})) >= 1
    first = (await fleet.acme.get(PATH, params={"limit": 1})).json()
    second = (await fleet.acme.get(PATH, params={"limit": 1, "cursor": first["next"]})).json()
    assert {first["items"][0]["thing"], second["items"][0]["thing"]} == {"acme:truck-9", "acme:truck-1"}
    assert second["next"] is None


async def test_a_letter_is_shown_with_its_payload_and_its_text_where_it_is_text(fleet: Fleet):
    await refused(fleet)
    [unknown] = await letters(fleet.acme, device="truck-9")
    [broken] = await letters(fleet.acme, device="truck-1")
    body = (await fleet.acme.get(f"{PATH}/{unknown['id']}")).json()
    assert json.loads(body["text"]) == json.loads(base64.b64decode(body["payload_base64"]))
    assert body["size"] == unknown["size"] == len(body["text"])
    body = (await fleet.acme.get(f"{PATH}/{broken['id']}")).json()
    assert body["text"] is None
    assert base64.b64decode(body["payload_base64"]) == b"\xff\xfe no JSON"


async def test_a_foreign_letter_is_as_unknown_as_one_that_is_not(fleet: Fleet):
    await refused(fleet)
    [foreign] = await letters(fleet.acme, device="truck-9")
    for verb, path in (("GET", f"{PATH}/{{}}"), ("POST", f"{PATH}/{{}}/replay")):
        there = await fleet.zeta.request(verb, path.format(foreign["id"]))
        nowhere = await fleet.zeta.request(verb, path.format(10**9))
        assert (there.status_code, nowhere.status_code) == (404, 404)
        assert there.json()["code"] == nowhere.json()["code"] == "no_such_letter"
        assert there.json()["detail"].replace(str(foreign["id"]), "N") == nowhere.json()["detail"].replace(
            str(10**9), "N"
        )


async def test_a_letter_is_replayed_when_its_cause_is_mended(fleet: Fleet):
    await refused(fleet)
    [unknown] = await letters(fleet.acme, device="truck-9")
    again = (await fleet.acme.post(f"{PATH}/{unknown['id']}/replay")).json()
    assert (again["settled"], again["stored"], len(again["refused"])) == (False, 0, 1)
    await fleet.register("truck-9")
    mended = (await fleet.acme.post(f"{PATH}/{unknown['id']}/replay")).json()
    assert mended == {"id": unknown["id"], "settled": True, "stored": 1, "present": 0, "refused": []}
    assert stored(fleet.urls) == [("truck-9", "b1", 1)]
    once_more = (await fleet.acme.post(f"{PATH}/{unknown['id']}/replay")).json()
    assert (once_more["settled"], once_more["stored"], once_more["present"]) == (True, 0, 1)
    assert len(await letters(fleet.acme, replayed=True)) == 1
    assert [a.action for a in fleet.api.tokens.audited] == ["dead_letters.replayed"] * 3


async def test_all_of_a_reason_are_replayed_within_the_tenant_that_asks(fleet: Fleet):
    await fleet.feed(
        *((f"{tenant}:truck-9", sample(minutes_ago(9 - n), n)) for tenant in ("acme", "zeta") for n in range(5))
    )
    await fleet.register("truck-9")
    await fleet.register("truck-9", tenant=ZETA)
    reason = (await letters(fleet.acme))[0]["reason"]
    some = await fleet.acme.post(f"{PATH}/replay", json={"reason": reason, "limit": 2})
    assert [item["settled"] for item in some.json()["items"]] == [True, True]
    rest = await fleet.acme.post(f"{PATH}/replay", json={"reason": reason, "limit": 1000})
    assert len(rest.json()["items"]) == 3
    assert (await fleet.acme.post(f"{PATH}/replay", json={"reason": reason})).json() == {"items": []}
    with psycopg.connect(fleet.urls.ingest) as conn:
        assert conn.execute("SELECT DISTINCT tenant_id FROM telemetry.position").fetchall() == [("acme",)]
    everywhere = await fleet.operator.post(f"{PATH}/replay", json={"reason": reason})
    assert len(everywhere.json()["items"]) == 5


async def test_a_letter_that_names_another_tenants_device_is_not_replayed_for_a_tenant(fleet: Fleet):
    await fleet.register("truck-9", tenant=ZETA)
    with psycopg.connect(fleet.urls.operator) as conn:
        row = conn.execute(
            "INSERT INTO dead_letter (tenant_id, source, topic, thing, reason, detail, payload, digest)"
            " VALUES ('acme', 'mqtt', %s, 'zeta:truck-9', 'unknown_device', 'planted', %s, '') RETURNING id",
            (topics.telemetry("zeta:truck-9"), json.dumps(sample(minutes_ago(1), 1)).encode()),
        ).fetchone()
    answer = await fleet.acme.post(f"{PATH}/{row[0]}/replay")
    assert (answer.status_code, answer.json()["code"]) == (422, "not_replayable")
    assert stored(fleet.urls) == []


async def test_a_dispatcher_reads_and_does_not_replay(fleet: Fleet):
    await refused(fleet)
    async with fleet.api.client("acme", Role.DISPATCHER) as dispatcher:
        assert len(await letters(dispatcher)) == 2
        answer = await dispatcher.post(f"{PATH}/replay", json={"reason": "unknown_device"})
    assert answer.status_code == 403


@pytest.mark.parametrize("path", ["0", "-1", "x", str(2**63), str(10**40), "1.5"])
async def test_an_id_that_cannot_be_is_refused(fleet: Fleet, path):
    assert (await fleet.acme.get(f"{PATH}/{path}")).status_code == 422


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "x", "limit": 1001}, {"reason": "x", "all": True}, []])
async def test_a_replay_that_says_nothing_is_refused(fleet: Fleet, body):
    assert (await fleet.acme.post(f"{PATH}/replay", json=body)).status_code == 422
