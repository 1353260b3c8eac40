import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sim.link import Credentials
from tests.e2e.platform import Platform


@pytest.fixture(scope="session")
def _platform(work_dir: Path, mosquitto_path: Path) -> Iterator[Platform]:
    with tempfile.TemporaryDirectory(dir=work_dir) as folder:
        Path(folder).chmod(0o711)
        platform = Platform(Path(folder))
        try:
            platform.start()
            yield platform
        finally:
            platform.stop()


@pytest.fixture
def platform(_platform: Platform) -> Iterator[Platform]:
    """Everything runs; a test that leaves something dead has failed and takes the rest with it."""
    _platform.listen()
    yield _platform
    for part in (_platform.postgres, _platform.redis, _platform.broker, _platform.ingest):
        assert part.child is not None
        assert part.child.exit_code is None, f"{part.name} was left dead:\n{part.child.log_tail(30)}"


@pytest.fixture
def tenant() -> str:
    """A tenant of the test's own."""
    return f"t-{secrets.token_hex(4)}"


@pytest.fixture
def fleet(platform: Platform, tenant: str) -> Callable[[int], list[Credentials]]:
    """Registers and equips so many devices."""

    def equip(count: int) -> list[Credentials]:
        return [platform.device(f"{tenant}:truck-{number}") for number in range(1, count + 1)]

    return equip


@pytest.fixture
def boot() -> str:
    return secrets.token_hex(4)
