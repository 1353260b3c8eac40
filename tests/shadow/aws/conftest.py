import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from core.clock import utc_now
from core.db import Database
from core.settings import ShadowSettings
from shadow.aws.client import IotData
from shadow.aws.service import AwsShadows
from shadow.service import ShadowService
from tests.conftest import DatabaseUrls
from tests.shadow.aws.emulator import Emulator, running


@pytest.fixture(scope="package")
def emulator() -> Iterator[Emulator]:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    before = {name: os.environ.get(name) for name in keys}
    os.environ.update(keys)
    with tempfile.TemporaryDirectory(prefix="milkrun-aws-") as folder, running(Path(folder)) as started:
        yield started
    for name, value in before.items():
        os.environ.pop(name)
        if value is not None:
            os.environ[name] = value


@pytest.fixture
async def there(emulator: Emulator, registered: DatabaseUrls) -> AsyncIterator[AwsShadows]:
    """The service in mode aws."""
    settings = emulator.settings()
    async with Database(registered.app, pool_size=4) as app, IotData(settings) as plane:
        yield AwsShadows(plane=plane, database=app, settings=settings, clock=utc_now)


@pytest.fixture
async def here(registered: DatabaseUrls) -> AsyncIterator[ShadowService]:
    """The service in mode local, on a database of the same devices."""
    async with Database(registered.app, pool_size=4) as app:
        yield ShadowService(database=app, settings=ShadowSettings(), clock=utc_now)
