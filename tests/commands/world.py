"""The command service on a real Mosquitto and PostgreSQL, two tenants in the room, devices that speak plain MQTT."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import cbor2
import psycopg

from broker import policy
from commands.contract.template import Parameter, Template
from commands.drafting import Request
from commands.handlers import CommandClerk
from commands.model import Actor, Execution, State
from commands.process import Link
from commands.sending.dispatch import Dispatcher
from commands.service import CommandService
from core import topics
from core.clock import Clock, utc_now
from core.db import Database
from core.mqtt.desk import Desk, DeskOptions
from core.settings import CommandsSettings
from core.tenancy import TenantId
from tests.broker.brokers import Fleet
from tests.broker.wire import NEVER, Client
from tests.conftest import DatabaseUrls
from tests.desk import execute, thing
from tests.faults import until

TRUCK, SIBLING, FOREIGN = "acme:t1", "acme:t2", "globex:t1"
ANN, BEN = Actor("user", "usr_ann", "Ann"), Actor("user", "usr_ben", "Ben")
ANSWER_S = 20.0


def template(name: str = "lock", *parameters: Parameter, **more: Any) -> Template:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    plain: dict[str, Any] = {
        "id": name,
        "description": "for tests",
        "format": "json",
        "parameters": parameters,
        "dangerous": False,
        "needs_approval": False,
        "timeout_s": 60,
        "expires_s": 300,
        "retries": 0,
        "order": "after_end",
        "is_deprecated": False,
        "version": 1,
        "created_at": at,
        "updated_at": at,
    }
    return Template(**{**plain, **more})


class Shifted:
    """A clock that a test sets forward."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self._ahead

    def forward(self, seconds: float) -> None:
        self._ahead += timedelta(seconds=seconds)


class Told(dict[str, Any]):
    """A payload by its keys; `execution` and `rest` are what its topic says."""

    def __init__(self, topic: str, payload: bytes) -> None:
        levels = topic.split("/")
        super().__init__(cbor2.loads(payload) if levels[-1] == "cbor" else json.loads(payload))
        self.execution, self.rest = levels[5], "/".join(levels[6:])


class Device:
    """A connected device that hears its commands and what is said to its answers."""

    def __init__(
        self, fleet: Fleet, thing: str, *, clean: bool = True, subscribes: bool = True, protocol: int = 5
    ) -> None:
        self.thing = thing
        self.client: Client = fleet.device(thing, protocol=protocol)
        self.client.connect(thing, clean=clean, expiry_s=0 if clean else NEVER)
        self._heard: list[Told] = []
        if subscribes:
            self.subscribe()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.client.drop()

    def subscribe(self) -> None:
        self.client.subscribe(
            f"$aws/commands/things/{self.thing}/executions/+/request/+",
            f"$aws/commands/things/{self.thing}/executions/+/response/accepted/+",
            f"$aws/commands/things/{self.thing}/executions/+/response/rejected/+",
        )

    def hear(self, beginning: str, *, within_s: float = ANSWER_S) -> Told:
        """The next message whose topic goes on so after the execution; others stay on the pile."""
        end = time.monotonic() + within_s
        while True:
            for said in self._heard:
                if said.rest.startswith(beginning):
                    self._heard.remove(said)
                    return said
            assert time.monotonic() < end, f"no {beginning} among {[s.rest for s in self._heard]}"
            self._heard += [Told(m.topic, m.payload) for m in self.client.collect(0.3, until=1)]

    def command(self, *, within_s: float = ANSWER_S) -> Told:
        return self.hear("request/", within_s=within_s)

    def unheard(self, seconds: float = 0.3) -> list[Told]:
        """What has come and nobody waited for."""
        self._heard += [Told(m.topic, m.payload) for m in self.client.collect(seconds)]
        left, self._heard = self._heard, []
        return left

    def say(self, execution: str, status: Any, *, fmt: str = "json", **more: Any) -> None:
        body = {"status": status, **more}
        payload = cbor2.dumps(body) if fmt == "cbor" else json.dumps(body).encode()
        self.say_raw(execution, payload, fmt=fmt)

    def say_raw(self, execution: str, payload: bytes, *, fmt: str = "json") -> None:
        self.client.publish_without_waiting(topics.command(self.thing, execution, f"response/{fmt}"), payload)

    def answer(self, execution: str, status: str, **more: Any) -> Told:
        """An answer that is accepted."""
        self.say(execution, status, **more)
        return self.hear("response/accepted")

    def refused(self, execution: str, status: Any, **more: Any) -> tuple[str, str]:
        self.say(execution, status, **more)
        said = self.hear("response/rejected")
        return said["error"], said["errorMessage"]


