"""When a vehicle was connected and why not, on its page."""

from functools import partial

import pytest
from playwright.sync_api import expect

from tests.e2e.console.test_device_page import noon

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis]


@pytest.fixture(scope="module")
def van(town):
    """A vehicle that came and was lost, twice."""
    device = town.device()
    for spans in (2, 4):
        device.send()
        with town.rest() as rest:
            town.until(partial(_has, rest, device.name, spans))
    return device.name


def _has(rest, device, spans):
    return len(rest.get(f"/v1/devices/{device}/presence").raise_for_status().json()["items"]) == spans


def test_a_day_shows_when_it_was_lost_and_why(visit, viewer, van):
    page = visit(viewer, timezone_id=noon()).open(f"/devices/{van}?tab=presence")
    table = page.get_by_role("table", name="Presence")
    expect(table.get_by_role("row")).to_have_count(5)
    newest = table.get_by_role("row").nth(1)
    expect(newest).to_contain_text("Offline")
    expect(newest).to_contain_text("The connection broke without a word from the device")
    expect(newest).to_contain_text("lasts")
    expect(page.locator(".presence-now")).to_contain_text("Offline")
    bar = page.get_by_role("img", name="Presence over the day")
    expect(bar.locator(".presence-online")).to_have_count(2)
    expect(bar.locator(".presence-offline")).to_have_count(2)
    expect(page.locator(".figures")).to_contain_text("Connections lost")


def test_a_truck_on_the_road_is_online_and_says_since_when(visit, viewer):
    page = visit(viewer).open("/devices/truck-1?tab=presence")
    expect(page.locator(".presence-now")).to_contain_text("Online")
    expect(page.get_by_role("table", name="Presence").get_by_role("row").nth(1)).to_contain_text("lasts")


def test_another_day_is_empty_and_says_so_in_german(visit, viewer):
    page = visit(viewer, locale="de-DE").open("/devices/truck-1?tab=presence&day=2026-01-05")
    expect(page.get_by_text("An diesem Tag ist nichts aufgezeichnet")).to_be_visible()
    page.get_by_role("button", name="Heute").click()
    expect(page.get_by_role("table", name="Anwesenheit")).to_contain_text("dauert an")
