"""C1 to C10 with REST as the sender's side and a truck on MQTT, and what REST adds."""

import asyncio
from typing import Any

import httpx
import pytest

from api.access import Role
from core.db import Database
from core.outbox import Relay
from tests.api.control.conftest import Control
from tests.api.live.wire import Live
from tests.commands.world import SIBLING, TRUCK

pytestmark = [pytest.mark.mosquitto, pytest.mark.db, pytest.mark.redis]


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def states(command: dict[str, Any]) -> list[str]:
    return [step["state"] for step in command["history"]]


async def test_c01_sent_delivered_succeeded_and_every_step_is_shown(control: Control) -> None:
    truck = await control.world.device()
    sent = await control.send(note="trial")
    assert (sent["state"], sent["sender"]["kind"], sent["attempts"]) == ("CREATED", "client", 0)
    asked = await asyncio.to_thread(truck.command)
    assert asked.execution == sent["id"]
    await control.world.comes_to(sent["id"], "SENT")  # who answers before that leaves nothing to confirm
    for status in ("DELIVERED", "SUCCEEDED"):
        await asyncio.to_thread(lambda s=status: truck.answer(sent["id"], s, result={"n": {"s": "1"}}))
    shown = await control.show(sent)
    assert states(shown) == ["CREATED", "SENT", "DELIVERED", "SUCCEEDED"]
    assert [step["by"].partition(":")[0] for step in shown["history"]] == ["client", "milkrun", "device", "device"]
    assert shown["sent_at"] <= shown["delivered_at"] <= shown["ended_at"]
    assert (shown["result"], shown["note"]) == ({"n": {"s": "1"}}, "trial")
    answer = await control.fleet.acme.get(f"/v1/commands/{sent['id']}")
    again = await control.fleet.acme.get(
        f"/v1/commands/{sent['id']}", headers={"If-None-Match": answer.headers["etag"]}
    )
    assert again.status_code == 304
    actions = [(each.action, each.target) for each in control.fleet.api.tokens.audited]
    assert ("command.sent", sent["id"]) in actions
    truck.client.drop()


async def test_c02_without_an_answer_it_times_out_after_its_retries(control: Control) -> None:
    truck = await control.world.device()
    sent = await control.send(retries=1, timeout_s=30)
    assert (await asyncio.to_thread(truck.command))["attempt"] == 1
    await control.world.comes_to(sent["id"], "SENT")
    control.clock.forward(6)
    assert (await asyncio.to_thread(truck.command))["attempt"] == 2
    control.clock.forward(30)
    await control.world.comes_to(sent["id"], "TIMED_OUT")
    assert (await control.show(sent))["attempts"] == 2
    truck.client.drop()


async def test_c03_what_expired_before_the_truck_is_back_is_never_sent(control: Control) -> None:
    sent = await control.send(expires_s=30)
    control.clock.forward(31)
    await control.world.comes_to(sent["id"], "EXPIRED")
    truck = await control.world.device()
    assert await asyncio.to_thread(truck.unheard, 0.8) == []
    shown = await control.show(sent)
    assert (shown["state"], shown["attempts"], shown["sent_at"]) == ("EXPIRED", 0, None)
    truck.client.drop()


async def test_c04_a_token_and_an_idempotency_key_are_one_command(control: Control) -> None:
    first = await control.send(token="t-1")
    assert (await control.send(token="t-1"))["id"] == first["id"]
    other = await control.fleet.acme.post(
        "/v1/commands", json={"device": "t1", "template": "lock", "token": "t-1", "timeout_s": 99}
    )
    assert refused(other) == (409, "command_token_reused")
    key = {"Idempotency-Key": "k-1"}
    bodies = [{"device": "t1", "template": "lock"}, {"device": "t1", "template": "lock"}]
    ids = {(await control.fleet.acme.post("/v1/commands", json=b, headers=key)).json()["id"] for b in bodies}
    assert len(ids) == 1
    listed = (await control.fleet.acme.get("/v1/commands")).json()["items"]
    assert {each["id"] for each in listed} == {first["id"], *ids}