class World:
    """Runs desk and dispatcher in this process: `async with world.serving() as service:`."""

    desk: Desk
    link: Link
    dispatcher: Dispatcher

    def __init__(self, fleet: Fleet, urls: DatabaseUrls, *, clock: Clock = utc_now, **settings: Any) -> None:
        self.fleet, self.urls, self.clock = fleet, urls, clock
        self.settings = CommandsSettings(**{"presence_every_s": 0.2, "look_every_s": 0.2, **settings})
        self.mqtt = fleet.mqtt(policy.COMMANDS)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[CommandService]:
        async with Database(self.urls.operator, pool_size=6) as operator, self.service() as service:
            self.link = self.make_link()
            self.dispatcher = Dispatcher(database=operator, wire=self.link, settings=self.settings, clock=self.clock)
            wake, over = self.dispatcher.wake, self.dispatcher.over
            clerk = CommandClerk(database=operator, wake=wake, over=over, clock=self.clock)
            desk = self.desk = Desk(self.mqtt, self.options(), clerk)
            work = [asyncio.create_task(each) for each in (desk.run(), self.link.run(), self.dispatcher.run())]
            try:
                await until(lambda: any(t.done() for t in work) or (desk._line is not None and self.link.is_up))
                yield service
                if not any(task.done() for task in work):
                    await desk.drain()
            finally:
                for task in work:
                    task.cancel()
                results = await asyncio.gather(*work, return_exceptions=True)
                for failure in results:
                    if isinstance(failure, Exception):
                        raise failure

    @contextlib.asynccontextmanager
    async def service(self) -> AsyncIterator[CommandService]:
        """What the API has of it."""
        async with Database(self.urls.app, pool_size=4) as app:
            yield CommandService(database=app, settings=self.settings, clock=self.clock)

    def make_link(self) -> Link:
        return Link(self.mqtt)

    def options(self) -> DeskOptions:
        return DeskOptions(
            name=policy.COMMANDS,
            filters=topics.command_filters(),
            batch_requests=self.settings.batch_answers,
            batch_wait_s=self.settings.batch_wait_ms / 1000,
            receive_maximum=self.settings.receive_maximum,
        )

    async def device(self, thing: str = TRUCK, **how: Any) -> Device:
        """A connected one, and presence says so, as the broker service would."""
        device = await asyncio.to_thread(lambda: Device(self.fleet, thing, **how))
        self.presence(thing, online=True)
        return device

    def presence(self, thing: str, *, online: bool) -> None:
        tenant, _, device = thing.partition(":")
        execute(
            self.urls,
            "INSERT INTO presence (tenant_id, device_id, online, since, session, version)"
            " VALUES (%s, %s, %s, %s, 's', 1) ON CONFLICT (tenant_id, device_id) DO UPDATE"
            " SET online = excluded.online, since = excluded.since, version = presence.version + 1",
            tenant,
            device,
            online,
            self.clock(),
        )

    def row(self, execution: str | Execution) -> dict[str, Any]:
        id_ = execution if isinstance(execution, str) else execution.id
        with psycopg.connect(self.urls.operator, row_factory=psycopg.rows.dict_row) as conn:
            found = conn.execute("SELECT * FROM command WHERE command_id = %s", (id_,)).fetchone()
        assert found is not None
        return found

    def state(self, execution: str | Execution) -> str:
        return str(self.row(execution)["state"])

    def way(self, execution: str | Execution) -> list[str]:
        """The states it went through."""
        return [step[1] for step in self.row(execution)["history"]]

    def lane(self, thing_name: str = TRUCK) -> tuple[datetime | None, bool]:
        """When a queue is looked at next, and whether it waits for its device."""
        tenant, _, device = thing_name.partition(":")
        with psycopg.connect(self.urls.operator) as conn:
            query = "SELECT due_at, waits FROM command_lane WHERE tenant_id = %s AND device_id = %s"
            [(due_at, waits)] = conn.execute(query, (tenant, device)).fetchall()
        return due_at, waits

    async def comes_to(self, execution: str | Execution, state: State | str, seconds: float = ANSWER_S) -> None:
        await until(lambda: self.state(execution) == state, within_s=seconds)


async def send(
    service: CommandService,
    thing_name: str = TRUCK,
    name: str = "lock",
    parameters: Mapping[str, Any] | None = None,
    *,
    by: Actor = ANN,
    **more: Any,
) -> Execution:
    return await service.send(thing(thing_name), Request(template=name, parameters=parameters or {}, **more), by)


async def offer(service: CommandService, *offered: Template, tenants: tuple[str, ...] = ("acme", "globex")) -> None:
    for tenant in tenants:
        for each in offered or (template(),):
            await service.templates.add(TenantId(tenant), each)
