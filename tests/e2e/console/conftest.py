import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.e2e.console.rounds import Day
from tests.e2e.console.town import ROOT, Town, User
from tests.e2e.console.visitor import PATIENCE_MS, Visitor

_TRUCKS = 8
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage"]
"""A container has neither the user namespaces of Chromium's sandbox nor much /dev/shm."""


def find_chromium() -> Path | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((Path(found) for name in names if (found := shutil.which(name))), None)


@pytest.fixture(scope="package")
def chromium() -> Path:
    found = find_chromium()
    if found is None:
        pytest.skip("NOT PROVEN: the console in a browser: no Chromium is installed (Debian: apt-get install chromium)")
    return found


@pytest.fixture(scope="package")
def town(chromium: Path, work_dir: Path) -> Iterator[Town]:
    """One stack with trucks on the road for all tests of this folder; each leaves it as it was."""
    with tempfile.TemporaryDirectory(dir=work_dir) as folder:
        Path(folder).chmod(0o711)
        with Town(Path(folder), trucks=_TRUCKS).running() as town:
            yield town


# For this folder alone: as long as the driver runs, its event loop is this thread's, and no other can run in it.
@pytest.fixture(scope="package")
def browser(chromium: Path) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, town: Town) -> Iterator[Callable[..., Visitor]]:
    """Somebody who opens the console: `visit(user)`, signed in already, or `visit()`; more goes to the context.

    In the end none of their tabs may have complained.
    """
    visitors: list[Visitor] = []

    def arrive(user: User | None = None, **options) -> Visitor:
        visitors.append(Visitor(browser, town, user, **options))
        return visitors[-1]

    yield arrive
    complaints = [complaint for visitor in visitors for complaint in visitor.complaints()]
    for visitor in visitors:
        visitor.context.close()
    assert complaints == []


@pytest.fixture
def rest(town: Town) -> Iterator[httpx.Client]:
    with town.rest() as client:
        yield client


@pytest.fixture(scope="package")
def day(town: Town) -> Day:
    """Sites, routes and a trip of today for every truck, with arrival times."""
    return town.plan_day()


@pytest.fixture(scope="package")
def dispatcher(town: Town) -> User:
    return town.user("dispatcher")


@pytest.fixture(scope="package")
def viewer(town: Town) -> User:
    return town.user("viewer")


@pytest.fixture(scope="package")
def admin(town: Town) -> User:
    return town.user("tenant_admin")


@pytest.fixture(scope="package")
def axe() -> Path:
    """axe-core, as npm installed it with the console's own tools."""
    script = ROOT / "console" / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        pytest.skip("NOT PROVEN: accessibility of the console: console/node_modules has no axe-core (npm ci there)")
    return script
