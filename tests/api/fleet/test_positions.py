"""Last positions of a fleet: filters, pages, and nobody else's."""

import gzip
from datetime import timedelta

import httpx
import psycopg
import pytest

from api.access import Role, Scope
from core.clock import utc_now
from tests.api.fleet.conftest import ZETA, Fleet
from tests.ingest.feed import minutes_ago, sample

pytestmark = [pytest.mark.db, pytest.mark.redis]


def at(lat: float, lon: float, minutes: float = 1.0) -> dict[str, object]:
    return {"ts": int(minutes_ago(minutes).timestamp() * 1000), "pos": {"lat": lat, "lon": lon}}


async def where(fleet: Fleet, **params: object) -> list[str]:
    answer = await fleet.acme.get("/v1/positions", params=params)
    assert answer.status_code == 200, answer.text
    return [item["device"] for item in answer.json()["items"]]


async def test_every_device_with_a_position_is_answered_with_its_newest(fleet: Fleet):
    await fleet.register("truck-1", "truck-2", "silent")
    await fleet.register("truck-1", tenant=ZETA)
    new = minutes_ago(1)
    pos = {"lat": 47.5, "lon": 9.25, "alt": 455.5, "speed": 13.9, "heading": 182.0, "acc": 4.0}
    newest = {"ts": int(new.timestamp() * 1000), "pos": pos}
    await fleet.feed(
        ("acme:truck-1", newest),
        ("acme:truck-1", sample(minutes_ago(5), lat=47.49)),  # late: it does not move the position back
        ("acme:truck-2", at(47.2, 9.2)),
        ("zeta:truck-1", at(-10.0, -60.0)),
    )
    fleet.connect("acme:truck-1", online=True)
    answer = await fleet.acme.get("/v1/positions")
    body = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert [item["device"] for item in body["items"]] == ["truck-1", "truck-2"]
    assert body["items"][0] == {
        "device": "truck-1",
        "status": "active",
        "online": True,
        "ts": new.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        **pos,
    }
    assert body["items"][1]["alt"] is None
    assert body["next"] is None


async def test_positions_are_filtered_by_area_label_state_presence_name_and_age(fleet: Fleet):
    await fleet.register("truck-1", labels={"depot": "north"})
    await fleet.register("truck-2", "truck-3", "fiji")
    await fleet.feed(
        ("acme:truck-1", at(47.1, 9.5)),
        ("acme:truck-2", at(47.2, 9.6, minutes=30)),
        ("acme:truck-3", at(48.9, 9.7)),
        ("acme:fiji", at(-17.0, -179.5)),
    )
    fleet.connect("acme:truck-2", online=True)
    await fleet.acme.post("/v1/devices/truck-3/suspend")
    assert await where(fleet, bbox="9.4,47.0,9.7,47.3") == ["truck-1", "truck-2"]
    assert await where(fleet, bbox="179,-20,-179,20") == ["fiji"]
    assert await where(fleet, bbox="9.5,47.1,9.5,47.1") == ["truck-1"]
    assert await where(fleet, label="depot:north") == ["truck-1"]
    assert await where(fleet, status="suspended") == ["truck-3"]
    assert await where(fleet, online=True) == ["truck-2"]
    assert await where(fleet, device=["truck-3", "truck-1", "nobody"]) == ["truck-1", "truck-3"]
    assert await where(fleet, max_age_s=600) == ["fiji", "truck-1", "truck-3"]
    assert await where(fleet, max_age_s=600, bbox="0,40,20,50", online=False) == ["truck-1", "truck-3"]


async def test_a_decommissioned_device_is_shown_when_asked_for(fleet: Fleet):
    await fleet.register("truck-1")
    await fleet.feed(("acme:truck-1", at(47.1, 9.5)))
    await fleet.acme.post("/v1/devices/truck-1/decommission")
    assert await where(fleet) == []
    assert await where(fleet, status="decommissioned") == ["truck-1"]


