"""The same operations on ministack's shadows and on ours give the same documents, versions and error codes.

Where they do not, the difference is one of DIFFERENCES, and a test below holds both sides to it, so that one which has
gone is noticed.
"""

import json
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import topics
from core.mqtt import ConnectOptions, MqttConnection, tls_context
from core.tenancy import Thing
from shadow.errors import ShadowRefused
from shadow.service import ShadowService
from tests.conftest import DatabaseUrls
from tests.faults import until
from tests.shadow.aws.emulator import Emulator

pytestmark = pytest.mark.db

_GUIDE = "https://docs.aws.amazon.com/iot/latest/developerguide/"
DIFFERENCES = {
    "deletion counts": "Ours raises the version with a deletion, as Greengrass does. AWS says that the version is not"
    f" reset, and no more: {_GUIDE}device-shadow-data-flow.html",
    "metadata of the delta": "ministack adds it to a get; AWS's example has metadata of desired and reported alone:"
    f" {_GUIDE}device-shadow-document.html",
    "metadata of arrays": "One stamp from ministack, one for each element from AWS and ours:"
    f" {_GUIDE}device-shadow-document.html#device-shadow-example-response-json",
    "metadata of what is gone": "ministack keeps stamps of emptied sections and of a value that became an object;"
    f" metadata has the shape of the state: {_GUIDE}device-shadow-document.html",
    "words of a 404": f"AWS puts the name in quotation marks: {_GUIDE}device-shadow-error-messages.html",
    "a null section in the answer": "Ours repeats it, as AWS's accepted has all that the request named:"
    f" {_GUIDE}device-shadow-mqtt.html#update-accepted-pub-sub-topic",
    "nulls in a new object": "ministack keeps them; null means that there is nothing:"
    f" {_GUIDE}device-shadow-document.html#device-shadow-empty-fields",
    "true is 1": "To ministack, which compares as Python does; JSON has two types.",
    "news of HTTP": "ministack tells nobody over MQTT of an update over HTTP; AWS sends the same messages:"
    f" {_GUIDE}device-shadow-rest-api.html",
    "limits": "ministack has none; AWS refuses with 400 and 413 more levels than 6, a null in an array, a token of more"
    f" than 64 bytes and more than 8 KB: {_GUIDE}device-shadow-error-messages.html",
}

NAMES = st.sampled_from(["", "milk"])
KEYS = st.sampled_from(["a", "b", "timestamp"])
LEAVES = st.sampled_from([True, False, 2, 3, 2.5, -4, "", "x", "é"])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(LEAVES, max_size=2) | st.dictionaries(KEYS, inner, max_size=2), max_leaves=5
)
PATCHES = st.dictionaries(KEYS, VALUES | st.none(), max_size=3)


@dataclass(frozen=True)
class Operation:
    """One request. `version`: how far from the current one, None to name none."""

    verb: str
    name: str
    sections: dict[str, Any]
    version: int | None
    token: str | None


OPERATIONS = st.one_of(
    st.builds(
        Operation,
        st.just("update"),
        NAMES,
        st.dictionaries(st.sampled_from(["desired", "reported"]), PATCHES | st.none(), max_size=2),
        st.sampled_from([None, None, 0, 0, 1, -1]),
        st.sampled_from([None, "t", "x" * 64]),
    ),
    st.builds(Operation, st.sampled_from(["get", "get", "delete"]), NAMES, st.just({}), st.none(), st.none()),
)


class Theirs:
    """ministack, asked as AWS is."""

    def __init__(self, client: Any, thing: Thing) -> None:
        self._client, self._thing = client, thing

    def do(self, verb: str, name: str, body: dict[str, Any]) -> tuple[int, Any]:
        named = {"shadowName": name} if name else {}
        payload = {"payload": json.dumps(body).encode()} if verb == "update" else {}
        try:
            said = getattr(self._client, f"{verb}_thing_shadow")(thingName=str(self._thing), **named, **payload)
        except ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"], None
        return 200, json.loads(said["payload"].read())


