"""What can be read off a device's turns, in whatever order they are told."""

import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from broker.presence.timeline import WORDS, Span, Turn, in_words, spans

DAWN = datetime(2026, 8, 3, 5, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return DAWN + timedelta(minutes=minutes)


def turn(version: int, minutes: float) -> Turn:
    """Odd versions connect, even ones lose the connection, as one device's really do."""
    return Turn(version, version % 2 == 1, at(minutes), None if version % 2 else "CONNECTION_LOST")


def test_each_span_lasts_until_the_next_and_the_last_one_lasts():
    assert spans([turn(1, 0), turn(2, 30), turn(3, 45)]) == [
        Span(1, True, at(0), at(30), None),
        Span(2, False, at(30), at(45), "CONNECTION_LOST"),
        Span(3, True, at(45), None, None),
    ]


def test_a_turn_that_was_missed_makes_one_span_of_its_neighbours():
    assert spans([turn(1, 0), turn(3, 45), turn(4, 50)]) == [
        Span(1, True, at(0), at(50), None),
        Span(4, False, at(50), None, "CONNECTION_LOST"),
    ]


def test_a_connection_that_ended_at_once_is_there_without_length():
    assert spans([turn(2, 0), turn(3, 30), turn(4, 30)]) == [
        Span(2, False, at(0), at(30), "CONNECTION_LOST"),
        Span(3, True, at(30), at(30), None),
        Span(4, False, at(30), None, "CONNECTION_LOST"),
    ]


def test_a_clock_that_was_set_back_makes_a_span_shorter_and_no_disorder():
    assert spans([turn(1, 0), turn(2, 30), turn(3, 20), turn(4, 40)]) == [
        Span(1, True, at(0), at(30), None),
        Span(2, False, at(30), at(30), "CONNECTION_LOST"),
        Span(3, True, at(30), at(40), None),
        Span(4, False, at(40), None, "CONNECTION_LOST"),
    ]


def test_nobody_has_a_timeline_of_nothing():
    assert spans([]) == []


TURNS = st.lists(
    st.tuples(st.integers(1, 30), st.integers(0, 600)).map(lambda drawn: turn(*drawn)),
    unique_by=lambda turn: turn.version,
    max_size=20,
)


@given(turns=TURNS, data=st.data())
def test_order_and_repetition_of_what_is_told_make_no_difference(turns, data):
    repeated = turns + (data.draw(st.lists(st.sampled_from(turns), max_size=5)) if turns else [])
    assert spans(data.draw(st.permutations(repeated))) == spans(turns)


@given(turns=TURNS)
def test_spans_have_no_gap_no_overlap_and_differ_from_their_neighbours(turns):
    found = spans(turns)
    for earlier, later in itertools.pairwise(found):
        assert earlier.until == later.since
        assert earlier.since <= later.since
        assert earlier.online != later.online
    if turns:
        newest = max(turns, key=lambda turn: turn.version)
        assert (found[-1].online, found[-1].until) == (newest.online, None)


def test_every_reason_has_its_words_and_a_new_one_is_given_as_it_is():
    assert in_words(None) is None
    assert in_words("MQTT_KEEP_ALIVE_TIMEOUT") == WORDS["MQTT_KEEP_ALIVE_TIMEOUT"]
    assert "SOLAR_FLARE" in str(in_words("SOLAR_FLARE"))