async def test_c05_a_late_answer_is_shown_as_late(control: Control) -> None:
    truck = await control.world.device()
    sent = await control.send(timeout_s=10)
    await asyncio.to_thread(truck.command)
    await control.world.comes_to(sent["id"], "SENT")
    control.clock.forward(11)
    await control.world.comes_to(sent["id"], "TIMED_OUT")
    assert (await control.show(sent))["late"] is False
    await asyncio.to_thread(truck.answer, sent["id"], "SUCCEEDED")
    shown = await control.show(sent)
    assert (shown["state"], shown["late"]) == ("SUCCEEDED", True)
    truck.client.drop()


async def test_c06_a_repeated_answer_changes_nothing(control: Control) -> None:
    truck = await control.world.device()
    sent = await control.send()
    await asyncio.to_thread(truck.command)
    await asyncio.to_thread(truck.answer, sent["id"], "FAILED")
    before = await control.show(sent)
    await asyncio.to_thread(truck.answer, sent["id"], "FAILED")
    assert await control.show(sent) == before
    truck.client.drop()


async def test_c07_an_answer_faster_than_the_confirmation_shows_every_state(control: Control) -> None:
    truck = await control.world.device()
    for _ in range(10):  # whoever is first, the history reads the same
        sent = await control.send()
        asked = await asyncio.to_thread(truck.command)
        await asyncio.to_thread(truck.answer, asked.execution, "SUCCEEDED")
        assert states(await control.show(sent)) == ["CREATED", "SENT", "DELIVERED", "SUCCEEDED"]
    truck.client.drop()


async def test_c08_a_devices_commands_go_out_in_the_order_they_were_sent(control: Control) -> None:
    sent = [(await control.send())["id"] for _ in range(6)]
    truck = await control.world.device()
    got = []
    for _ in sent:
        asked = await asyncio.to_thread(truck.command)
        waiting = (await control.fleet.acme.get("/v1/devices/t1/commands", params={"open": True})).json()["items"]
        assert len(waiting) == len(sent) - len(got)
        got.append(asked.execution)
        await asyncio.to_thread(truck.answer, asked.execution, "SUCCEEDED")
    assert got == sent
    truck.client.drop()


async def test_c09_what_waits_is_there_after_a_restart(control: Control) -> None:
    sent = await control.send()
    await control.restart()
    assert (await control.show(sent))["state"] == "CREATED"
    truck = await control.world.device()
    assert (await asyncio.to_thread(truck.command)).execution == sent["id"]
    truck.client.drop()


async def test_c10_another_tenant_cannot_command_see_or_decide(control: Control) -> None:
    sent, zeta = await control.send(), control.fleet.zeta
    for path in ("", "/cancel", "/approve", "/deny"):
        ask = zeta.get if path == "" else zeta.post
        body = {} if path in {"", "/approve"} else {"json": {}}
        assert refused(await ask(f"/v1/commands/{sent['id']}{path}", **body)) == (404, "command_not_found")
    foreign = await zeta.post("/v1/commands", json={"device": "acme:t1", "template": "lock"})
    assert refused(foreign) == (404, "device_not_found")
    group = await zeta.post("/v1/command-batches", json={"devices": ["t3"], "template": "lock"})
    assert refused(group) == (404, "device_not_found")
    assert (await zeta.get("/v1/commands")).json()["items"] == []
    mine = (await zeta.post("/v1/commands", json={"device": "t1", "template": "lock", "token": "x"})).json()
    assert refused(await control.fleet.acme.get(f"/v1/commands/{mine['id']}")) == (404, "command_not_found")
    assert (await control.show(sent))["state"] == "CREATED"


