"""A person at a browser: what the page shows him, what it complained of, and what its live line brought."""

import base64
import json
import re
from dataclasses import dataclass, field

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, WebSocket, expect

from tests.e2e.console.town import PASSWORD, Town, User

PATIENCE_MS = 120_000
"""For what comes in a second on a machine that has nothing else to do."""

# How the page names its subscription to the fleet; others are beside it on the same line.
_FLEET = "fleet"
# Asking who is signed in when nobody is: the browser itself reports the 401.
_NOBODY = r"status of 401 .*/v1/session$"
_TELL_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
    console.error(`Content-Security-Policy: ${event.violatedDirective} forbids ${event.blockedURI}`));
"""
_COLOURS = """
async (png) => {
    const image = new Image();
    image.src = `data:image/png;base64,${png}`;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const counts = {};
    const data = context.getImageData(0, 0, image.width, image.height).data;
    for (let at = 0; at < data.length; at += 4) {
        const colour = (data[at] << 16) | (data[at + 1] << 8) | data[at + 2];
        counts[colour] = (counts[colour] ?? 0) + 1;
    }
    return Object.entries(counts).map(([colour, count]) => [Number(colour), count]);
}
"""


@dataclass
class Line:
    """One WebSocket of the page, frames parsed."""

    sent: list[dict] = field(default_factory=list)
    received: list[dict] = field(default_factory=list)
    is_closed: bool = False

    @property
    def subscription(self) -> dict | None:
        return next((frame for frame in self.sent if frame["type"] == "subscribe" and frame["id"] == _FLEET), None)


class Visitor:
    """One tab in a browser of its own. Whatever the console of the tab calls an error fails the test that did not
    say `bear` before."""

    def __init__(self, browser: Browser, town: Town, user: User | None, **options) -> None:
        self._town = town
        self._browser = browser
        view = {"viewport": {"width": 1100, "height": 720}, "locale": "en-GB", "base_url": town.url}
        self.context = browser.new_context(**{**view, **options})
        self.context.set_default_timeout(PATIENCE_MS)
        self.context.add_init_script(_TELL_VIOLATIONS)
        if user is not None:
            cookie = {"name": "milkrun_session", "value": town.session(user), "url": town.url}
            self.context.add_cookies([cookie | {"httpOnly": True, "sameSite": "Strict"}])
        self.page: Page = self.context.new_page()
        self.lines: list[Line] = []
        self._complaints: list[str] = []
        self._borne = [re.compile(_NOBODY)]
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self._complaints.append(f"exception: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("websocket", self._opened)

    def bear(self, *patterns: str) -> None:
        """What the test provokes; everything else stays an error."""
        self._borne += [re.compile(pattern) for pattern in patterns]

    def complaints(self) -> list[str]:
        return [each for each in self._complaints if not any(borne.search(each) for borne in self._borne)]

    # --- going about ----------------------------------------------------------------------------------------------

    def open(self, path: str = "/") -> Page:
        self.page.goto(path)
        return self.page

    def fill_in(self, email: str, password: str = PASSWORD) -> None:
        self.page.get_by_label("E-mail").fill(email)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()

    @property
    def connection(self) -> Locator:
        return self.page.get_by_role("status", name="Connection")

    @property
    def trucks(self) -> Locator:
        return self.page.get_by_role("listbox", name="Vehicles").get_by_role("option")

    def truck(self, name: str) -> Locator:
        return self.trucks.and_(self.page.get_by_role("option", name=re.compile(rf"^{re.escape(name)} ")))

    def is_live(self) -> None:
        expect(self.connection).to_have_attribute("data-phase", "live")

    def is_cut_off(self) -> None:
        """No live line is open any more."""
        for _ in range(PATIENCE_MS // 100):
            if all(line.is_closed for line in self.lines):
                return
            self.page.wait_for_timeout(100)
        raise AssertionError("a live line is still open")

    def fact(self, name: str) -> Locator:
        """The value beside a name, such as Position on a vehicle's card."""
        term = self.page.locator("dt", has_text=re.compile(f"^{name}$"))
        return self.page.locator("dl > div", has=term).locator("dd")

    # --- what is to be seen ---------------------------------------------------------------------------------------

    def colours(self, of: Locator) -> dict[int, int]:
        """How many pixels of each colour (0xRRGGBB) there are on the screen where `of` is."""
        png = base64.b64encode(of.screenshot(animations="allow", timeout=PATIENCE_MS)).decode()
        context = self._browser.new_context()
        try:
            return dict(context.new_page().evaluate(_COLOURS, png))
        finally:
            context.close()

    def axe(self) -> list[str]:
        """What axe-core finds serious or critical; the context must have been given it as a script."""
        options = {"resultTypes": ["violations"]}
        found = self.page.evaluate("(options) => axe.run(document, options)", options)["violations"]
        return [
            f"{each['id']} ({each['impact']}): {each['help']}: {[node['html'][:160] for node in each['nodes']]}"
            for each in found
            if each["impact"] in {"serious", "critical"}
        ]

    # --- what the live line brought -------------------------------------------------------------------------------

    def log(self) -> tuple[str, int, list[dict]]:
        """Epoch, the offset the page's picture began at, and every event since then as the page took them.

        What came after the place the page itself says it stands at, when it comes back, did not count for it.
        """
        epoch, start, events = "", -1, []
        for line in list(self.lines):
            asked = line.subscription
            if asked is None:
                continue
            if "offset" in asked:
                events = [event for event in events if event["offset"] <= asked["offset"]]
            for frame in (each for each in line.received if each.get("id") == _FLEET):
                if frame["type"] == "subscribed" and "snapshot" in frame:
                    epoch, start, events = frame["epoch"], frame["offset"], []
                elif frame["type"] == "events":
                    assert not frame.get("conflated"), "the browser was too slow for the test"
                    events += frame["events"]
        return epoch, start, events

    def assert_without_gap(self) -> int:
        """The page took every event of the server's log, in order, once; returns the offset it has come to."""
        epoch, start, events = self.log()
        last = events[-1]["offset"]
        assert [event["offset"] for event in events] == list(range(start + 1, last + 1))
        assert events == self._town.events(epoch, start, last)
        return last

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._complaints.append(f"{message.text} {message.location['url']}")

    def _failed(self, request: Request) -> None:
        # A page that is left takes its unfinished requests with it.
        if request.failure != "net::ERR_ABORTED":
            self._complaints.append(f"{request.failure} {request.url}")

    def _opened(self, socket: WebSocket) -> None:
        line = Line()
        self.lines.append(line)
        socket.on("framesent", lambda text: line.sent.append(json.loads(text)))
        socket.on("framereceived", lambda text: line.received.append(json.loads(text)))
        socket.on("close", lambda _: setattr(line, "is_closed", True))
