"""From a change by the service to the device's ear: outbox, relay, bus, broker service. And `$milkrun` over MQTT."""

import asyncio
import json
from typing import Self

import pytest

from broker import policy
from broker.handlers import handlers
from broker.mosquitto import BrokerControl
from broker.service import Link
from core.bus import Bus
from core.db import Database
from core.outbox import Relay
from core.settings import BusSettings, RedisSettings
from core.worker import Worker
from tests.broker.brokers import Fleet, MosquittoRunner
from tests.conftest import DatabaseUrls
from tests.desk import execute, thing
from tests.faults import until
from tests.shadow.world import SIBLING, TRUCK, World

pytestmark = [pytest.mark.mosquitto, pytest.mark.db, pytest.mark.redis]


class Way:
    """Relay and broker service, as their processes build them."""

    def __init__(self, world: World, redis_url: str) -> None:
        service = world.fleet.credentials(policy.BROKER, world.fleet.services)
        self.link = Link(world.mqtt.model_copy(update={"cert_file": service.cert_file, "key_file": service.key_file}))
        self._world = world
        self._settings = BusSettings(partitions=4)
        self._bus = Bus(RedisSettings(url=redis_url), self._settings)

    async def __aenter__(self) -> Self:
        self._relays = Database(self._world.urls.ingest, pool_size=2)
        self._operator = Database(self._world.urls.operator, pool_size=2)
        await self._relays.__aenter__()
        await self._operator.__aenter__()
        worker = Worker(
            group="broker",
            handlers=handlers(BrokerControl(self.link.open, None), self.link.send),
            bus=self._bus,
            database=self._operator,
            settings=self._settings,
        )
        work = (self.link.run(), worker.run(), Relay(self._relays, self._bus).run())
        self._work = [asyncio.create_task(each) for each in work]
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        await self._relays.__aexit__()
        await self._operator.__aexit__()
        await self._bus.close()


@pytest.fixture
def world(ground: tuple[Fleet, MosquittoRunner], registered: DatabaseUrls) -> World:
    return World(ground[0], registered)


async def test_s18_a_change_by_the_service_reaches_the_device_over_mqtt(world: World, redis_url: str) -> None:
    async with world.serving() as service, Way(world, redis_url):
        truck = await asyncio.to_thread(world.device)
        for number in range(1, 6):
            body = {"state": {"desired": {"n": number}}, "clientToken": f"rest-{number}"}
            answer = await service.update(thing(TRUCK), json.dumps(body).encode(), "milk")
            topics = ("update/accepted", "update/delta", "update/documents")
            accepted, delta, documents = await asyncio.to_thread(lambda t=topics: truck.hear(*t, name="milk"))
            assert accepted == answer
            assert (delta["state"], delta["version"], delta["clientToken"]) == ({"n": number}, number, f"rest-{number}")
            assert documents["current"]["version"] == number
        await service.delete(thing(TRUCK), "milk")
        [gone] = await asyncio.to_thread(lambda: truck.hear("delete/accepted", name="milk"))
        assert gone["version"] == 5
        await until(lambda: world.news() == [])
        truck.client.drop()


async def test_what_is_said_while_the_broker_is_away_comes_when_it_is_back_and_in_order(
    world: World, redis_url: str, ground: tuple[Fleet, MosquittoRunner]
) -> None:
    _, runner = ground
    async with world.serving() as service, Way(world, redis_url) as way:
        truck = await asyncio.to_thread(lambda: world.device(clean=False))
        await until(way.link._is_up.is_set)
        truck.client.drop()
        await asyncio.to_thread(runner.stop)
        for number in range(1, 21):
            await service.update(thing(TRUCK), json.dumps({"state": {"desired": {"n": number}}}).encode())
        await until(lambda: world.news() == [])
        await asyncio.to_thread(runner.start)
        truck = await asyncio.to_thread(lambda: world.device(clean=False))
        seen: list[int] = []
        while not seen or seen[-1] != 20:
            seen.append((await asyncio.to_thread(truck.hear, "update/delta"))[0]["version"])
        assert sorted(set(seen)) == list(range(1, 21))
        assert list(dict.fromkeys(seen)) == list(range(1, 21))
        truck.client.drop()


async def test_last_known_is_answered_over_mqtt_and_to_its_own_device_alone(world: World) -> None:
    execute(
        world.urls,
        "INSERT INTO device_state (tenant_id, device_id, last_seen_at, ts, boot, seq, lat, lon, ledger)"
        " VALUES ('acme', 't1', now(), now(), 'b', 1, 47.5, 9.25, '')",
    )
    async with world.serving():

        def devices() -> None:
            with world.device() as truck, world.device(SIBLING) as sibling:
                truck.send("get", {"clientToken": "k"}, name="$milkrun")
                [said] = truck.hear("get/accepted", name="$milkrun")
                assert said["state"]["reported"]["position"] == {"lat": 47.5, "lon": 9.25}
                assert said["clientToken"] == "k"
                assert sibling.refused("get", b"", name="$milkrun")[0] == 404

        await asyncio.to_thread(devices)
