"""`python -m shadow` as a process: killed in the middle of things, and told to stop; and on the embedded broker."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import policy
from cli.stack.process import free_port
from tests.broker.brokers import EmbeddedRunner, Fleet, MosquittoRunner, eventually
from tests.conftest import DatabaseUrls
from tests.shadow.world import TRUCK, Device, World

pytestmark = [pytest.mark.db]

_READY_S = 60.0


class Process:
    """The service as `milkrun up` starts it."""

    def __init__(self, world: World, folder: Path, *, protocol: int = 5) -> None:
        credentials = world.fleet.credentials(policy.SHADOW, world.fleet.services)
        self._log = folder / "shadow.log"
        self._environment = {
            **os.environ,
            "MILKRUN_DATABASE_APP_URL": world.urls.app,
            "MILKRUN_DATABASE_OPERATOR_URL": world.urls.operator,
            "MILKRUN_MQTT_HOST": "localhost",
            "MILKRUN_MQTT_PORT": str(world.fleet.service_port),
            "MILKRUN_MQTT_CA_FILE": str(world.fleet.services.ca_file),
            "MILKRUN_MQTT_CERT_FILE": str(credentials.cert_file),
            "MILKRUN_MQTT_KEY_FILE": str(credentials.key_file),
            "MILKRUN_MQTT_PROTOCOL": str(protocol),
        }
        self._starts = 0
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._starts += 1
        with self._log.open("ab") as log:
            self._child = subprocess.Popen([sys.executable, "-m", "shadow"], env=self._environment, stderr=log)
        assert eventually(lambda: self.log.count("desk.connected") >= self._starts, _READY_S), self.log

    def end(self, number: int) -> int:
        assert self._child is not None
        self._child.send_signal(number)
        return self._child.wait(30)

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""


@pytest.fixture
def embedded(registered: DatabaseUrls) -> Iterator[World]:
    """A world on the embedded broker."""
    with tempfile.TemporaryDirectory(prefix="milkrun-shadow-") as folder:
        fleet = Fleet(Path(folder), free_port(), free_port())
        runner = EmbeddedRunner(fleet, Path(folder) / "broker")
        runner.start()
        yield World(fleet, registered)
        runner.stop()


@pytest.mark.mosquitto
def test_killed_in_the_middle_it_carries_out_every_request_once(
    ground: tuple[Fleet, MosquittoRunner], registered: DatabaseUrls, tmp_path: Path
) -> None:
    world = World(ground[0], registered)
    process = Process(world, tmp_path)
    process.start()
    truck = world.device()
    count = 0
    for kills in range(4):
        for _ in range(8):
            count += 1
            truck.send("update", {"state": {"reported": {f"k{count}": kills}}})
        time.sleep(0.004 * kills)  # at another moment each time
        process.end(signal.SIGKILL)
        process.start()
        assert eventually(lambda n=count: world.rows().get((TRUCK, "")) == (n, False), 30.0), (count, world.rows())
    whole = truck.get()
    assert (whole["version"], len(whole["state"]["reported"])) == (count, count)
    assert process.end(signal.SIGTERM) == 0, process.log
    truck.client.drop()


def test_the_embedded_broker_serves_shadows_too(embedded: World, tmp_path: Path) -> None:
    process = Process(embedded, tmp_path, protocol=4)
    process.start()
    with Device(embedded.fleet, TRUCK, protocol=4) as truck:
        assert truck.update({"state": {"desired": {"a": 1}}, "clientToken": "t"})["clientToken"] == "t"
        delta, _ = truck.hear("update/delta", "update/documents")
        assert delta["state"] == {"a": 1}
        truck.update({"state": {"reported": {"a": 1}}}, name="milk")
        assert truck.get()["version"] == 1
        assert truck.refused("update", {"state": {}, "version": 7}) == (409, "Version conflict")
    assert process.end(signal.SIGTERM) == 0, process.log
