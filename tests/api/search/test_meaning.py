"""What SQL finds is what the language says, told a second time by an evaluator that walks the documents."""

import pytest
from hypothesis import HealthCheck, given, settings

from api.search.language import parse
from api.search.terms import All, Compare, Label, Op, State
from tests.api.search.conftest import Searched
from tests.api.search.naive import holds
from tests.api.search.terms_made import NOW, terms

pytestmark = pytest.mark.db


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(term=terms())
def test_what_is_found_is_what_holds(searched: Searched, term):
    expected = sorted(device.id for device in searched.fleet if holds(term, device, NOW))
    assert searched.find(term) == expected


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ('reported.a = "a" or reported.a = "ab"', {"t2", "t6", "t1"}),
        ("delta exists and online = true", None),
        ("near(47, 9.5, 7000)", None),
        ("within(179, -1, -179, 1)", None),
        ('reported.b like "xxx*"', None),
        ("presence.age > 1h or not presence exists", None),
        ("desired.b > 1e308", {"t9", "t4"}),
    ],
)
def test_searches_as_people_write_them(searched: Searched, where, found):
    term = parse(where)
    expected = {device.id for device in searched.fleet if holds(term, device, NOW)}
    assert expected, "it finds nothing, so it says nothing"
    assert set(searched.find(term)) == expected
    assert found is None or expected & found


@pytest.mark.parametrize(
    "evil",
    [
        "x' OR '1'='1", "'; DROP TABLE device; --", "%(tenant)s", "%s", "$1", "\\'; --", "%", "_", 'x" OR true --',
        "') OR l.tenant_id = 'zeta' OR ('", "zeta",
    ],
)  # fmt: skip
def test_values_keys_and_names_never_become_sql(searched: Searched, evil):
    for term in (
        Compare(State("", "reported", (evil,)), Op.EQUAL, evil),
        Compare(State(evil, "reported", ("a",)), Op.UNEQUAL, evil),
        Compare(Label(evil), Op.EQUAL, evil),
        All((Compare(State("", "reported", ("a",)), Op.EQUAL, evil), Compare(Label("depot"), Op.EQUAL, evil))),
    ):
        assert searched.find(term) == []
    assert len(searched.find(parse('id like "*"'))) == len(searched.fleet)


@pytest.mark.parametrize("where", ['reported.a = "zeta"', 'desired.a = 1 and id = "t1"', 'label.depot = "north"'])
def test_a_tenant_finds_its_own_devices_alone(searched: Searched, where):
    term = parse(where)
    assert searched.find(term, "zeta") == ["t1"]
    expected = sorted(device.id for device in searched.fleet if holds(term, device, NOW))
    assert searched.find(term, "acme") == expected
    assert searched.find(term, "nobody") == []
