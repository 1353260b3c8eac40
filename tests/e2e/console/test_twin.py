"""What is wished of a truck beside what it reports: edited, followed, and edited by two at once."""

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis]


def row(page, path):
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=path, exact=True))


def editor(page):
    page.get_by_role("button", name="Edit what is wished").click()
    return page.get_by_role("textbox", name="Wished")


def wish(rest, device, desired):
    rest.patch(f"/v1/devices/{device}/shadow", json={"state": {"desired": desired}}).raise_for_status()


def wished(rest, device):
    return rest.get(f"/v1/devices/{device}/shadow").raise_for_status().json()["state"].get("desired")


def test_what_is_wished_is_followed_by_the_truck_and_what_it_does_not_know_stays_marked(visit, dispatcher):
    page = visit(dispatcher).open("/devices/truck-2?tab=shadow")
    expect(row(page, "cooling.target_c")).to_contain_text("Reported only")
    editor(page).fill('{"cooling": {"target_c": 2.5}, "horn": true}')
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(row(page, "cooling.target_c")).to_contain_text("In step")
    expect(row(page, "cooling.target_c")).to_contain_text("2.5")
    expect(row(page, "horn")).to_contain_text("Differs")
    expect(page.get_by_text("1 difference")).to_be_visible()


def test_what_cannot_be_sent_is_said_while_one_types(visit, dispatcher):
    page = visit(dispatcher).open("/devices/truck-3?tab=shadow")
    box = editor(page)
    send = page.get_by_role("button", name="Send", exact=True)
    for typed, said in (
        ("{", "This is no JSON"),
        ("[1]", "A shadow is an object"),
        ('{"door": {"alarm": null}}', "door.alarm is null"),
        ('{"a": "' + "x" * 9000 + '"}', "a shadow holds 8192"),
    ):
        box.fill(typed)
        expect(page.get_by_text(said)).to_be_visible()
        expect(send).to_be_disabled()
    box.fill('{"display": "de"}')
    expect(page.get_by_text("1 name changes")).to_be_visible()
    expect(send).to_be_enabled()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_two_edits_at_once_are_brought_together_and_nothing_is_lost(visit, dispatcher, rest):
    visitor = visit(dispatcher)
    visitor.bear(r"status of 409")
    wish(rest, "truck-4", {"speed_limit_kmh": 80, "display": "en", "door_alarm": True})
    page = visitor.open("/devices/truck-4?tab=shadow")
    expect(row(page, "speed_limit_kmh")).to_contain_text("In step")
    box = editor(page)
    box.fill('{"speed_limit_kmh": 60, "display": "de", "door_alarm": true}')
    wish(rest, "truck-4", {"speed_limit_kmh": 50, "door_alarm": False})
    page.get_by_role("button", name="Send", exact=True).click()
    note = page.get_by_role("dialog").get_by_role("alert")
    expect(note).to_contain_text("Somebody else changed this shadow")
    expect(note).to_contain_text("door_alarm")
    expect(note.get_by_role("radio", name="Theirs: 50")).to_be_checked()
    assert wished(rest, "truck-4") == {"speed_limit_kmh": 50, "display": "en", "door_alarm": False}
    note.get_by_role("radio", name="Yours: 60").check()
    page.get_by_role("button", name="Send both together").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert wished(rest, "truck-4") == {"speed_limit_kmh": 60, "display": "de", "door_alarm": False}


def test_a_named_shadow_is_made_and_deleted(visit, dispatcher, rest):
    visitor = visit(dispatcher)
    visitor.bear(r"status of 404")
    page = visitor.open("/devices/truck-5?tab=shadow")
    page.get_by_role("button", name="Another shadow").click()
    page.get_by_role("textbox", name="Name").fill("milk")
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_text("No shadow of this name yet")).to_be_visible()
    page.get_by_role("button", name="Wish something").click()
    page.get_by_role("textbox", name="Wished").fill('{"collect": [1, 2]}')
    page.get_by_role("button", name="Send", exact=True).click()
    expect(row(page, "collect")).to_contain_text("[1,2]")
    assert rest.get("/v1/devices/truck-5/shadows").json()["items"] == [{"name": "milk"}]
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No shadow of this name yet")).to_be_visible()


def test_what_milkrun_last_knew_is_shown_with_its_age_and_is_nobodys_to_write(visit, dispatcher):
    page = visit(dispatcher).open("/devices/truck-1?tab=shadow")
    page.get_by_role("combobox", name="Shadow", exact=True).select_option(label="Last known ($milkrun)")
    expect(row(page, "position.lat")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Heard")).to_be_visible()
    expect(page.get_by_role("button", name="Edit what is wished")).to_have_count(0)


def test_a_viewer_reads_and_does_not_write(visit, viewer):
    page = visit(viewer).open("/devices/truck-1?tab=shadow")
    expect(row(page, "speed_limit_kmh")).to_be_visible()
    expect(page.get_by_role("button", name="Edit what is wished")).to_have_count(0)


def test_the_fleet_is_searched_by_what_trucks_report(visit, viewer, rest):
    visitor = visit(viewer)
    visitor.bear(r"status of 422")
    wish(rest, "truck-6", {"speed_limit_kmh": 33})
    page = visitor.open("/")
    visitor.is_live()
    page.get_by_text("Filters").click()
    box = page.get_by_role("textbox", name="Search what vehicles report and are")
    box.fill("reported.speed_limit_kmh = ")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.get_by_role("alert")).to_be_visible()
    box.fill("reported.speed_limit_kmh = 33")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.get_by_text("1 vehicle found")).to_be_visible()
    expect(visitor.trucks).to_have_count(1)
    expect(visitor.truck("truck-6")).to_be_visible()
    page.get_by_role("button", name="End this search").click()
    expect(visitor.trucks.nth(3)).to_be_visible()
