from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.db import Database
from core.settings import NotifySettings
from tests.conftest import DatabaseUrls
from tests.notify.world import World, place


@pytest.fixture
def notify_settings(tmp_path: Path) -> NotifySettings:
    """As a laptop has it: webhooks may go to this machine, by HTTP."""
    return NotifySettings(
        link_key_file=tmp_path / "links.key",
        secret_key_file=tmp_path / "webhooks.key",
        webhook_http=True,
        webhook_networks=["127.0.0.0/8"],
    )


@pytest.fixture
async def world(database: DatabaseUrls, notify_settings: NotifySettings) -> AsyncIterator[World]:
    place(database)
    async with Database(database.app, pool_size=4) as app, Database(database.operator, pool_size=4) as operator:
        yield World(database, app, operator, notify_settings)
