"""Trips of the day, one trip, and what a dispatcher may do with it."""

import re

import httpx
import pytest
from playwright.sync_api import expect

from tests.e2e.console.rounds import plan_trip, state_of

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis]


def test_the_trips_of_the_day_are_a_list_with_the_delayed_one_first(visit, dispatcher, day):
    page = visit(dispatcher).open("/trips")
    rows = page.get_by_role("table", name="Trips of the day").get_by_role("row")
    expect(rows.nth(1).get_by_role("link", name=f"T-{day.late}")).to_be_visible()
    expect(rows.nth(1)).to_contain_text("late")
    page.get_by_role("searchbox", name="Search trips").fill(day.trucks[1])
    expect(rows).to_have_count(2)
    expect(rows.nth(1)).to_contain_text(f"T-{day.trucks[1]}")


def test_a_day_without_trips_says_how_trips_come_to_be(visit, viewer, day):
    page = visit(viewer).open("/trips?day=2021-03-04")
    expect(page.get_by_text("No trip on this day")).to_be_visible()
    expect(page.get_by_role("button", name="Plan a trip")).to_have_count(0)


def test_the_timeline_tells_plan_and_expectation_of_each_stop(visit, dispatcher, day):
    page = visit(dispatcher).open("/trips?view=timeline")
    timeline = page.get_by_role("region", name=re.compile("^Timeline of the day"))
    expect(timeline.get_by_role("link")).to_have_count(len(day.trips))
    expect(timeline.get_by_text(re.compile(r"planned \d\d:\d\d, expected \d\d:\d\d, between")).first).to_be_attached()


def test_a_trip_under_way_says_when_the_truck_comes_and_upon_what_that_rests(visit, dispatcher, rest, day):
    [trip, *_] = [id_ for id_ in day.trips.values() if _has_eta(rest, id_)]
    visitor = visit(dispatcher)
    page = visitor.open(f"/trips/{trip}")
    visitor.is_live()
    panel = page.get_by_role("region", name="Next arrival")
    expect(panel).to_contain_text(re.compile(r"Eight trucks in ten come between \d\d:\d\d and \d\d:\d\d"))
    expect(panel).to_contain_text("What this rests on")
    expect(panel).to_contain_text(re.compile("driven|km from the first stop"))
    stops = page.get_by_role("table", name="Stops").get_by_role("row")
    expect(stops).to_have_count(1 + len(state_of(rest, trip)["stops"]))


def test_a_stop_is_skipped_and_taken_back(visit, dispatcher, rest, day):
    trip = plan_trip(rest, day, "2031-05-06")
    last = state_of(rest, trip)["stops"][-1]
    page = visit(dispatcher).open(f"/trips/{trip}")
    row = page.get_by_role("row", name=re.compile(re.escape(last["name"])))
    page.get_by_role("button", name=f"Skip {last['name']}").click()
    page.get_by_role("dialog").get_by_role("button", name="Skip", exact=True).click()
    expect(row).to_contain_text("Skipped")
    assert state_of(rest, trip)["stops"][-1]["state"] == "skipped"
    page.get_by_role("button", name=f"Take back the skip of {last['name']}").click()
    expect(row).to_contain_text("Ahead")


def test_stops_ahead_change_places(visit, dispatcher, rest, day):
    trip = plan_trip(rest, day, "2031-05-07")
    first, second, *_ = state_of(rest, trip)["stops"]
    page = visit(dispatcher).open(f"/trips/{trip}")
    page.get_by_role("button", name=f"Move {second['name']} up").click()
    expect(page.get_by_role("table", name="Stops").get_by_role("row").nth(1)).to_contain_text(second["name"])
    assert [stop["id"] for stop in state_of(rest, trip)["stops"]][:2] == [second["id"], first["id"]]


def test_what_somebody_else_did_meanwhile_is_told_and_not_overwritten(visit, dispatcher, rest, day):
    trip = plan_trip(rest, day, "2031-05-08")
    visitor = visit(dispatcher)
    visitor.bear(r"status of 412")
    page = visitor.open(f"/trips/{trip}")

    def be_second(route):
        rest.post(f"/v1/trips/{trip}/assign", json={"device": day.trucks[1]}).raise_for_status()
        route.continue_()

    page.route("**/assign", be_second, times=1)
    page.get_by_role("button", name="Assign a truck").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Truck").select_option(day.trucks[0])
    dialog.get_by_role("button", name="Assign a truck").click()
    expect(dialog).to_contain_text("Somebody else, or the truck itself, changed this trip a moment ago")
    assert state_of(rest, trip)["device"] == day.trucks[1]


def test_a_trip_is_given_up_with_the_reason(visit, dispatcher, rest, day):
    trip = plan_trip(rest, day, "2031-05-09")
    page = visit(dispatcher).open(f"/trips/{trip}")
    page.get_by_role("button", name="Abandon").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("Broken axle")
    dialog.get_by_role("button", name="Abandon").click()
    expect(page.get_by_text("Abandoned: Broken axle")).to_be_visible()
    expect(page.get_by_role("button", name="Abandon")).to_have_count(0)


def test_what_others_do_with_a_trip_is_seen_without_asking(visit, viewer, rest, day):
    trip = plan_trip(rest, day, "2031-05-10")
    last = state_of(rest, trip)["stops"][-1]
    visitor = visit(viewer)
    page = visitor.open(f"/trips/{trip}")
    visitor.is_live()
    row = page.get_by_role("row", name=re.compile(re.escape(last["name"])))
    expect(row).to_contain_text("Ahead")
    expect(page.get_by_role("button", name=re.compile("^Skip"))).to_have_count(0)
    rest.patch(f"/v1/trips/{trip}/stops/{last['id']}", json={"state": "skipped"}).raise_for_status()
    expect(row).to_contain_text("Skipped", timeout=20_000)


def test_a_trip_is_planned_from_a_route(visit, dispatcher, day):
    page = visit(dispatcher).open(f"/routes/{day.routes[day.trucks[0]]}")
    page.get_by_role("button", name="Make a trip of it").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Day").fill("2031-06-01")
    dialog.get_by_role("button", name="Plan a trip").click()
    expect(page.get_by_text("Planned", exact=True).first).to_be_visible()
    expect(page).to_have_url(re.compile("/trips/trip_"))


def test_before_any_trip_was_judged_the_accuracy_page_says_what_it_needs(visit, viewer, day):
    page = visit(viewer).open("/accuracy")
    expect(page.get_by_text("Nothing to judge yet")).to_be_visible()


def _has_eta(rest: httpx.Client, trip: str) -> bool:
    return any(stop["eta"] for stop in state_of(rest, trip)["stops"])
