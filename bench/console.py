"""How smoothly the console draws: frames a second in a headless Chromium that draws in software, with the whole stack
and the trucks on the same machine.

A frame is one call of `requestAnimationFrame`, which the page's own drawing uses too; the browser gives at most 60 a
second. Frames are counted second by second for BENCH_CONSOLE_S; told are the median second and the 5th percentile.
The baseline is the same page in the same browser on a tenant without a truck, measured around each view.
"""

import asyncio
import contextlib
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from playwright.sync_api import Browser, Page, expect, sync_playwright
from rich.console import Console

from bench.figures import machine
from bench.stack import Stack, running
from cli.enrolment import listener
from cli.sim import plan_in
from sim.link import Credentials, DeviceLink, LinkOptions

_TRUCKS = int(os.environ.get("BENCH_CONSOLE_TRUCKS", "500"))
_SECONDS = int(os.environ.get("BENCH_CONSOLE_S", "30"))
_WITHIN_MS = 180_000
_PASSWORD = "frames are counted here"
_TENANT, _EMPTY = "bench", "empty"
# The middle of the demo district, and how far from it trucks drive in circles.
_LAT, _LON, _REACH_DEG = 47.9, 10.22, 0.11
_SPEED_MPS = 14.0

_COUNT_FRAMES = """
(seconds) => new Promise((done) => {
    const counts = new Array(seconds).fill(0);
    const begin = performance.now();
    requestAnimationFrame(function tick(now) {
        const second = Math.floor((now - begin) / 1000);
        if (second >= seconds) return done(counts);
        if (second >= 0) counts[second] += 1;
        requestAnimationFrame(tick);
    });
})
"""


