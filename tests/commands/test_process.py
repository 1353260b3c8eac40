"""`python -m commands` as a process: it, the broker, Redis and PostgreSQL killed with commands in the queues."""

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from broker import policy
from cli.stack.errors import StartFailed
from cli.stack.servers.postgres import Postgres
from cli.stack.servers.redis import Redis
from commands.drafting import Request
from commands.groups import Group
from commands.service import CommandService
from core.db import Database
from core.migrate import ROLES, grant_logins, migrate
from core.tenancy import TenantId
from tests.broker.brokers import EmbeddedRunner, Fleet, MosquittoRunner, eventually, serving
from tests.broker.wire import Closed
from tests.commands.world import ANN, Device, World, offer, send, template
from tests.conftest import DatabaseUrls
from tests.desk import Process, register

pytestmark = [pytest.mark.db, pytest.mark.redis]

DEVICES, EACH = 8, 12


def process_of(world: World, redis_url: str, folder: Path, *, protocol: int = 5) -> Process:
    return Process(
        "commands",
        world.fleet,
        policy.COMMANDS,
        folder,
        protocol=protocol,
        MILKRUN_DATABASE_OPERATOR_URL=world.urls.operator,
        MILKRUN_REDIS_URL=redis_url,
        MILKRUN_BUS_PARTITIONS="2",
        MILKRUN_COMMANDS_PRESENCE_EVERY_S="0.3",
    )


@dataclass
class Truck:
    """Carries each command out once, and comes back whenever the link breaks, as device-contract.md asks."""

    world: World
    thing: str
    done: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self.drive, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.is_over.set()
        self._thread.join(30)

    def drive(self) -> None:
        while not self.is_over.is_set():
            try:
                device = Device(self.world.fleet, self.thing)
            except (Closed, OSError, AssertionError, TimeoutError):
                time.sleep(0.1)
                continue
            try:
                self._work(device)
            except (Closed, OSError):
                device.client.drop()

    def _work(self, device: Device) -> None:
        while not self.is_over.is_set():
            for said in device.unheard(0.2):
                if not said.rest.startswith("request/"):
                    continue
                self.seen.append(said.execution)
                if said.execution not in self.done:
                    self.done.append(said.execution)
                device.say(said.execution, "SUCCEEDED")
            device.client.ping()


@pytest.fixture
def ground_of_its_own(mosquitto_path: Path) -> Iterator[tuple[Fleet, MosquittoRunner]]:
    """A broker to be killed."""
    with serving() as found:
        yield found


@pytest.fixture
def on_the_road() -> Iterator[list[Truck | Process]]:
    """What is to be stopped, however the test ends."""
    started: list[Truck | Process] = []
    yield started
    for each in reversed(started):
        each.stop()


@pytest.fixture
def durable_urls(durable_postgres: Postgres) -> DatabaseUrls:
    owner = durable_postgres.url
    migrate(owner)
    grant_logins(owner, dict.fromkeys(ROLES, "secret"))
    at = owner.rpartition("@")[2]
    logins = {role: f"postgresql://{role}:secret@{at}" for role in ROLES}
    urls = DatabaseUrls(owner, logins["milkrun_app"], logins["milkrun_ingest"], logins["milkrun_operator"])
    register(urls, DEVICES)
    return urls


def counts(urls: DatabaseUrls) -> dict[str, int]:
    try:
        with psycopg.connect(urls.operator, connect_timeout=2) as conn:
            return dict(conn.execute("SELECT state, count(*) FROM command GROUP BY state").fetchall())
    except psycopg.OperationalError:
        return {}


@pytest.mark.mosquitto
def test_queued_commands_survive_kill_9_of_everything_and_are_carried_out_once_in_order(
    ground_of_its_own: tuple[Fleet, MosquittoRunner],
    durable_postgres: Postgres,
    durable_urls: DatabaseUrls,
    durable_redis: Redis,
    on_the_road: list[Truck | Process],
    tmp_path: Path,
) -> None:
    fleet, broker = ground_of_its_own
    world = World(fleet, durable_urls)
    process = process_of(world, durable_redis.url, tmp_path)
    on_the_road.append(process)
    process.start()
    queued = asyncio.run(_queue(world))
    process.end(signal.SIGKILL)
    process.start()
    trucks = [Truck(world, name) for name in queued]
    for truck in trucks:
        on_the_road.append(truck)
        truck.start()
        world.presence(truck.thing, online=True)
    for kill in ("commands", "broker", "redis", "postgres", "commands"):
        before = counts(durable_urls).get("SUCCEEDED", 0)
        assert eventually(lambda n=before: counts(durable_urls).get("SUCCEEDED", 0) > n, 30.0)
        if kill == "commands":
            process.end(signal.SIGKILL)
            process.start()
        elif kill == "broker":
            broker.stop(signal.SIGKILL)
            broker.start()
        elif kill == "redis":
            _kill(durable_redis)
            durable_redis.start()
        else:
            _kill(durable_postgres)
            _start_postgres(durable_postgres)
    whole = {"SUCCEEDED": DEVICES * EACH}
    is_done = eventually(lambda: counts(durable_urls) == whole, 120.0)
    for truck in trucks:
        truck.stop()
    assert is_done, (counts(durable_urls), process.log[-3000:])
    for truck in trucks:
        assert truck.done == queued[truck.thing], f"{truck.thing}: not in order, or not all"
        assert len(truck.seen) <= len(truck.done) + 10, "sent again more often than there were crashes"
    assert process.end(signal.SIGTERM) == 0, process.log


def _kill(server: Postgres | Redis) -> None:
    assert server.child is not None
    server.child.kill()


def _start_postgres(server: Postgres) -> None:
    for _ in range(50):
        try:
            server.start()
        except StartFailed:  # the last backend of the one that was killed still holds the shared memory
            time.sleep(0.1)
        else:
            return
    server.start()


async def _queue(world: World) -> dict[str, list[str]]:
    """Commands for trucks that are away: `EACH` a truck, half of them by groups."""
    async with Database(world.urls.app) as app:
        service = CommandService(database=app, settings=world.settings, clock=world.clock)
        await offer(service, template(expires_s=3600, timeout_s=3600, retries=10), tenants=("acme",))
        names = [f"t{n + 1}" for n in range(DEVICES)]
        for number in range(EACH):
            if number % 2:
                await service.groups.send(TenantId("acme"), Group(devices=names), Request(template="lock"), ANN)
            else:
                for name in names:
                    await send(service, f"acme:{name}")
    with psycopg.connect(world.urls.operator) as conn:
        rows = conn.execute("SELECT device_id, command_id FROM command ORDER BY place").fetchall()
    return {f"acme:{name}": [id_ for device, id_ in rows if device == name] for name in names}


def test_the_embedded_broker_serves_commands_too(
    registered: DatabaseUrls, redis_url: str, on_the_road: list[Truck | Process], tmp_path: Path
) -> None:
    with serving(EmbeddedRunner) as (fleet, _):
        world = World(fleet, registered)
        process = process_of(world, redis_url, tmp_path, protocol=4)
        on_the_road.append(process)
        process.start()

        async def queue() -> list[str]:
            async with world.service() as service:
                await offer(service)
                return [(await send(service)).id for _ in range(3)]

        ids = asyncio.run(queue())
        with Device(fleet, "acme:t1", protocol=4) as truck:
            world.presence("acme:t1", online=True)
            for id_ in ids:
                asked = truck.command()
                assert asked.execution == id_
                truck.answer(id_, "SUCCEEDED")
        assert process.end(signal.SIGTERM) == 0, process.log
