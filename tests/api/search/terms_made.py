"""Terms as hypothesis makes them, about the few names and values that the fleet of these tests has."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from api.search.terms import (
    FACTS,
    All,
    Compare,
    Either,
    Exists,
    Fact,
    Kind,
    Label,
    Like,
    Near,
    Not,
    OneOf,
    Op,
    State,
    Within,
)

NOW = datetime(2026, 8, 1, 6, 0, tzinfo=UTC)
NAMES = ("a", "b", "x y", "é")
TEXTS = ("", "a", "ab", "b", "10", "%", "a_b", "a\\b", "true", "{}", "#1.0", '"', "é", "\U0001f69a")
NUMBERS = (-1.5, 0.0, 1.0, 2.0, 10.0, 1e300)
PLACES = ((47.0, 9.5), (47.05, 9.55), (-33.9, 151.2), (0.0, 179.95), (0.0, -179.95), (89.5, 30.0))

_ordered = st.sampled_from([Op.BELOW, Op.AT_MOST, Op.ABOVE, Op.AT_LEAST])
_times = st.integers(-5, 5).map(lambda n: NOW + timedelta(minutes=10 * n))
_patterns = st.sampled_from(["*", "?", "a*", "*b", "a?b", "", "%", "a_b", "*1*", "a\\*", "é"])
_states = st.builds(
    State,
    st.sampled_from(["", "milk"]),
    st.sampled_from(["reported", "desired", "delta"]),
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(tuple),
)
_labels = st.builds(Label, st.sampled_from(["depot", "a.b"]))
_worded = st.sampled_from([Fact("id"), Fact("type"), Fact("status")]) | _labels
_any = st.sampled_from([*TEXTS, *NUMBERS])


def _of(kind: Kind) -> st.SearchStrategy[Fact]:
    return st.sampled_from([Fact(name) for name, has in FACTS.items() if has is kind])


_terms = st.one_of(
    st.builds(Compare, _states, st.sampled_from(Op), _any),
    st.builds(Compare, _states, st.sampled_from([Op.EQUAL, Op.UNEQUAL]), st.booleans()),
    st.builds(OneOf, _states, st.lists(_any | st.booleans(), min_size=1, max_size=3).map(tuple)),
    st.builds(Like, _states | _worded, _patterns),
    st.builds(Exists, _states | _labels | st.sampled_from([Fact("position"), Fact("presence"), *map(Fact, FACTS)])),
    st.builds(
        Exists, st.builds(State, st.sampled_from(["", "milk"]), st.sampled_from(["delta", "desired"]), st.just(()))
    ),
    st.builds(Compare, _worded, st.sampled_from(Op), st.sampled_from(["t0", "t5", "van", "active", "north", "a"])),
    st.builds(OneOf, _worded, st.lists(st.sampled_from(["t1", "van", "north"]), min_size=1, max_size=3).map(tuple)),
    st.builds(Compare, _of(Kind.FLAG), st.sampled_from([Op.EQUAL, Op.UNEQUAL]), st.booleans()),
    st.builds(Compare, _of(Kind.TIME), st.sampled_from(Op), _times),
    st.builds(Compare, _of(Kind.AGE), _ordered, st.integers(0, 60).map(lambda n: timedelta(minutes=n))),
    st.builds(Compare, _of(Kind.NUMBER), st.sampled_from(Op), st.sampled_from([0.0, 9.5, 47.0, 13.5, -33.9])),
    st.builds(
        lambda place, radius_m: Near(*place, radius_m),
        st.sampled_from(PLACES),
        st.sampled_from([0.0, 5000.0, 7000.0, 12_000.0, 60_000.0, 1e6, 2e7]),
    ),
    st.builds(
        Within,
        st.sampled_from([-180.0, 9.4, 179.0, 151.0]),
        st.sampled_from([-90.0, -34.0]),
        st.sampled_from([9.6, 180.0, -179.0]),
        st.sampled_from([47.01, 90.0]),
    ),
)


def terms() -> st.SearchStrategy:
    """At most what the language allows: 32 terms, 8 levels."""

    def joined(inner: st.SearchStrategy) -> st.SearchStrategy:
        several = st.lists(inner, min_size=2, max_size=3).map(tuple)
        return st.builds(Not, inner) | st.builds(All, several) | st.builds(Either, several)

    return st.recursive(_terms, joined, max_leaves=6).filter(lambda term: _depth(term) <= 7)


def _depth(term: object) -> int:
    match term:
        case Not(of):
            return 1 + _depth(of)
        case All(of) | Either(of):
            return 1 + max(map(_depth, of))
        case _:
            return 0
