from collections.abc import AsyncIterator

import pytest

from core.settings import Settings
from tests.api.http.served import Kernel, served


@pytest.fixture
async def kernel(api_settings: Settings) -> AsyncIterator[Kernel]:
    async with served(api_settings) as running:
        yield running
