"""A device's track: thinned, whole as files, and its edges."""

import asyncio
import csv
import io
import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from api.fleet import tracks
from ingest.history import track
from tests.api.fleet.conftest import Fleet
from tests.ingest.feed import minutes_ago, sample

pytestmark = [pytest.mark.db, pytest.mark.redis]
PATH = "/v1/devices/truck-1/track"


async def drive(fleet: Fleet, begin: datetime, seconds: list[int], boot: str = "b1") -> list[dict[str, Any]]:
    """A fix at each of these seconds, along a winding road; what was sent."""
    sent = [
        {
            "ts": int((begin + timedelta(seconds=s)).timestamp() * 1000),
            "boot": boot,
            "seq": s,
            "pos": {"lat": round(47 + s * 1e-5, 7), "lon": round(9 + 0.002 * math.sin(s / 40), 7), "speed": 13.9},
        }
        for s in seconds
    ]
    await fleet.feed(*(("acme:truck-1", sent[at : at + 500]) for at in range(0, len(sent), 500)))
    return sent


def stamp(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def ask(fleet: Fleet, **params: object) -> dict[str, Any]:
    answer = await fleet.acme.get(PATH, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_short_track_is_answered_whole(fleet: Fleet):
    await fleet.register("truck-1")
    begin = minutes_ago(30)
    sent = await drive(fleet, begin, list(range(0, 600, 5)))
    body = await ask(fleet)
    assert (body["device"], body["simplified"], body["recorded"]) == ("truck-1", False, 120)
    assert [p["ts"] for p in body["items"]] == [stamp(s["ts"]) for s in sent]
    assert body["items"][7] == {
        "ts": stamp(sent[7]["ts"]),
        "lat": sent[7]["pos"]["lat"],
        "lon": sent[7]["pos"]["lon"],
        "alt": None,
        "speed": 13.9,
        "heading": None,
        "acc": None,
    }


async def test_a_long_track_is_simplified_and_keeps_its_ends(fleet: Fleet):
    await fleet.register("truck-1")
    begin = minutes_ago(60)
    sent = await drive(fleet, begin, list(range(2000)))
    body = await ask(fleet, points=50)
    assert (len(body["items"]), body["simplified"], body["recorded"]) == (50, True, 2000)
    assert body["items"][0]["ts"] == stamp(sent[0]["ts"])
    assert body["items"][-1]["ts"] == stamp(sent[-1]["ts"])
    places = {(stamp(s["ts"]), s["pos"]["lat"], s["pos"]["lon"]) for s in sent}
    assert {(p["ts"], p["lat"], p["lon"]) for p in body["items"]} <= places
    await fleet.roll_up()
    assert await ask(fleet, points=50) | {"from": 0, "to": 0} == body | {"from": 0, "to": 0}
    two = await ask(fleet, points=2)
    assert [p["ts"] for p in two["items"]] == [stamp(sent[0]["ts"]), stamp(sent[-1]["ts"])]


@pytest.mark.parametrize("at_once", [250_000, 100])
async def test_a_gap_keeps_both_its_ends_however_the_track_is_read(fleet: Fleet, monkeypatch, at_once):
    monkeypatch.setattr(track, "FIXES_AT_ONCE", at_once)
    await fleet.register("truck-1")
    begin = minutes_ago(120)
    sent = await drive(fleet, begin, [*range(1000), *range(3000, 4000)])
    body = await ask(fleet, points=40, **{"from": begin.isoformat(), "to": minutes_ago(0).isoformat()})
    assert (len(body["items"]), body["recorded"]) == (40, 2000)
    shown = {p["ts"] for p in body["items"]}
    assert {stamp(sent[i]["ts"]) for i in (0, 999, 1000, 1999)} <= shown


async def test_the_number_recorded_is_exact_at_any_edge_with_and_without_rollups(fleet: Fleet):
    await fleet.register("truck-1")
    begin = minutes_ago(90).replace(second=0)
    await drive(fleet, begin, list(range(0, 3600, 7)))
    await fleet.roll_up()
    late = [s for s in range(3, 1000, 100) if s % 7]
    await drive(fleet, begin, late, boot="b2")  # late, into minutes that are rolled up already
    times = [*range(0, 3600, 7), *late]
    for since, until in (
        (0, 3600),
        (1, 3599),
        (30, 31),
        (59, 61),
        (60, 120),
        (61, 3000),
        (7, 8),
        (3500, 4000),
        (10, 45),
    ):
        span = {
            "from": (begin + timedelta(seconds=since)).isoformat(),
            "to": (begin + timedelta(seconds=until)).isoformat(),
        }
        body = await ask(fleet, **span)
        assert body["recorded"] == len([s for s in times if since <= s < until]), (since, until)
        assert len(body["items"]) == body["recorded"]


async def test_fixes_of_one_instant_are_each_answered(fleet: Fleet):
    await fleet.register("truck-1")
    at = minutes_ago(3)
    await fleet.feed(("acme:truck-1", sample(at, 1)), ("acme:truck-1", sample(at, 1, boot="b2", lat=47.0001)))
    assert [p["lat"] for p in (await ask(fleet))["items"]] == [47.0, 47.0001]


async def test_a_device_without_fixes_has_an_empty_track_and_empty_files(fleet: Fleet):
    await fleet.register("truck-1")
    body = await ask(fleet)
    assert (body["items"], body["simplified"], body["recorded"]) == ([], False, 0)
    assert len((await fleet.acme.get(PATH, params={"format": "csv"})).text.splitlines()) == 1
    assert (await fleet.acme.get(PATH, params={"format": "geojson"})).json()["features"] == []


async def test_files_hold_every_fix(fleet: Fleet):
    await fleet.register("truck-1")
    begin = minutes_ago(60)
    sent = await drive(fleet, begin, list(range(1500)))
    stamps = [stamp(s["ts"]) for s in sent]
    answer = await fleet.acme.get(PATH, params={"format": "csv", "points": 10})
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"].startswith('attachment; filename="truck-1-')
    assert [line["ts"] for line in csv.DictReader(io.StringIO(answer.text))] == stamps
    answer = await fleet.acme.get(PATH, params={"format": "geojson"})
    assert answer.headers["content-type"].startswith("application/geo+json")
    assert [f["properties"]["ts"] for f in json.loads(answer.text)["features"]] == stamps
    answer = await fleet.acme.get(PATH, params={"format": "gpx"})
    assert answer.headers["content-type"].startswith("application/gpx+xml")
    found = ET.fromstring(answer.text).iter("{http://www.topografix.com/GPX/1/1}time")
    assert [each.text for each in found] == stamps


async def test_downloads_leave_connections_for_everybody_else(fleet: Fleet, monkeypatch):
    monkeypatch.setattr(tracks, "MOST_DOWNLOADS", 0)
    await fleet.register("truck-1")
    answer = await fleet.acme.get(PATH, params={"format": "csv"})
    assert (answer.status_code, answer.json()["code"]) == (503, "downloads_busy")


async def test_a_download_that_is_broken_off_gives_its_connection_back(fleet: Fleet):
    await fleet.register("truck-1")
    await drive(fleet, minutes_ago(120), list(range(6000)))
    for _ in range(12):
        async with fleet.acme.stream("GET", PATH, params={"format": "geojson"}) as answer:
            await anext(answer.aiter_raw())
        while tracks._Download._running:  # noqa: ASYNC110  nothing tells of it
            await asyncio.sleep(0.01)
    assert (await ask(fleet))["recorded"] == 6000


async def test_the_span_is_read_with_any_offset_and_a_bare_plus(fleet: Fleet):
    await fleet.register("truck-1")
    begin = minutes_ago(60).replace(minute=0)
    await drive(fleet, begin, [0, 60, 120, 180])
    since, until = begin + timedelta(hours=2, seconds=60), begin + timedelta(seconds=180)
    query = f"from={since:%Y-%m-%dT%H:%M:%S}+02:00&to={until:%Y-%m-%dT%H:%M}Z"
    answer = await fleet.acme.get(f"{PATH}?{query}")
    assert [p["ts"] for p in answer.json()["items"]] == [
        stamp(int((begin + timedelta(seconds=s)).timestamp() * 1000)) for s in (60, 120)
    ]


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-11-21",
        "from=2026-11-21T06:30:00",
        "from=yesterday",
        "from=1790000000000",
        "from=2026-02-30T00:00:00Z",
        "from=2026-11-21T24:30:00Z",
        "from=0001-01-01T00:00:00%2B14:00",
        "to=9999-12-31T23:59:59-14:00",
        "from=2026-11-21T00:00:00Z&to=2026-11-21T00:00:00Z",
        "from=2026-11-22T00:00:00Z&to=2026-11-21T00:00:00Z",
        "from=2026-10-01T00:00:00Z&to=2026-11-21T00:00:00Z",
        "from=2099-01-01T00:00:00Z",
        "from=2026-11-21T00:00:00%2B99:99",
        "points=1",
        "points=5001",
        "points=-5",
        "points=1.5",
        "format=xlsx",
        "simplify=yes",
    ],
)
async def test_a_span_that_cannot_be_is_refused(fleet: Fleet, query):
    await fleet.register("truck-1")
    answer = await fleet.acme.get(f"{PATH}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), answer.text


@pytest.mark.parametrize(
    "query",
    [
        "from=1970-01-01T00:00:00Z&to=1970-01-01T00:00:01Z",
        "from=2099-12-31T23:59:59.999999Z&to=2099-12-31T23:59:59.9999999Z".replace("9999999Z", "999999%2B00:00"),
        "to=2099-12-31T23:59:59Z",
    ],
)
async def test_the_ends_of_time_are_answered(fleet: Fleet, query):
    await fleet.register("truck-1")
    assert (await fleet.acme.get(f"{PATH}?{query}")).status_code in {200, 422}


async def test_a_track_that_is_known_is_not_sent_again_until_a_late_fix_comes(fleet: Fleet):
    await fleet.register("truck-1")
    begin = minutes_ago(60)
    await drive(fleet, begin, list(range(0, 600, 5)))
    span = {"from": begin.isoformat(), "to": minutes_ago(30).isoformat()}
    first = await fleet.acme.get(PATH, params=span)
    known = {"If-None-Match": first.headers["etag"]}
    assert (await fleet.acme.get(PATH, params=span, headers=known)).status_code == 304
    assert (await fleet.acme.get(PATH, params=span | {"points": 10}, headers=known)).status_code == 200
    await fleet.roll_up()
    assert (await fleet.acme.get(PATH, params=span, headers=known)).status_code == 304
    await drive(fleet, begin, [7], boot="late")
    answer = await fleet.acme.get(PATH, params=span, headers=known)
    assert (answer.status_code, len(answer.json()["items"]), answer.json()["recorded"]) == (200, 121, 121)
