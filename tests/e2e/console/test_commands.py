"""Commands: filled in, sent, watched, agreed to by a second person, and sent to a group."""

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis]

HORN = {
    "id": "sound-horn",
    "description": "Sounds the horn",
    "parameters": [
        {"name": "seconds", "type": "INTEGER", "minimum": 1, "maximum": 10},
        {"name": "tone", "type": "STRING", "allowed": ["low", "high"], "default": "low"},
    ],
}
IMMOBILISE = {"id": "immobilise", "description": "Stops the engine when the truck stands", "dangerous": True}


@pytest.fixture(scope="module", autouse=True)
def templates(town):
    with town.rest() as rest:
        for template in (HORN, IMMOBILISE):
            rest.post("/v1/command-templates", json=template).raise_for_status()


def dialog(page):
    return page.get_by_role("dialog")


def fill_horn(page, seconds):
    dialog(page).get_by_label("Template").select_option("sound-horn")
    dialog(page).get_by_label("seconds", exact=True).fill(seconds)


def test_a_command_is_filled_in_sent_and_watched_until_the_truck_has_done_it(visit, dispatcher, rest):
    page = visit(dispatcher).open("/devices/truck-1?tab=commands")
    page.get_by_role("button", name="Send a command").click()
    fill_horn(page, "99")
    dialog(page).get_by_role("button", name="Check").click()
    expect(dialog(page)).to_contain_text("This is too large.")
    fill_horn(page, "3")
    dialog(page).get_by_label("Why").fill("to find it in the fog")
    dialog(page).get_by_role("button", name="Check").click()
    expect(dialog(page)).to_contain_text("sound-horn is sent to truck-1")
    dialog(page).get_by_role("button", name="Send a command").click()
    expect(dialog(page).locator(".shadow-head")).to_contain_text("Done")
    history = dialog(page).get_by_role("region", name="History")
    for state in ("Waits", "Sent", "Delivered", "At work", "Done"):
        expect(history).to_contain_text(state)
    expect(dialog(page)).to_contain_text("to find it in the fog")
    page.keyboard.press("Escape")
    expect(page.get_by_role("table", name="Commands").get_by_role("row").nth(1)).to_contain_text("Done")
    newest = rest.get("/v1/devices/truck-1/commands").json()["items"][0]
    assert (newest["state"], newest["parameters"]) == ("SUCCEEDED", {"seconds": 3, "tone": "low"})


def test_a_dangerous_command_is_typed_out_and_waits_for_a_second_person(visit, dispatcher, admin):
    page = visit(dispatcher).open("/devices/truck-2?tab=commands")
    page.get_by_role("button", name="Send a command").click()
    dialog(page).get_by_label("Template").select_option("immobilise")
    expect(dialog(page)).to_contain_text("This command is dangerous")
    dialog(page).get_by_role("button", name="Check").click()
    send = dialog(page).get_by_role("button", name="Send a command")
    expect(send).to_be_disabled()
    dialog(page).get_by_label("To confirm, type truck-2").fill("truck-2")
    send.click()
    expect(dialog(page).locator(".shadow-head")).to_contain_text("Awaits approval")
    expect(dialog(page).get_by_role("button", name="Agree")).to_have_count(0)

    second = visit(admin).open("/commands?state=AWAITING_APPROVAL")
    second.get_by_role("button", name="Open immobilise to truck-2").click()
    dialog(second).get_by_role("button", name="Agree").click()
    expect(dialog(second).locator(".shadow-head")).to_contain_text("Done")
    # The sender sees it without asking again.
    expect(dialog(page).locator(".shadow-head")).to_contain_text("Done")


def test_a_command_for_a_vehicle_that_is_away_waits_and_is_called_back(visit, dispatcher, town):
    van = town.device().name
    page = visit(dispatcher).open(f"/devices/{van}?tab=commands")
    page.get_by_role("button", name="Send a command").click()
    fill_horn(page, "1")
    dialog(page).get_by_role("button", name="Check").click()
    dialog(page).get_by_role("button", name="Send a command").click()
    expect(dialog(page).locator(".shadow-head")).to_contain_text("Waits")
    dialog(page).get_by_label("Reason").fill("no longer needed")
    dialog(page).get_by_role("button", name="Call back").click()
    expect(dialog(page).locator(".shadow-head")).to_contain_text("Called back")
    expect(dialog(page)).to_contain_text("no longer needed")


def test_a_group_is_counted_before_it_is_sent_to_and_its_progress_shown(visit, dispatcher, rest):
    page = visit(dispatcher).open("/commands")
    page.get_by_role("button", name="Send to a group").click()
    fill_horn(page, "2")
    dialog(page).get_by_label("Group", exact=True).select_option("where")
    dialog(page).get_by_label("A search").fill('id like "truck-*" and online = true')
    dialog(page).get_by_label("So many a minute").fill("600")
    dialog(page).get_by_role("button", name="Check").click()
    expect(dialog(page)).to_contain_text("is sent to 8 vehicles")
    dialog(page).get_by_role("button", name="Send to 8 vehicles").click()
    expect(dialog(page)).to_have_count(0)
    page.get_by_role("link", name="Groups").click()
    group = page.get_by_role("table", name="Groups").get_by_role("row").nth(1)
    expect(group).to_contain_text("Done 8")
    group.get_by_role("link", name="sound-horn").click()
    expect(page.get_by_role("table", name="Commands").get_by_role("row")).to_have_count(9)


def test_a_group_that_nobody_is_in_is_not_sent_to(visit, dispatcher):
    page = visit(dispatcher).open("/commands")
    page.get_by_role("button", name="Send to a group").click()
    fill_horn(page, "2")
    dialog(page).get_by_label("Vehicles with labels").fill("depot")
    dialog(page).get_by_role("button", name="Check").click()
    expect(dialog(page)).to_contain_text("Write labels as name:value.")
    dialog(page).get_by_label("Vehicles with labels").fill("depot:nowhere")
    dialog(page).get_by_role("button", name="Check").click()
    expect(dialog(page)).to_contain_text("No vehicle is meant by this.")
    expect(dialog(page).get_by_role("button", name="Send to 0 vehicles")).to_be_disabled()


def test_an_administrator_adds_a_template_and_takes_it_out_of_use(visit, admin):
    page = visit(admin).open("/commands/templates")
    page.get_by_role("button", name="Add a template").click()
    dialog(page).get_by_label("Template").fill("flash-lights")
    dialog(page).get_by_label("Parameters").fill('[{"name": "times", "type": "INTEGER", "minimum": 1}]')
    dialog(page).get_by_role("button", name="Save").click()
    row = page.get_by_role("row").filter(has_text="flash-lights")
    expect(row).to_contain_text("times: INTEGER")
    row.get_by_role("button", name="Take out of use").click()
    dialog(page).get_by_role("button", name="Take out of use").click()
    expect(row).to_contain_text("Out of use")


def test_a_viewer_watches_and_sends_nothing(visit, viewer):
    page = visit(viewer).open("/commands")
    expect(page.get_by_role("heading", name="Commands")).to_be_visible()
    expect(page.get_by_role("button", name="Send to a group")).to_have_count(0)
    page.goto("/devices/truck-1?tab=commands")
    expect(page.get_by_role("button", name="Send a command")).to_have_count(0)
