"""Who signs in, stays signed in, and goes, or is sent."""

import re

import httpx
import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis]

COUNT = re.compile(r"\d+ vehicles")


def test_a_wrong_password_is_answered_in_words(visit, dispatcher):
    visitor = visit()
    page = visitor.open()
    visitor.fill_in(dispatcher.email, "open sesame and so on")
    refusal = page.get_by_role("alert")
    expect(refusal).to_contain_text("E-mail or password is not right")
    for code in ("401", "login_failed", "Unauthorized"):
        expect(refusal).not_to_contain_text(code)
    expect(page.get_by_label("E-mail")).to_have_value(dispatcher.email)
    expect(page.get_by_label("Password")).to_be_focused()


def test_an_empty_form_says_what_is_missing(visit):
    visitor = visit()
    page = visitor.open()
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("Enter your e-mail and your password.")


def test_who_signs_in_sees_the_trucks(visit, dispatcher, rest):
    devices = rest.get("/v1/devices").json()["items"]
    known = sum(device["status"] != "decommissioned" for device in devices)
    visitor = visit()
    page = visitor.open()
    visitor.fill_in(dispatcher.email)
    visitor.is_live()
    expect(page.get_by_role("status").filter(has_text=COUNT)).to_have_text(f"{known} vehicles")
    expect(visitor.trucks.first).to_contain_text("truck-1")


def test_a_reload_keeps_the_session_and_the_vehicle_in_view(visit, dispatcher, town):
    name = town.moving()
    visitor = visit()
    page = visitor.open()
    visitor.fill_in(dispatcher.email)
    visitor.truck(name).click()
    expect(page.get_by_role("region", name=name)).to_be_visible()
    before = page.url
    page.reload()
    expect(page.get_by_role("region", name=name)).to_be_visible()
    visitor.is_live()
    assert page.url == before


def test_a_link_to_a_vehicle_opens_it_after_signing_in(visit, dispatcher):
    visitor = visit()
    page = visitor.open("/devices/truck-2?tab=identity")
    visitor.fill_in(dispatcher.email)
    expect(page.get_by_role("heading", name="truck-2")).to_be_visible()
    expect(page.get_by_role("region", name="Certificates")).to_be_visible()


def test_signing_out_ends_the_session_and_the_live_line(visit, dispatcher, town):
    visitor = visit(dispatcher)
    page = visitor.open()
    visitor.is_live()
    [cookie] = visitor.context.cookies()
    page.get_by_role("button", name="Account").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    visitor.is_cut_off()
    assert visitor.context.cookies() == []
    asked = httpx.get(f"{town.url}/v1/session", cookies={cookie["name"]: cookie["value"]}, timeout=60)
    assert asked.status_code == 401
    page.go_back()
    page.goto("/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_who_is_disabled_while_he_looks_is_signed_out_in_words(visit, town, rest):
    user = town.user("dispatcher")
    visitor = visit(user)
    page = visitor.open()
    visitor.is_live()
    # What the page still fetches in that moment, such as the base map, would be refused too, which is right.
    page.wait_for_load_state("networkidle")
    rest.patch(f"/v1/users/{user.id}", json={"status": "disabled"}).raise_for_status()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="Your session has ended")).to_be_visible()
    visitor.is_cut_off()
    visitor.fill_in(user.email)
    expect(page.get_by_role("alert")).to_contain_text("E-mail or password is not right")
