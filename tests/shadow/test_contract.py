"""AWS IoT's shadow semantics, numbered, over MQTT on the real broker: what a device sends and what it hears."""

import json

import pytest

from tests.broker.wire import Closed
from tests.desk import thing
from tests.shadow.conftest import Serving
from tests.shadow.world import FOREIGN, SIBLING, TRUCK, World

pytestmark = [pytest.mark.mosquitto, pytest.mark.db]


def test_s01_get_of_an_absent_shadow_is_404(world: World) -> None:
    with world.device() as truck:
        truck.send("get", {"clientToken": "t"})
        [said] = truck.hear("get/rejected")
        assert (said["code"], said["message"]) == (404, f"No shadow exists with name: '{TRUCK}'")
        assert said["clientToken"] == "t"
        assert isinstance(said["timestamp"], int)
        assert truck.refused("get", b"", name="milk") == (404, "No shadow exists with name: 'milk'")
        assert truck.refused("delete", b"") == (404, f"No shadow exists with name: '{TRUCK}'")


def test_s02_the_first_update_creates_version_1(world: World) -> None:
    with world.device() as truck:
        said = truck.update({"state": {"reported": {"door": "open"}}, "clientToken": "abc"})
        at = said["timestamp"]
        assert said == {
            "state": {"reported": {"door": "open"}},
            "metadata": {"reported": {"door": {"timestamp": at}}},
            "version": 1,
            "timestamp": at,
            "clientToken": "abc",
        }
        whole = truck.get()
        assert (whole["state"], whole["version"]) == ({"reported": {"door": "open"}}, 1)
        assert whole["metadata"] == {"reported": {"door": {"timestamp": at}}}
        assert "clientToken" not in whole


def test_s03_an_update_merges_and_keeps_siblings(world: World) -> None:
    with world.device() as truck:
        truck.update({"state": {"reported": {"a": 1, "deep": {"x": 1, "y": 2}}}})
        said = truck.update({"state": {"reported": {"deep": {"y": 3}}}})
        assert said["state"] == {"reported": {"deep": {"y": 3}}}
        assert said["version"] == 2
        assert truck.get()["state"] == {"reported": {"a": 1, "deep": {"x": 1, "y": 3}}}


def test_s04_a_null_leaf_removes_the_key(world: World) -> None:
    with world.device() as truck:
        truck.update({"state": {"reported": {"a": 1, "deep": {"x": 1, "y": 2}}}})
        said = truck.update({"state": {"reported": {"deep": {"x": None}}}})
        assert said["state"] == {"reported": {"deep": {"x": None}}}
        whole = truck.get()
        assert whole["state"] == {"reported": {"a": 1, "deep": {"y": 2}}}
        assert "x" not in whole["metadata"]["reported"]["deep"]


def test_s05_desired_null_removes_the_section(world: World) -> None:
    with world.device() as truck:
        truck.update({"state": {"desired": {"a": 1}, "reported": {"a": 2}}})
        truck.hear("update/delta")
        truck.update({"state": {"desired": None}})
        whole = truck.get()
        assert whole["state"] == {"reported": {"a": 2}}
        assert set(whole["metadata"]) == {"reported"}
        truck.update({"state": None})
        assert truck.get()["state"] == {}
        assert truck.get()["version"] == 3


def test_s06_an_array_is_replaced_whole(world: World) -> None:
    with world.device() as truck:
        truck.update({"state": {"reported": {"stops": [1, 2, 3]}}})
        truck.update({"state": {"reported": {"stops": [4, {"x": 5}]}}})
        whole = truck.get()
        assert whole["state"]["reported"]["stops"] == [4, {"x": 5}]
        at = whole["metadata"]["reported"]["stops"][0]["timestamp"]
        assert whole["metadata"]["reported"]["stops"] == [{"timestamp": at}, {"x": {"timestamp": at}}]


def test_s07_an_array_that_holds_null_is_400(world: World) -> None:
    with world.device() as truck:
        for state in ({"a": [None]}, {"a": [[1], [{"b": None}]]}):
            assert truck.refused("update", {"state": {"desired": state}}) == (400, "State contains an invalid node")
        assert truck.refused("get", b"")[0] == 404


def test_s08_a_nested_delta_has_its_path_from_the_root(world: World) -> None:
    with world.device() as truck:
        truck.update({"state": {"reported": {"cool": {"on": True, "target": {"c": 4, "f": 39}}}}})
        said = truck.update({"state": {"desired": {"cool": {"on": True, "target": {"c": 3}}}}, "clientToken": "k"})
        [delta] = truck.hear("update/delta")
        assert delta["state"] == {"cool": {"target": {"c": 3}}}
        assert delta["metadata"] == {"cool": {"target": {"c": {"timestamp": said["timestamp"]}}}}
        assert (delta["version"], delta["clientToken"]) == (said["version"], "k")


