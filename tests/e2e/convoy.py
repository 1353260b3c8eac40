"""Devices under way: real links over mTLS, each sample under a name of its own, until told to stop."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from core import topics
from core.mqtt import ConnectOptions, MqttConnection, tls_context
from sim.link import Credentials, DeviceLink, LinkOptions
from tests.e2e.platform import Name, Observed, spoiled
from tests.faults import until

_NEVER_S = 1e9


class Convoy:
    """`rate` messages a second from all `links` together; `boot` names the run. What they did is counted by them."""

    def __init__(self, platform: Observed, fleet: Sequence[Credentials], *, boot: str, rate: float, resends: bool):
        options = LinkOptions(
            host="127.0.0.1",
            port=platform.device_port,
            window=500,
            # A device that never sends again on its own cannot hide what the platform loses.
            resend_after_s=5.0 if resends else _NEVER_S,
            least_pause_s=0.0,
            first_pause_s=0.1,
            longest_pause_s=0.5,
        )
        self.boot = boot
        self.links = [DeviceLink(each, options) for each in fleet]
        self._rate = rate
        self._seq = 0
        self._is_driving = True

    @property
    def sent(self) -> set[Name]:
        return {(str(link.thing), boot, seq) for link in self.links for boot, seq in link.taken}

    @property
    def durable(self) -> int:
        return sum(link.counts.durable for link in self.links)

    @property
    def pubacked(self) -> int:
        return sum(link.counts.pubacked for link in self.links)

    @property
    def resent(self) -> int:
        return sum(link.counts.resent for link in self.links)

    async def drive(self) -> None:
        started = time.monotonic()
        while self._is_driving:
            due = int((time.monotonic() - started) * self._rate / len(self.links))
            while self._seq < due:
                self._seq += 1
                now_ms = time.time_ns() // 1_000_000
                for number, link in enumerate(self.links):
                    # One instant for one sample, and a speed that a truck can have.
                    pos = {"lat": 47.0 + number * 0.01, "lon": 9.0 + self._seq * 1e-7, "speed": 10.0}
                    link.submit(
                        [{"ts": now_ms - 1000 + self._seq % 1000, "boot": self.boot, "seq": self._seq, "pos": pos}]
                    )
            await asyncio.sleep(0.01)

    async def arrived(self, within_s: float = 90.0) -> None:
        """Stop driving and wait until everything is durable."""
        self._is_driving = False
        async with asyncio.timeout(within_s):
            await asyncio.gather(*(link.settled() for link in self.links))


@asynccontextmanager
async def driving(
    platform: Observed, fleet: Sequence[Credentials], *, boot: str, rate: float, resends: bool = True
) -> AsyncIterator[Convoy]:
    convoy = Convoy(platform, fleet, boot=boot, rate=rate, resends=resends)
    links = [asyncio.create_task(link.run()) for link in convoy.links]
    await until(lambda: all(link.is_connected for link in convoy.links))
    driver = asyncio.create_task(convoy.drive())
    try:
        yield convoy
    finally:
        for task in (driver, *links):
            task.cancel()
        await asyncio.gather(driver, *links, return_exceptions=True)


class Spoiler:
    """A device that sends nothing but payloads that cannot be stored, each once; `taken` are those the broker has."""

    def __init__(self, platform: Observed, credentials: Credentials, *, rate: float) -> None:
        self._platform = platform
        self._credentials = credentials
        self._rate = rate
        self.taken: list[bytes] = []

    async def run(self) -> None:
        folder, thing = self._credentials.folder, str(self._credentials.thing)
        options = ConnectOptions(
            host="127.0.0.1",
            port=self._platform.config.device_port,
            client_id=thing,
            tls=tls_context(folder / "ca.crt", folder / "device.crt", folder / "device.key"),
        )
        connection = await MqttConnection.open(options)
        number = 0
        try:
            while True:
                number += 1
                if await connection.publish(topics.telemetry(thing), spoiled(number)) < 0x80:
                    self.taken.append(spoiled(number))
                await asyncio.sleep(1 / self._rate)
        finally:
            await connection.disconnect()
