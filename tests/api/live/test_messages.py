"""What clients may say, and what they are told when they say something else."""

import json

import pytest

from api.access import Role
from core.settings import LiveSettings
from tests.api.live.wire import Live


@pytest.fixture
def live_settings() -> LiveSettings:
    return LiveSettings(subscriptions=2, ping_s=1, drain_s=0)


@pytest.fixture
async def live(api):
    live = await Live.open(api, api.tokens.of("acme", Role.VIEWER))
    yield live
    await live.close()


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("no JSON", "invalid_message", "not JSON"),
        ('{"type":"ping"', "invalid_message", "not JSON"),
        (b"\xff\xfe", "invalid_message", "not JSON"),
        ("[]", "invalid_message", "object"),
        ("7", "invalid_message", "object"),
        ("{}", "unknown_type", "auth, subscribe, unsubscribe, ping"),
        ('{"type":"dance"}', "unknown_type", "dance"),
        ('{"type":{"a":1}}', "unknown_type", "there are"),
        ('{"type":"subscribe"}', "invalid_message", "channel"),
        ('{"type":"subscribe","channel":7}', "invalid_message", "channel"),
        ('{"type":"subscribe","channel":"weather"}', "unknown_channel", "vehicles, events"),
        ('{"type":"subscribe","channel":"vehicles","id":""}', "invalid_message", "id"),
        ('{"type":"subscribe","channel":"vehicles","epoch":"1a"}', "invalid_message", "belong together"),
        ('{"type":"subscribe","channel":"vehicles","epoch":"1a","offset":-1}', "invalid_message", "offset"),
        ('{"type":"subscribe","channel":"vehicles","epoch":"1a","offset":1e99}', "invalid_message", "offset"),
        ('{"type":"subscribe","channel":"vehicles","filter":{"bbox":[1,2,3]}}', "invalid_message", "bbox"),
        ('{"type":"subscribe","channel":"vehicles","filter":{"bbox":[1,20,3,4]}}', "invalid_filter", "south"),
        ('{"type":"subscribe","channel":"vehicles","filter":{"bbox":[999,2,3,4]}}', "invalid_message", "bbox"),
        ('{"type":"subscribe","channel":"vehicles","filter":{"devices":["a b"]}}', "invalid_filter", "a b"),
        ('{"type":"subscribe","channel":"vehicles","filter":{"colour":"red"}}', "invalid_message", "colour"),
        ('{"type":"unsubscribe","id":"map"}', "unknown_subscription", "map"),
        ('{"type":"ping","at":"now"}', "invalid_message", "at"),
    ],
)
async def test_a_wrong_message_is_answered_with_what_is_wrong(live, text, code, says):
    await live.socket.send(text)
    error = await live.until("error")
    assert error["code"] == code
    assert says in error["detail"]
    # The connection goes on.
    await live.send(type="ping", at=1)
    assert (await live.until("pong"))["at"] == 1


async def test_an_error_names_the_subscription_it_is_about(live):
    await live.send(type="subscribe", channel="weather", id="map")
    assert (await live.until("error"))["id"] == "map"


async def test_a_message_over_64_kib_ends_the_connection(live):
    await live.socket.send(json.dumps({"type": "ping", "pad": "x" * 70_000}))
    assert await live.closed() == 1009


async def test_nothing_but_wrong_messages_ends_the_connection(live):
    for _ in range(10):
        await live.socket.send("{}")
    assert await live.closed() == 4000


async def test_a_flood_of_messages_ends_the_connection(live):
    for _ in range(70):
        await live.send(type="ping", at=1)
    assert await live.closed() == 4029


async def test_subscriptions_are_limited_and_replaced_by_name(live, fleet):
    await fleet.add("truck-1")
    await live.subscribe(id="one")
    await live.subscribe("events", id="two")
    await live.send(type="subscribe", channel="vehicles", id="three")
    error = await live.until("error")
    assert (error["code"], error["id"]) == ("too_many_subscriptions", "three")
    await live.subscribe(id="one", filter={"devices": ["truck-9"]})
    await live.send(type="unsubscribe", id="two")
    assert (await live.until("unsubscribed"))["id"] == "two"
    await live.subscribe(id="three")
    await fleet.report("truck-1", "door_open")
    await fleet.move("truck-1")
    frame = await live.until("events")
    assert (frame["id"], frame["events"][0]["type"]) == ("three", "position")  # `one` filters it, `two` is ended


async def test_two_subscriptions_of_one_channel_have_each_their_frames(live, fleet):
    await fleet.add("truck-1")
    await live.subscribe(id="all")
    await live.subscribe(id="mine", filter={"devices": ["truck-1"]})
    await fleet.move("truck-1")
    frames = [await live.until("events"), await live.until("events")]
    assert {frame["id"] for frame in frames} == {"all", "mine"}
    assert frames[0]["events"] == frames[1]["events"]


async def test_a_ping_tells_where_each_subscription_stands(live, fleet):
    await fleet.add("truck-1", "truck-2")
    first = await live.subscribe(id="map", filter={"devices": ["truck-2"]})
    await fleet.move("truck-1")
    ping = await live.until("ping")
    while ping["positions"]["map"]["offset"] == first["offset"]:
        ping = await live.until("ping")
    # Filtered out and yet passed: resuming from here misses nothing.
    assert ping["positions"] == {"map": {"epoch": first["epoch"], "offset": first["offset"] + 1}}
    assert ping["at"] > 1_700_000_000_000


async def test_the_channel_events_has_what_devices_report(live, fleet):
    await fleet.add("truck-1")
    assert (await live.subscribe("events"))["snapshot"] == []
    await fleet.report("truck-1", "door_open", door="rear", open=True)
    (event,) = await live.events(1)
    assert event["type"] == "event"
    assert event["data"] == {
        "device": "truck-1",
        "ts": 1_790_000_000_000,
        "type": "door_open",
        "data": {"door": "rear", "open": True},
    }


async def test_the_snapshot_and_the_events_have_the_form_of_the_page(live, fleet):
    await fleet.add("truck-1", labels={"depot": "north"})
    await fleet.add("old", status="decommissioned")
    await fleet.move("truck-1", lat=47.25, lon=9.75)
    await fleet.presence("truck-1", online=True, at=1_790_000_000_000)
    await fleet.add("new")
    first = await live.subscribe()
    nowhere = {"online": False, "since": None, "position": None}
    position = {"ts": fleet.ts["truck-1"], "lat": 47.25, "lon": 9.75, "speed": 13.5, "heading": 90}
    there = {"online": True, "since": 1_790_000_000_000, "position": position}
    about = {"status": "active", "type": "tanker"}
    assert first["snapshot"] == [
        {"device": "new", "labels": {}, **about, **nowhere},
        {"device": "truck-1", "labels": {"depot": "north"}, **about, **there},
    ]
    assert "recovered" not in first
    events = []
    while first["offset"] + len(events) < 2:  # what was not yet in the log when the position was taken
        events += (await live.until("events"))["events"]
    await fleet.presence("truck-1", online=False, at=1_790_000_009_000)
    (event,) = await live.events(1)
    assert event["data"] == {"device": "truck-1", "online": False, "since": 1_790_000_009_000}
    await fleet.status("truck-1", "suspended")
    (event,) = await live.events(1)
    assert event["data"] == {
        "device": "truck-1",
        "status": "suspended",
        "type": "tanker",
        "labels": {"depot": "north"},
    }
