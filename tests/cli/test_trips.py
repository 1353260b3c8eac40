"""`milkrun site`, `milkrun route` and `milkrun trip` as a person and as a script run them."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Milkrun, environment_on, milkrun_in
from tests.conftest import DatabaseUrls

pytestmark = pytest.mark.db

SITES = "code,name,lat,lon\nfarm-1,Bergerhof,47.1,9.5\nfarm-2,Neuhof,47.2,9.5\nfarm-3,Nowhere,147.2,9.5\n"
ROUTES = "route,name,site,starts_at,device\nnorth,North,farm-1,05:30,truck-1\nnorth,,farm-2,,\n"


@pytest.fixture
def milkrun(database: DatabaseUrls, tmp_path: Path) -> Milkrun:
    run = milkrun_in(environment_on(database, tmp_path / "data"))
    run("tenant", "add", "acme")
    run("device", "add", "acme", "truck-1")
    return run


def test_from_files_to_a_trip_that_leaves_a_stop_out(milkrun: Milkrun, tmp_path: Path) -> None:
    sites, routes = tmp_path / "sites.csv", tmp_path / "routes.csv"
    sites.write_text(SITES)
    routes.write_text(ROUTES)
    dry = milkrun("site", "import", "acme", str(sites), "--dry-run", code=1).stdout
    assert dry.splitlines()[0] == "2 sites would be added, 0 changed, 0 unchanged"
    assert "line 4 (farm-3): 147.2, 9.5 is no place" in dry
    assert json.loads(milkrun("site", "list", "acme", "--json").stdout) == []
    assert "2 sites added" in milkrun("site", "import", "acme", str(sites), code=1).stdout
    assert "site depot added as site_" in milkrun("site", "add", "acme", "depot", "--lat", "47", "--lon", "9").stdout
    assert [site["code"] for site in json.loads(milkrun("site", "list", "acme", "--json").stdout)][2] == "depot"
    assert milkrun("route", "import", "acme", str(routes)).stdout == "1 routes added, 0 changed, 0 unchanged\n"
    assert "North" in milkrun("route", "list", "acme").stdout

    trip = json.loads(milkrun("trip", "plan", "acme", "north", "--day", "2026-08-03", "--json").stdout)
    assert (trip["device"], trip["planned_start"]) == ("truck-1", "2026-08-03T05:30:00+00:00")
    assert trip["id"] in milkrun("trip", "list", "acme", "--day", "2026-08-03").stdout
    assert "skipped" in milkrun("trip", "skip", "acme", trip["id"], "farm-2").stdout
    assert "skipped" not in milkrun("trip", "skip", "acme", trip["id"], "farm-2", "--back").stdout
    nobody = milkrun("trip", "assign", "acme", trip["id"], "truck-9", code=1)
    assert "there is no device truck-9" in nobody.stderr
    nothing = milkrun("trip", "skip", "acme", trip["id"], "farm-9", code=1)
    assert "has no stop farm-9" in nothing.stderr


def test_what_is_wrong_is_said_in_one_line(milkrun: Milkrun, tmp_path: Path) -> None:
    picture = tmp_path / "sites.png"
    picture.write_text("x")
    assert "ends in .png" in milkrun("site", "import", "acme", str(picture), code=2).stderr
    assert "there is no tenant zeta" in milkrun("site", "list", "zeta", code=1).stderr
    assert "is no day" in milkrun("trip", "list", "acme", "--day", "monday", code=2).stderr
    assert "latitude" in milkrun("site", "add", "acme", "x", "--lat", "91", "--lon", "9", code=2).stderr
