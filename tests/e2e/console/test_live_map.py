"""The live page: trucks that move, found by keyboard alone."""

import itertools
import re
import time

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis]


def test_a_truck_that_drives_moves_on_card_and_map(visit, dispatcher, town):
    name = town.moving()
    visitor = visit(dispatcher)
    page = visitor.open(f"/?vehicle={name}")
    card = page.get_by_role("region", name=name)
    expect(card).to_be_visible()
    seen = {visitor.fact("Position").inner_text()}
    for _ in range(3):
        expect(visitor.fact("Position")).not_to_have_text(re.compile("|".join(map(re.escape, seen))))
        seen.add(visitor.fact("Position").inner_text())
    assert len(seen) == 4
    _, _, events = visitor.log()
    told = [event["data"] for event in events if event["type"] == "position" and event["data"]["device"] == name]
    assert len({(fix["lat"], fix["lon"]) for fix in told}) >= 3
    for before, after in itertools.pairwise(told):
        assert after["ts"] > before["ts"]


def test_the_map_shows_ground_and_vehicles_and_they_move_in_it(visit, dispatcher, town):
    name = town.moving()
    visitor = visit(dispatcher)
    page = visitor.open(f"/?vehicle={name}")
    visitor.is_live()
    page.get_by_role("button", name="Follow").click()
    ground = page.locator("canvas.maplibregl-canvas")
    markers = page.locator("canvas.map-layer").last
    _until(lambda: len(visitor.colours(ground)) > 50)
    first = _drawn(markers)
    assert first
    _until(lambda: _drawn(markers) not in {"", first})


def test_a_vehicle_is_found_chosen_and_opened_by_keyboard_alone(visit, dispatcher):
    visitor = visit(dispatcher)
    page = visitor.open()
    visitor.is_live()
    expect(visitor.trucks.first).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("truck-3")
    expect(page.get_by_role("status").filter(has_text=re.compile(r"\d of \d+ vehicles"))).to_be_visible()
    for text in visitor.trucks.all_inner_texts():
        assert text.startswith("truck-3")
    _tab_to(page, "listbox")
    page.keyboard.press("ArrowDown")
    expect(visitor.trucks.first).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("region", name="truck-3", exact=True)).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="truck-3", exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile(r"/devices/truck-3$"))


def test_the_list_is_filtered_by_state_with_the_keyboard_and_says_so_when_nothing_is_left(visit, dispatcher):
    visitor = visit(dispatcher)
    page = visitor.open()
    visitor.is_live()
    expect(visitor.trucks.first).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("no such truck")
    expect(page.get_by_text("No vehicle matches")).to_be_visible()
    _tab_to(page, "button", "Clear filters")
    page.keyboard.press("Enter")
    expect(visitor.trucks.first).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.press("Tab")
    moving = page.get_by_role("button", name=re.compile("^Moving"))
    expect(moving).to_be_focused()
    page.keyboard.press("Space")
    expect(moving).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_text("Clear filters")).to_be_visible()
    _until(lambda: all("Moving" in text for text in visitor.trucks.all_inner_texts()))
    page.keyboard.press("Space")
    expect(moving).to_have_attribute("aria-pressed", "false")


def _tab_to(page, role: str, name: str | None = None) -> None:
    """Press Tab until it has the focus, as often as a person would put up with."""
    wanted = page.get_by_role(role, name=name).first if name else page.get_by_role(role).first
    for _ in range(15):
        if wanted.evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{role} {name or ''} cannot be reached with the Tab key")


def _drawn(canvas) -> str:
    """What is drawn on a two-dimensional canvas; empty for a blank one."""
    return canvas.evaluate(
        """(canvas) => {
            const blank = document.createElement("canvas");
            [blank.width, blank.height] = [canvas.width, canvas.height];
            const drawn = canvas.toDataURL();
            return drawn === blank.toDataURL() ? "" : drawn;
        }"""
    )


def _until(condition, within_s: float = 120.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.3)
