"""The platform's end of a device link, in a test's hands: it sees what devices publish and confirms when told to."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from core import topics
from core.mqtt import ConnectOptions, Message, MqttConnection, tls_context
from core.tenancy import Thing
from sim.link import Credentials, DeviceLink, LinkOptions
from tests.broker.brokers import Fleet, MosquittoRunner

THING = Thing.parse("acme:truck-1")


class Platform:
    """Connected to the broker as ingest is. `messages` holds, in order, the samples of each message that came."""

    def __init__(self) -> None:
        self.messages: list[list[dict]] = []
        self._connection: MqttConnection | None = None

    @property
    def seqs(self) -> list[int]:
        return [sample["seq"] for message in self.messages for sample in message]

    async def confirm(self, boot: str, first: int, last: int) -> None:
        assert self._connection is not None
        body = msgspec.json.encode({"boot": boot, "seq": last, "from": first})
        await self._connection.publish(topics.ack(THING), body, qos=0)

    async def open(self, fleet: Fleet) -> None:
        credentials = fleet.credentials("svc-ingest", fleet.services)
        options = ConnectOptions(
            host="localhost",
            port=fleet.service_port,
            client_id="svc-ingest",
            tls=tls_context(fleet.services.ca_file, credentials.cert_file, credentials.key_file),
        )
        self._connection = connection = MqttConnection(options, self._take)
        await connection.connect()
        granted = await connection.subscribe([topics.telemetry("+")])
        assert granted == [1]

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.disconnect()

    def _take(self, message: Message) -> None:
        assert self._connection is not None
        body = msgspec.json.decode(message.payload)
        self.messages.append(body if isinstance(body, list) else [body])
        self._connection.ack([message.packet_id])


def credentials(fleet: Fleet, folder: Path) -> Credentials:
    """The device's folder as it is handed out."""
    issued = fleet.credentials(str(THING), fleet.devices)
    folder.mkdir()
    shutil.copy(issued.cert_file, folder / "device.crt")
    shutil.copy(issued.key_file, folder / "device.key")
    shutil.copy(fleet.services.ca_file, folder / "ca.crt")
    return Credentials(THING, folder)


@asynccontextmanager
async def linked(runner: MosquittoRunner, folder: Path, **options: float) -> AsyncIterator[DeviceLink]:
    """A running link of THING to the broker; it is told to stop afterwards."""
    fleet = runner.fleet
    pauses = {"least_pause_s": 0.0, "first_pause_s": 0.05, "longest_pause_s": 0.2}
    limits: dict = {"resend_after_s": 60.0, **pauses, **options}
    link = DeviceLink(credentials(fleet, folder), LinkOptions(host="localhost", port=fleet.device_port, **limits))
    running = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(is_so: Callable[[], bool], within_s: float = 15.0) -> None:
    """Wait for what must come about; fails when it does not."""
    async with asyncio.timeout(within_s):
        while not is_so():  # noqa: ASYNC110  what is waited for happens in other processes too
            await asyncio.sleep(0.01)


def sample(seq: int, boot: str = "b1") -> dict:
    return {"ts": 1_790_000_000_000 + seq, "boot": boot, "seq": seq, "pos": {"lat": 47.0, "lon": 9.0}}
