"""A device's presence over time, as the broker service writes it."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.api.fleet.conftest import ZETA, Fleet

pytestmark = [pytest.mark.db, pytest.mark.redis]
DAWN = datetime(2026, 8, 3, 5, 0, tzinfo=UTC)
PATH = "/v1/devices/truck-1/presence"
LOST = ("CONNECTION_LOST", "the connection broke without a word from the device")


def at(minutes: float) -> str:
    return (DAWN + timedelta(minutes=minutes)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def turns(fleet: Fleet, *minutes: float, device: str = "truck-1", tenant: str = "acme") -> None:
    """It comes, goes, comes ... at these minutes after dawn."""
    with psycopg.connect(fleet.urls.operator) as conn:
        for number, minute in enumerate(minutes, start=1):
            conn.execute(
                "INSERT INTO presence_span (tenant_id, device_id, version, online, since, reason)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                (tenant, device, number, number % 2 == 1, at(minute), None if number % 2 else "CONNECTION_LOST"),
            )


async def asked(fleet: Fleet, since: float = 0, until: float = 600, **more: object) -> dict:
    answer = await fleet.acme.get(PATH, params={"from": at(since), "to": at(until), **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def spans(fleet: Fleet, since: float = 0, until: float = 600, **more: object) -> list[tuple]:
    body = await asked(fleet, since, until, **more)
    return [(each["online"], each["from"], each["to"], each["reason"]) for each in body["items"]]


async def test_a_day_is_told_in_spans_with_their_reasons_in_words(fleet: Fleet):
    await fleet.register("truck-1")
    turns(fleet, 0, 30, 45)
    assert await spans(fleet) == [
        (True, at(0), at(30), None),
        (False, at(30), at(45), "CONNECTION_LOST"),
        (True, at(45), None, None),
    ]
    body = await asked(fleet)
    assert [each["words"] for each in body["items"]] == [None, LOST[1], None]
    assert (body["device"], body["from"], body["to"], body["next"]) == ("truck-1", at(0), at(600), None)


async def test_a_window_begins_with_the_span_that_lasted_then_and_knows_when_its_last_one_ended(fleet: Fleet):
    await fleet.register("truck-1")
    turns(fleet, 0, 30, 45, 90)
    assert await spans(fleet, 35, 60) == [(False, at(30), at(45), LOST[0]), (True, at(45), at(90), None)]
    assert await spans(fleet, 30, 45) == [(False, at(30), at(45), LOST[0])]
    assert await spans(fleet, -100, -50) == []
    assert await spans(fleet, 100, 200) == [(False, at(90), None, LOST[0])]


async def test_pages_hold_every_span_once(fleet: Fleet):
    await fleet.register("truck-1")
    turns(fleet, *range(0, 230, 10))
    found, cursor = [], {}
    while True:
        body = await asked(fleet, 15, 205, limit=4, **cursor)
        assert len(body["items"]) <= 4
        found += body["items"]
        if body["next"] is None:
            break
        cursor = {"cursor": body["next"]}
    assert [each["from"] for each in found] == [at(minute) for minute in range(10, 210, 10)]
    assert [each["to"] for each in found] == [at(minute) for minute in range(20, 220, 10)]


async def test_now_is_what_the_device_says_of_itself_elsewhere(fleet: Fleet):
    await fleet.register("truck-1")
    never = (await asked(fleet))["now"]
    assert never == {"online": False, "since": None, "disconnect_reason": None, "disconnect_words": None}
    fleet.connect("acme:truck-1", online=False, reason="CONNECTION_LOST")
    now = (await asked(fleet))["now"]
    assert (now["online"], now["disconnect_reason"], now["disconnect_words"]) == (False, *LOST)
    device = (await fleet.acme.get("/v1/devices/truck-1")).json()["presence"]
    assert device == {key: now[key] for key in ("online", "since", "disconnect_reason")}


async def test_another_tenants_device_is_not_there(fleet: Fleet):
    await fleet.register("truck-1", tenant=ZETA)
    turns(fleet, 0, 30, tenant="zeta")
    answer = await fleet.acme.get(PATH)
    assert (answer.status_code, answer.json()["code"]) == (404, "device_not_found")
    await fleet.register("truck-1")
    assert await spans(fleet) == []


@pytest.mark.parametrize(
    "bad",
    [
        {"from": at(10), "to": at(10)},
        {"from": at(0), "to": at(32 * 24 * 60)},
        {"from": "yesterday"},
        {"limit": 1},
        {"limit": 1001},
        {"step": 5},
    ],
)
async def test_what_cannot_be_asked_is_refused(fleet: Fleet, bad: dict):
    await fleet.register("truck-1")
    assert (await fleet.acme.get(PATH, params=bad)).status_code == 422
