"""The page of a tracking link: what somebody sees who waits for a truck and has no account."""

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.e2e.console.rounds import plan_trip, state_of

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis]


def _ahead(rest, day) -> tuple[str, dict]:
    """A trip and a stop that its truck is on its way to, with an arrival time."""
    for trip in day.trips.values():
        stops = [stop for stop in state_of(rest, trip)["stops"] if stop["state"] == "planned" and stop["eta"]]
        if stops:
            return trip, stops[-1]
    raise AssertionError("no truck has a stop ahead")


def _link(rest, trip: str, stop: str) -> str:
    made = rest.post(f"/v1/trips/{trip}/links", json={"stop": stop})
    return f"/t/{made.raise_for_status().json()['token']}"


def test_a_dispatcher_makes_a_link_and_who_has_it_sees_when_the_truck_comes(visit, dispatcher, rest, day):
    trip, stop = _ahead(rest, day)
    page = visit(dispatcher).open(f"/trips/{trip}")
    page.get_by_role("button", name=f"Tracking link for {stop['name']}").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Make the link").click()
    link = dialog.get_by_role("link", name="Open it").get_attribute("href")
    assert link is not None

    farmer = visit()
    asked: list[str] = []
    farmer.page.on("request", lambda request: asked.append(request.url))
    seen = farmer.open(link[link.index("/t/") :])
    expect(seen.get_by_text(f"Arrival at {stop['name']}")).to_be_visible()
    expect(seen.locator(".time")).to_have_text(re.compile(r"^\d\d:\d\d$"))
    expect(seen.get_by_text(re.compile("Most likely between"))).to_be_visible()
    expect(seen.get_by_text(re.compile("stops? before you|You are the next stop"))).to_be_visible()
    expect(seen.get_by_text("Live", exact=True)).to_be_visible()
    others = [each["name"] for each in state_of(rest, trip)["stops"] if each["id"] != stop["id"]]
    text = seen.locator("body").inner_text()
    assert not [name for name in (*others, *day.trucks) if re.search(rf"\b{re.escape(name)}\b", text)]
    paths = {urlsplit(url).path for url in asked}
    assert not [path for path in paths if not path.startswith(("/t/", "/assets/", "/v1/track/", "/favicon.svg"))]


def test_before_the_trip_the_page_says_that_the_truck_has_not_set_out_in_german_too(visit, rest, day):
    trip = plan_trip(rest, day, "2031-07-01")
    path = _link(rest, trip, state_of(rest, trip)["stops"][0]["id"])
    page = visit(locale="de-AT", color_scheme="dark").open(path)
    expect(page.get_by_role("heading", name="Der Wagen ist noch nicht losgefahren")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "de")


def test_a_stop_that_is_left_out_is_told_without_asking(visit, rest, day):
    trip = plan_trip(rest, day, "2031-07-02")
    stop = state_of(rest, trip)["stops"][0]["id"]
    page = visit().open(_link(rest, trip, stop))
    expect(page.get_by_role("heading", name="The truck has not set out yet")).to_be_visible()
    rest.patch(f"/v1/trips/{trip}/stops/{stop}", json={"state": "skipped"}).raise_for_status()
    expect(page.get_by_role("heading", name="The truck is no longer on its way to you")).to_be_visible()


def test_a_link_that_is_no_good_says_so_and_nothing_else(visit, day):
    visitor = visit()
    visitor.bear(r"status of 404")
    page = visitor.open("/t/bm9uc2Vuc2U.c2lnbmF0dXJl")
    expect(page.get_by_role("heading", name="This link does not work (any more)")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_and_fits_a_telephone(visit, rest, day, axe, scheme):
    trip, stop = _ahead(rest, day)
    visitor = visit(color_scheme=scheme, viewport={"width": 360, "height": 740})
    visitor.context.add_init_script(path=axe)
    page = visitor.open(_link(rest, trip, stop["id"]))
    expect(page.locator(".time")).to_be_visible()
    assert visitor.axe() == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