def test_s09_a_delta_lists_old_and_new_differences(world: World) -> None:
    with world.device() as truck:
        truck.update({"state": {"desired": {"a": 1}}})
        assert truck.hear("update/delta")[0]["state"] == {"a": 1}
        truck.update({"state": {"desired": {"b": [1, 2]}}})
        assert truck.hear("update/delta")[0]["state"] == {"a": 1, "b": [1, 2]}
        truck.update({"state": {"reported": {"b": [1], "only-here": True}}})
        [delta] = truck.hear("update/delta")
        assert delta["state"] == {"a": 1, "b": [1, 2]}
        assert truck.get()["state"]["delta"] == {"a": 1, "b": [1, 2]}


def test_s10_there_is_no_delta_when_nothing_differs(world: World) -> None:
    with world.device() as truck:
        truck.update({"state": {"desired": {"a": 1, "b": {"c": [1]}}}})
        truck.hear("update/delta", "update/documents")
        truck.update({"state": {"reported": {"a": 1.0, "b": {"c": [1]}, "more": 2}}})
        truck.hear("update/documents")
        assert truck.unheard() == []
        assert "delta" not in truck.get()["state"]


def test_s11_a_stale_version_is_409_and_changes_nothing(world: World) -> None:
    with world.device() as truck:
        truck.update({"state": {"reported": {"a": 1}}})
        truck.update({"state": {"reported": {"a": 2}}, "version": 1})
        before = truck.get()
        for stale in (1, 3, 0):
            body = {"state": {"reported": {"a": 9}}, "version": stale}
            assert truck.refused("update", body) == (409, "Version conflict")
        after = truck.get()
        assert (after["state"], after["version"]) == (before["state"], 2)


def test_s12_deletion_keeps_the_version_counter(world: World) -> None:
    with world.device() as truck:
        truck.update({"state": {"reported": {"a": 1}}})
        truck.update({"state": {"reported": {"a": 2}}})
        truck.send("delete", {"clientToken": "d"})
        [gone] = truck.hear("delete/accepted")
        assert (gone["version"], gone["clientToken"]) == (2, "d")
        assert "state" not in gone
        assert truck.refused("get", b"")[0] == 404
        again = truck.update({"state": {"reported": {"b": 1}}})
        assert again["version"] > 2
        assert truck.get()["state"] == {"reported": {"b": 1}}


def _of_size(size: int) -> dict[str, object]:
    """Desired and reported that have exactly `size` bytes together."""
    reported = {"fill": ""}
    desired = {"a": "é"}
    taken = len(b'{"fill":""}') + len('{"a":"é"}'.encode())
    reported["fill"] = "x" * (size - taken)
    return {"desired": desired, "reported": reported}


def test_s13_8192_bytes_are_allowed_and_8193_are_413_after_the_merge(world: World) -> None:
    with world.device() as truck:
        truck.update({"state": _of_size(8192)})
        small = {"state": {"reported": {"fill2": 1}}}
        assert truck.refused("update", small) == (413, "The payload exceeds the maximum size allowed")
        assert truck.refused("update", {"state": _of_size(8193)}, name="other")[0] == 413
        assert truck.get()["version"] == 1


def test_s14_a_client_token_has_64_bytes_at_most(world: World) -> None:
    with world.device() as truck:
        assert truck.update({"state": {}, "clientToken": "é" * 32})["clientToken"] == "é" * 32
        body = {"state": {}, "clientToken": "é" * 32 + "x"}
        assert truck.refused("update", body) == (400, "Invalid clientToken")
        assert truck.refused("get", {"clientToken": "x" * 65}) == (400, "Invalid clientToken")


def test_s15_classic_and_named_shadows_know_nothing_of_each_other(world: World) -> None:
    with world.device() as truck:
        for number, name in enumerate(("", "milk", "$fw", "a:b_c-D")):
            assert truck.update({"state": {"reported": {"n": number}}}, name=name)["version"] == 1
        truck.send("delete", name="milk")
        truck.hear("delete/accepted", name="milk")
        assert truck.get()["state"] == {"reported": {"n": 0}}
        assert truck.get(name="$fw")["state"] == {"reported": {"n": 2}}
        assert truck.refused("get", b"", name="milk")[0] == 404
        assert truck.refused("update", {"state": {}}, name="x" * 65)[0] == 400
        assert truck.refused("update", {"state": {}}, name="a.b")[0] == 400


def test_s17_documents_tell_before_and_after_and_no_delta(world: World) -> None:
    with world.device() as truck:
        truck.update({"state": {"desired": {"a": 1}}, "clientToken": "one"})
        [first] = truck.hear("update/documents")
        assert first["previous"] is None
        assert (first["current"]["version"], first["clientToken"]) == (1, "one")
        truck.update({"state": {"reported": {"a": 2}}})
        [second] = truck.hear("update/documents")
        assert second["previous"] == first["current"]
        assert set(second["current"]) == {"state", "metadata", "version"}
        assert second["current"]["state"] == {"desired": {"a": 1}, "reported": {"a": 2}}
        assert set(second["current"]["metadata"]) == {"desired", "reported"}
        assert set(second) == {"previous", "current", "timestamp"}


