"""What AWS (ministack) says of shadows is kept here, found by the search, and read anew after an absence."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import topics
from core.clock import utc_now
from core.db import Database
from core.mqtt import ConnectOptions, MqttConnection, tls_context
from core.mqtt.desk import Desk, DeskOptions, Message
from core.tenancy import Thing
from shadow.aws.client import IotData
from shadow.aws.mirror import ShadowMirror, newer, read_news
from shadow.model import NOTHING, Document, Key
from tests.conftest import DatabaseUrls
from tests.faults import until
from tests.shadow.aws.emulator import Emulator
from tests.shadow.world import FOREIGN, SIBLING, TRUCK

pytestmark = pytest.mark.db


@dataclass
class Mirrored:
    """A mirror at work, and what it keeps."""

    mirror: ShadowMirror
    urls: DatabaseUrls
    client: Any

    def rows(self) -> dict[tuple[str, str], tuple[bool, Any]]:
        with psycopg.connect(self.urls.operator) as conn:
            found = conn.execute(
                "SELECT tenant_id || ':' || device_id, name, is_deleted, reported::text FROM shadow"
            ).fetchall()
        return {(thing, name): (is_deleted, json.loads(reported)) for thing, name, is_deleted, reported in found}

    def leaves(self) -> set[tuple[str, str, str]]:
        with psycopg.connect(self.urls.operator) as conn:
            return set(conn.execute("SELECT device_id, field, key FROM shadow_leaf WHERE tenant_id = 'acme'"))

    def update(self, thing: str, state: Any, name: str = "") -> None:
        named = {"shadowName": name} if name else {}
        payload = json.dumps({"state": state}).encode()
        self.client.update_thing_shadow(thingName=thing, payload=payload, **named)


@pytest.fixture
async def mirrored(emulator: Emulator, registered: DatabaseUrls) -> AsyncIterator[Mirrored]:
    settings = emulator.settings()
    client = emulator.client()
    for thing in (TRUCK, SIBLING, FOREIGN):
        for named in ({}, {"shadowName": "milk"}):
            with contextlib.suppress(client.exceptions.ResourceNotFoundException):
                client.delete_thing_shadow(thingName=thing, **named)
    async with Database(registered.operator, pool_size=2) as operator, IotData(settings) as plane:
        mirror = ShadowMirror(database=operator, source=plane, settings=settings, clock=utc_now)
        yield Mirrored(mirror, registered, client)


@contextlib.asynccontextmanager
async def at_work(mirrored: Mirrored, emulator: Emulator) -> AsyncIterator[None]:
    options = DeskOptions(
        name="svc-shadow",
        filters=topics.shadow_news_filters(),
        batch_requests=100,
        batch_wait_s=0.005,
        receive_maximum=100,
    )
    desk = Desk(emulator.mqtt, options, mirrored.mirror)
    work = asyncio.create_task(desk.run())
    try:
        await until(lambda: desk._line is not None or work.done())
        yield
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def test_what_a_device_says_to_aws_over_mqtt_is_mirrored_and_searched(mirrored: Mirrored, emulator: Emulator):
    mqtt = emulator.mqtt
    tls = tls_context(mqtt.ca_file, mqtt.cert_file, mqtt.key_file)
    heard: list[bytes] = []
    device = MqttConnection(
        ConnectOptions(host=mqtt.host, port=mqtt.port, client_id=TRUCK, tls=tls), lambda m: heard.append(m.topic)
    )
    async with at_work(mirrored, emulator):
        await device.connect()
        try:
            await device.subscribe([topics.shadow(TRUCK, "", "update/delta")])
            # What is desired comes over MQTT, too: ministack tells nobody of an update over HTTP, which AWS does.
            for name, section, state in (
                ("", "reported", {"fw": "1.7", "oil": {"c": 80}}),
                ("milk", "reported", {"litres": [1, 2]}),
                ("", "desired", {"fw": "1.8"}),
            ):
                payload = json.dumps({"state": {section: state}}).encode()
                await device.publish(topics.shadow(TRUCK, name, "update"), payload)
            await until(lambda: ("t1", "delta\x01fw", '"1.8') in mirrored.leaves())
            await until(lambda: len(mirrored.rows()) == 2)
            await until(lambda: bool(heard))
        finally:
            await device.disconnect()
    assert mirrored.rows() == {
        (TRUCK, ""): (False, {"fw": "1.7", "oil": {"c": 80}}),
        (TRUCK, "milk"): (False, {"litres": [1, 2]}),
    }
    assert {("t1", "reported\x01oil\x01c", "#80.0"), ("t1", "reported\x01litres", "#2.0")} <= mirrored.leaves()
    assert heard == [topics.shadow(TRUCK, "", "update/delta").encode()]


async def test_what_was_said_while_nobody_was_there_is_read_at_the_start(mirrored: Mirrored):
    mirrored.update(TRUCK, {"reported": {"a": 1}})
    mirrored.update(FOREIGN, {"reported": {"a": 2}})
    mirrored.update("acme:nobody", {"reported": {"a": 3}})
    work = asyncio.create_task(mirrored.mirror.refresh())
    await until(lambda: len(mirrored.rows()) == 2)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert mirrored.rows() == {(TRUCK, ""): (False, {"a": 1}), (FOREIGN, ""): (False, {"a": 2})}


def documents(version: int, reported: Any) -> Message:
    body = {"previous": None, "current": {"state": {"reported": reported}, "metadata": {}, "version": version}}
    return Message(topics.shadow(TRUCK, "", "update/documents").encode(), json.dumps(body).encode(), 1)


def deletion(version: int) -> Message:
    payload = json.dumps({"version": version, "timestamp": 1}).encode()
    return Message(topics.shadow(TRUCK, "", "delete/accepted").encode(), payload, 1)


async def test_news_in_any_order_and_twice_ends_at_the_newest(mirrored: Mirrored):
    for batch in ([documents(2, {"n": 2}), documents(1, {"n": 1})], [documents(1, {"n": 1})], [documents(3, {"n": 3})]):
        await mirrored.mirror.settle(batch, is_backlog=False)
    assert mirrored.rows() == {(TRUCK, ""): (False, {"n": 3})}
    await mirrored.mirror.settle([deletion(3), documents(3, {"n": 3})], is_backlog=True)
    await mirrored.mirror.settle([documents(2, {"n": 2})], is_backlog=True)
    assert mirrored.rows() == {(TRUCK, ""): (True, {})}
    assert mirrored.leaves() == set()
    await mirrored.mirror.settle([documents(4, {"n": 4})], is_backlog=False)
    assert mirrored.rows() == {(TRUCK, ""): (False, {"n": 4})}


async def test_news_that_cannot_be_read_is_kept_as_a_dead_letter_and_holds_nothing_up(mirrored: Mirrored):
    bad = [
        Message(b"$aws/things/acme:t1/shadow/update/documents", b"{", 1),
        Message(b"$aws/things/acme:t1/shadow/update/documents", b'{"current":{"state":7}}', 2),
        Message(b"$aws/things/not-a-thing/shadow/update/documents", b"{}", 3),
        documents(1, {"a": "\0"}),
    ]
    await mirrored.mirror.settle([*bad, documents(1, {"n": 1})], is_backlog=False)
    assert mirrored.rows() == {(TRUCK, ""): (False, {"n": 1})}
    with psycopg.connect(mirrored.urls.operator) as conn:
        letters = conn.execute("SELECT tenant_id, reason FROM dead_letter").fetchall()
    assert letters == [("!", "shadow_failed")] * 4


@given(st.permutations([documents(1, {}), documents(2, {}), deletion(2), documents(3, {}), deletion(3)]))
def test_the_newest_is_the_same_in_every_order(told):
    found = NOTHING
    for message in told:
        key, document = read_news(message.topic, message.payload)
        assert key == Key(Thing.parse(TRUCK), "")
        found = newer(found, document)
    assert found == Document(version=3, exists=False)
