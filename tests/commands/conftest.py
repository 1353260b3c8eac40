import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stack.process import free_port
from tests.broker.brokers import Fleet, MosquittoRunner
from tests.commands.world import World, register
from tests.conftest import DatabaseUrls


@pytest.fixture(scope="module")
def ground(mosquitto_path: Path) -> Iterator[tuple[Fleet, MosquittoRunner]]:
    """One broker for the module."""
    with tempfile.TemporaryDirectory(prefix="milkrun-commands-") as folder:
        fleet = Fleet(Path(folder), free_port(), free_port())
        runner = MosquittoRunner(fleet, Path(folder) / "broker")
        runner.start()
        yield fleet, runner
        runner.stop()


@pytest.fixture
def registered(database: DatabaseUrls) -> DatabaseUrls:
    register(database)
    return database


@pytest.fixture
def world(ground: tuple[Fleet, MosquittoRunner], registered: DatabaseUrls) -> World:
    return World(ground[0], registered)