def test_s18_an_update_by_the_service_tells_the_same_messages(serving: Serving, world: World) -> None:
    with world.device() as truck:
        truck.update({"state": {"reported": {"a": 1}}})
        body = json.dumps({"state": {"desired": {"a": 2}}, "clientToken": "rest"}).encode()
        answer = serving.call(serving.service.update(thing(TRUCK), body))
        told = {topic.partition("/shadow/")[2]: json.loads(payload) for topic, payload in world.news()[-3:]}
    assert told["update/accepted"] == answer
    assert (told["update/delta"]["state"], told["update/delta"]["version"]) == ({"a": 2}, 2)
    assert told["update/documents"]["current"]["state"] == {"desired": {"a": 2}, "reported": {"a": 1}}
    assert all(topic.startswith(f"$aws/things/{TRUCK}/shadow/update/") for topic, _ in world.news()[-3:])


@pytest.mark.parametrize("other", [SIBLING, FOREIGN])
@pytest.mark.parametrize("verb", ["get", "update", "delete"])
def test_s19_another_things_topic_is_denied(world: World, other: str, verb: str) -> None:
    with world.device(other) as victim, world.device() as thief:
        victim.update({"state": {"reported": {"secret": 1}}})
        victim.hear("update/documents")
        thief.client.subscribe(f"$aws/things/{other}/shadow/#", "$aws/things/+/shadow/#")
        victim.update({"state": {"reported": {"secret": 2}}})
        victim.hear("update/documents")
        assert thief.unheard() == []
        assert thief.client.publish(f"$aws/things/{other}/shadow/{verb}", b'{"state":{"reported":null}}') == 0x87
        with pytest.raises((Closed, TimeoutError)):
            thief.client.ping()
        assert victim.get()["state"] == {"reported": {"secret": 2}}
        assert victim.unheard() == []


@pytest.mark.parametrize(
    ("payload", "code", "message"),
    [
        (b"{", 400, "Invalid JSON"),
        (b"", 400, "Invalid JSON"),
        (b"[]", 400, "Invalid JSON"),
        (b'{"state":{"desired":{"a":NaN}}}', 400, "Invalid JSON"),
        (b'{"state":{"desired":{"a":1e999}}}', 400, "Invalid JSON"),
        (b"{}", 400, "Missing required node: state"),
        (b'{"state":3}', 400, "State node must be an object"),
        (b'{"state":{"desired":3}}', 400, "Desired node must be an object"),
        (b'{"state":{"reported":[]}}', 400, "Reported node must be an object"),
        (b'{"state":{},"version":"1"}', 400, "Invalid version"),
        (b'{"state":{},"version":1.5}', 400, "Invalid version"),
        (b'{"state":{},"version":true}', 400, "Invalid version"),
        (b'{"state":{},"clientToken":7}', 400, "Invalid clientToken"),
        (
            b'{"state":{"desired":{"1":{"2":{"3":{"4":{"5":{"6":1}}}}}},"reported":{"1":{"2":{"3":{"4":{"5":{"6":{"7":1}}}}}}}}}',
            400,
            "JSON contains too many levels of nesting; maximum is 6",
        ),
        (
            b'{"state":{"desired":' + b'{"a":' * 3000 + b"1" + b"}" * 3000 + b"}}",
            400,
            "JSON contains too many levels of nesting; maximum is 6",
        ),
        (b'{"state":{"desired":{"a":"\\u0000"}}}', 400, "State contains an invalid node"),
        (b'{"state":{"desired":{"a":"\xff"}}}', 415, "Unsupported documented encoding; supported encoding is UTF-8"),
    ],
)
def test_every_refusal_has_awss_code_and_words(world: World, payload: bytes, code: int, message: str) -> None:
    with world.device() as truck:
        assert truck.refused("update", payload) == (code, message)
        assert truck.refused("get", b"")[0] == 404


def test_six_levels_an_empty_object_and_any_number_are_kept_as_they_are(world: World) -> None:
    state = {
        "1": {"2": {"3": {"4": {"5": 6}}}},
        "e": {},
        "n": [1e300, -0.5, 2**70, True, 0, ""],
        "": "nameless",
        "é": "日本",
    }
    with world.device() as truck:
        truck.update({"state": {"reported": state}})
        truck.update({"state": {"reported": {"one": "more"}}})
        assert truck.get()["state"]["reported"] == {**state, "one": "more"}


def test_a_device_that_is_not_in_service_or_not_registered_is_refused(world: World) -> None:
    with world.device("acme:nobody") as stranger:
        assert stranger.refused("update", {"state": {}}) == (404, "Thing not found")
        assert stranger.refused("get", b"") == (404, "Thing not found")


def test_what_the_platform_says_itself_cannot_be_written(world: World) -> None:
    with world.device() as truck:
        for verb in ("update", "delete"):
            assert truck.refused(verb, {"state": {"reported": {}}}, name="$milkrun") == (403, "Forbidden")
