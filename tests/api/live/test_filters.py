"""Filters: what passes, what a snapshot shows, what leaves the box."""

import msgspec
import pytest

from api.access import Role
from api.live.stream.filters import Filter, InvalidFilter, Peek, Selection, peek
from tests.api.live.wire import Live

BOX = (9.0, 47.0, 10.0, 48.0)


def position(device: str, lat: float, lon: float) -> Peek:
    return peek(msgspec.json.encode({"type": "position", "data": {"device": device, "lat": lat, "lon": lon, "ts": 1}}))


def device(name: str, **labels: str) -> Peek:
    return peek(msgspec.json.encode({"type": "device", "data": {"device": name, "labels": labels, "status": "x"}}))


def presence(name: str) -> Peek:
    return peek(msgspec.json.encode({"type": "presence", "data": {"device": name, "online": True, "since": 1}}))


def selection(known=None, allowed=None, **parts) -> Selection:
    return Selection(msgspec.convert(parts, Filter), allowed, {} if known is None else known)


def test_without_a_filter_everything_passes():
    assert selection().is_everything
    assert selection(devices=[]).is_everything


def test_devices_are_chosen_by_name_for_every_event():
    chosen = selection(devices=["a"])
    assert [chosen.passes(event) for event in (position("a", 0, 0), presence("a"), device("a"))] == [True] * 3
    assert [chosen.passes(event) for event in (position("b", 0, 0), presence("b"), device("b"))] == [False] * 3


def test_a_box_is_for_positions_and_tells_once_of_a_vehicle_that_leaves():
    chosen = selection(bbox=BOX)
    way = [(47.5, 9.5), (47.5, 11.0), (47.5, 11.1), (47.5, 9.9), (49.0, 9.9)]
    assert [chosen.passes(position("a", lat, lon)) for lat, lon in way] == [True, True, False, True, True]
    assert chosen.passes(presence("a"))
    assert chosen.passes(device("a"))


def test_a_snapshot_says_who_is_outside_already():
    chosen = selection(bbox=BOX)
    assert chosen.shows("in", {}, 47.5, 9.5)
    assert not chosen.shows("out", {}, 46.0, 9.5)
    assert not chosen.shows("nowhere", {}, None, None)
    for name, lat, lon in (("in", 47.5, 9.5), ("out", 46.0, 9.5), ("nowhere", None, None)):
        chosen.place(name, lat, lon)
    assert not chosen.passes(position("out", 46.1, 9.5))
    assert not chosen.passes(position("nowhere", 46.1, 9.5))
    assert chosen.passes(position("in", 46.1, 9.5))
    # A replay has a memory of its own, and knows nobody yet.
    assert chosen.again().passes(position("out", 46.1, 9.5))


@pytest.mark.parametrize(("lon", "inside"), [(179.9, True), (-179.9, True), (0.0, False), (170.0, True), (-169, False)])
def test_a_box_may_cross_the_180th_meridian(lon, inside):
    assert selection(bbox=(170.0, -10.0, -170.0, 10.0)).shows("a", {}, 0.0, lon) is inside


def test_labels_are_those_of_now_and_a_change_is_told_either_way():
    labels = {"a": {"depot": "north"}, "b": {"depot": "south"}}
    chosen = selection(labels, labels={"depot": "north"})
    assert chosen.passes(position("a", 0, 0))
    assert not chosen.passes(position("b", 0, 0))
    assert not chosen.passes(position("unknown", 0, 0))
    assert chosen.passes(device("a", depot="south"))
    assert chosen.passes(device("b", depot="north"))
    assert not chosen.passes(device("b", depot="west"))
    labels["b"] = {"depot": "north"}
    assert chosen.passes(position("b", 0, 0))


def test_what_a_site_may_see_bounds_what_it_asks_for():
    assert not selection(allowed=frozenset()).passes(position("a", 0, 0))
    both = selection(allowed=frozenset({"a", "b"}), devices=["b", "c"])
    assert [both.passes(position(name, 0, 0)) for name in "abc"] == [False, True, False]