class TestTemplates:
    async def test_it_is_added_changed_and_put_out_of_use(self, control: Control) -> None:
        acme = control.fleet.acme
        parameters = [
            {"name": "limit_kmh", "type": "INTEGER", "minimum": 5, "maximum": 120},
            {"name": "mode", "type": "STRING", "allowed": ["soft", "hard"], "default": "soft"},
        ]
        made = await acme.post("/v1/command-templates", json={"id": "limit", "parameters": parameters})
        assert (made.status_code, made.headers["etag"]) == (201, '"v1"')
        assert refused(await acme.post("/v1/command-templates", json={"id": "limit"})) == (
            409,
            "command_template_exists",
        )
        sent = await control.send(template="limit", parameters={"limit_kmh": 30.0})
        assert sent["parameters"] == {"limit_kmh": 30, "mode": "soft"}
        for wrong in (
            {},
            {"limit_kmh": 4},
            {"limit_kmh": "30"},
            {"limit_kmh": 30, "x": 1},
            {"limit_kmh": 30, "mode": "x"},
        ):
            body = {"device": "t1", "template": "limit", "parameters": wrong}
            assert refused(await acme.post("/v1/commands", json=body)) == (422, "invalid_command_parameters"), wrong
        changed = await acme.patch(
            "/v1/command-templates/limit", json={"deprecated": True}, headers={"If-Match": '"v1"'}
        )
        assert (changed.json()["deprecated"], changed.json()["version"]) == (True, 2)
        stale = await acme.patch("/v1/command-templates/limit", json={"retries": 1}, headers={"If-Match": '"v1"'})
        assert stale.status_code == 412
        body = {"device": "t1", "template": "limit", "parameters": {"limit_kmh": 30}}
        assert refused(await acme.post("/v1/commands", json=body)) == (409, "command_template_deprecated")
        in_use = (await acme.get("/v1/command-templates", params={"deprecated": False})).json()["items"]
        assert [each["id"] for each in in_use] == ["lock"]

    @pytest.mark.parametrize(
        "parameter",
        [
            {"name": "a", "type": "INTEGER", "minimum": 5, "maximum": 4},
            {"name": "a", "type": "STRING", "minimum": 5},
            {"name": "a", "type": "BOOLEAN", "max_length": 5},
            {"name": "a", "type": "INTEGER", "maximum": 5, "default": 6},
            {"name": "a", "type": "STRING", "allowed": [1]},
            {"name": "a", "type": "BINARY", "default": "!"},
        ],
    )
    async def test_one_that_contradicts_itself_is_refused(self, control: Control, parameter: Any) -> None:
        body = {"id": "bad", "parameters": [parameter]}
        answer = await control.fleet.acme.post("/v1/command-templates", json=body)
        assert refused(answer) == (422, "invalid_command_template")


class TestApproval:
    async def _template(self, control: Control) -> None:
        body = {"id": "wipe", "description": "Forgets everything", "dangerous": True}
        made = await control.fleet.acme.post("/v1/command-templates", json=body)
        assert made.json()["needs_approval"] is True

    async def test_nothing_is_sent_before_a_second_person_agrees_and_never_the_sender(self, control: Control) -> None:
        await self._template(control)
        truck = await control.world.device()
        sent = await control.send(template="wipe")
        assert sent["state"] == "AWAITING_APPROVAL"
        own = await control.fleet.acme.post(f"/v1/commands/{sent['id']}/approve")
        assert refused(own) == (403, "own_command_approval")
        async with control.fleet.api.client("acme", Role.DISPATCHER) as dispatcher:
            assert (await dispatcher.post(f"/v1/commands/{sent['id']}/approve")).status_code == 403
        later = await control.send()
        assert (await asyncio.to_thread(truck.command)).execution == later["id"], "it stands in the way"
        await asyncio.to_thread(truck.answer, later["id"], "SUCCEEDED")
        async with control.fleet.api.client("acme") as second:
            agreed = await second.post(f"/v1/commands/{sent['id']}/approve")
            assert agreed.status_code == 200, agreed.text
            assert agreed.json()["approver"] is not None
            again = await second.post(f"/v1/commands/{sent['id']}/approve")
            assert refused(again) == (409, "command_not_awaiting_approval")
        assert (await asyncio.to_thread(truck.command)).execution == sent["id"]
        actions = [each.action for each in control.fleet.api.tokens.audited if each.target == sent["id"]]
        assert actions == ["command.sent", "command.approved"]
        truck.client.drop()

    async def test_denied_or_forgotten_it_never_goes(self, control: Control) -> None:
        await self._template(control)
        denied, forgotten = await control.send(template="wipe"), await control.send(template="wipe")
        async with control.fleet.api.client("acme") as second:
            answer = await second.post(f"/v1/commands/{denied['id']}/deny", json={"reason": "no"})
            assert (answer.json()["state"], answer.json()["reason_code"]) == ("CANCELLED", "DENIED")
        control.clock.forward(3601)
        await control.world.comes_to(forgotten["id"], "EXPIRED")
        assert (await control.show(forgotten))["reason_code"] == "NOT_APPROVED_IN_TIME"


