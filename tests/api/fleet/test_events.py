"""Events that devices reported: by tenant and by device, newest first."""

from datetime import timedelta
from typing import Any

import pytest

from core import topics
from tests.api.fleet.conftest import ZETA, Fleet
from tests.ingest.feed import minutes_ago

pytestmark = [pytest.mark.db, pytest.mark.redis]
BEGIN = minutes_ago(100)


def event(
    thing: str, minute: float, seq: int, type_: str = "door", data: dict[str, Any] | None = None
) -> tuple[str, Any]:
    at = BEGIN + timedelta(minutes=minute)
    return topics.event(thing), {"ts": int(at.timestamp() * 1000), "boot": "b", "seq": seq, "type": type_, "data": data}


async def types(fleet: Fleet, path: str = "/v1/events", **params: object) -> list[str]:
    answer = await fleet.acme.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return [f"{item['device']} {item['type']}" for item in answer.json()["items"]]


async def test_events_come_newest_first_with_their_data(fleet: Fleet):
    await fleet.register("truck-1", "truck-2")
    await fleet.register("truck-1", tenant=ZETA)
    data = {"door": "rear", "open": True, "n": [1, 2.5, None], "big": 2**60}
    await fleet.feed(
        event("acme:truck-1", 5, 1, "panic", data),
        event("acme:truck-2", 7, 1),
        event("acme:truck-1", 3, 2),
        event("zeta:truck-1", 9, 1, "foreign"),
    )
    assert await types(fleet) == ["truck-2 door", "truck-1 panic", "truck-1 door"]
    assert await types(fleet, "/v1/devices/truck-1/events") == ["truck-1 panic", "truck-1 door"]
    body = (await fleet.acme.get("/v1/events", params={"type": "panic"})).json()["items"]
    at = (BEGIN + timedelta(minutes=5)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert [(e["ts"], e["data"]) for e in body] == [(at, data)]
    span = {"from": (BEGIN + timedelta(minutes=5)).isoformat(), "to": (BEGIN + timedelta(minutes=7)).isoformat()}
    assert await types(fleet, **span) == ["truck-1 panic"]
    assert await types(fleet, "/v1/devices/truck-1/events", type="door") == ["truck-1 door"]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/devices/truck-1/events"])
async def test_pages_hold_every_event_once_even_of_one_instant(fleet: Fleet, path):
    await fleet.register("truck-1", "truck-2")
    await fleet.feed(*(event("acme:truck-1", n // 4, n, f"t{n}") for n in range(23)))
    if path == "/v1/events":
        await fleet.feed(*(event("acme:truck-2", n // 4, n, f"u{n}") for n in range(23)))
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        body = (await fleet.acme.get(path, params={"limit": 5} | cursor)).json()
        found += [item["type"] for item in body["items"]]
        if body["next"] is None:
            break
        cursor = {"cursor": body["next"]}
    assert len(found) == len(set(found)) == (46 if path == "/v1/events" else 23)
    assert found[0].endswith("22")


@pytest.mark.parametrize(
    "query", ["from=x", "from=2026-11-02T00:00:00Z&to=2026-11-01T00:00:00Z", "limit=x", "kind=door", "cursor=W10"]
)
async def test_what_cannot_be_asked_is_refused(fleet: Fleet, query):
    assert (await fleet.acme.get(f"/v1/events?{query}")).status_code == 422
