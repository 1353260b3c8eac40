import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shadow.service import ShadowService
from tests.broker import brokers
from tests.broker.brokers import Fleet, MosquittoRunner
from tests.conftest import DatabaseUrls
from tests.desk import execute, register
from tests.shadow.world import World


@pytest.fixture(scope="module")
def ground(mosquitto_path: Path) -> Iterator[tuple[Fleet, MosquittoRunner]]:
    """One broker for the module."""
    with brokers.serving() as found:
        yield found


@pytest.fixture(scope="module")
def serving(ground: tuple[Fleet, MosquittoRunner], module_database: DatabaseUrls) -> Iterator["Serving"]:
    """The service at work, beside the test's own thread, for the module."""
    register(module_database)
    served = Serving(World(ground[0], module_database))
    served.start()
    yield served
    served.stop()


@pytest.fixture
def world(serving: "Serving") -> Iterator[World]:
    """The module's service, with no shadow yet."""
    yield serving.world
    execute(serving.world.urls, "DELETE FROM shadow")


@pytest.fixture
def registered(database: DatabaseUrls) -> DatabaseUrls:
    register(database)
    return database


class Serving:
    """An event loop in a thread, so that tests of devices can be written as devices work: one line after the other."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.service: ShadowService
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(60), "the service does not start"
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        self._loop.close()
        if self._failure is not None:
            raise self._failure

    def call(self, work):
        """Run a coroutine of the service's loop and give its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def _run(self) -> None:
        async def serve() -> None:
            async with self.world.serving() as service:
                self.service = service
                self._ready.set()
                await self._stop.wait()

        try:
            self._loop.run_until_complete(serve())
        except BaseException as error:  # noqa: BLE001  told in the test's thread
            self._failure = error
        finally:
            self._ready.set()
