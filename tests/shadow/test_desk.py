"""The service at its desk: batches, the limit of unanswered requests, crashes, outages and bad rows."""

import asyncio
import json
from collections.abc import Sequence

import psycopg
import pytest

from core.db import Database
from core.mqtt.desk import Message, Settled
from shadow.errors import ShadowVersionConflict
from shadow.handlers import ShadowClerk
from shadow.service import ShadowService
from tests.broker.brokers import Fleet, MosquittoRunner
from tests.conftest import DatabaseUrls
from tests.desk import execute, thing
from tests.faults import until
from tests.shadow.world import FOREIGN, SIBLING, TRUCK, Device, World

pytestmark = [pytest.mark.mosquitto, pytest.mark.db]


@pytest.fixture
def fleet(ground: tuple[Fleet, MosquittoRunner]) -> Fleet:
    return ground[0]


def reported(number: int) -> dict[str, object]:
    return {"state": {"reported": {f"k{number}": number}}}


async def test_s16_the_eleventh_unanswered_request_of_a_device_is_429(fleet: Fleet, registered: DatabaseUrls) -> None:
    world = World(fleet, registered, batch_wait_ms=1000)

    def devices() -> None:
        with world.device() as truck, world.device(SIBLING) as other:
            other.send("update", reported(0))
            for number in range(12):
                truck.send("update", {**reported(number), "clientToken": str(number)})
            refused = truck.hear("update/rejected") + truck.hear("update/rejected")
            assert [(said["code"], said["message"]) for said in refused] == [(429, "Too many requests")] * 2
            assert {said["clientToken"] for said in refused} == {"10", "11"}
            other.hear("update/accepted")
            assert [truck.hear("update/accepted")[0]["version"] for _ in range(10)] == list(range(1, 11))
            whole = truck.get()
            assert set(whole["state"]["reported"]) == {f"k{n}" for n in range(10)}
            assert truck.update(reported(99))["version"] == 11

    async with world.serving():
        await until(lambda: not world.desk.is_catching_up)
        await asyncio.to_thread(devices)


async def test_a_batch_of_many_devices_is_one_transaction_and_each_is_answered_for_itself(
    fleet: Fleet, registered: DatabaseUrls
) -> None:
    world = World(fleet, registered, batch_wait_ms=500)

    def devices() -> None:
        with world.device(TRUCK) as truck, world.device(SIBLING) as sibling, world.device(FOREIGN) as foreign:
            everyone = (truck, sibling, foreign)
            for number in range(3):
                for device in everyone:
                    device.send("update", {"state": {"reported": {"n": number, "me": device.thing}}})
            sibling.send("update", {"state": {"reported": {"n": -1}}, "version": 99})
            foreign.send("delete")
            for device in everyone:
                versions = [device.hear("update/accepted", "update/documents")[0]["version"] for _ in range(3)]
                assert versions == [1, 2, 3]
            assert sibling.hear("update/rejected")[0]["code"] == 409
            assert foreign.hear("delete/accepted")[0]["version"] == 3
            assert truck.get()["state"]["reported"] == {"n": 2, "me": TRUCK}

    async with world.serving():
        await asyncio.to_thread(devices)
    assert world.rows() == {(TRUCK, ""): (3, False), (SIBLING, ""): (3, False), (FOREIGN, ""): (4, True)}


async def test_what_is_asked_while_nobody_sits_there_is_answered_later(fleet: Fleet, registered: DatabaseUrls) -> None:
    world = World(fleet, registered)
    async with world.serving():
        pass
    truck = await asyncio.to_thread(world.device)
    for number in range(1, 31):  # more than it may have unanswered: that nobody answered is not its fault
        body = json.dumps(reported(number)).encode()
        await asyncio.to_thread(truck.client.publish, f"$aws/things/{TRUCK}/shadow/update", body)
    async with world.serving():
        for number in range(1, 31):
            [said] = await asyncio.to_thread(truck.hear, "update/accepted")
            assert said["version"] == number
        whole = await asyncio.to_thread(truck.get)
        assert set(whole["state"]["reported"]) == {f"k{n}" for n in range(1, 31)}
    truck.client.drop()


