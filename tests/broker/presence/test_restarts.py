"""A restart of ours or of the broker's takes nobody offline."""

import asyncio
import signal

import pytest

from broker.presence import model
from broker.presence.model import Presence
from tests.broker.brokers import EmbeddedRunner, MosquittoRunner
from tests.broker.test_service import THING, Watched, until, watched, watched_embedded
from tests.broker.wire import Client

__all__ = ["watched", "watched_embedded"]

pytestmark = pytest.mark.db


@pytest.mark.mosquitto
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
async def test_a_device_back_after_the_broker_restarted_was_never_offline(
    watched: Watched, mosquitto: MosquittoRunner, number: int
) -> None:
    async with watched.running(grace_s=0.3):
        client = await asyncio.to_thread(_connect, watched)
        await until(lambda: watched.heard_of(THING) == [("connected", 1)])
        mosquitto.stop(number)
        # Longer than the grace of a lost link: that the broker is away says nothing about the device.
        await asyncio.sleep(1.0)
        await asyncio.to_thread(mosquitto.start)
        await asyncio.sleep(1.0)
        again = await asyncio.to_thread(_connect, watched)
        await asyncio.sleep(1.0)
        assert watched.heard_of(THING) == [("connected", 1)]
        assert watched.timeline() == [(1, True, None)]
        client.drop()
        again.drop()


async def test_nor_with_the_embedded_broker(watched_embedded: Watched, embedded: EmbeddedRunner) -> None:
    watched = watched_embedded
    async with watched.running(grace_s=0.3):
        client = await asyncio.to_thread(_connect, watched, protocol=4)
        await until(lambda: watched.heard_of(THING) == [("connected", 1)])
        await asyncio.to_thread(embedded.stop)
        await asyncio.sleep(1.0)
        await asyncio.to_thread(embedded.start)
        again = await asyncio.to_thread(_connect, watched, protocol=4)
        await asyncio.sleep(1.0)
        assert watched.heard_of(THING) == [("connected", 1)]
        client.drop()
        again.drop()


@pytest.mark.mosquitto
async def test_a_broker_that_restarts_twice_gives_the_whole_grace_twice(
    watched: Watched, mosquitto: MosquittoRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.service.RESTART_GRACE_S", 6.0)
    async with watched.running(grace_s=0.3):
        client = await asyncio.to_thread(_connect, watched)
        await until(lambda: watched.heard_of(THING) == [("connected", 1)])
        for _ in range(2):
            mosquitto.stop(signal.SIGKILL)
            await asyncio.to_thread(mosquitto.start)
            await asyncio.sleep(4.0)
        assert watched.heard_of(THING) == [("connected", 1)]
        again = await asyncio.to_thread(_connect, watched)
        await asyncio.sleep(3.0)
        assert watched.heard_of(THING) == [("connected", 1)]
        client.drop()
        again.drop()


@pytest.mark.mosquitto
async def test_both_restarting_at_once_take_nobody_offline(watched: Watched, mosquitto: MosquittoRunner) -> None:
    async with watched.running(grace_s=0.3):
        client = await asyncio.to_thread(_connect, watched)
        await until(lambda: THING in watched.rows())
    mosquitto.stop(signal.SIGKILL)
    await asyncio.to_thread(mosquitto.start)
    async with watched.running(grace_s=0.3):
        await asyncio.sleep(1.0)
        again = await asyncio.to_thread(_connect, watched)
        await asyncio.sleep(1.0)
        assert watched.heard_of(THING) == [("connected", 1)]
        client.drop()
        again.drop()


def test_an_excuse_never_shortens_a_grace_and_is_nothing_to_who_is_not_leaving() -> None:
    there, _ = model.connected(None, thing=THING, session="s", at_ms=0, ip_address="")
    leaving = model.disconnected(there, at_ms=1000, reason="CONNECTION_LOST", grace_ms=500)
    assert model.excused(leaving, until_ms=1400) == leaving
    later = model.excused(leaving, until_ms=9000)
    assert isinstance(later, Presence)
    assert later.leaving is not None
    assert (later.leaving.due_ms, later.leaving.at_ms, later.leaving.reason) == (9000, 1000, "CONNECTION_LOST")
    assert model.excused(there, until_ms=9000) == there


def _connect(watched: Watched, protocol: int = 5) -> Client:
    client = watched.fleet.device(THING, protocol=protocol)
    client.connect(THING)
    return client
