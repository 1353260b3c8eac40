"""Sites: added, found, changed, and read from a file."""

import re

import pytest
from playwright.sync_api import expect

from tests.e2e.console.rounds import plan_trip

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis]

_CSV = """code,name,kind,lat,lon,radius_m
{code}-1,Upper {code},farm,47.91,10.21,60
{code}-2,Lower {code},farm,147.91,10.21,60
"""


def test_a_site_is_found_and_opened_with_the_trips_that_come_to_it(visit, viewer, rest, day):
    trip = rest.get(f"/v1/trips/{day.trips[day.trucks[2]]}").json()
    stop = trip["stops"][-1]
    page = visit(viewer).open("/sites")
    page.get_by_role("searchbox", name="Search sites").fill(stop["name"])
    page.get_by_role("table", name="Sites").get_by_role("link", name=stop["name"], exact=True).click()
    expect(page.get_by_role("heading", name=stop["name"])).to_be_visible()
    expect(page.get_by_text("Mon\u2013Sat 04:00\u201322:00")).to_be_visible()
    expect(page.get_by_role("link", name="anna@farm.example")).to_be_visible()
    expect(page.get_by_role("link", name=trip["code"])).to_be_visible()
    expect(page.get_by_role("button", name="Edit site")).to_have_count(0)


def test_a_site_is_added_changed_and_put_away(visit, dispatcher, rest, day):
    page = visit(dispatcher).open("/sites")
    page.get_by_role("button", name="Add a site").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill("Larch End")
    dialog.get_by_label("Code").fill("larch-end")
    dialog.get_by_label("Latitude").fill("47,905")
    dialog.get_by_label("Longitude").fill("10.215")
    dialog.get_by_role("button", name="Add an opening time").click()
    dialog.get_by_role("button", name="Sunday").click()
    dialog.get_by_role("button", name="Add a contact").click()
    dialog.get_by_placeholder("Name").fill("Josef")
    dialog.get_by_placeholder("E-mail").fill("josef@larch.example")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Larch End")).to_be_visible()
    expect(page.get_by_text("Mon\u2013Sat 06:00\u201318:00")).to_be_visible()
    [made] = rest.get("/v1/sites", params={"q": "larch-end"}).json()["items"]
    assert (made["lat"], made["lon"], made["contacts"][0]["email"]) == (47.905, 10.215, "josef@larch.example")

    page.get_by_role("button", name="Edit site").click()
    dialog.get_by_label("Radius (m)").fill("120")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("120 m")).to_be_visible()

    page.get_by_role("button", name="Archive").click()
    dialog.get_by_role("button", name="Archive").click()
    expect(page.get_by_text("Archived", exact=True)).to_be_visible()


def test_what_is_wrong_with_a_site_is_said_before_it_is_sent(visit, dispatcher, day):
    page = visit(dispatcher).open("/sites")
    page.get_by_role("button", name="Add a site").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill("Nowhere")
    dialog.get_by_label("Latitude").fill("north")
    dialog.get_by_label("Longitude").fill("10.2")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Latitude and longitude name no place")


def test_the_area_of_a_site_is_drawn_by_clicks_and_corrected_as_a_list(visit, dispatcher, rest, day):
    site = day.sites[min(day.sites)]
    page = visit(dispatcher).open(f"/sites/{site}")
    page.get_by_role("button", name="Edit site").click()
    dialog = page.get_by_role("dialog")
    corners = dialog.get_by_label("Corners of the area")
    expect(corners).to_have_value("")
    dialog.get_by_role("button", name="Adds a corner").click()
    ground = dialog.locator("canvas.maplibregl-canvas")
    box = ground.bounding_box()
    for number, (right, down) in enumerate([(0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7)], start=1):
        ground.click(position={"x": box["width"] * right, "y": box["height"] * down})
        expect(corners).to_have_value(re.compile(rf"^([\d.]+, [\d.]+\n?){{{number}}}$"))
    dialog.get_by_role("button", name="Take back the last corner").click()
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("3 corners")).to_be_visible()
    made = rest.get(f"/v1/sites/{site}").json()
    north_west, north_east, south_east = made["polygon"]
    assert north_west["lon"] < made["lon"] < north_east["lon"]
    assert north_east["lat"] > made["lat"] > south_east["lat"]

    page.get_by_role("button", name="Edit site").click()
    corners.fill("47.9, 10.2\n47.91, 10.2")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("at least three")
    dialog.get_by_role("button", name="Circle instead").click()
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    assert rest.get(f"/v1/sites/{site}").json()["polygon"] == []