class TestCancel:
    async def test_before_sending_it_is_gone_after_it_the_word_is_honest(self, control: Control) -> None:
        acme = control.fleet.acme
        waiting = await control.send()
        gone = (await acme.post(f"/v1/commands/{waiting['id']}/cancel", json={"reason": "mistake"})).json()
        assert (gone["state"], gone["reason_code"], gone["reason"]) == ("CANCELLED", "CANCELLED", "mistake")
        truck = await control.world.device()
        assert await asyncio.to_thread(truck.unheard, 0.5) == []
        sent, behind = await control.send(), await control.send()
        await asyncio.to_thread(truck.command)
        await control.world.comes_to(sent["id"], "SENT")
        back = (await acme.post(f"/v1/commands/{sent['id']}/cancel", json={})).json()
        assert back["reason_code"] == "CANCELLED_AFTER_SENDING"
        assert (await asyncio.to_thread(truck.command)).execution == behind["id"]
        await asyncio.to_thread(truck.answer, sent["id"], "SUCCEEDED")
        shown = await control.show(sent)
        assert (shown["state"], shown["late"]) == ("SUCCEEDED", True)
        assert refused(await acme.post(f"/v1/commands/{sent['id']}/cancel", json={})) == (409, "command_ended")
        truck.client.drop()


class TestGroups:
    async def test_by_labels_each_device_has_its_own_and_the_batch_counts_them(self, control: Control) -> None:
        acme = control.fleet.acme
        truck, sibling = await control.world.device(TRUCK), await control.world.device(SIBLING)
        body = {"template": "lock", "labels": {"depot": "north"}, "token": "night"}
        made = await acme.post("/v1/command-batches", json=body)
        assert made.status_code == 201, made.text
        batch = made.json()
        assert (batch["total"], batch["target"]) == (2, {"labels": {"depot": "north"}})
        assert (await acme.post("/v1/command-batches", json=body)).json()["id"] == batch["id"]
        for device, status in ((truck, "SUCCEEDED"), (sibling, "FAILED")):
            asked = await asyncio.to_thread(device.command)
            await asyncio.to_thread(device.answer, asked.execution, status)
        shown = (await acme.get(f"/v1/command-batches/{batch['id']}")).json()
        assert shown["states"] == {"SUCCEEDED": 1, "FAILED": 1}
        listed = (await acme.get("/v1/commands", params={"batch": batch["id"], "state": "FAILED"})).json()["items"]
        assert [each["device"] for each in listed] == ["t2"]
        zeta = await control.fleet.zeta.get(f"/v1/command-batches/{batch['id']}")
        assert refused(zeta) == (404, "command_batch_not_found")
        truck.client.drop()
        sibling.client.drop()

    async def test_by_a_filter_of_the_fleet(self, control: Control) -> None:
        control.fleet.connect("acme:t2", online=True)
        body = {"template": "lock", "where": 'label.depot = "north" and online = true'}
        made = await control.fleet.acme.post("/v1/command-batches", json=body)
        assert (made.status_code, made.json()["total"]) == (201, 1), made.text
        listed = (await control.fleet.acme.get("/v1/commands")).json()["items"]
        assert [each["device"] for each in listed] == ["t2"]
        wrong = await control.fleet.acme.post("/v1/command-batches", json={"template": "lock", "where": "depot ~ 1"})
        assert refused(wrong) == (422, "invalid_where")

    async def test_at_its_rate_and_called_back_in_between(self, control: Control) -> None:
        trucks = {name: await control.world.device(f"acme:{name}") for name in ("t1", "t2", "t3")}
        body = {"template": "lock", "devices": list(trucks), "rate_per_minute": 2}
        batch = (await control.fleet.acme.post("/v1/command-batches", json=body)).json()

        async def heard() -> int:
            parts = await asyncio.gather(*(asyncio.to_thread(t.unheard, 0.5) for t in trucks.values()))
            return sum(len(part) for part in parts)

        assert await heard() == 1
        control.clock.forward(31)
        assert await heard() == 1
        cancelled = await control.fleet.acme.post(f"/v1/command-batches/{batch['id']}/cancel", json={})
        assert cancelled.json()["states"] == {"CANCELLED": 3}
        control.clock.forward(60)
        assert await heard() == 0
        for truck in trucks.values():
            truck.client.drop()

    @pytest.mark.parametrize(
        ("target", "expected"),
        [
            ({}, (422, "invalid_command_group")),
            ({"devices": ["t1"], "labels": {"depot": "north"}}, (422, "invalid_command_group")),
            ({"labels": {"depot": "nowhere"}}, (422, "invalid_command_group")),
            ({"devices": ["t1", "nobody"]}, (404, "device_not_found")),
        ],
    )
    async def test_a_group_that_is_none_is_refused(self, control: Control, target: Any, expected: Any) -> None:
        answer = await control.fleet.acme.post("/v1/command-batches", json={"template": "lock", **target})
        assert refused(answer) == expected
        assert (await control.fleet.acme.get("/v1/commands")).json()["items"] == []


