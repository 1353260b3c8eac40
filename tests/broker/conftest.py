import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stack.process import free_port
from tests.broker.brokers import EmbeddedRunner, Fleet, MosquittoRunner


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path, free_port(), free_port())


@pytest.fixture
def mosquitto(mosquitto_path: Path, fleet: Fleet) -> Iterator[MosquittoRunner]:
    """Started with our configuration; stopped after the test."""
    with tempfile.TemporaryDirectory(prefix="milkrun-broker-") as folder:
        runner = MosquittoRunner(fleet, Path(folder) / "broker")
        runner.start()
        yield runner
        runner.stop()


@pytest.fixture
def embedded(fleet: Fleet) -> Iterator[EmbeddedRunner]:
    """The embedded broker, started; stopped after the test."""
    with tempfile.TemporaryDirectory(prefix="milkrun-broker-") as folder:
        runner = EmbeddedRunner(fleet, Path(folder) / "broker")
        runner.start()
        yield runner
        runner.stop()
