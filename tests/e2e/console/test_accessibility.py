"""axe-core on every kind of page, light and dark: nothing serious, nothing critical."""

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis]

PAGES = [
    "/",
    "/?vehicle=truck-1",
    "/devices/truck-1",
    "/devices/truck-1?tab=presence",
    "/devices/truck-1?tab=shadow",
    "/devices/truck-1?tab=commands",
    "/devices/truck-1?tab=metrics",
    "/devices/truck-1?tab=events",
    "/devices/truck-1?tab=identity",
    "/commands",
    "/commands/groups",
    "/commands/templates",
    "/trips",
    "/trips?view=timeline",
    "/routes",
    "/accuracy",
    "/maps",
    "/sites",
    "/alerts",
    "/alerts/log",
    "/alerts/preferences",
    "/events",
    "/account",
    "/dead-letters",
    "/admin/users",
    "/admin/webhooks",
    "/admin/audit",
]


@pytest.fixture(params=["light", "dark"])
def inspected(request, visit, axe):
    """Opens the console with axe-core in its pages."""

    def arrive(user=None):
        visitor = visit(user, color_scheme=request.param)
        visitor.context.add_init_script(path=axe)
        return visitor

    return arrive


def test_the_sign_in_page_with_a_refusal_is_accessible(inspected):
    visitor = inspected()
    page = visitor.open()
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert visitor.axe() == []


@pytest.mark.parametrize("path", PAGES)
def test_the_page_is_accessible(inspected, admin, day, path):
    visitor = inspected(admin)
    page = visitor.open(path)
    visitor.is_live()
    expect(page.get_by_text("Loading …")).to_have_count(0)
    assert visitor.axe() == []


@pytest.mark.parametrize("what", ["trips", "routes", "sites"])
def test_the_page_of_one_thing_is_accessible(inspected, admin, day, what):
    visitor = inspected(admin)
    page = visitor.open(f"/{what}/{next(iter(getattr(day, what).values()))}")
    visitor.is_live()
    expect(page.get_by_role("group", name="Map controls")).to_be_visible()
    assert visitor.axe() == []


def test_a_question_before_a_change_is_accessible(inspected, admin):
    visitor = inspected(admin)
    page = visitor.open("/devices/truck-1?tab=identity")
    page.get_by_role("button", name="Decommission").click()
    expect(page.get_by_role("dialog", name="Decommission truck-1?")).to_be_visible()
    assert visitor.axe() == []