async def test_a_device_out_of_service_or_with_too_many_open_is_refused(control: Control) -> None:
    await control.fleet.acme.post("/v1/devices/t3/suspend")
    body = {"device": "t3", "template": "lock"}
    assert refused(await control.fleet.acme.post("/v1/commands", json=body)) == (409, "device_not_in_service")
    commands = control.fleet.api.services.commands
    commands._settings = commands._settings.model_copy(update={"open_per_device": 2})
    await control.send()
    await control.send()
    body = {"device": "t1", "template": "lock"}
    assert refused(await control.fleet.acme.post("/v1/commands", json=body)) == (409, "too_many_open_commands")


async def test_lists_filter_and_page_newest_first(control: Control) -> None:
    ids = [(await control.send())["id"] for _ in range(5)]
    other = await control.send(device="t2")
    acme = control.fleet.acme
    first = (await acme.get("/v1/commands", params={"device": "t1", "limit": 3})).json()
    second = (await acme.get("/v1/commands", params={"device": "t1", "limit": 3, "cursor": first["next"]})).json()
    assert sorted(ids, reverse=True) == [each["id"] for each in first["items"] + second["items"]]
    assert second["next"] is None
    of_sibling = (await acme.get("/v1/devices/t2/commands")).json()["items"]
    assert [each["id"] for each in of_sibling] == [other["id"]]
    assert (await acme.get("/v1/commands", params={"state": ["SUCCEEDED", "FAILED"]})).json()["items"] == []
    assert refused(await acme.get("/v1/commands", params={"states": "FAILED"}))[0] == 422


async def test_the_live_channel_tells_each_state_of_ones_own_commands(control: Control) -> None:
    api = control.fleet.api
    async with Database(control.fleet.urls.ingest, pool_size=2) as database:
        relay = asyncio.create_task(Relay(database, api.services.bus).run())
        mine, other = [await Live.open(api, api.tokens.of(t, Role.TENANT_ADMIN)) for t in ("acme", "zeta")]
        for live in (mine, other):
            await live.subscribe("commands")
        truck = await control.world.device()
        sent = await control.send()
        await asyncio.to_thread(truck.command)
        await control.world.comes_to(sent["id"], "SENT")
        await asyncio.to_thread(truck.answer, sent["id"], "SUCCEEDED")
        told = [event["data"] for event in await mine.events(3)]
        assert [(each["execution"], each["state"]) for each in told] == [
            (sent["id"], state) for state in ("CREATED", "SENT", "SUCCEEDED")
        ]
        assert told[0]["device"] == "t1"
        with pytest.raises(TimeoutError):
            await other.until("events", 0.5)
        for live in (mine, other):
            await live.close()
        relay.cancel()
        await asyncio.wait([relay])
        truck.client.drop()
