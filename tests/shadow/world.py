"""The shadow service on a real Mosquitto and PostgreSQL, two tenants in the room, and devices that speak plain MQTT."""

import asyncio
import contextlib
import json
import time
from typing import Any, Self

import psycopg

from broker import policy
from core import events, topics
from core.bus import Entry
from core.clock import Clock, utc_now
from core.db import Database
from core.mqtt.desk import Desk, DeskOptions
from core.outbox import _decoder
from core.settings import ShadowSettings
from shadow.handlers import ShadowClerk
from shadow.service import ShadowService
from tests.broker.brokers import Fleet
from tests.broker.wire import NEVER, Client
from tests.conftest import DatabaseUrls

TRUCK, SIBLING, FOREIGN = "acme:t1", "acme:t2", "globex:t1"
ANSWER_S = 20.0


class Said(dict[str, Any]):
    """A payload by its keys; `topic` is what follows the shadow's own prefix."""

    def __init__(self, topic: str, payload: bytes) -> None:
        super().__init__(json.loads(payload))
        self.topic = topic


class Device:
    """A connected device that hears all about its own shadows."""

    def __init__(self, fleet: Fleet, thing: str, *, clean: bool = True, protocol: int = 5) -> None:
        self.thing = thing
        self.client: Client = fleet.device(thing, protocol=protocol)
        self.client.connect(thing, clean=clean, expiry_s=0 if clean else NEVER)
        self.client.subscribe(f"$aws/things/{thing}/shadow/#")
        self._heard: list[Said] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.client.drop()

    def send(self, verb: str, body: Any = b"", *, name: str = "") -> None:
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.client.publish_without_waiting(topics.shadow(self.thing, name, verb), payload)

    def hear(self, *endings: str, name: str = "") -> list[Said]:
        """Wait until each of these topics has been heard once, in any order, and take those off the pile."""
        prefix = topics.shadow(self.thing, name, "")
        found: dict[int, Said] = {}
        end = time.monotonic() + ANSWER_S
        while len(found) < len(endings):
            for at, ending in enumerate(endings):
                said = next((s for s in self._heard if s.topic == prefix + ending), None)
                if at not in found and said is not None:
                    self._heard.remove(said)
                    found[at] = said
            if len(found) < len(endings):
                assert time.monotonic() < end, f"no {endings} among {[s.topic for s in self._heard]}"
                self._heard += [Said(m.topic, m.payload) for m in self.client.collect(0.5, until=1)]
        return [found[at] for at in range(len(endings))]

    def unheard(self) -> list[str]:
        """Topics of what has come and nobody waited for; a get goes round first, so that all before it is here."""
        self.send("get", {"clientToken": "last"}, name="nobody-has-this")
        self.hear("get/rejected", name="nobody-has-this")
        left, self._heard = self._heard, []
        return [said.topic.partition("/shadow/")[2] for said in left]

    def update(self, body: Any, *, name: str = "") -> Said:
        """An update that is accepted, and its answer; what else was said stays on the pile."""
        self.send("update", body, name=name)
        return self.hear("update/accepted", name=name)[0]

    def refused(self, verb: str, body: Any, *, name: str = "") -> tuple[int, str]:
        self.send(verb, body, name=name)
        [said] = self.hear(f"{verb}/rejected", name=name)
        return said["code"], said["message"]

    def get(self, *, name: str = "") -> Said:
        self.send("get", name=name)
        return self.hear("get/accepted", name=name)[0]


class World:
    """Runs the service in this process. `async with world.serving():` and then devices in threads."""

    desk: Desk

    def __init__(self, fleet: Fleet, urls: DatabaseUrls, *, clock: Clock = utc_now, **settings: Any) -> None:
        self.fleet, self.urls, self.clock = fleet, urls, clock
        self.settings = ShadowSettings(**settings)
        self.mqtt = fleet.mqtt(policy.SHADOW)

    @contextlib.asynccontextmanager
    async def serving(self):
        async with Database(self.urls.app, pool_size=4) as app, Database(self.urls.operator, pool_size=2) as operator:
            service = ShadowService(database=app, settings=self.settings, clock=self.clock)
            clerk = self.make_clerk(operator, service)
            desk = self.desk = Desk(self.mqtt, self.options(), clerk)
            work = [asyncio.create_task(desk.run()), asyncio.create_task(clerk.sweep())]
            try:
                await self._connected(desk, work[0])
                yield service
                # A clerk that dies meanwhile leaves nothing to be drained.
                draining = asyncio.create_task(desk.drain())
                await asyncio.wait({draining, work[0]}, return_when=asyncio.FIRST_COMPLETED)
                work.append(draining)
            finally:
                for task in work:
                    task.cancel()
                results = await asyncio.gather(*work, return_exceptions=True)
                for failure in results:
                    if isinstance(failure, Exception):
                        raise failure

    def make_clerk(self, operator: Database, service: ShadowService) -> ShadowClerk:
        return ShadowClerk(database=operator, service=service, settings=self.settings, clock=self.clock)

    def options(self) -> DeskOptions:
        return DeskOptions(
            name=policy.SHADOW,
            filters=topics.shadow_filters(),
            batch_requests=self.settings.batch_requests,
            batch_wait_s=self.settings.batch_wait_ms / 1000,
            receive_maximum=self.settings.receive_maximum,
        )

    async def _connected(self, desk: Desk, running: asyncio.Task[None]) -> None:
        end = time.monotonic() + ANSWER_S
        while desk._line is None:
            if running.done():
                running.result()
            assert time.monotonic() < end, "the desk does not connect"
            await asyncio.sleep(0.01)

    def device(self, thing: str = TRUCK, *, clean: bool = True) -> Device:
        return Device(self.fleet, thing, clean=clean)

    def rows(self) -> dict[tuple[str, str], tuple[int, bool]]:
        """Version and whether it is deleted, by thing and name."""
        with psycopg.connect(self.urls.operator) as conn:
            rows = conn.execute(
                "SELECT tenant_id || ':' || device_id, name, version, is_deleted FROM shadow"
            ).fetchall()
        return {(thing, name): (version, is_deleted) for thing, name, version, is_deleted in rows}

    def news(self) -> list[tuple[str, bytes]]:
        """Topic and payload of everything in the outbox, in order."""
        with psycopg.connect(self.urls.owner) as conn:
            rows = conn.execute("SELECT entries FROM outbox ORDER BY id").fetchall()
        entries: list[Entry] = [entry for (packed,) in rows for entry in _decoder.decode(packed)]
        said = [events.decode(entry.body) for entry in entries]
        return [(m.topic, m.payload) for e in said if isinstance(e, events.MessagesIssued) for m in e.messages]
