"""S18 from end to end: a change over REST reaches the device over MQTT, through outbox, relay, bus and broker service.

And two applications with pools of their own, a further service and a device on the real broker lose no update, all at
once. The two share nothing but this test's process.
"""

import asyncio
import json
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.access import Role
from api.app import create_app
from api.process import server, services
from cli.stack.process import free_port
from core.settings import BusSettings, DatabaseSettings, ProvisioningSettings, RedisSettings, Settings
from tests.api.conftest import Tokens
from tests.broker.brokers import Fleet, MosquittoRunner
from tests.conftest import DatabaseUrls
from tests.desk import register, thing
from tests.shadow.test_outbound import Way
from tests.shadow.world import TRUCK, World

pytestmark = [pytest.mark.mosquitto, pytest.mark.db, pytest.mark.redis]

EACH = 12
SHADOW = f"/v1/devices/{TRUCK.partition(':')[2]}/shadow"


@pytest.fixture(scope="module")
def ground(mosquitto_path: Path) -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="milkrun-twin-") as folder:
        fleet = Fleet(Path(folder), free_port(), free_port())
        runner = MosquittoRunner(fleet, Path(folder) / "broker")
        runner.start()
        yield fleet
        runner.stop()


@pytest.fixture
def world(ground: Fleet, database: DatabaseUrls) -> World:
    register(database)
    return World(ground, database)


@pytest.fixture
def settings(database: DatabaseUrls, redis_url: str, tmp_path: Path) -> Settings:
    urls = DatabaseSettings(
        url=database.owner, app_url=database.app, ingest_url=database.ingest, operator_url=database.operator
    )
    return Settings(
        database=urls,
        redis=RedisSettings(url=redis_url),
        bus=BusSettings(partitions=4),
        provisioning=ProvisioningSettings(ca_dir=tmp_path / "ca"),
    )


@asynccontextmanager
async def api(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """One API process' worth, and a client of acme's admin."""
    tokens = Tokens()
    async with services(settings, tokens) as given:
        http = server(create_app(given), settings)
        listener = socket.create_server(("127.0.0.1", 0))
        serving = asyncio.create_task(http.serve(sockets=[listener]))
        try:
            while not http.started:  # noqa: ASYNC110  uvicorn tells it by this flag alone
                await asyncio.sleep(0.01)
            headers = {"Authorization": f"Bearer {tokens.of('acme', Role.TENANT_ADMIN)}"}
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
                yield client
        finally:
            http.should_exit = True
            await serving
            listener.close()


async def test_s18_an_update_over_rest_emits_what_an_update_over_mqtt_does(world: World, settings: Settings):
    async with world.serving(), Way(world, settings.redis.url), api(settings) as client:
        truck = await asyncio.to_thread(world.device)
        for method, name in (("PATCH", ""), ("POST", ""), ("PATCH", "milk"), ("POST", "$fw")):
            path = f"{SHADOW}s/{name}" if name else SHADOW
            body = {"state": {"desired": {"by": method}}, "clientToken": f"rest-{method}"}
            answer = (await client.request(method, path, json=body)).json()
            endings = ("update/accepted", "update/delta", "update/documents")
            accepted, delta, documents = await asyncio.to_thread(lambda n=name, e=endings: truck.hear(*e, name=n))
            assert dict(accepted) == answer
            assert (delta["state"], delta["version"]) == ({"by": method}, answer["version"])
            assert delta["clientToken"] == f"rest-{method}"
            assert documents["current"]["version"] == answer["version"]
        gone = (await client.delete(f"{SHADOW}s/milk")).json()
        [said] = await asyncio.to_thread(lambda: truck.hear("delete/accepted", name="milk"))
        assert dict(said) == gone
        refused = await client.patch(SHADOW, json={"state": {}, "version": 99})
        assert refused.status_code == 409
        assert await asyncio.to_thread(truck.unheard) == []
        truck.client.drop()


async def add(client: httpx.AsyncClient, name: str) -> None:
    for number in range(EACH):
        body = {"state": {"desired": {f"{name}{number}": number}}}
        answer = await client.patch(SHADOW, json=body)
        assert answer.status_code == 200, answer.text


async def count(client: httpx.AsyncClient, how: str) -> None:
    for _ in range(EACH):
        while True:
            found = await client.get(SHADOW)
            now: Any = found.json()
            body: dict[str, Any] = {"state": {"desired": {"n": now["state"]["desired"]["n"] + 1}}}
            headers = {"If-Match": found.headers["etag"]} if how == "etag" else {}
            body |= {} if how == "etag" else {"version": now["version"]}
            answer = await client.patch(SHADOW, json=body, headers=headers)
            if answer.status_code == 200:
                break
            assert answer.status_code == (412 if how == "etag" else 409), answer.text


async def test_two_apis_a_second_service_and_a_device_lose_no_update(world: World, settings: Settings):
    """Adders count blindly; the others count with a version, over REST by both APIs, and try again on a conflict."""

    def report() -> None:
        with world.device() as truck:
            for number in range(EACH):
                truck.send("update", {"state": {"reported": {f"r{number}": number}}})
                truck.hear("update/accepted")

    async with world.serving() as other, api(settings) as one, api(settings) as two:
        await one.patch(SHADOW, json={"state": {"desired": {"n": 0}}})

        async def serve() -> None:
            truck = thing(TRUCK)
            for number in range(EACH):
                body = json.dumps({"state": {"desired": {f"s{number}": number}}}).encode()
                await other.update(truck, body)

        work = (add(one, "a"), add(two, "b"), count(one, "etag"), count(two, "version"), serve())
        await asyncio.gather(*work, asyncio.to_thread(report))
        whole = (await one.get(SHADOW)).json()
    assert whole["version"] == 1 + 6 * EACH
    assert whole["state"]["desired"]["n"] == 2 * EACH
    assert len(whole["state"]["desired"]) == 1 + 3 * EACH
    assert len(whole["state"]["reported"]) == EACH
