from pathlib import Path

import pytest

from eta.routing.engines.graph import build
from sim.district import District, generate, write_osm
from sim.roads import Router

SHARED_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture(scope="session")
def district() -> District:
    return generate(7)


@pytest.fixture(scope="session")
def graphs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="session")
def osm_file(district, tmp_path_factory) -> Path:
    return write_osm(district, tmp_path_factory.mktemp("osm") / "district.osm")


@pytest.fixture(scope="session")
def router(osm_file, graphs) -> Router:
    return Router(build(osm_file, graphs))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings that stands beside a checkout; it is no part of the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip(
            f"real recordings are not on this machine: no folder {SHARED_DATA.parent.name}/data beside the checkout"
        )
    return SHARED_DATA