def test_a_file_is_reported_on_before_it_is_written(visit, dispatcher, rest, day):
    page = visit(dispatcher).open("/sites")
    page.get_by_role("button", name="Import sites").click()
    dialog = page.get_by_role("dialog")
    content = _CSV.format(code="moor").encode()
    dialog.get_by_label("File").set_input_files({"name": "sites.csv", "mimeType": "text/csv", "buffer": content})
    expect(dialog.get_by_role("status").filter(has_text="Would make 1 and change 0")).to_be_visible()
    bad = dialog.get_by_role("table", name="Lines that cannot be used").get_by_role("row")
    expect(bad.nth(1)).to_contain_text(re.compile("3.*moor-2.*lat"))
    assert rest.get("/v1/sites", params={"q": "Upper moor"}).json()["items"] == []
    dialog.get_by_role("button", name="Import the good lines").click()
    expect(dialog.get_by_role("status").filter(has_text="1 made")).to_be_visible()
    assert len(rest.get("/v1/sites", params={"q": "Upper moor"}).json()["items"]) == 1


def test_a_route_keeps_its_stops_in_the_order_they_were_put(visit, dispatcher, rest, day):
    page = visit(dispatcher).open(f"/routes/{day.routes[day.trucks[3]]}")
    stops = page.get_by_role("table", name="Stops").get_by_role("row")
    expect(stops.nth(2)).to_contain_text("Farm")
    second = stops.nth(2).get_by_role("link").inner_text()
    page.get_by_role("button", name="Edit route").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name=f"Move {second} up").click()
    dialog.get_by_role("button", name="Tuesday").click()
    dialog.get_by_label("Start", exact=True).fill("05:30")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    expect(stops.nth(1)).to_contain_text(second)
    expect(page.get_by_text("Tue", exact=True)).to_be_visible()


def test_what_is_expected_at_a_stop_is_said_on_its_route_and_on_a_trip(visit, dispatcher, rest, day):
    route = day.routes[day.trucks[4]]
    page = visit(dispatcher).open(f"/routes/{route}")
    page.get_by_role("button", name="Edit route").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Quantity").nth(1).fill("850")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("table", name="Stops").get_by_role("row").nth(2)).to_contain_text("850")
    assert [stop["quantity"] for stop in rest.get(f"/v1/routes/{route}").json()["stops"]][:2] == [None, 850]

    trip = plan_trip(rest, day, "2031-03-04")
    first = rest.get(f"/v1/trips/{trip}").json()["stops"][0]
    page.goto(f"/trips/{trip}")
    page.get_by_role("button", name=f"Change {first['name']}").first.click()
    dialog.get_by_label("Quantity").fill("420.5")
    dialog.get_by_label("Service (min)").fill("12")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("table", name="Stops").get_by_role("row").nth(1)).to_contain_text("420.5")
    changed = rest.get(f"/v1/trips/{trip}").json()["stops"][0]
    assert (changed["quantity"], changed["service_s"]) == (420.5, 720)


def test_the_calls_of_maps_are_told_and_that_there_were_none(visit, viewer, day):
    page = visit(viewer).open("/accuracy")
    page.get_by_role("link", name="Maps", exact=True).click()
    expect(page.get_by_role("heading", name="Maps and what they cost")).to_be_visible()
    # The town has no map file: its trucks are followed by straight lines.
    expect(page.get_by_text("No map was asked in this time").first).to_be_visible()
