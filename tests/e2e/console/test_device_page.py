"""One vehicle: its day played back, its lifecycle changed, its dead letters read; and who may not."""

import math
import re
import time

import pytest
from playwright.sync_api import expect

from core.clock import epoch_ms, utc_now

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis]


def noon() -> str:
    """A time zone in which the last hour belongs to one day."""
    hours_ahead = 12 - utc_now().hour
    return f"Etc/GMT{-hours_ahead:+d}"


def drive(begins_ms: int) -> list[dict]:
    """Twenty minutes east at 10 m/s, then twenty minutes north at 20 m/s, a fix each five seconds."""
    samples, lat, lon = [], 47.9, 10.2
    for seq in range(1, 481):
        is_east = seq <= 240
        if is_east:
            lon += 50 / (111_195 * math.cos(math.radians(lat)))
        else:
            lat += 100 / 111_195
        motion = {"speed": 10.0, "heading": 90.0} if is_east else {"speed": 20.0, "heading": 0.0}
        position = {"lat": round(lat, 6), "lon": round(lon, 6), **motion}
        samples.append({"ts": begins_ms + seq * 5000, "boot": "c0ffee01", "seq": seq, "pos": position})
    return samples


@pytest.fixture(scope="module")
def van(town):
    """A vehicle that was out of reach for forty minutes and has just told where it was."""
    device = town.device()
    samples = drive(epoch_ms(utc_now()) - 41 * 60_000)
    device.send(*(samples[at : at + 60] for at in range(0, len(samples), 60)))
    with town.rest() as rest:
        deadline = time.monotonic() + 120
        while rest.get(f"/v1/devices/{device.name}/track").json()["recorded"] < len(samples):
            assert time.monotonic() < deadline
            time.sleep(0.5)
    return device.name


def test_a_day_is_scrubbed_and_played_on_the_time_slider(visit, dispatcher, van):
    visitor = visit(dispatcher, timezone_id=noon())
    page = visitor.open(f"/devices/{van}")
    slider = page.get_by_role("slider", name="Time on the track")
    now = page.locator("output")
    expect(slider).to_be_visible()
    expect(now).to_contain_text("72 km/h · 0° N")
    ends = slider.get_attribute("aria-valuetext")
    drawing = page.locator(".track-map canvas.map-layer")
    expect(drawing).to_be_visible()
    at_the_end = _drawn(drawing)

    slider.focus()
    page.keyboard.press("Home")
    expect(now).to_contain_text("36 km/h · 90° E")
    begins = slider.get_attribute("aria-valuetext")
    assert _seconds(ends) - _seconds(begins) == 479 * 5
    expect(now).to_contain_text(begins)
    assert _drawn(drawing) != at_the_end

    page.keyboard.press("Shift+ArrowRight")
    assert _seconds(slider.get_attribute("aria-valuetext")) - _seconds(begins) == 600
    expect(now).to_contain_text("36 km/h · 90° E")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(now).to_contain_text("72 km/h · 0° N")

    page.keyboard.press("Home")
    page.get_by_role("button", name="Play", exact=True).click()
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    expect(slider).not_to_have_attribute("aria-valuetext", begins)
    expect(now).to_contain_text("72 km/h · 0° N")
    page.get_by_role("button", name=re.compile("^(Pause|Play)$")).click()
    expect(visitor.fact("Points")).to_have_text("480")
    expect(visitor.fact("Distance")).to_have_text(re.compile(r"^3[56]"))
    expect(visitor.fact("Top speed")).to_have_text("72 km/h")


def test_a_day_without_positions_leads_to_the_last_one_with_some(visit, dispatcher, van):
    visitor = visit(dispatcher, timezone_id=noon())
    page = visitor.open(f"/devices/{van}")
    expect(page.get_by_role("slider", name="Time on the track")).to_be_visible()
    page.get_by_role("button", name="Day before").click()
    expect(page.get_by_text("No position on this day")).to_be_visible()
    page.get_by_role("button", name="Go to the day of the last fix").click()
    expect(page.get_by_role("slider", name="Time on the track")).to_be_visible()