class Dying(World):
    """Its service dies after the commit, before anything is said or acknowledged."""

    def make_clerk(self, operator: Database, service: ShadowService) -> ShadowClerk:
        return _DyingClerk(database=operator, service=service, settings=self.settings, clock=self.clock)


class Died(Exception):
    pass


class _DyingClerk(ShadowClerk):
    async def settle(self, requests: Sequence[Message], *, is_backlog: bool) -> Settled:
        await super().settle(requests, is_backlog=is_backlog)
        raise Died


async def test_a_crash_after_the_commit_carries_nothing_out_twice_and_loses_no_news(
    fleet: Fleet, registered: DatabaseUrls
) -> None:
    world = Dying(fleet, registered, batch_wait_ms=300)
    truck = await asyncio.to_thread(world.device)

    def ask() -> None:
        for body in ({"state": {"desired": {"n": 1}}}, {"state": {"reported": {"n": 0}}}):
            truck.client.publish(f"$aws/things/{TRUCK}/shadow/update", json.dumps(body).encode())

    async def crash() -> None:
        async with world.serving():
            await asyncio.to_thread(ask)
            await until(lambda: world.rows() == {(TRUCK, ""): (2, False)})

    with pytest.raises(BaseExceptionGroup):
        await crash()
    left = [topic.partition("/shadow/")[2] for topic, _ in world.news()]
    assert left == ["update/accepted", "update/delta", "update/documents"] * 2
    # In between somebody else changes it: a second carrying out would undo that.
    async with Database(registered.app) as app:
        service = ShadowService(database=app, settings=world.settings, clock=world.clock)
        await service.update(thing(TRUCK), json.dumps({"state": {"desired": {"n": 7}}}).encode())
    async with World(fleet, registered).serving():
        whole = await asyncio.to_thread(truck.get)
    assert (whole["version"], whole["state"]["desired"]) == (3, {"n": 7})
    truck.client.drop()


async def test_a_crash_in_a_backlog_carries_none_of_it_out_twice(fleet: Fleet, registered: DatabaseUrls) -> None:
    async with World(fleet, registered).serving():
        pass
    world = Dying(fleet, registered, batch_wait_ms=1000)
    truck = await asyncio.to_thread(world.device)
    for number in range(40):
        body = json.dumps(reported(number)).encode()
        await asyncio.to_thread(truck.client.publish, f"$aws/things/{TRUCK}/shadow/update", body)

    async def crash() -> None:
        async with world.serving():
            await until(lambda: world.rows() == {(TRUCK, ""): (40, False)})

    with pytest.raises(BaseExceptionGroup):
        await crash()
    async with World(fleet, registered).serving():
        assert (await asyncio.to_thread(truck.update, reported(99)))["version"] == 41
    truck.client.drop()


async def test_answers_the_broker_has_taken_leave_nothing_for_the_relay(fleet: Fleet, registered: DatabaseUrls) -> None:
    world = World(fleet, registered)
    async with world.serving():
        truck = await asyncio.to_thread(world.device)
        await asyncio.to_thread(truck.update, reported(1))
        await until(lambda: world.news() == [])
        truck.client.drop()


async def test_one_bad_request_is_set_aside_and_the_others_go_on(fleet: Fleet, registered: DatabaseUrls) -> None:
    with psycopg.connect(registered.owner) as conn:
        conn.execute("ALTER TABLE shadow ADD CHECK (reported::text NOT LIKE '%poison%')")
    world = World(fleet, registered, batch_wait_ms=300)

    def devices() -> None:
        with world.device(TRUCK) as truck, world.device(SIBLING) as sibling:
            truck.send("update", reported(1))
            sibling.send("update", {"state": {"reported": {"poison": 1}}, "clientToken": "p"})
            truck.send("update", reported(2))
            [said] = sibling.hear("update/rejected")
            assert (said["code"], said["message"], said["clientToken"]) == (500, "Internal service failure", "p")
            assert set(truck.get()["state"]["reported"]) == {"k1", "k2"}

    async with world.serving():
        await asyncio.to_thread(devices)
    with psycopg.connect(registered.operator) as conn:
        letters = conn.execute("SELECT tenant_id, thing, reason, payload FROM dead_letter").fetchall()
    assert [(tenant, of, reason) for tenant, of, reason, _ in letters] == [("acme", SIBLING, "shadow_failed")]
    assert b"poison" in letters[0][3]


