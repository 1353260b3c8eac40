"""The line breaks in every way it can, and the page goes on without having missed anything."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis]

WITHOUT_A_GAP = re.compile(r"^Back, without a gap: \d+ missed messages? fetched$")
NOTHING_LOST = re.compile(r"^Back, without a gap: (\d+ missed messages? fetched|nothing was missed)$")


def test_the_network_goes_and_comes_and_no_position_is_missed(visit, dispatcher):
    visitor = visit(dispatcher)
    visitor.bear("ERR_INTERNET_DISCONNECTED", r"WebSocket connection to .* failed")
    page = visitor.open()
    visitor.is_live()
    _until_news(visitor, 5)
    visitor.context.set_offline(True)
    expect(visitor.connection).to_have_text("No network. The map shows the last known positions")
    stood_at = visitor.log()[2][-1]["offset"]
    expect(visitor.trucks.first).to_be_visible()
    # Long enough for every truck to have reported.
    page.wait_for_timeout(5000)
    visitor.context.set_offline(False)
    expect(visitor.connection).to_have_text(WITHOUT_A_GAP)
    _until_news(visitor, 5)
    assert visitor.assert_without_gap() > stood_at
    _, resumed = (line for line in visitor.lines if line.subscription)
    assert _answer(resumed)["recovered"] is True
    assert _answer(resumed)["missed"] > 0


def test_the_server_dies_and_comes_back_and_no_position_is_missed(visit, dispatcher, town):
    visitor = visit(dispatcher)
    visitor.bear("ERR_CONNECTION_(REFUSED|RESET)", "ERR_EMPTY_RESPONSE", r"WebSocket connection to .* failed")
    page = visitor.open()
    visitor.is_live()
    _until_news(visitor, 5)
    town.kill("api")
    expect(visitor.connection).to_contain_text("Connection lost")
    expect(page.get_by_text(re.compile(r"Next try in \d+ s|Trying again")).first).to_be_attached()
    expect(visitor.trucks.first).to_be_visible()
    # Nobody writes the log while the only API process is dead: whether there is something to fetch depends on who is
    # first afterwards, its pump or the page. That nothing is missing, the log itself says below.
    expect(visitor.connection).to_have_text(NOTHING_LOST, timeout=240_000)
    _until_news(visitor, 5)
    visitor.assert_without_gap()
    resumed = [line for line in visitor.lines if line.subscription][-1]
    assert _answer(resumed)["recovered"] is True


def test_a_lost_log_is_told_and_the_picture_is_a_fresh_one(visit, dispatcher, town):
    visitor = visit(dispatcher)
    page = visitor.open()
    visitor.is_live()
    _until_news(visitor, 5)
    before = visitor.log()[0]
    town.empty_redis()
    expect(visitor.connection).to_have_text("Back, with a fresh picture: what was missed is no longer kept")
    _until_news(visitor, 5)
    assert visitor.log()[0] != before
    visitor.assert_without_gap()
    expect(page.get_by_role("listbox", name="Vehicles")).to_be_visible()


def _until_news(visitor, count: int) -> None:
    """Wait until so many events have come since now."""
    total = sum(len(frame.get("events", [])) for line in visitor.lines for frame in line.received)
    for _ in range(600):
        now = sum(len(frame.get("events", [])) for line in visitor.lines for frame in line.received)
        if now >= total + count:
            return
        visitor.page.wait_for_timeout(200)
    raise AssertionError("no events come")


def _answer(line) -> dict:
    return next(frame for frame in line.received if frame["type"] == "subscribed")
