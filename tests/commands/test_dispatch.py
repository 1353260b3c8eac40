"""What is written down between handing a command over and its answer, and what is spared."""

import asyncio
from collections.abc import Sequence

import pytest

from commands.model import Execution
from commands.sending import dispatch
from commands.sending.dispatch import Dispatcher, Outcome
from core.db import DatabaseUnavailable
from tests.broker.brokers import Fleet, MosquittoRunner
from tests.commands.world import Shifted, World, offer, send
from tests.conftest import DatabaseUrls
from tests.faults import until

pytestmark = [pytest.mark.mosquitto, pytest.mark.db]


def by(world: World, execution: Execution) -> list[tuple[str, str]]:
    return [(step[1], step[2].partition(":")[0]) for step in world.row(execution)["history"]]


async def test_who_answers_before_the_confirmation_is_written_leaves_nothing_to_write(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_TAKE_DOWN_AFTER_S", 1.0)
    async with world.serving() as service:
        await offer(service)
        with await world.device() as truck:
            sent = await send(service)
            await asyncio.to_thread(truck.command)
            await asyncio.to_thread(lambda: truck.answer(sent.id, "SUCCEEDED"))
            answered = world.row(sent)
            assert by(world, sent) == [
                ("CREATED", "user"),
                ("SENT", "device"),
                ("DELIVERED", "device"),
                ("SUCCEEDED", "device"),
            ]
            await until(lambda: not world.dispatcher._told, within_s=20)
            assert world.row(sent) == answered


async def test_who_takes_his_time_is_shown_as_sent_by_the_broker_s_confirmation(world: World) -> None:
    async with world.serving() as service:
        await offer(service)
        with await world.device() as truck:
            sent = await send(service)
            await asyncio.to_thread(truck.command)
            await world.comes_to(sent, "SENT")
            assert by(world, sent) == [("CREATED", "user"), ("SENT", "milkrun")]


async def test_a_queue_with_nothing_left_has_no_timer_and_one_with_more_goes_on_at_once(world: World) -> None:
    async with world.serving() as service:
        await offer(service)
        with await world.device() as truck:
            sent = [await send(service) for _ in range(3)]
            for each in sent:
                assert (await asyncio.to_thread(truck.command)).execution == each.id
                await asyncio.to_thread(lambda id_=each.id: truck.answer(id_, "SUCCEEDED"))
            assert world.lane() == (None, False)
            assert await asyncio.to_thread(truck.unheard) == []


async def test_an_outage_in_which_the_confirmation_cannot_be_written_does_not_send_twice(
    ground: tuple[Fleet, MosquittoRunner], registered: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Shifted()
    world = World(ground[0], registered, clock=clock)
    is_away, take_down = True, Dispatcher._take_down

    async def unreliable(self: Dispatcher, told: Sequence[tuple[Execution, Outcome]]) -> None:
        if is_away:
            raise DatabaseUnavailable("away, for this alone")
        await take_down(self, told)

    monkeypatch.setattr(Dispatcher, "_take_down", unreliable)
    monkeypatch.setattr(dispatch, "_TAKEN_DOWN_WITHIN_S", 0.0)
    async with world.serving() as service:
        await offer(service)
        with await world.device() as truck:
            sent = await send(service)
            await asyncio.to_thread(truck.command)
            clock.forward(8)  # it is due again, as far as the database knows
            assert await asyncio.to_thread(lambda: truck.unheard(1.5)) == []
            is_away = False
            await world.comes_to(sent, "SENT")
            assert world.row(sent)["attempts"] == 1
