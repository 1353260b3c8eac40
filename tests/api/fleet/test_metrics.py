"""Named signals: last values, raw pages, and buckets that equal a naive computation, rolled up or not."""

import math
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.api.fleet.conftest import ZETA, Fleet
from tests.ingest.feed import minutes_ago

pytestmark = [pytest.mark.db, pytest.mark.redis]
PATH = "/v1/devices/truck-1/metrics"


def reading(at: datetime, seq: int, boot: str = "b1", **m: Any) -> dict[str, Any]:
    return {"ts": int(at.timestamp() * 1000), "boot": boot, "seq": seq, "m": m}


def stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def ask(fleet: Fleet, name: str, **params: object) -> dict[str, Any]:
    answer = await fleet.acme.get(f"{PATH}/{name}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def span(since: datetime, until: datetime) -> dict[str, str]:
    return {"from": since.isoformat(), "to": until.isoformat()}


async def test_every_signal_is_listed_with_its_last_value(fleet: Fleet):
    await fleet.register("truck-1", "truck-2")
    await fleet.register("truck-1", tenant=ZETA)
    first, last = minutes_ago(9), minutes_ago(3)
    await fleet.feed(
        ("acme:truck-1", reading(last, 2, ignition=True, fuel_pct=61.5)),
        ("acme:truck-1", reading(first, 1, fuel_pct=62, driver="Ann", **{"a.b:c#d-e": -1})),
        ("acme:truck-2", reading(last, 1, other=1)),
        ("zeta:truck-1", reading(last, 1, foreign=1)),
    )
    assert (await fleet.acme.get(PATH)).json() == {
        "items": [
            {"name": "a.b:c#d-e", "ts": stamp(first), "value": -1.0},
            {"name": "driver", "ts": stamp(first), "value": "Ann"},
            {"name": "fuel_pct", "ts": stamp(last), "value": 61.5},
            {"name": "ignition", "ts": stamp(last), "value": 1.0},
        ],
        "next": None,
    }
    assert (await fleet.acme.get("/v1/devices/truck-2/metrics")).json()["items"][0]["name"] == "other"
    assert [i["name"] for i in (await fleet.zeta.get(PATH)).json()["items"]] == ["foreign"]


async def test_raw_values_come_in_pages_texts_among_them(fleet: Fleet):
    await fleet.register("truck-1")
    begin = minutes_ago(300)
    sent = [reading(begin + timedelta(minutes=n), n, state="idle" if n % 3 else n) for n in range(250)]
    await fleet.feed(("acme:truck-1", sent), ("acme:truck-1", reading(begin, 0, boot="b0", state="first")))
    found: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        body = await ask(fleet, "state", bucket="raw", limit=40, **span(begin, minutes_ago(0)), **cursor)
        assert len(body["items"]) <= 40
        found += [(item["ts"], item["value"]) for item in body["items"]]
        if body["next"] is None:
            break
        cursor = {"cursor": body["next"]}
    values = [(stamp(begin + timedelta(minutes=n)), "idle" if n % 3 else float(n)) for n in range(250)]
    assert found == [(stamp(begin), "first"), *values]
    assert body["bucket"] is None


async def test_raw_values_far_apart_are_found_in_one_page(fleet: Fleet):
    await fleet.register("truck-1")
    times = [minutes_ago(60 * 24 * days) for days in (6, 3, 1, 0.01)]
    await fleet.feed(*(("acme:truck-1", reading(at, n, x=n)) for n, at in enumerate(times)))
    body = await ask(fleet, "x", bucket="raw", **span(minutes_ago(60 * 24 * 30), minutes_ago(0)))
    assert [item["ts"] for item in body["items"]] == [stamp(at) for at in times]


def naive(
    sent: list[tuple[datetime, int, float]], since: datetime, until: datetime, width_s: int
) -> list[dict[str, Any]]:
    """Buckets of (time, order among equals, value), one by one."""
    groups: dict[int, list[tuple[datetime, int, float]]] = defaultdict(list)
    for at, order, value in sent:
        bucket = int(at.timestamp() // width_s) * width_s
        if bucket + width_s > since.timestamp() and bucket < until.timestamp():
            groups[bucket].append((at, order, value))
    return [
        {
            "ts": stamp(datetime.fromtimestamp(bucket, UTC)),
            "avg": sum(v for *_, v in rows) / len(rows),
            "min": min(v for *_, v in rows),
            "max": max(v for *_, v in rows),
            "last": max(rows)[2],
            "count": len(rows),
        }
        for bucket, rows in sorted(groups.items())
    ]


def assert_same(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    assert [{**b, "avg": 0} for b in found] == [{**b, "avg": 0} for b in wanted]
    for here, there in zip(found, wanted, strict=True):
        assert math.isclose(here["avg"], there["avg"], rel_tol=1e-12, abs_tol=1e-9)


async def test_buckets_equal_a_naive_computation_whatever_is_rolled_up(fleet: Fleet):
    await fleet.register("truck-1")
    dice = random.Random(7)
    until = minutes_ago(0)
    begin = until - timedelta(hours=9)
    sent: list[tuple[datetime, int, float]] = []

    async def send(count: int, boot: str, since: datetime) -> None:
        lasts = (until - since).total_seconds()
        fresh = [
            (since + timedelta(milliseconds=int(dice.uniform(0, lasts * 1000))), n, dice.uniform(-50, 150))
            for n in range(count)
        ]
        messages = [reading(at, n, boot=boot, x=value) for at, n, value in fresh]
        await fleet.feed(*(("acme:truck-1", messages[at : at + 500]) for at in range(0, count, 500)))
        sent.extend(fresh)

    async def check() -> None:
        for width in (1, 7, 10, 59, 60, 120, 300, 3600, 7200, 86_400):
            since = until - timedelta(seconds=min(9 * 3600, width * 5000)) + timedelta(seconds=13, milliseconds=7)
            body = await ask(fleet, "x", bucket=width, **span(since, until))
            assert body["bucket"] == width
            assert_same(body["items"], naive(sent, since, until, width))

    await send(1500, "b1", begin)
    await check()  # nothing is rolled up
    await fleet.roll_up()
    await check()  # everything is
    await send(300, "b2", begin)  # late, into hours and minutes that were
    await send(50, "b3", until - timedelta(minutes=2))
    await check()
    await fleet.roll_up()
    await check()


async def test_buckets_have_names_and_the_span_is_widened_to_whole_ones(fleet: Fleet):
    await fleet.register("truck-1")
    at = minutes_ago(90).replace(second=20)
    await fleet.feed(("acme:truck-1", [reading(at, 1, x=1), reading(at + timedelta(seconds=30), 2, x=3)]))
    narrow = span(at + timedelta(seconds=20), at + timedelta(seconds=25))
    for name, seconds in (("1m", 60), ("1h", 3600), ("90", 90)):
        body = await ask(fleet, "x", bucket=name, **narrow)
        assert body["bucket"] == seconds
        assert (datetime.fromisoformat(body["from"]).timestamp()) % seconds == 0
        assert (datetime.fromisoformat(body["to"]).timestamp()) % seconds == 0
    assert (await ask(fleet, "x", bucket="1m", **narrow))["items"] == [
        {"ts": stamp(at.replace(second=0)), "avg": 2.0, "min": 1.0, "max": 3.0, "last": 3.0, "count": 2}
    ]


@pytest.mark.parametrize(
    ("hours", "points", "width"),
    [(1, 500, 10), (24, 500, 300), (24, 24, 7200), (720, 720, 7200), (720, 800, 3600), (1, 1, 604_800)],
)
async def test_auto_takes_the_narrowest_usual_width_that_fits(fleet: Fleet, hours, points, width):
    await fleet.register("truck-1")
    until = datetime(2026, 11, 1, 0, 30, tzinfo=UTC)
    body = await ask(fleet, "x", points=points, **span(until - timedelta(hours=hours), until))
    assert body["bucket"] == width
    assert body["items"] == []


async def test_text_is_left_out_of_buckets_and_flags_count_as_numbers(fleet: Fleet):
    await fleet.register("truck-1")
    at = minutes_ago(5)
    values = [True, False, "off", True]
    await fleet.feed(
        ("acme:truck-1", [reading(at + timedelta(milliseconds=n), n, door=value) for n, value in enumerate(values)])
    )
    [bucket] = (await ask(fleet, "door", bucket="1h", **span(minutes_ago(60), minutes_ago(0))))["items"]
    assert (bucket["count"], bucket["min"], bucket["max"], bucket["last"]) == (3, 0.0, 1.0, 1.0)


async def test_the_largest_numbers_make_no_error(fleet: Fleet):
    """Ingest takes none as large as these, but may have once."""
    await fleet.register("truck-1")
    huge = [1.7e308, 1.7e308, 1.6e308]
    with psycopg.connect(fleet.urls.ingest) as conn:
        for n, value in enumerate(huge):
            conn.execute(
                "INSERT INTO telemetry.metric (ts, seq, received_at, value, tenant_id, device_id, boot, name)"
                " VALUES (%s, %s, now(), %s, 'acme', 'truck-1', 'b', 'x')",
                (minutes_ago(5), n, value),
            )
        conn.execute("SELECT telemetry.touch_minutes(ARRAY[date_trunc('minute', %s::timestamptz)])", (minutes_ago(5),))
    for width in ("1h", "1m", "10"):
        [bucket] = (await ask(fleet, "x", bucket=width, **span(minutes_ago(60), minutes_ago(0))))["items"]
        assert math.isclose(bucket["avg"], 1.7e308 / 3 * 2 + 1.6e308 / 3)
        assert (bucket["max"], bucket["count"]) == (1.7e308, 3)


@pytest.mark.parametrize(
    "query",
    [
        "bucket=0",
        "bucket=-60",
        "bucket=1d",
        "bucket=1.5",
        "bucket=99999999999999",
        "bucket=1e3",
        "bucket=%D9%A1",
        "bucket=1&from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:00Z",
        "points=0",
        "points=10001",
        "limit=0",
        "cursor=abc",
        "bucket=raw&cursor=WyIwMDAxLTAxLTAxVDAwOjAwOjAwIiwiYiIsMV0",
        "from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z",
        "unit=percent",
    ],
)
async def test_what_cannot_be_asked_is_refused(fleet: Fleet, query):
    await fleet.register("truck-1")
    answer = await fleet.acme.get(f"{PATH}/x?{query}")
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] in {"invalid_request", "invalid_cursor"}


@pytest.mark.parametrize("name", ["1x", "a%20b", "%C3%A9", "a" * 65, "%00"])
async def test_a_name_no_signal_can_have_is_refused(fleet: Fleet, name):
    await fleet.register("truck-1")
    assert (await fleet.acme.get(f"{PATH}/{name}")).status_code == 422


async def test_a_cursor_of_another_place_in_time_makes_no_error(fleet: Fleet):
    await fleet.register("truck-1")
    await fleet.feed(("acme:truck-1", reading(minutes_ago(5), 1, x=1)))
    body = await ask(fleet, "x", bucket="raw")
    assert len(body["items"]) == 1
    # a cursor in year 9999 and one in year 1, as a client might make them up
    for made_up in ("WyI5OTk5LTEyLTMxVDIzOjU5OjU5WiIsImIiLDFd", "WyIwMDAxLTAxLTAxVDAwOjAwOjAwWiIsImIiLDFd"):
        answer = await fleet.acme.get(f"{PATH}/x", params={"bucket": "raw", "cursor": made_up})
        assert answer.status_code in {200, 422}
