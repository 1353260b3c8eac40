"""What one is told: followed sites, the inbox and its count at the top, and the log of alerts."""

import re

import pytest
from playwright.sync_api import expect

from tests.e2e.console.rounds import state_of

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis]


@pytest.fixture
def reader(town):
    return town.user("dispatcher")


def test_who_follows_a_site_is_told_at_once_and_reads_it(visit, reader, rest, day):
    trip = day.trips[day.trucks[-1]]
    stop = next(stop for stop in reversed(state_of(rest, trip)["stops"]) if stop["state"] == "planned")
    visitor = visit(reader)
    page = visitor.open("/alerts")
    expect(page.get_by_text("Nothing in your inbox")).to_be_visible()
    page.get_by_role("navigation", name="Alerts").get_by_role("link", name="My preferences").click()
    page.get_by_role("button", name="Follow a site").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Site").select_option(label=stop["name"])
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name=f"Stop following {stop['name']}")).to_be_visible()
    visitor.is_live()
    rest.patch(f"/v1/trips/{trip}/stops/{stop['id']}", json={"state": "skipped"}).raise_for_status()

    bell = page.get_by_role("link", name="Alerts: 1 unread")
    bell.click()
    inbox = page.get_by_role("list", name="Inbox")
    expect(inbox.get_by_role("listitem")).to_have_count(1)
    expect(inbox).to_contain_text("Skipped")
    inbox.get_by_role("button", name=re.compile("^Mark as read")).click()
    expect(page.get_by_role("link", name="Alerts", exact=True)).to_be_visible()

    page.get_by_role("navigation", name="Alerts").get_by_role("link", name="Log").click()
    told = re.compile(rf"Skipped.*{re.escape(stop['name'])}")
    expect(page.get_by_role("table", name="Log").get_by_role("row", name=told).first).to_be_visible()


def test_quiet_hours_are_kept(visit, reader):
    page = visit(reader).open("/alerts/preferences")
    page.get_by_label("From").fill("21:30")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("fill in both, or neither")
    page.get_by_label("To").fill("05:00")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").filter(has_text="Saved")).to_be_visible()
    page.reload()
    expect(page.get_by_label("From")).to_have_value("21:30")


def test_a_webhook_is_made_with_a_secret_that_is_shown_once(visit, admin):
    page = visit(admin).open("/admin/webhooks")
    page.get_by_role("button", name="Add a webhook").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Address").fill("https://erp.example.com/milkrun")
    dialog.get_by_role("button", name="Add", exact=True).click()
    secret = page.get_by_role("dialog", name="https://erp.example.com/milkrun")
    expect(secret.get_by_text(re.compile("^whsec_"))).to_be_visible()
    secret.get_by_role("button", name="Close").click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("table", name="Webhooks")).to_contain_text("https://erp.example.com/milkrun")
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_text("https://erp.example.com/milkrun")).to_have_count(0)
