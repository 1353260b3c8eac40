"""The same REST where AWS keeps the shadows (ministack): one door, the other's room behind it."""

import contextlib
import json
from typing import Any

import pytest

from core.settings import Settings
from tests.api.conftest import api_settings as local_settings
from tests.api.twin.conftest import Fleet
from tests.shadow.aws.conftest import emulator
from tests.shadow.aws.emulator import Emulator

__all__ = ["emulator", "local_settings"]

pytestmark = [pytest.mark.db, pytest.mark.redis]

SHADOW = "/v1/devices/t1/shadow"


@pytest.fixture
def api_settings(local_settings: Settings, emulator: Emulator) -> Settings:
    return local_settings.model_copy(update={"shadow": emulator.settings()})


@pytest.fixture
async def aws(fleet: Fleet, emulator: Emulator) -> Any:
    """boto3's client; the devices have no shadows yet."""
    await fleet.register("t1")
    await fleet.register("z1", tenant="zeta")
    client = emulator.client()
    for named in ({}, {"shadowName": "milk"}):
        with contextlib.suppress(client.exceptions.ResourceNotFoundException):
            client.delete_thing_shadow(thingName="acme:t1", **named)
    return client


def at_aws(aws: Any, **named: str) -> Any:
    return json.loads(aws.get_thing_shadow(thingName="acme:t1", **named)["payload"].read())


async def test_what_is_desired_over_rest_is_desired_at_aws_and_what_is_reported_there_is_read_here(fleet: Fleet, aws):
    answer = await fleet.acme.patch(SHADOW, json={"state": {"desired": {"speed": 80}}})
    assert answer.status_code == 200, answer.text
    assert at_aws(aws)["state"]["desired"] == {"speed": 80}
    aws.update_thing_shadow(thingName="acme:t1", payload=json.dumps({"state": {"reported": {"speed": 50}}}))
    seen = (await fleet.acme.get(SHADOW)).json()
    assert seen["state"]["reported"] == {"speed": 50}
    assert seen["state"]["delta"] == {"speed": 80}
    assert seen["version"] == at_aws(aws)["version"]


async def test_who_has_seen_an_older_version_is_refused_by_aws_itself(fleet: Fleet, aws):
    first = (await fleet.acme.patch(SHADOW, json={"state": {"desired": {"a": 1}}})).json()["version"]
    aws.update_thing_shadow(thingName="acme:t1", payload=json.dumps({"state": {"desired": {"a": 2}}}))
    late = await fleet.acme.patch(SHADOW, json={"state": {"desired": {"a": 3}}, "version": first})
    assert (late.status_code, at_aws(aws)["state"]["desired"]) == (409, {"a": 2})


async def test_named_shadows_are_deleted_there_too(fleet: Fleet, aws):
    path = "/v1/devices/t1/shadows/milk"
    assert (await fleet.acme.patch(path, json={"state": {"desired": {"litres": 1}}})).status_code == 200
    assert at_aws(aws, shadowName="milk")["state"]["desired"] == {"litres": 1}
    assert (await fleet.acme.delete(path)).status_code in {200, 204}
    with pytest.raises(aws.exceptions.ResourceNotFoundException):
        at_aws(aws, shadowName="milk")
    assert (await fleet.acme.get(path)).status_code == 404


async def test_another_tenants_device_is_not_there_whatever_aws_has(fleet: Fleet, aws):
    aws.update_thing_shadow(thingName="zeta:z1", payload=json.dumps({"state": {"desired": {"secret": 1}}}))
    answer = await fleet.acme.get("/v1/devices/z1/shadow")
    assert answer.status_code == 404
    assert "secret" not in answer.text
    assert (await fleet.acme.patch("/v1/devices/z1/shadow", json={"state": {"desired": {}}})).status_code == 404