def test_a_vehicle_is_suspended_after_a_question_and_resumed(visit, admin, rest):
    name = "truck-5"
    visitor = visit(admin)
    page = visitor.open(f"/devices/{name}?tab=identity")
    actions = page.get_by_role("group", name="Actions")
    actions.get_by_role("button", name="Suspend").click()
    question = page.get_by_role("dialog", name=f"Suspend {name}?")
    expect(question).to_contain_text("The vehicle is disconnected within seconds")
    question.get_by_role("button", name="Cancel").click()
    expect(question).to_be_hidden()
    assert rest.get(f"/v1/devices/{name}").json()["status"] == "active"

    actions.get_by_role("button", name="Suspend").click()
    question.get_by_role("button", name="Suspend").click()
    try:
        expect(page.get_by_role("status").filter(has_text="Suspended")).to_be_visible()
        assert rest.get(f"/v1/devices/{name}").json()["status"] == "suspended"
        page.get_by_role("link", name="Show on the live map").click()
        card = page.get_by_role("region", name=name, exact=True)
        expect(card).to_contain_text("Offline")
        expect(visitor.truck(name)).to_contain_text("Suspended")
        card.get_by_role("link", name="Open details").click()
        page.get_by_role("link", name="Identity").click()
        actions.get_by_role("button", name="Resume").click()
        page.get_by_role("dialog", name=f"Resume {name}?").get_by_role("button", name="Resume").click()
        expect(page.get_by_role("status").filter(has_text="Resumed")).to_be_visible()
        assert rest.get(f"/v1/devices/{name}").json()["status"] == "active"
    finally:
        rest.post(f"/v1/devices/{name}/resume")
    page.get_by_role("link", name="Show on the live map").click()
    # Its link tries again with growing pauses.
    expect(page.get_by_role("region", name=name, exact=True)).not_to_contain_text("Offline", timeout=240_000)


def test_a_dead_letter_is_shown_with_its_reason_and_its_words(visit, admin, town, rest):
    device = town.device()
    device.send(b'{"ts": 17')
    _until_dead_letter(rest, device.name)
    visitor = visit(admin)
    page = visitor.open("/dead-letters")
    row = page.get_by_role("row").filter(has_text=device.name)
    expect(row).to_contain_text("The message is not in the form its topic promises")
    row.get_by_role("button", name="Details").click()
    details = page.get_by_role("dialog", name="The message is not in the form its topic promises")
    expect(details.locator("pre")).to_have_text('{"ts": 17')
    expect(details).to_contain_text(f"demo:{device.name}/telemetry")
    page.keyboard.press("Escape")
    expect(details).to_be_hidden()
    row.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("status").filter(has_text="Refused again:")).to_be_visible()
    page.get_by_role("link", name=device.name).first.click()
    expect(page.get_by_role("heading", name=device.name)).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="not in the form").first).to_be_visible()


def test_a_viewer_sees_no_action_and_may_take_none(visit, viewer):
    visitor = visit(viewer)
    visitor.bear(r"status of 403 .*/v1/devices/truck-1/suspend$")
    page = visitor.open("/devices/truck-1?tab=identity")
    expect(page.get_by_role("region", name="Certificates")).to_be_visible()
    expect(page.get_by_role("heading", name="truck-1")).to_be_visible()
    for action in ("Suspend", "Decommission", "Revoke", "Edit type and labels"):
        expect(page.get_by_role("button", name=action)).to_have_count(0)
    expect(page.get_by_role("link", name="Administration")).to_have_count(0)
    status = page.evaluate(
        """async () => {
            const { csrf } = await (await fetch("/v1/session")).json();
            const headers = { "X-CSRF-Token": csrf };
            return (await fetch("/v1/devices/truck-1/suspend", { method: "POST", headers })).status;
        }"""
    )
    assert status == 403
    visitor.open("/admin/users")
    expect(page.get_by_text("This page is not part of your role")).to_be_visible()
    page.get_by_role("link", name="Back to the map").click()
    visitor.is_live()


def _drawn(canvas) -> str:
    return canvas.evaluate("(canvas) => canvas.toDataURL()")


def _seconds(clock: str) -> int:
    hours, minutes, seconds = map(int, clock.split(":"))
    return hours * 3600 + minutes * 60 + seconds


def _until_dead_letter(rest, name: str) -> None:
    deadline = time.monotonic() + 120
    while not rest.get("/v1/dead-letters", params={"device": name}).raise_for_status().json()["items"]:
        assert time.monotonic() < deadline, "the message is nowhere among the dead letters"
        time.sleep(0.5)
