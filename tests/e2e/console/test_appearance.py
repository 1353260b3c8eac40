"""The same console in German, in the dark and on a telephone."""

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis]

_LIGHTNESS = """
() => {
    const [red, green, blue] = getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g).map(Number);
    return (red + green + blue) / 3;
}
"""

NARROW = [
    "/",
    "/devices/truck-1",
    "/devices/truck-1?tab=identity",
    "/trips",
    "/trips?view=timeline",
    "/sites",
    "/alerts",
    "/account",
    "/dead-letters",
]


def test_a_german_browser_gets_german_words_and_the_choice_stays(visit, dispatcher):
    visitor = visit(dispatcher, locale="de-DE")
    page = visitor.open()
    expect(page.get_by_role("status", name="Verbindung")).to_have_attribute("data-phase", "live")
    expect(page.get_by_role("listbox", name="Fahrzeuge")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "de")
    page.get_by_role("button", name="Konto").click()
    page.get_by_label("Sprache").select_option("en")
    expect(page.get_by_role("listbox", name="Vehicles")).to_be_visible()
    page.reload()
    visitor.is_live()
    expect(page.locator("html")).to_have_attribute("lang", "en")


def test_a_wrong_password_is_answered_in_german(visit, viewer):
    visitor = visit(locale="de-AT")
    page = visitor.open()
    page.get_by_label("E-Mail").fill(viewer.email)
    page.get_by_label("Passwort").fill("Sesam öffne dich, bitte")
    page.get_by_role("button", name="Anmelden").click()
    expect(page.get_by_role("alert")).to_contain_text("E-Mail oder Passwort stimmt nicht")


def test_dark_follows_the_system_and_a_choice_wins_and_stays(visit, dispatcher):
    visitor = visit(dispatcher, color_scheme="dark")
    page = visitor.open()
    visitor.is_live()
    assert page.evaluate(_LIGHTNESS) < 60
    page.get_by_role("button", name="Account").click()
    page.get_by_label("Appearance").select_option("light")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    assert page.evaluate(_LIGHTNESS) > 200
    page.reload()
    visitor.is_live()
    assert page.evaluate(_LIGHTNESS) > 200


@pytest.mark.parametrize("path", NARROW)
def test_on_a_telephone_nothing_is_wider_than_the_screen(visit, dispatcher, path):
    visitor = visit(dispatcher, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = visitor.open(path)
    visitor.is_live()
    expect(page.get_by_role("main")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_on_a_telephone_one_goes_between_map_and_list(visit, dispatcher):
    visitor = visit(dispatcher, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = visitor.open()
    visitor.is_live()
    listbox = page.get_by_role("listbox", name="Vehicles")
    expect(listbox).to_be_hidden()
    page.get_by_role("button", name="Show the list").tap()
    expect(listbox).to_be_visible()
    visitor.truck("truck-2").tap()
    page.get_by_role("button", name="Map", exact=True).tap()
    card = page.get_by_role("region", name="truck-2", exact=True)
    expect(card).to_be_visible()
    card.get_by_role("link", name="Open details").tap()
    expect(page.get_by_role("heading", name="truck-2", exact=True)).to_be_visible()