async def test_ten_thousand_positions_come_in_one_page_and_more_in_the_next(fleet: Fleet):
    with psycopg.connect(fleet.urls.operator) as conn:
        conn.execute(
            "INSERT INTO device (tenant_id, device_id, status)"
            " SELECT 'acme', 't' || lpad(n::text, 5, '0'), 'active' FROM generate_series(1, 10001) AS n"
        )
        conn.execute(
            "INSERT INTO device_state (tenant_id, device_id, last_seen_at, ts, lat, lon, speed, ledger)"
            " SELECT tenant_id, device_id, now(), %s, 47 + random(), 9, 0.1, '' FROM device",
            (utc_now() - timedelta(seconds=5),),
        )
    first = (await fleet.acme.get("/v1/positions")).json()
    assert len(first["items"]) == 10_000
    rest = (await fleet.acme.get("/v1/positions", params={"cursor": first["next"]})).json()
    assert [item["device"] for item in rest["items"]] == ["t10001"]
    assert rest["next"] is None
    assert (await fleet.acme.get("/v1/positions", params={"limit": 10_001})).status_code == 422


async def test_a_large_answer_is_packed_for_who_takes_it_and_plain_for_who_does_not(fleet: Fleet):
    await test_ten_thousand_positions_come_in_one_page_and_more_in_the_next(fleet)
    async with httpx.AsyncClient(headers=fleet.acme.headers) as client:
        url = f"{fleet.api.url}/v1/positions"
        async with client.stream("GET", url, headers={"Accept-Encoding": "gzip"}) as answer:
            packed = b"".join([part async for part in answer.aiter_raw()])
            assert answer.headers["content-encoding"] == "gzip"
            assert "accept-encoding" in answer.headers["vary"].lower()
        plain = await client.get(url, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(packed) == plain.content
    assert len(packed) < len(plain.content) / 3


@pytest.mark.parametrize(
    "query",
    [
        "bbox=1,2,3",
        "bbox=1,2,3,x",
        "bbox=nan,0,1,1",
        "bbox=0,inf,1,1",
        "bbox=0,50,1,40",
        "bbox=-181,0,1,1",
        "bbox=0,0,1,91",
        f"bbox=0,0,1,{'9' * 60}",
        "device=a%20b",
        "max_age_s=0",
        "max_age_s=1e400",
        "max_age_s=99999999999999999999",
        "label=:x",
        "speed=5",
    ],
)
async def test_a_filter_that_cannot_be_is_refused(fleet: Fleet, query):
    answer = await fleet.acme.get(f"/v1/positions?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"][0]["in"] == "query"


async def test_a_site_sees_the_truck_that_is_on_its_way_to_it_and_nothing_else(fleet: Fleet):
    await fleet.register("truck-1", "truck-2")
    await fleet.feed(("acme:truck-1", at(47.1, 9.5)), ("acme:truck-2", at(47.1, 9.5)))
    scopes = frozenset({Scope.TELEMETRY_READ, Scope.DEVICES_READ, Scope.EVENTS_READ})
    async with fleet.api.client("acme", Role.SITE, scopes=scopes) as farmer:
        for path in ("/v1/positions", "/v1/devices", "/v1/events"):
            assert (await farmer.get(path)).json()["items"] == []
        for path in ("", "/track", "/metrics", "/metrics/x", "/events", "/certificates"):
            assert (await farmer.get(f"/v1/devices/truck-1{path}")).status_code == 404
        object.__setattr__(fleet.api.services, "sites", OnItsWay())
        assert [p["device"] for p in (await farmer.get("/v1/positions")).json()["items"]] == ["truck-2"]
        assert (await farmer.get("/v1/positions?device=truck-1")).json()["items"] == []
        assert (await farmer.get("/v1/devices/truck-2/track")).status_code == 200
        assert (await farmer.get("/v1/devices/truck-1/track")).status_code == 404


class OnItsWay:
    async def devices(self, tenant: str, sites: frozenset[str]) -> frozenset[str]:
        return frozenset({"truck-2"})
