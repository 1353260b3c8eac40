"""What goes wrong is said in words, with what to do about it."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis]


def test_an_unknown_vehicle_is_said_in_words_with_a_way_back(visit, dispatcher):
    visitor = visit(dispatcher)
    visitor.bear(r"status of 404 .*/v1/devices/no-such-truck$")
    page = visitor.open("/devices/no-such-truck")
    refusal = page.get_by_role("alert")
    expect(refusal).to_contain_text("There is no such vehicle, or it is not yours.")
    expect(refusal).to_contain_text(re.compile(r"Request \S+"))
    page.get_by_role("link", name="Back to the map").click()
    visitor.is_live()


def test_an_address_that_leads_nowhere_says_so(visit, dispatcher):
    visitor = visit(dispatcher)
    page = visitor.open("/no/such/page")
    expect(page.get_by_text("This page does not exist")).to_be_visible()
    page.get_by_role("link", name="Back to the map").click()
    visitor.is_live()


def test_an_action_that_somebody_else_made_impossible_is_refused_in_words(visit, admin, town, rest):
    device = town.device()
    visitor = visit(admin)
    visitor.bear(r"status of 409 .*/suspend$")
    page = visitor.open(f"/devices/{device.name}?tab=identity")
    page.get_by_role("group", name="Actions").get_by_role("button", name="Suspend").click()
    question = page.get_by_role("dialog", name=f"Suspend {device.name}?")
    expect(question).to_be_visible()
    rest.post(f"/v1/devices/{device.name}/decommission").raise_for_status()
    question.get_by_role("button", name="Suspend").click()
    expect(question.get_by_role("alert")).to_contain_text("The vehicle is not in a state that allows this.")
    question.get_by_role("button", name="Cancel").click()
    expect(question).to_be_hidden()


def test_without_the_database_the_page_says_so_and_goes_on_when_it_is_back(visit, dispatcher, town):
    visitor = visit(dispatcher)
    visitor.bear(r"status of 50[034] ", r"WebSocket connection to .* failed")
    page = visitor.open()
    visitor.is_live()
    expect(visitor.truck("truck-1")).to_be_visible()
    with town.without_supervisor():
        town.kill("postgres")
        visitor.truck("truck-1").dblclick()
        refusal = page.get_by_role("alert")
        expect(refusal).to_contain_text("The server is busy or starting. Try again in a moment.")
        expect(refusal).to_contain_text(re.compile(r"Request \S+"))
    # The supervisor starts it again; a person tries as long as it takes.
    retry = page.get_by_role("button", name="Try again")
    heading = page.get_by_role("heading", name="truck-1", exact=True)
    for _ in range(60):
        if heading.is_visible():
            break
        if retry.is_visible():
            retry.click()
        page.wait_for_timeout(2000)
    expect(heading).to_be_visible()
    visitor.is_live()
