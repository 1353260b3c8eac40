from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.brokers import Fleet, MosquittoRunner, serving
from tests.commands.world import World
from tests.conftest import DatabaseUrls
from tests.desk import register


@pytest.fixture(scope="module")
def ground(mosquitto_path: Path) -> Iterator[tuple[Fleet, MosquittoRunner]]:
    """One broker for the module."""
    with serving() as found:
        yield found


@pytest.fixture
def registered(database: DatabaseUrls) -> DatabaseUrls:
    register(database)
    return database


@pytest.fixture
def world(ground: tuple[Fleet, MosquittoRunner], registered: DatabaseUrls) -> World:
    return World(ground[0], registered)
