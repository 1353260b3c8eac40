"""One's own password, and what the vehicles of the tenant report."""

import re

import pytest
from playwright.sync_api import expect

from tests.e2e.console.town import PASSWORD

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis]

_NEW = "another sentence that nobody guesses"


def test_one_changes_ones_own_password_and_stays_signed_in(town, visit):
    user = town.user("viewer")
    visitor = visit(user)
    visitor.bear(r"status of 401 .*/v1/me/password")
    page = visitor.open()
    page.get_by_role("button", name="Account").click()
    page.get_by_role("link", name="My account").click()
    page.get_by_label("Present password").fill("not the password")
    page.get_by_label("New password", exact=True).fill(_NEW)
    page.get_by_label("New password again").fill(_NEW)
    page.get_by_role("button", name="Change the password").click()
    expect(page.get_by_role("alert")).to_have_text("The present password is not right.")
    page.get_by_label("Present password").fill(PASSWORD)
    page.get_by_role("button", name="Change the password").click()
    expect(page.get_by_role("status").filter(has_text="The password is changed")).to_be_visible()
    visitor.is_live()
    other = visit()
    other.open()
    other.fill_in(user.email, _NEW)
    other.is_live()


def test_two_different_new_passwords_are_not_sent(visit, viewer):
    page = visit(viewer).open("/account")
    page.get_by_label("Present password").fill(PASSWORD)
    page.get_by_label("New password", exact=True).fill(_NEW)
    page.get_by_label("New password again").fill(f"{_NEW}!")
    page.get_by_role("button", name="Change the password").click()
    expect(page.get_by_role("alert")).to_have_text("The two new passwords are not the same.")


def test_events_of_all_vehicles_are_on_one_page(visit, viewer):
    page = visit(viewer).open("/events")
    expect(page.get_by_role("heading", name="Events")).to_be_visible()
    page.get_by_label("Type").fill("no_such_type")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text(re.compile("^No event"))).to_be_visible()
