import pytest

from core.migrate import has_timescale
from tests.conftest import DatabaseUrls


@pytest.fixture
def native(database: DatabaseUrls) -> None:
    """For what is native partitions' own: TimescaleDB makes chunks and refreshes rollups itself."""
    if has_timescale(database.owner):
        pytest.skip("native partitions only: TimescaleDB makes chunks and refreshes rollups by itself")
