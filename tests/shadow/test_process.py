"""`python -m shadow` as a process: killed in the middle of things, and told to stop; and on the embedded broker."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import policy
from tests.broker.brokers import EmbeddedRunner, Fleet, MosquittoRunner, eventually, serving
from tests.conftest import DatabaseUrls
from tests.desk import Process
from tests.shadow.world import TRUCK, Device, World

pytestmark = [pytest.mark.db]


def process_of(world: World, folder: Path, *, protocol: int = 5) -> Process:
    return Process(
        "shadow",
        world.fleet,
        policy.SHADOW,
        folder,
        protocol=protocol,
        MILKRUN_DATABASE_APP_URL=world.urls.app,
        MILKRUN_DATABASE_OPERATOR_URL=world.urls.operator,
    )


@pytest.fixture
def embedded(registered: DatabaseUrls) -> Iterator[World]:
    """A world on the embedded broker."""
    with serving(EmbeddedRunner) as (fleet, _):
        yield World(fleet, registered)


@pytest.mark.mosquitto
def test_killed_in_the_middle_it_carries_out_every_request_once(
    ground: tuple[Fleet, MosquittoRunner], registered: DatabaseUrls, tmp_path: Path
) -> None:
    world = World(ground[0], registered)
    process = process_of(world, tmp_path)
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
    process = process_of(embedded, tmp_path, protocol=4)
    process.start()
    with Device(embedded.fleet, TRUCK, protocol=4) as truck:
        assert truck.update({"state": {"desired": {"a": 1}}, "clientToken": "t"})["clientToken"] == "t"
        delta, _ = truck.hear("update/delta", "update/documents")
        assert delta["state"] == {"a": 1}
        truck.update({"state": {"reported": {"a": 1}}}, name="milk")
        assert truck.get()["version"] == 1
        assert truck.refused("update", {"state": {}, "version": 7}) == (409, "Version conflict")
    assert process.end(signal.SIGTERM) == 0, process.log