_COUNT_ON = """
() => {
    const counts = (window.benchFrames = []);
    const begin = performance.now();
    requestAnimationFrame(function tick(now) {
        const second = Math.floor((now - begin) / 1000);
        while (counts.length <= second) counts.push(0);
        counts[second] += 1;
        requestAnimationFrame(tick);
    });
}
"""


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames of each second that was watched."""

    counts: list[int]

    @property
    def median(self) -> float:
        return statistics.median(self.counts)

    @property
    def p5(self) -> float:
        return statistics.quantiles(self.counts, n=20, method="inclusive")[0]

    def __str__(self) -> str:
        return f"median {self.median:.0f}, p5 {self.p5:.0f}, least {min(self.counts)}"


def main(console: Console) -> None:
    console.print(f"bench console on {machine()}")
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        raise SystemExit("no Chromium is installed (Debian: apt-get install chromium)")
    subprocess.run(["scripts/console"], check=True)
    with running(api=True) as stack:
        # For its map alone: the ground under the trucks is part of what is drawn.
        plan_in(stack.data, 1)
        fleet = stack.fleet(_TRUCKS, _TENANT)
        url = json.loads((stack.data / "stack.json").read_text())["console_url"]
        _milkrun(stack, "tenant", "add", _EMPTY)
        for tenant in (_TENANT, _EMPTY):
            _milkrun(stack, "user", "add", tenant, _email(tenant), "--role", "viewer", "--password-stdin")
        with sync_playwright() as driver, _driving(stack, fleet):
            arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
            with driver.chromium.launch(executable_path=browser_path, args=arguments) as browser:
                console.print(f"Chromium {browser.version}, headless, 1440 x 900, {_SECONDS} s each")
                _measure(console, browser, url, fleet[0])


def _measure(console: Console, browser: Browser, url: str, one: Credentials) -> None:
    views = (("the whole fleet in view", ""), ("zoomed in, following a truck", f"?vehicle={one.thing.device}"))
    for name, query in views:
        before = _frames(browser, url, _EMPTY, "")
        loaded = _frames(browser, url, _TENANT, query)
        after = _frames(browser, url, _EMPTY, "")
        least, most = sorted(loaded.median / each.median for each in (before, after))
        console.print(f"frames a second, {_TRUCKS} trucks at 1 Hz, {name}: {loaded}")
        console.print(f"  the same page without a truck: {before}; {after}; ratio {least:.2f} to {most:.2f}")

    dragged = _frames(browser, url, _TENANT, "", is_dragged=True)
    console.print(f"frames a second, {_TRUCKS} trucks at 1 Hz, the map dragged about: {dragged}")
    console.print(f"  the same page without a truck: {_frames(browser, url, _EMPTY, '', is_dragged=True)}")


def _drag(page: Page) -> Frames:
    """The mouse holds the map and goes round for as long; the first and last second are not whole."""
    page.mouse.move(900, 450)
    page.mouse.down()
    page.evaluate(_COUNT_ON)
    began = time.monotonic()
    while (passed_s := time.monotonic() - began) < _SECONDS:
        page.mouse.move(900 + 150 * math.sin(2 * passed_s), 350 + 100 * math.cos(2 * passed_s))
    counts = page.evaluate("() => window.benchFrames")
    page.mouse.up()
    return Frames(counts[1:-1])


def _frames(browser: Browser, url: str, tenant: str, query: str, *, is_dragged: bool = False) -> Frames:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB", base_url=url)
    context.set_default_timeout(_WITHIN_MS)
    expect.set_options(timeout=_WITHIN_MS)
    page = context.new_page()
    try:
        page.goto(f"/{query}")
        page.get_by_label("E-mail").fill(_email(tenant))
        page.get_by_label("Password").fill(_PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        _settle(page, tenant)
        if query:
            page.get_by_role("button", name="Follow").click()
            page.wait_for_timeout(3000)
        return _drag(page) if is_dragged else Frames(page.evaluate(_COUNT_FRAMES, _SECONDS))
    finally:
        context.close()


def _settle(page: Page, tenant: str) -> None:
    """Until the map is there and every truck is in the list."""
    expect(page.get_by_role("status", name="Connection")).to_have_attribute("data-phase", "live")
    expect(page.get_by_role("group", name="Map controls")).to_be_visible()
    if tenant == _TENANT:
        expect(page.get_by_text(f"{_TRUCKS} vehicles", exact=True)).to_be_visible()
        expect(page.get_by_role("button", name="Moving")).to_contain_text(str(_TRUCKS))
    page.wait_for_timeout(3000)


def _email(tenant: str) -> str:
    return f"viewer@{tenant}.example"


def _milkrun(stack: Stack, *arguments: str) -> None:
    command = (sys.executable, "-m", "cli.main", *arguments, "--data", str(stack.data))
    subprocess.run(command, input=_PASSWORD, text=True, check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def _driving(stack: Stack, fleet: list[Credentials]) -> Iterator[None]:
    """Every truck drives, in a process of its own, a fix each second over its own link."""
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(_drive(stack, fleet))
        finally:
            os._exit(1)
    try:
        yield
    finally:
        os.kill(pid, 15)
        os.waitpid(pid, 0)


async def _drive(stack: Stack, fleet: list[Credentials]) -> None:
    address = listener(stack.context).mqtt
    options = LinkOptions(host=address.host, port=address.port)
    links = [DeviceLink(each, options) for each in fleet]
    running_links = [asyncio.create_task(link.run()) for link in links]
    started = time.monotonic()
    for second in range(1, 100_000):
        for number, link in enumerate(links):
            # Spread over the second, as trucks that know nothing of each other are.
            due_s = started + second + number / len(links)
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            now_ms = time.time_ns() // 1_000_000
            link.submit([{"ts": now_ms, "boot": "b0b0b0b0", "seq": second, "pos": _place(number, second)}])
    await asyncio.gather(*running_links)


def _place(number: int, second: int) -> dict[str, float]:
    """On a circle of its own around the middle of the district."""
    radius_deg = _REACH_DEG * (0.1 + 0.9 * ((number * 0.618) % 1.0))
    angle = number * 2.399 + second * _SPEED_MPS / (radius_deg * 111_195)
    return {
        "lat": round(_LAT + radius_deg * math.sin(angle), 6),
        "lon": round(_LON + radius_deg * math.cos(angle) / math.cos(math.radians(_LAT)), 6),
        "speed": _SPEED_MPS,
        "heading": round(math.degrees(-angle) % 360, 1),
    }
