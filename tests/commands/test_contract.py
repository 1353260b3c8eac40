"""C1 to C10 over MQTT on the real broker: what is sent, what a device says, and what is made of it."""

import asyncio
from collections.abc import Sequence

import pytest

from commands.drafting import Request
from commands.errors import CommandNotFound, OwnApproval, TargetNotFound, TokenReused
from commands.model import State
from commands.process import Link
from commands.sending.dispatch import Dispatcher, Outcome, Outgoing
from core.db import Database
from core.tenancy import TenantId
from tests.broker.brokers import Fleet, MosquittoRunner
from tests.broker.wire import Closed
from tests.commands.world import ANN, BEN, FOREIGN, SIBLING, TRUCK, Device, Shifted, World, offer, send, template
from tests.conftest import DatabaseUrls
from tests.desk import thing
from tests.faults import until

pytestmark = [pytest.mark.mosquitto, pytest.mark.db]

ACME, GLOBEX = TenantId("acme"), TenantId("globex")


@pytest.fixture
def clock() -> Shifted:
    return Shifted()


@pytest.fixture
def later(ground: tuple[Fleet, MosquittoRunner], registered: DatabaseUrls, clock: Shifted) -> World:
    """A world whose clock the test sets forward."""
    return World(ground[0], registered, clock=clock)


async def test_c01_sent_delivered_succeeded(world: World) -> None:
    async with world.serving() as service:
        await offer(service)
        truck = await world.device()
        sent = await send(service)
        asked = await asyncio.to_thread(truck.command)
        assert (asked.execution, asked.rest) == (sent.id, "request/json")
        assert (asked["executionId"], asked["command"], asked["attempt"]) == (sent.id, "lock", 1)
        assert asked["createdAt"] <= asked["sentAt"] < asked["expiresAt"]
        await world.comes_to(sent, State.SENT)
        await asyncio.to_thread(truck.answer, sent.id, "DELIVERED")
        await world.comes_to(sent, State.DELIVERED)
        said = await asyncio.to_thread(
            lambda: truck.answer(sent.id, "SUCCEEDED", statusReason={"reasonCode": "DONE"}, result={"n": {"s": "7"}})
        )
        assert said == {"executionId": sent.id, "status": "SUCCEEDED"}
        row = world.row(sent)
        assert (row["state"], row["reason_code"], row["result"]) == ("SUCCEEDED", "DONE", {"n": {"s": "7"}})
        assert row["sent_at"] <= row["delivered_at"] <= row["ended_at"]
        assert world.way(sent) == ["CREATED", "SENT", "DELIVERED", "SUCCEEDED"]
        truck.client.drop()


async def test_c02_without_an_answer_it_is_sent_again_with_growing_pauses_and_times_out(
    later: World, clock: Shifted
) -> None:
    async with later.serving() as service:
        await offer(service)
        truck = await later.device()
        sent = await send(service, retries=2, timeout_s=60)
        await later.comes_to(sent, State.SENT)
        assert (await asyncio.to_thread(truck.command))["attempt"] == 1
        for attempt, pause in ((2, 5), (3, 10)):
            clock.forward(pause - 2)
            await asyncio.sleep(0.6)
            assert await asyncio.to_thread(truck.unheard, 0.1) == [], "too early"
            clock.forward(3)
            again = await asyncio.to_thread(truck.command)
            assert (again.execution, again["attempt"]) == (sent.id, attempt)
        clock.forward(30)
        await asyncio.sleep(0.6)
        assert await asyncio.to_thread(truck.unheard, 0.1) == [], "more often than it was to"
        clock.forward(20)
        await later.comes_to(sent, State.TIMED_OUT)
        row = later.row(sent)
        assert (row["attempts"], row["reason_code"]) == (3, "NO_ANSWER_IN_TIME")
        truck.client.drop()


