"""A simulated truck follows what is wanted of it, through the real broker and the real shadow service."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stack.process import free_port
from shadow.service import ShadowService
from sim.duties.twin import Twin, applied
from sim.link import Credentials, DeviceLink, LinkOptions
from tests.broker.brokers import Fleet, MosquittoRunner
from tests.conftest import DatabaseUrls
from tests.desk import register, thing
from tests.faults import until
from tests.shadow.world import TRUCK, World

SETTINGS = {"report_every_s": 5, "cooling": {"target_c": 4.0, "fan": "auto"}, "door_alarm": True}


@pytest.fixture
def fleet(mosquitto_path: Path) -> Iterator[Fleet]:
    """Certificates, and a running broker that takes them."""
    with tempfile.TemporaryDirectory(prefix="milkrun-twin-") as folder:
        made = Fleet(Path(folder), free_port(), free_port())
        runner = MosquittoRunner(made, Path(folder) / "broker")
        runner.start()
        yield made
        runner.stop()


def test_only_what_is_known_and_of_its_type_is_followed():
    wishes = {"report_every_s": 10.5, "cooling": {"target_c": 3, "fan": 7}, "door_alarm": 1, "horn": True}
    after, followed = applied(SETTINGS, wishes)
    assert followed == {"report_every_s": 10.5, "cooling": {"target_c": 3}}
    assert after == {"report_every_s": 10.5, "cooling": {"target_c": 3, "fan": "auto"}, "door_alarm": True}
    assert SETTINGS["cooling"] == {"target_c": 4.0, "fan": "auto"}


@pytest.mark.mosquitto
@pytest.mark.db
async def test_a_truck_reports_follows_and_catches_up_after_an_absence(
    fleet: Fleet, database: DatabaseUrls, tmp_path: Path
) -> None:
    register(database)
    world = World(fleet, database)
    credentials = fleet.credentials(TRUCK, fleet.devices)
    for source, name in ((credentials.cert_file, "device.crt"), (credentials.key_file, "device.key")):
        shutil.copy(source, tmp_path / name)
    shutil.copy(fleet.services.ca_file, tmp_path / "ca.crt")
    options = LinkOptions(
        host="localhost", port=fleet.device_port, least_pause_s=0.0, first_pause_s=0.1, longest_pause_s=0.5
    )
    twin = Twin(thing(TRUCK), SETTINGS)
    link = DeviceLink(Credentials(thing(TRUCK), tmp_path), options, [twin])

    async def wish(service: ShadowService, state: dict[str, object]) -> None:
        await service.update(thing(TRUCK), json.dumps({"state": {"desired": state}}).encode())

    async def state(service: ShadowService) -> dict[str, object]:
        return (await service.get(thing(TRUCK)))["state"]

    async with world.serving() as service:
        driving = asyncio.create_task(link.run())
        await until(lambda: world.rows() == {(TRUCK, ""): (1, False)})
        assert (await state(service))["reported"] == SETTINGS
        driving.cancel()
        await asyncio.gather(driving, return_exceptions=True)
        # Nobody tells it: it has to ask when it comes back.
        await wish(service, {"cooling": {"target_c": 2.5}, "horn": True})
        driving = asyncio.create_task(link.run())
        await until(lambda: twin.settings["cooling"]["target_c"] == 2.5)

        async def has_followed() -> bool:
            return (await state(service))["delta"] == {"horn": True}

        await until(has_followed)
        twin.report({"door_alarm": False})

        async def has_reported() -> bool:
            return (await state(service))["reported"]["door_alarm"] is False

        await until(has_reported)
        assert twin.refusals == []
        driving.cancel()
        await asyncio.gather(driving, return_exceptions=True)