async def test_a_suspended_device_is_403(fleet: Fleet, registered: DatabaseUrls) -> None:
    world = World(fleet, registered)
    execute(registered, "UPDATE device SET status = 'suspended' WHERE device_id = 't1' AND tenant_id = 'acme'")
    async with world.serving():
        truck = await asyncio.to_thread(world.device)
        assert await asyncio.to_thread(truck.refused, "update", reported(1)) == (403, "Forbidden")
        truck.client.drop()
    assert world.rows() == {}


async def test_two_workers_and_a_device_at_once_lose_no_update(fleet: Fleet, registered: DatabaseUrls) -> None:
    world = World(fleet, registered)
    each = 40

    def device() -> None:
        with world.device() as truck:
            for number in range(each):
                truck.update({"state": {"reported": {f"d{number}": number}}})

    async def worker(service: ShadowService, name: str) -> None:
        for number in range(each):
            await service.update(thing(TRUCK), json.dumps({"state": {"desired": {f"{name}{number}": 1}}}).encode())

    async with world.serving() as one, Database(registered.app) as app:
        other = ShadowService(database=app, settings=world.settings, clock=world.clock)
        await asyncio.gather(asyncio.to_thread(device), worker(one, "a"), worker(other, "b"))
        whole = await one.get(thing(TRUCK))
    assert whole["version"] == 3 * each
    assert len(whole["state"]["desired"]) == 2 * each
    assert len(whole["state"]["reported"]) == each


async def test_counting_with_versions_by_four_writers_counts_every_time(registered: DatabaseUrls, fleet: Fleet) -> None:
    world = World(fleet, registered)
    times = 15

    async def count(service: ShadowService) -> None:
        for _ in range(times):
            while True:
                now = await service.get(thing(TRUCK))
                body = {"state": {"reported": {"n": now["state"]["reported"]["n"] + 1}}, "version": now["version"]}
                try:
                    await service.update(thing(TRUCK), json.dumps(body).encode())
                except ShadowVersionConflict:
                    continue
                break

    async with Database(registered.app) as app:
        services = [ShadowService(database=app, settings=world.settings, clock=world.clock) for _ in range(4)]
        await services[0].update(thing(TRUCK), b'{"state":{"reported":{"n":0}}}')
        await asyncio.gather(*map(count, services))
        whole = await services[0].get(thing(TRUCK))
    assert (whole["state"]["reported"]["n"], whole["version"]) == (4 * times, 4 * times + 1)


async def test_two_who_make_the_same_shadow_at_once_both_count(registered: DatabaseUrls, fleet: Fleet) -> None:
    world = World(fleet, registered)
    async with Database(registered.app, pool_size=10) as app:
        service = ShadowService(database=app, settings=world.settings, clock=world.clock)
        for name in (f"s{n}" for n in range(5)):
            bodies = [json.dumps(reported(n)).encode() for n in range(8)]
            await asyncio.gather(*(service.update(thing(TRUCK), body, name) for body in bodies))
            whole = await service.get(thing(TRUCK), name)
            assert (whole["version"], len(whole["state"]["reported"])) == (8, 8)


async def test_an_outage_of_the_broker_is_bridged(registered: DatabaseUrls, ground, fleet: Fleet) -> None:
    _, runner = ground
    world = World(fleet, registered)
    async with world.serving():
        truck = await asyncio.to_thread(world.device)
        await asyncio.to_thread(truck.update, reported(1))
        truck.client.drop()
        await asyncio.to_thread(runner.stop)
        await asyncio.to_thread(runner.start)

        def again() -> Device:
            device = world.device()
            device.update(reported(2))
            return device

        device = await asyncio.to_thread(again)
        assert (await asyncio.to_thread(device.get))["version"] == 2
        device.client.drop()