class TestC03NothingIsDeliveredAfterItsExpiry:
    """The immobiliser: a truck loses coverage and returns."""

    async def test_c03_to_a_truck_that_is_away_it_is_never_sent(self, later: World, clock: Shifted) -> None:
        async with later.serving() as service:
            await offer(service)
            later.presence(TRUCK, online=False)
            sent = await send(service, name="lock", expires_s=30)
            await asyncio.sleep(0.5)
            assert (later.state(sent), later.row(sent)["attempts"]) == ("CREATED", 0)
            clock.forward(31)
            await later.comes_to(sent, State.EXPIRED)
            truck = await later.device()
            assert await asyncio.to_thread(truck.unheard, 1.0) == []
            assert (later.state(sent), later.row(sent)["attempts"]) == ("EXPIRED", 0)
            truck.client.drop()

    async def test_c03_back_in_time_it_gets_it(self, world: World) -> None:
        async with world.serving() as service:
            await offer(service)
            world.presence(TRUCK, online=False)
            sent = await send(service)
            await asyncio.sleep(0.3)
            truck = await world.device()
            assert (await asyncio.to_thread(truck.command)).execution == sent.id
            truck.client.drop()

    async def test_c03_the_broker_gives_nothing_late_to_a_session_it_believed_alive(self, world: World) -> None:
        """The link is dead and nobody knows: the message is in the broker's queue, or on its way and unacknowledged."""
        async with world.serving() as service:
            await offer(service)
            truck = await world.device(clean=False)
            sibling = await world.device(SIBLING, clean=False)
            await asyncio.to_thread(truck.client.drop)
            sibling.client.acknowledges = False
            ids = {(await send(service, name, expires_s=5, timeout_s=60)).id for name in (TRUCK, SIBLING)}
            assert (await asyncio.to_thread(sibling.command)).execution in ids
            await asyncio.to_thread(sibling.client.drop)
            await until(lambda: all(world.state(each) == "SENT" for each in ids))
            await asyncio.sleep(5.5)
            for name in (TRUCK, SIBLING):
                back = await world.device(name, clean=False)
                assert await asyncio.to_thread(back.unheard, 1.0) == [], f"{name} got it after its expiry"
                back.client.disconnect()
            assert all(world.row(each)["attempts"] == 1 for each in ids)

    async def test_c03_a_truck_without_a_session_misses_it_and_gets_it_once_it_subscribes(self, world: World) -> None:
        async with world.serving() as service:
            await offer(service)
            truck = await world.device(subscribes=False)
            sent = await send(service)
            await until(lambda: world.row(sent)["reason_code"] == "NOT_SUBSCRIBED")
            assert (world.state(sent), world.row(sent)["attempts"]) == ("CREATED", 0)
            await asyncio.to_thread(truck.subscribe)
            assert (await asyncio.to_thread(truck.command)).execution == sent.id
            truck.client.drop()

    async def test_c03_after_a_reconnect_it_is_sent_again_only_while_unexpired(
        self, later: World, clock: Shifted
    ) -> None:
        async with later.serving() as service:
            await offer(service)
            truck = await later.device()
            kept = await send(service, expires_s=300, timeout_s=600)
            brief = await send(service, SIBLING, expires_s=20, timeout_s=600)
            sibling = await later.device(SIBLING)
            for device, sent in ((truck, kept), (sibling, brief)):
                await asyncio.to_thread(device.command)
                await later.comes_to(sent, State.SENT)
                await asyncio.to_thread(device.client.drop)
            clock.forward(30)
            # It subscribes some time after it has connected, as devices do.
            truck, sibling = await later.device(subscribes=False), await later.device(SIBLING)
            await until(lambda: later.row(kept)["misses"] > 0)
            await asyncio.to_thread(truck.subscribe)
            again = await asyncio.to_thread(truck.command)
            assert (again.execution, again["attempt"]) == (kept.id, 2)
            assert await asyncio.to_thread(sibling.unheard, 1.0) == []
            assert later.row(brief)["attempts"] == 1
            truck.client.drop()
            sibling.client.drop()


async def test_c04_the_same_token_is_one_execution_and_with_other_parameters_a_conflict(world: World) -> None:
    async with world.service() as service:
        await offer(service)
        request = Request(template="lock", token="order-4711")
        sent = await asyncio.gather(*(service.send(thing(TRUCK), request, ANN) for _ in range(8)))
        assert len({each.id for each in sent}) == 1
        for other in (Request(template="lock", token="order-4711", note="else"), request):
            target = SIBLING if other is request else TRUCK
            with pytest.raises(TokenReused):
                await service.send(thing(target), other, ANN)
        foreign = await service.send(thing(FOREIGN), request, ANN)
        assert foreign.id != sent[0].id


