"""The API, the command service at a real Mosquitto, and trucks; two tenants with a template each."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.stack.process import free_port
from tests.api.fleet.conftest import Fleet, fleet
from tests.broker.brokers import Fleet as Certificates
from tests.broker.brokers import MosquittoRunner
from tests.commands.world import Shifted, World

__all__ = ["fleet"]


@dataclass
class Control:
    """REST on one side, MQTT on the other."""

    fleet: Fleet
    world: World
    clock: Shifted
    serving: AsyncExitStack

    async def restart(self) -> None:
        """Another service process: nothing of the first one's memory."""
        await self.serving.aclose()
        await self.serving.enter_async_context(self.world.serving())

    async def send(self, **body: Any) -> dict[str, Any]:
        answer = await self.fleet.acme.post("/v1/commands", json={"device": "t1", "template": "lock", **body})
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def show(self, command: dict[str, Any]) -> dict[str, Any]:
        answer = await self.fleet.acme.get(f"/v1/commands/{command['id']}")
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def ground(mosquitto_path: Path) -> Iterator[Certificates]:
    with tempfile.TemporaryDirectory(prefix="milkrun-control-") as folder:
        certificates = Certificates(Path(folder), free_port(), free_port())
        runner = MosquittoRunner(certificates, Path(folder) / "broker")
        runner.start()
        yield certificates
        runner.stop()


@pytest.fixture
async def control(ground: Certificates, fleet: Fleet) -> AsyncIterator[Control]:
    clock = Shifted()
    await fleet.register("t1", labels={"depot": "north"})
    await fleet.register("t2", labels={"depot": "north"})
    await fleet.register("t3", labels={"depot": "south"})
    await fleet.register("t1", tenant="zeta")
    commands = fleet.api.services.commands
    for part in (commands, commands.templates, commands.groups):
        part._clock = clock
    for client in (fleet.acme, fleet.zeta):
        answer = await client.post("/v1/command-templates", json={"id": "lock", "retries": 0})
        assert answer.status_code == 201, answer.text
    world = World(ground, fleet.urls, clock=clock)
    async with AsyncExitStack() as serving:
        await serving.enter_async_context(world.serving())
        yield Control(fleet, world, clock, serving)