async def ours(service: ShadowService, thing: Thing, verb: str, name: str, body: dict[str, Any]) -> tuple[int, Any]:
    try:
        if verb == "update":
            return 200, await service.update(thing, json.dumps(body).encode(), name)
        return 200, await (service.get(thing, name) if verb == "get" else service.delete(thing, name))
    except ShadowRefused as refused:
        return refused.aws_code, None


class Versions:
    """Which version of theirs each of ours is: `deletion counts`."""

    def __init__(self) -> None:
        self.mine: dict[str, int] = {}
        self.deletions: dict[str, int] = {}

    def theirs(self, name: str) -> int:
        return self.mine.get(name, 0) - self.deletions.get(name, 0)


def plain(document: Any) -> Any:
    """A document without what the two are known to tell differently."""
    if document is None or "state" not in document:
        return document and {"version": document["version"]}
    state = {name: tree for name, tree in document["state"].items() if tree is not None}
    stamps = {name: shape(document["metadata"].get(name, {}), tree) for name, tree in state.items() if name != "delta"}
    kept = {key: document[key] for key in ("clientToken",) if key in document}
    return {"state": state, "metadata": stamps, "version": document["version"], **kept}


def shape(stamps: Any, value: Any) -> Any:
    """Where a value has its stamp: below each name of an object, once for an array."""
    if isinstance(value, dict):
        return {key: shape(stamps.get(key), each) for key, each in value.items()}
    while isinstance(stamps, list):
        if not stamps:
            return "stamped"
        stamps = stamps[0]
    return "stamped" if isinstance(stamps, dict) and isinstance(stamps.get("timestamp"), int | dict) else stamps


async def test_the_same_operations_give_the_same_documents_versions_and_codes(
    emulator: Emulator, here: ShadowService, registered: DatabaseUrls
):
    examples: list[list[Operation]] = []

    @settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(OPERATIONS, min_size=1, max_size=10))
    def collect(operations: list[Operation]) -> None:
        examples.append(operations)

    collect()
    with psycopg.connect(registered.operator) as conn:
        conn.execute(
            "INSERT INTO device (tenant_id, device_id, status) SELECT 'acme', 'x' || n, 'active'"
            " FROM generate_series(1, %s) n",
            (len(examples),),
        )
    client, codes = emulator.client(), set()
    for number, operations in enumerate(examples, 1):
        thing = Thing.parse(f"acme:x{number}")
        codes |= await compared(here, Theirs(client, thing), thing, operations)
    assert codes == {200, 404, 409}


async def compared(here: ShadowService, theirs: Theirs, thing: Thing, operations: list[Operation]) -> set[int]:
    versions, codes = Versions(), set()
    for at, op in enumerate(operations):
        body: dict[str, Any] = {"state": op.sections}
        their_body = dict(body)
        if op.token is not None:
            body["clientToken"] = their_body["clientToken"] = op.token
        if op.version is not None:
            version = max(0, versions.theirs(op.name) + op.version)
            their_body["version"] = version
            body["version"] = version + versions.deletions.get(op.name, 0)
        their_code, their_document = theirs.do(op.verb, op.name, their_body)
        code, document = await ours(here, thing, op.verb, op.name, body)
        assert code == their_code, (at, operations)
        codes.add(code)
        if code != 200:
            continue
        mine = plain(document)
        mine["version"] -= versions.deletions.get(op.name, 0)
        assert mine == plain(their_document), (at, operations)
        versions.mine[op.name] = document["version"]
        if op.verb == "delete":
            versions.mine[op.name] += 1
            versions.deletions[op.name] = versions.deletions.get(op.name, 0) + 1
    return codes