class TestC05ALateAnswer:
    async def test_c05_takes_the_place_of_timed_out_once(self, later: World, clock: Shifted) -> None:
        async with later.serving() as service:
            await offer(service)
            truck = await later.device()
            sent = await send(service, timeout_s=10)
            await asyncio.to_thread(truck.command)
            await later.comes_to(sent, State.SENT)
            clock.forward(11)
            await later.comes_to(sent, State.TIMED_OUT)
            await asyncio.to_thread(truck.answer, sent.id, "IN_PROGRESS")
            assert later.state(sent) == "TIMED_OUT"
            await asyncio.to_thread(truck.answer, sent.id, "SUCCEEDED")
            row = later.row(sent)
            assert (row["state"], row["is_late"]) == ("SUCCEEDED", True)
            assert later.way(sent) == ["CREATED", "SENT", "IN_PROGRESS", "TIMED_OUT", "SUCCEEDED"]
            error, _ = await asyncio.to_thread(truck.refused, sent.id, "FAILED")
            assert error == "TerminalStateReached"
            truck.client.drop()

    async def test_c05_to_a_device_that_gave_up_itself_it_is_over(self, world: World) -> None:
        async with world.serving() as service:
            await offer(service)
            truck = await world.device()
            sent = await send(service)
            await asyncio.to_thread(truck.command)
            await asyncio.to_thread(truck.answer, sent.id, "TIMED_OUT")
            error, _ = await asyncio.to_thread(truck.refused, sent.id, "SUCCEEDED")
            assert (error, world.state(sent)) == ("TerminalStateReached", "TIMED_OUT")
            truck.client.drop()


async def test_c06_a_repeated_answer_changes_nothing(world: World) -> None:
    async with world.serving() as service:
        await offer(service)
        truck = await world.device()
        sent = await send(service)
        await asyncio.to_thread(truck.command)
        for status in ("IN_PROGRESS", "SUCCEEDED"):
            await asyncio.to_thread(truck.answer, sent.id, status)
            before = world.row(sent)
            for _ in range(3):
                await asyncio.to_thread(truck.answer, sent.id, status)
            assert world.row(sent) == before
        await asyncio.to_thread(truck.answer, sent.id, "SUCCEEDED", result={"n": {"s": "other"}})
        assert world.row(sent) == before
        assert (await asyncio.to_thread(truck.refused, sent.id, "IN_PROGRESS"))[0] == "TerminalStateReached"
        truck.client.drop()


class _Slow(Link):
    """The broker's confirmation is held back until the test lets it go."""

    confirmed: asyncio.Event

    async def hand_over(self, messages: Sequence[Outgoing]) -> Sequence[Outcome]:
        outcomes = await super().hand_over(messages)
        await self.confirmed.wait()
        return outcomes


async def test_c07_an_answer_before_the_brokers_confirmation_counts(world: World) -> None:
    confirmed = asyncio.Event()

    def slow() -> Link:
        link = _Slow(world.mqtt)
        link.confirmed = confirmed
        return link

    world.make_link = slow  # type: ignore[method-assign]
    async with world.serving() as service:
        await offer(service)
        truck = await world.device()
        first, second = await send(service), await send(service)
        await asyncio.to_thread(truck.command)
        assert world.state(first) == "CREATED"
        await asyncio.to_thread(truck.answer, first.id, "SUCCEEDED")
        assert world.way(first) == ["CREATED", "SENT", "DELIVERED", "SUCCEEDED"]
        confirmed.set()
        assert (await asyncio.to_thread(truck.command)).execution == second.id, "the queue is jammed"
        await asyncio.to_thread(truck.answer, second.id, "SUCCEEDED")
        assert (world.state(first), world.state(second)) == ("SUCCEEDED", "SUCCEEDED")
        truck.client.drop()


class TestC08Order:
    async def test_c08_each_waits_until_the_one_before_has_ended(self, world: World) -> None:
        async with world.serving() as service:
            await offer(service)
            sent = [await send(service) for _ in range(12)]
            truck = await world.device()
            for number, each in enumerate(sent):
                asked = await asyncio.to_thread(truck.command)
                assert asked.execution == each.id
                await asyncio.to_thread(truck.answer, each.id, "IN_PROGRESS")
                if number < 3:
                    assert [t.execution for t in await asyncio.to_thread(truck.unheard, 0.3)] == []
                await asyncio.to_thread(truck.answer, each.id, ("SUCCEEDED", "FAILED", "REJECTED")[number % 3])
            truck.client.drop()

    async def test_c08_after_delivery_and_any_as_they_are_asked_for(self, world: World) -> None:
        async with world.serving() as service:
            await offer(service)
            truck = await world.device()
            first = await send(service)
            await asyncio.to_thread(truck.command)
            second = await send(service, order="after_delivery")
            third = await send(service)
            urgent = await send(service, order="any")
            assert (await asyncio.to_thread(truck.command)).execution == urgent.id
            assert await asyncio.to_thread(truck.unheard, 0.5) == []
            await asyncio.to_thread(truck.answer, first.id, "DELIVERED")
            assert (await asyncio.to_thread(truck.command)).execution == second.id
            await asyncio.to_thread(truck.answer, second.id, "SUCCEEDED")
            assert await asyncio.to_thread(truck.unheard, 0.5) == []
            await asyncio.to_thread(truck.answer, first.id, "SUCCEEDED")
            assert (await asyncio.to_thread(truck.command)).execution == third.id
            truck.client.drop()

    async def test_c08_two_dispatchers_keep_every_devices_order(self, world: World) -> None:
        async with world.serving() as service:
            await offer(service)
            second = await _second_dispatcher(world)
            devices = [await world.device(name) for name in (TRUCK, SIBLING, "acme:t3")]
            sent = {d.thing: [(await send(service, d.thing)).id for _ in range(15)] for d in devices}
            got = await asyncio.gather(*(asyncio.to_thread(_work_off, d, 15) for d in devices))
            assert {d.thing: ids for d, ids in zip(devices, got, strict=True)} == sent
            for task in second:
                task.cancel()
            await asyncio.gather(*second, return_exceptions=True)
            for device in devices:
                device.client.drop()


