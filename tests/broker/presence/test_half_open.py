"""A link that breaks without either end being told: the bytes stop, the sockets stay open."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from tests.broker.brokers import EmbeddedRunner, Fleet, MosquittoRunner
from tests.broker.test_service import THING, Watched, until, watched, watched_embedded

__all__ = ["watched", "watched_embedded"]

pytestmark = pytest.mark.db
KEEP_ALIVE_S = 4
# How often a broker looks who has been silent for too long: Mosquitto 2.0 every five to six seconds.
MOSQUITTO_LOOKS_S, EMBEDDED_LOOKS_S = 6.0, 0.5
SLOW_MACHINE_S = 3.0


class Tunnel:
    """Between a device and the broker, byte for byte, until it is blocked: then it swallows both ways."""

    def __init__(self, port: int) -> None:
        self._there = port
        self.is_blocked = False
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["Tunnel"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._there)
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pass(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                if not self.is_blocked:
                    sink.write(data)
        finally:
            sink.transport.abort()


async def _notice(watched: Watched, fleet: Fleet, protocol: int) -> float:
    """Seconds from the last byte of a device whose link goes dead to its being told as offline."""
    async with Tunnel(fleet.device_port).open() as tunnel, watched.running(grace_s=60.0):
        client = await asyncio.to_thread(fleet.device, THING, protocol=protocol, port=tunnel.port)
        await asyncio.to_thread(client.connect, THING, keepalive_s=KEEP_ALIVE_S)
        await until(lambda: watched.heard_of(THING) == [("connected", 1)])
        # Longer than its keep-alive, so that it is the pings that keep it online and not the beginning.
        for _ in range(4):
            await asyncio.sleep(KEEP_ALIVE_S / 2)
            await asyncio.to_thread(client.ping)
        silent_since = time.monotonic()
        tunnel.is_blocked = True
        await until(lambda: len(watched.heard_of(THING)) == 2, 40.0)
        noticed_s = time.monotonic() - silent_since
        await until(lambda: watched.timeline()[-1] == (2, False, "MQTT_KEEP_ALIVE_TIMEOUT"))
        client.drop()
    assert watched.told[-1][1]["disconnectReason"] == "MQTT_KEEP_ALIVE_TIMEOUT"
    return noticed_s


@pytest.mark.mosquitto
async def test_a_half_open_link_is_noticed_after_one_and_a_half_keep_alives_and_never_before(
    watched: Watched, fleet: Fleet, mosquitto: MosquittoRunner
) -> None:
    del mosquitto
    noticed_s = await _notice(watched, fleet, protocol=5)
    assert noticed_s + 1 >= 1.5 * KEEP_ALIVE_S  # the broker counts whole seconds
    assert noticed_s < 1.5 * KEEP_ALIVE_S + MOSQUITTO_LOOKS_S + SLOW_MACHINE_S


async def test_the_embedded_broker_notices_it_as_well(
    watched_embedded: Watched, fleet: Fleet, embedded: EmbeddedRunner
) -> None:
    del embedded
    noticed_s = await _notice(watched_embedded, fleet, protocol=4)
    assert noticed_s + 0.5 >= 1.5 * KEEP_ALIVE_S
    assert noticed_s < 1.5 * KEEP_ALIVE_S + EMBEDDED_LOOKS_S + SLOW_MACHINE_S


@pytest.mark.mosquitto
async def test_a_device_that_reconnects_before_its_old_link_is_missed_was_never_offline(
    watched: Watched, fleet: Fleet, mosquitto: MosquittoRunner
) -> None:
    del mosquitto
    async with Tunnel(fleet.device_port).open() as tunnel, watched.running():
        half_open = await asyncio.to_thread(fleet.device, THING, port=tunnel.port)
        await asyncio.to_thread(half_open.connect, THING, keepalive_s=KEEP_ALIVE_S)
        await until(lambda: watched.heard_of(THING) == [("connected", 1)])
        tunnel.is_blocked = True
        again = await asyncio.to_thread(fleet.device, THING)
        await asyncio.to_thread(again.connect, THING)
        await asyncio.sleep(1.5 * KEEP_ALIVE_S + MOSQUITTO_LOOKS_S)
        assert watched.heard_of(THING) == [("connected", 1)]
        assert watched.timeline() == [(1, True, None)]
        again.drop()
        half_open.drop()
