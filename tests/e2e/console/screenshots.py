"""The pictures of README.md and docs/console.md, taken of the demo district after its trucks have driven for a while.

`scripts/screenshots` runs it; minutes to drive may be given. Light and dark, 1280 x 800.
"""

import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright
from rich.console import Console

from tests.e2e.console.conftest import ARGUMENTS, find_chromium
from tests.e2e.console.rounds import state_of
from tests.e2e.console.town import ROOT, Town, User
from tests.e2e.console.visitor import PATIENCE_MS, Visitor

TRUCKS, MINUTES = 40, 8.0
# What loads and glides is drawn by then, also by a slow processor.
_DRAWN_MS = 15_000
# Stops are reached and arrival times told within this.
_TRIPS_S = 240
say = Console(highlight=False, soft_wrap=True).print


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES
    program = find_chromium()
    if program is None:
        raise SystemExit("no Chromium is installed (Debian: apt-get install chromium)")
    expect.set_options(timeout=PATIENCE_MS)
    with tempfile.TemporaryDirectory(prefix="milkrun-") as folder, sync_playwright() as driver:
        Path(folder).chmod(0o711)
        with Town(Path(folder), trucks=TRUCKS).running() as town:
            say(f"{TRUCKS} trucks drive; in {minutes:g} minutes the pictures are taken")
            time.sleep(minutes * 60)
            browser = driver.chromium.launch(executable_path=program, args=ARGUMENTS)
            user, truck = town.user("tenant_admin"), town.farthest()
            _take_trips(town, browser, user)
            for scheme, name in (("light", "console-live"), ("dark", "console-live-dark")):
                view = {"color_scheme": scheme, "viewport": {"width": 1280, "height": 800}}
                visitor = Visitor(browser, town, user, timezone_id="Europe/Berlin", **view)
                page = visitor.open(f"/?vehicle={truck}")
                expect(page.get_by_role("region", name=truck, exact=True)).to_be_visible()
                _take(visitor, name)
                if scheme == "light":
                    page.get_by_role("link", name="Open details").click()
                    expect(page.get_by_role("slider", name="Time on the track")).to_be_visible()
                    _take(visitor, "console-device")
                visitor.context.close()
            browser.close()


def _take_trips(town: Town, browser: Browser, user: User) -> None:
    """The day's trips after some minutes, one of them, and what somebody sees who waits for its truck."""
    day = town.plan_day()
    time.sleep(_TRIPS_S)
    with town.rest() as rest:
        ahead = {
            trip: stops
            for trip in day.trips.values()
            if len(stops := [stop for stop in state_of(rest, trip)["stops"] if stop["eta"]]) > 1
        }
        trip, stops = max(ahead.items(), key=lambda each: len(each[1]))
        link = rest.post(f"/v1/trips/{trip}/links", json={"stop": stops[1]["id"]}).raise_for_status().json()
    pictures = (
        ("console-trips", "/trips?view=timeline", user, 1280),
        ("console-trip", f"/trips/{trip}", user, 1280),
        ("console-track", f"/t/{link['token']}", None, 640),
    )
    for name, path, who, width in pictures:
        view = {"width": width, "height": 800}
        visitor = Visitor(browser, town, who, timezone_id="Europe/Berlin", viewport=view)
        visitor.open(path)
        _take(visitor, name)
        visitor.context.close()


def _take(visitor: Visitor, name: str) -> None:
    visitor.page.wait_for_timeout(_DRAWN_MS)
    path = ROOT / "docs" / "img" / f"{name}.png"
    visitor.page.screenshot(path=path)
    say(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:,.0f} kB")


if __name__ == "__main__":
    main()
