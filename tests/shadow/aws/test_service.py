"""The use cases in mode aws: the same documents and errors, kept by AWS (ministack), devices judged by our registry."""

import asyncio
import json
import socket
from typing import Any

import pytest

from core.clock import utc_now
from core.db import Database
from core.settings import ShadowSettings
from shadow.aws.client import AwsUnavailable, IotData
from shadow.aws.mode import shadows
from shadow.aws.service import AwsShadows
from shadow.errors import (
    InvalidShadowRequest,
    ShadowForbidden,
    ShadowNotFound,
    ShadowVersionConflict,
    ShadowVersionMoved,
    ThingNotFound,
)
from shadow.model import Key
from shadow.service import ShadowService
from tests.conftest import DatabaseUrls
from tests.desk import execute, thing
from tests.shadow.aws.emulator import Emulator
from tests.shadow.world import FOREIGN, SIBLING, TRUCK

pytestmark = pytest.mark.db


def body(**request: object) -> bytes:
    return json.dumps(request).encode()


@pytest.fixture(autouse=True)
async def _nothing_there(there: AwsShadows) -> None:
    for name in (TRUCK, SIBLING, FOREIGN):
        for shadow in ("", "milk"):
            try:
                await there.delete(thing(name), shadow)
            except ShadowNotFound:
                continue


async def test_get_update_and_delete_are_awss_own(there: AwsShadows, emulator: Emulator):
    with pytest.raises(ShadowNotFound, match=f"No shadow exists with name: '{TRUCK}'"):
        await there.get(thing(TRUCK))
    said = await there.update(thing(TRUCK), body(state={"desired": {"fan": 3}}, clientToken="r"))
    assert (said["state"], said["clientToken"]) == ({"desired": {"fan": 3}}, "r")
    kept = emulator.client().get_thing_shadow(thingName=TRUCK)["payload"].read()
    assert json.loads(kept)["state"] == {"desired": {"fan": 3}, "delta": {"fan": 3}}
    whole = await there.get(thing(TRUCK))
    assert whole["state"] == {"desired": {"fan": 3}, "delta": {"fan": 3}}
    await there.update(thing(TRUCK), body(state={"desired": {"t": 4}}), "milk")
    assert (await there.get(thing(TRUCK), "milk"))["state"]["desired"] == {"t": 4}
    assert (await there.delete(thing(TRUCK)))["version"] == whole["version"]
    with pytest.raises(ShadowNotFound):
        await there.get(thing(TRUCK))


async def test_a_stale_version_is_a_conflict_and_a_stale_etag_a_failed_precondition(there: AwsShadows):
    at = (await there.update(thing(TRUCK), body(state={"desired": {"n": 1}})))["version"]
    stale = body(state={"desired": {"n": 2}}, version=at + 5)
    with pytest.raises(ShadowVersionConflict):
        await there.update(thing(TRUCK), stale)
    with pytest.raises(ShadowVersionConflict):
        await there.update(thing(TRUCK), stale, expected=at)
    with pytest.raises(ShadowVersionMoved):
        await there.update(thing(TRUCK), body(state={"desired": {"n": 2}}), expected=at + 5)
    with pytest.raises(ShadowVersionMoved):
        await there.delete(thing(TRUCK), expected=at + 5)
    assert (await there.get(thing(TRUCK)))["state"]["desired"] == {"n": 1}
    assert (await there.update(thing(TRUCK), body(state={}), expected=at))["version"] == at + 1


async def test_counting_with_versions_by_four_writers_counts_every_time(there: AwsShadows):
    await there.update(thing(TRUCK), body(state={"reported": {"n": 0}}))

    async def count() -> None:
        for _ in range(5):
            while True:
                now = await there.get(thing(TRUCK))
                more = {"reported": {"n": now["state"]["reported"]["n"] + 1}}
                try:
                    await there.update(thing(TRUCK), body(state=more, version=now["version"]))
                except ShadowVersionConflict:
                    continue
                break

    await asyncio.gather(*(count() for _ in range(4)))
    assert (await there.get(thing(TRUCK)))["state"]["reported"] == {"n": 20}