@pytest.mark.parametrize(
    "parts",
    [
        {"devices": ["x" * 65]},
        {"devices": ["a:b"]},
        {"devices": [f"d{n}" for n in range(1001)]},
        {"labels": {str(n): "x" for n in range(17)}},
        {"labels": {"a": 1}},
        {"bbox": [0, 10, 1, 5]},
        {"bbox": [0, 0, 181, 5]},
        {"bbox": [0, 0, 1]},
        {"more": 1},
    ],
)
def test_what_is_no_filter_is_refused(parts):
    with pytest.raises((InvalidFilter, msgspec.ValidationError)):
        msgspec.convert(parts, Filter)


def test_filters_that_mean_the_same_share_their_frames():
    one = msgspec.convert({"devices": ["b", "a"], "labels": {"x": "1", "y": "2"}}, Filter)
    other = msgspec.convert({"devices": ["a", "b", "a"], "labels": {"y": "2", "x": "1"}}, Filter)
    assert one.key == other.key
    assert one.key != msgspec.convert({"devices": ["a"]}, Filter).key


async def test_a_filtered_subscription_gets_its_part_and_no_more(api, fleet):
    await fleet.add("north-1", labels={"depot": "north"})
    await fleet.add("south-1", "south-2", labels={"depot": "south"})
    live = await Live.open(api, api.tokens.of("acme", Role.VIEWER))
    first = await live.subscribe(filter={"labels": {"depot": "north"}})
    assert [line["device"] for line in first["snapshot"]] == ["north-1"]
    await fleet.move("south-1", "north-1", "south-2")
    (event,) = await live.events(1)
    assert event["data"]["device"] == "north-1"
    # A vehicle joins the depot: its line is told, and from then on its positions.
    await fleet.relabel("south-1", {"depot": "north"})
    (event,) = await live.events(1)
    assert (event["type"], event["data"]["labels"]) == ("device", {"depot": "north"})
    await fleet.move("south-2", "south-1")
    (event,) = await live.events(1)
    assert event["data"]["device"] == "south-1"
    # Another leaves it: told as well, and then no more.
    await fleet.relabel("north-1", {})
    (event,) = await live.events(1)
    assert event["data"] == {"device": "north-1", "status": "active", "type": "tanker", "labels": {}}
    await fleet.move("north-1", "south-1")
    (event,) = await live.events(1)
    assert event["data"]["device"] == "south-1"
    await live.close()


async def test_a_box_moves_with_the_map_and_resumes(api, fleet):
    await fleet.add("a", "b")
    await fleet.fix([("a", 47.5, 9.5), ("b", 40.0, 9.5)])
    live = await Live.open(api, api.tokens.of("acme", Role.VIEWER))
    first = await live.subscribe(id="map", filter={"bbox": list(BOX)})
    assert [line["device"] for line in first["snapshot"]] == ["a"]
    while first["offset"] < 2:  # until the first fixes are in the log
        first = await live.subscribe(id="map", filter={"bbox": list(BOX)})
    await fleet.fix([("a", 49.0, 9.5), ("b", 40.1, 9.5)])
    (event,) = await live.events(1)
    assert (event["data"]["device"], event["data"]["lat"]) == ("a", 49.0)
    again = await live.subscribe(id="map", filter={"bbox": [9, 39, 10, 41]})
    assert [line["device"] for line in again["snapshot"]] == ["b"]
    # What left the box while the client was away is told when it comes back.
    place = {"epoch": first["epoch"], "offset": first["offset"]}
    back = await live.subscribe(id="map", filter={"bbox": list(BOX)}, **place)
    assert back["recovered"]
    assert "a" in {event["data"]["device"] for event in (await live.until("events"))["events"]}
    await live.close()
