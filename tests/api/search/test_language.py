"""What the language takes, what it refuses, and what it says then."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.search.language import MOST_CHARS, InvalidWhere, parse
from api.search.terms import All, Compare, Either, Exists, Fact, Label, Like, Near, Not, OneOf, Op, State, Within
from tests.api.search.naive import text
from tests.api.search.terms_made import terms


def test_precedence_is_not_then_and_then_or():
    a, b, c = (Compare(Fact("id"), Op.EQUAL, each) for each in "abc")
    assert parse('id="a" or id = "b" and not id="c"') == Either((a, All((b, Not(c)))))
    assert parse('(id="a" or id="b") and id="c"') == All((Either((a, b)), c))


def test_every_form_of_a_term():
    path = State("", "reported", ("cool box", "t.c"))
    assert parse('reported."cool box"."t.c" >= -4.5e1') == Compare(path, Op.AT_LEAST, -45.0)
    assert parse('shadow.$fw.desired.version like "1.*"') == Like(State("$fw", "desired", ("version",)), "1.*")
    assert parse("delta exists") == Exists(State("", "delta", ()))
    assert parse('type in ("tanker", "van")') == OneOf(Fact("type"), ("tanker", "van"))
    assert parse('label.depot != "north"') == Compare(Label("depot"), Op.UNEQUAL, "north")
    assert parse("near(47.1, 9.5, 2500)") == Near(47.1, 9.5, 2500.0)
    assert parse("within(9.4,47,9.7,47.3)") == Within(9.4, 47.0, 9.7, 47.3)
    assert parse("online=true") == Compare(Fact("online"), Op.EQUAL, True)


@given(terms())
def test_a_term_written_as_text_is_read_as_the_same_term(term):
    assert parse(text(term)) == term


@pytest.mark.parametrize(
    ("where", "position", "wrong", "allowed"),
    [
        ("", 1, "it ends", "reported.<path>"),
        ("online", 7, "it ends", "=, !=, <, <=, >, >=, in (...), like or exists"),
        ("online = 1", 10, "'1'", "true or false"),
        ('online < "x"', 10, "'\"x\"'", "true or false"),
        ("online < true", 10, "no order", "= and !="),
        ("reported.a == 1", 13, "'='", "a text in double quotes, a number, true or false"),
        ("reported.a = 1 reported.b = 2", 16, "'reported'", "and, or, or the end"),
        ("reported = 1", 10, "'='", "exists"),
        ("fuel < 20", 1, "no field 'fuel'", "reported.<path>"),
        ("select.x = 1", 1, "no field 'select.x'", "label.<key>"),
        ('(id = "a"', 10, "it ends", ")"),
        ('id = "a', 6, "a text that does not end", "a value"),
        ("id = 'a'", 6, '"\'" cannot be read', "a value"),
        ('id = "a"; drop table device', 9, "';' cannot be read", "and, or, not"),
        ('id = "a" -- x', 10, "'-' cannot be read", "a field"),
        ("near(91, 0, 5)", 1, "no place", "latitude -90 to 90"),
        ("near(1, 2)", 10, "')'", ","),
        ("within(0, 5, 1, 4)", 1, "no box", "south below north"),
        ('position.age < "10m"', 16, "'\"10m\"'", "a duration such as 10m"),
        ("position.age = 10m", 14, "'='", "an age goes on by itself"),
        ('last_seen < "yesterday"', 13, "no time", "2026-08-01T06:00:00Z"),
        ('last_seen < "2026-08-01T06:00:00"', 13, "no time", "2026-08-01T06:00:00Z"),
        ("reported.n = 1e999", 14, "too large", "1.7e308"),
        ('reported.n = "\\u0000"', 14, "control characters", "256 characters"),
        ('reported.n = "\\ud800"', 14, "cannot be read", "JSON's escapes"),
        ('shadow."a b".reported.n = 1', 1, "names no shadow", "1 to 64"),
        ("metric.fuel = 1", 1, "no field 'metric.fuel'", "position.age"),
    ],
)
def test_what_is_wrong_is_refused_with_its_position_and_what_may_stand_there(where, position, wrong, allowed):
    with pytest.raises(InvalidWhere) as refused:
        parse(where)
    said = str(refused.value)
    assert said.startswith(f"where, position {position}: "), said
    assert wrong in said
    assert allowed in said.partition("; allowed here: ")[2], said


def test_length_depth_terms_and_values_have_limits():
    many = " or ".join(['id = "a"'] * 32)
    parse(many)
    deep = "(" * 8 + 'id = "a"' + ")" * 8
    parse(deep)
    for where, wrong in (
        (f'{many} or id = "a"', "more than 32 terms"),
        (f"({deep})", "nested too deeply"),
        ("not " * 9 + 'id = "a"', "nested too deeply"),
        ("not " * 400 + 'id = "a"', "nested too deeply"),
        ("(" * 1999, "nested too deeply"),
        ("reported.n in (" + ",".join("1" * 65) + ")", "more than 64 values"),
        ("x" * (MOST_CHARS + 1), "2,001 characters"),
        ('id = "' + "x" * 257 + '"', "too long"),
        ("reported" + ".a" * 9 + " = 1", "no field"),
    ):
        with pytest.raises(InvalidWhere, match=re.escape(wrong)):
            parse(where)


SCRAPS = [
    "reported",
    ".",
    "a",
    "=",
    "!=",
    "<",
    "(",
    ")",
    "and",
    "or",
    "not",
    "in",
    "like",
    "exists",
    '"x"',
    "1",
    ",",
    "5m",
    "true",
    "near",
    "label",
    "online",
    "\\",
    "%",
    "'",
    ";",
    "--",
    "/*",
    "$1",
    "%(tenant)s",
]


@given(st.text(max_size=60) | st.lists(st.sampled_from(SCRAPS), max_size=25).map(" ".join))
def test_any_text_is_read_or_refused_at_a_place_within_it(where):
    refused: list[int] = []
    try:
        parse(where)
    except InvalidWhere as error:
        refused.append(error.at)
    assert all(0 <= at <= len(where) for at in refused)