@pytest.mark.parametrize("difference", [name for name in DIFFERENCES if name not in {"words of a 404", "news of HTTP"}])
async def test_a_known_difference_is_still_there(  # noqa: C901  a case for each difference
    emulator: Emulator, here: ShadowService, difference: str
):
    thing = Thing.parse("acme:t1")
    theirs = Theirs(emulator.client(), Thing.parse(f"acme:known-{difference.replace(' ', '-')}"))

    async def both(verb: str, state: Any = None, **more: Any) -> tuple[tuple[int, Any], tuple[int, Any]]:
        body = {"state": state, **more}
        return theirs.do(verb, "", body), await ours(here, thing, verb, "", body)

    match difference:
        case "deletion counts":
            await both("update", {})
            await both("delete")
            (_, one), (_, other) = await both("update", {})
            assert (one["version"], other["version"]) == (2, 3)
        case "metadata of the delta":
            await both("update", {"desired": {"a": 2}})
            (_, one), (_, other) = await both("get")
            assert ("delta" in one["metadata"], "delta" in other["metadata"]) == (True, False)
        case "metadata of arrays":
            (_, one), (_, other) = await both("update", {"desired": {"a": [2, 3]}})
            found = [type(each["metadata"]["desired"]["a"]) for each in (one, other)]
            assert found == [dict, list]
        case "metadata of what is gone":
            await both("update", {"desired": {"a": 2}})
            await both("update", {"desired": {"a": {"b": 2}}})
            (_, one), (_, other) = await both("get")
            found = [set(each["metadata"]["desired"]["a"]) for each in (one, other)]
            assert found == [{"timestamp", "b"}, {"b"}]
        case "a null section in the answer":
            (_, one), (_, other) = await both("update", {"desired": None})
            assert (one["state"], other["state"]) == ({}, {"desired": None})
        case "nulls in a new object":
            await both("update", {"desired": {"a": {"b": None, "c": 2}}})
            (_, one), (_, other) = await both("get")
            assert (one["state"]["desired"]["a"], other["state"]["desired"]["a"]) == ({"b": None, "c": 2}, {"c": 2})
        case "true is 1":
            await both("update", {"desired": {"a": True}, "reported": {"a": 1}})
            (_, one), (_, other) = await both("get")
            assert ("delta" in one["state"], "delta" in other["state"]) == (False, True)
        case "limits":
            deep: Any = 1
            for _ in range(7):
                deep = {"a": deep}
            for state, more, code in (
                ({"desired": {"a": [None]}}, {}, 400),
                ({"desired": deep}, {}, 400),
                ({}, {"clientToken": "x" * 65}, 400),
                ({"desired": {"a": "x" * 8200}}, {}, 413),
            ):
                (one, _), (other, _) = await both("update", state, **more)
                assert (one, other) == (200, code)


async def test_ministack_tells_nobody_of_an_update_over_http(emulator: Emulator):
    mqtt, heard = emulator.mqtt, list[bytes]()
    tls = tls_context(mqtt.ca_file, mqtt.cert_file, mqtt.key_file)
    options = ConnectOptions(host=mqtt.host, port=mqtt.port, client_id="acme:http", tls=tls)
    device = MqttConnection(options, lambda message: heard.append(message.topic))
    await device.connect()
    await device.subscribe([topics.shadow("acme:http", "", "update/#"), topics.shadow("acme:http", "", "get/accepted")])
    emulator.client().update_thing_shadow(thingName="acme:http", payload=b'{"state":{"desired":{"a":1}}}')
    await device.publish(topics.shadow("acme:http", "", "get"), b"")
    await until(lambda: bool(heard))
    await device.disconnect()
    assert heard == [topics.shadow("acme:http", "", "get/accepted").encode()]


async def test_the_words_of_a_404_differ(emulator: Emulator, here: ShadowService):
    with pytest.raises(ClientError, match=r"No shadow exists with name: acme:none$"):
        emulator.client().get_thing_shadow(thingName="acme:none")
    with pytest.raises(ShadowRefused, match=r"No shadow exists with name: 'acme:t1'$"):
        await here.get(Thing.parse("acme:t1"))
