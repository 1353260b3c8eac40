"""What a device may write in an answer, and what it reads when it wrote something else."""

import asyncio
import base64
import contextlib
import json
from typing import Any

import cbor2
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.contract import wire
from commands.errors import AnswerRefused, InvalidAnswer, InvalidStateTransition
from commands.model import State
from tests.commands.world import TRUCK, World, offer, send

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
ANSWERS = st.fixed_dictionaries(
    {"status": st.sampled_from([*State, "DONE", 1, None])},
    optional={"statusReason": JSON, "result": JSON, "more": JSON},
)


@given(body=JSON | ANSWERS)
def test_whatever_an_answer_holds_it_is_read_or_refused_the_same_in_both_formats(body: Any) -> None:
    told = []
    for format_, payload in (("json", json.dumps(body).encode()), ("cbor", cbor2.dumps(body))):
        try:
            told.append(wire.read(payload, format_))
        except AnswerRefused as error:
            told.append(error.aws_error)
    assert told[0] == told[1] or "\\ud" in json.dumps(body)


@given(payload=st.binary(max_size=60), format_=st.sampled_from(["json", "cbor"]))
def test_any_bytes_are_read_or_refused(payload: bytes, format_: str) -> None:
    with contextlib.suppress(InvalidAnswer, InvalidStateTransition):
        wire.read(payload, format_)


@pytest.mark.parametrize(
    "body",
    [
        {"status": "SUCCEEDED", "statusReason": {"reasonCode": "lower"}},
        {"status": "SUCCEEDED", "statusReason": {"reasonDescription": "x" * 1025}},
        {"status": "SUCCEEDED", "statusReason": {"reasonDescription": "\0"}},
        {"status": "SUCCEEDED", "result": {"a": "b"}},
        {"status": "SUCCEEDED", "result": {"a": {"s": "b", "b": True}}},
        {"status": "SUCCEEDED", "result": {"a": {"bin": "not base64!"}}},
        {"status": "SUCCEEDED", "result": {"": {"s": "b"}}},
        {"status": "SUCCEEDED", "result": {"a": {"s": "x" * 17_000}}},
        {"status": "SUCCEEDED", "result": {str(n): {"b": True} for n in range(65)}},
        {"status": "succeeded"},
        {},
        [],
    ],
)
def test_what_is_no_answer_is_refused(body: Any) -> None:
    with pytest.raises(InvalidAnswer):
        wire.read(json.dumps(body).encode(), "json")


def test_a_result_is_kept_in_one_form() -> None:
    body = {
        "status": "FAILED",
        "result": {"a": {"S": "t"}, "b": {"B": False}, "c": {"BIN": base64.b64encode(b"x").decode()}},
    }
    assert wire.read(json.dumps(body).encode(), "json").result == {
        "a": {"s": "t"},
        "b": {"b": False},
        "c": {"bin": "eA=="},
    }


@pytest.mark.mosquitto
@pytest.mark.db
async def test_a_device_reads_what_was_wrong_and_goes_on(world: World) -> None:
    async with world.serving() as service:
        await offer(service)
        truck = await world.device()
        sent = await send(service)
        await asyncio.to_thread(truck.command)
        truck.say_raw(sent.id, b"{")
        said = await asyncio.to_thread(truck.hear, "response/rejected/json")
        assert (said["executionId"], said["error"]) == (sent.id, "InvalidRequest")
        assert (await asyncio.to_thread(truck.refused, sent.id, "CREATED"))[0] == "InvalidStateTransition"
        assert (await asyncio.to_thread(truck.refused, "cmd_nothing", "FAILED"))[0] == "ResourceNotFound"
        assert (await asyncio.to_thread(truck.answer, sent.id, "SUCCEEDED"))["status"] == "SUCCEEDED"
        truck.client.drop()


@pytest.mark.mosquitto
@pytest.mark.db
async def test_one_answer_that_cannot_be_kept_is_set_aside_and_the_others_count(world: World) -> None:
    with psycopg.connect(world.urls.owner) as conn:
        conn.execute("ALTER TABLE command ADD CHECK (reason NOT LIKE '%poison%')")
    world.settings = world.settings.model_copy(update={"batch_wait_ms": 300})
    async with world.serving() as service:
        await offer(service)
        truck, sibling = await world.device(), await world.device("acme:t2")
        bad, good = await send(service), await send(service, "acme:t2")
        for device in (truck, sibling):
            await asyncio.to_thread(device.command)
        truck.say(bad.id, "SUCCEEDED", statusReason={"reasonDescription": "poison"})
        sibling.say(good.id, "SUCCEEDED")
        said = await asyncio.to_thread(truck.hear, "response/rejected")
        assert (said["error"], said["errorMessage"]) == ("InternalFailure", "Internal service failure")
        await asyncio.to_thread(sibling.hear, "response/accepted")
        assert (world.state(good), world.state(bad) in {"CREATED", "SENT"}) == ("SUCCEEDED", True)
        truck.client.drop()
        sibling.client.drop()
    with psycopg.connect(world.urls.operator) as conn:
        letters = conn.execute("SELECT tenant_id, thing, reason FROM dead_letter").fetchall()
    assert letters == [("acme", TRUCK, "command_answer_failed")]