async def _second_dispatcher(world: World) -> list[asyncio.Task[None]]:
    link, opened = Link(world.mqtt), Database(world.urls.operator, pool_size=4)

    async def run() -> None:
        async with opened as database:
            await Dispatcher(database=database, wire=link, settings=world.settings, clock=world.clock).run()

    tasks = [asyncio.create_task(link.run()), asyncio.create_task(run())]
    await until(lambda: link.is_up)
    return tasks


def _work_off(device: Device, count: int) -> list[str]:
    got = []
    for _ in range(count):
        asked = device.command()
        got.append(asked.execution)
        device.answer(asked.execution, "SUCCEEDED")
    assert device.unheard(0.2) == []
    return got


async def test_c09_what_waits_outlives_the_service_and_so_do_its_timers(later: World, clock: Shifted) -> None:
    async with later.serving() as service:
        await offer(service)
        truck = await later.device()
        timed = await send(service, timeout_s=100)
        await asyncio.to_thread(truck.command)
        await later.comes_to(timed, State.SENT)
        waiting = [await send(service, SIBLING) for _ in range(3)]
        expiring = await send(service, "acme:t3", expires_s=50)
    clock.forward(60)
    async with later.serving():
        await later.comes_to(expiring, State.EXPIRED)
        sibling = await later.device(SIBLING)
        assert await asyncio.to_thread(_work_off, sibling, 3) == [each.id for each in waiting]
        assert later.state(timed) == "SENT"
        clock.forward(60)
        await later.comes_to(timed, State.TIMED_OUT)
        sibling.client.drop()
    truck.client.drop()


class TestC10Tenants:
    async def test_c10_another_tenant_neither_sees_nor_decides_nor_sends(self, world: World) -> None:
        async with world.service() as service:
            await offer(service, template(), template("wipe", dangerous=True, needs_approval=True))
            sent, awaiting = await send(service), await send(service, name="wipe")
            for id_ in (sent.id, awaiting.id):
                for ask in (
                    service.get(GLOBEX, id_),
                    service.cancel(GLOBEX, id_, BEN),
                    service.approve(GLOBEX, id_, BEN),
                    service.deny(GLOBEX, id_, BEN),
                ):
                    with pytest.raises(CommandNotFound):
                        await ask
            with pytest.raises(TargetNotFound):
                await send(service, "globex:t99")
            assert (world.state(sent), world.state(awaiting)) == ("CREATED", "AWAITING_APPROVAL")
            with pytest.raises(OwnApproval):
                await service.approve(ACME, awaiting.id, ANN)

    async def test_c10_a_device_answers_for_itself_alone(self, world: World) -> None:
        async with world.serving() as service:
            await offer(service)
            truck = await world.device()
            sibling, foreign = await world.device(SIBLING), await world.device(FOREIGN)
            sent = await send(service)
            await asyncio.to_thread(truck.command)
            await world.comes_to(sent, State.SENT)
            for other in (sibling, foreign):
                assert await asyncio.to_thread(other.unheard, 0.2) == []
                assert (await asyncio.to_thread(other.refused, sent.id, "SUCCEEDED"))[0] == "ResourceNotFound"
                topic = f"$aws/commands/things/{TRUCK}/executions/{sent.id}/response/json"
                with pytest.raises((Closed, AssertionError)):
                    await asyncio.to_thread(_forge, other, topic)
            assert world.state(sent) == "SENT"
            await asyncio.to_thread(truck.answer, sent.id, "SUCCEEDED")
            truck.client.drop()


def _forge(device: Device, topic: str) -> None:
    """As on AWS IoT, an unauthorised publish ends the connection."""
    device.client.publish(topic, b'{"status":"SUCCEEDED"}')
    assert device.client.is_alive()