async def test_what_is_wrong_by_itself_never_reaches_aws(there: AwsShadows):
    for wrong in (b"{", body(), body(state={"desired": {"a": [None]}}), body(state={}, clientToken="x" * 65)):
        with pytest.raises(InvalidShadowRequest):
            await there.update(thing(TRUCK), wrong)
    with pytest.raises(InvalidShadowRequest, match="is not allowed: use 1 to 64"):
        await there.get(thing(TRUCK), "a/b")
    with pytest.raises(ShadowForbidden):
        await there.update(thing(TRUCK), body(state={}), "$milkrun")
    with pytest.raises(ShadowNotFound):
        await there.get(thing(TRUCK))


async def test_a_device_that_is_not_registered_is_not_found_whatever_aws_knows(there: AwsShadows, emulator: Emulator):
    emulator.client().update_thing_shadow(thingName="acme:nobody", payload=body(state={"reported": {"a": 1}}))
    nobody = thing("acme:nobody")
    for ask in (there.get(nobody), there.update(nobody, body(state={})), there.delete(nobody), there.names(nobody)):
        with pytest.raises(ThingNotFound):
            await ask


async def test_the_last_known_state_is_our_own(there: AwsShadows, registered: DatabaseUrls):
    execute(
        registered,
        "INSERT INTO device_state (tenant_id, device_id, last_seen_at, ts, boot, seq, lat, lon, ledger)"
        " VALUES ('acme', 't1', now(), now(), 'b', 1, 47.5, 9.25, '')",
    )
    said = await there.get(thing(TRUCK), "$milkrun")
    assert said["state"]["reported"]["position"] == {"lat": 47.5, "lon": 9.25}


async def test_the_witness_is_told_after_aws_has_agreed_and_not_where_it_refused(there: AwsShadows):
    told: list[tuple[str, Any]] = []

    async def witness(tx: Any, answer: Any) -> None:
        told.append((tx.tenant, answer["version"]))

    at = (await there.update(thing(TRUCK), body(state={}), witness=witness))["version"]
    with pytest.raises(ShadowVersionConflict):
        await there.update(thing(TRUCK), body(state={}, version=at + 9), witness=witness)
    await there.delete(thing(TRUCK), witness=witness)
    assert told == [("acme", at), ("acme", at)]


async def test_aws_that_does_not_answer_is_unavailable_in_time_and_holds_nobody_else_up(
    emulator: Emulator, registered: DatabaseUrls
):
    # Connections come about, and nobody takes them.
    silent = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{silent.getsockname()[1]}"
    settings = emulator.settings(aws_timeout_s=0.3, aws_connections=2).model_copy(update={"aws_endpoint_url": url})
    with silent:
        async with Database(registered.app) as app, IotData(settings) as plane:
            service = AwsShadows(plane=plane, database=app, settings=settings, clock=utc_now)
            asked = [service.get(thing(TRUCK)) for _ in range(6)]
            async with asyncio.timeout(20):
                results = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(each) for each in results] == [AwsUnavailable] * 6


async def test_what_aws_does_not_list_is_refused_in_its_own_words(emulator: Emulator):
    async with IotData(emulator.settings()) as plane:
        with pytest.raises((InvalidShadowRequest, AwsUnavailable), match="ListNamedShadowsForThing"):
            await plane.names(Key(thing(TRUCK), ""))


async def test_the_setting_chooses_who_keeps_the_shadows(emulator: Emulator, registered: DatabaseUrls):
    async with Database(registered.app) as app:
        async with shadows(ShadowSettings(), app, utc_now) as local:
            assert isinstance(local, ShadowService)
        async with shadows(emulator.settings(), app, utc_now) as away:
            assert isinstance(away, AwsShadows)
