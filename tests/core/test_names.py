"""Tenant, device and thing names, and the topics they stand in."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import sql, tenancy, topics
from core.tenancy import InvalidName, Thing, device_id, tenant_id
from core.topics import Format, Inbound, InvalidTopic, Kind, parse_inbound

tenants = st.from_regex(r"\A[a-z0-9-]{2,32}\Z")
devices = st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z")
things = st.builds(lambda t, d: Thing(tenant_id(t), device_id(d)), tenants, devices)

HOSTILE = [
    *(
        "",
        "a",
        "ab:",
        ":d",
        "ab",
        "ab:d:e",
        "ab:d\n",
        "ab\n:d",
        "ab:d ",
        " ab:d",
        "ab:d/e",
        "ab/x:d",
        "+:+",
        "#",
        "ab:#",
        "ab:+",
    ),
    *(
        "AB:d",
        "ab:d\0",
        "\0",
        "ab:é",
        "\uff41\uff42:d",
        "ab:d\u200b",
        "ab:\u202ed",
        "ab:d\r",
        "ab:$SYS",
        "$aws:d",
        "a" * 33 + ":d",
    ),
    *("ab:" + "d" * 65, "..:..", "ab:d%2fe", "ab;d", "ab:d'--", "ab:\ud800"),
]


@pytest.mark.parametrize("module", [tenancy, topics])
def test_the_examples_in_the_docstrings_hold(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


@given(things)
def test_a_thing_reads_back_from_its_name(thing):
    assert Thing.parse(str(thing)) == thing


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_refused_everywhere(name):
    with pytest.raises(InvalidName):
        Thing.parse(name)
    with pytest.raises(InvalidTopic):
        parse_inbound(f"dt/milkrun/{name}/telemetry")


@given(st.text(max_size=80))
def test_any_text_is_a_thing_only_if_it_says_itself_again(text):
    try:
        thing = Thing.parse(text)
    except InvalidName as error:
        assert error.code == "invalid_name"  # noqa: PT017
    else:
        assert str(thing) == text


@given(things, st.sampled_from(Format), st.sampled_from(["", "$aws/rules/ingest/", "$aws/rules/any rule/"]))
def test_a_telemetry_topic_reads_back(thing, fmt, prefix):
    assert parse_inbound(prefix + topics.telemetry(thing, fmt)) == Inbound(thing, Kind.TELEMETRY, fmt)


@given(things, st.sampled_from(["", "$aws/rules/ingest/"]))
def test_an_event_topic_reads_back(thing, prefix):
    assert parse_inbound(prefix + topics.event(thing)) == Inbound(thing, Kind.EVENT)


@given(
    st.lists(
        st.sampled_from(["dt", "milkrun", "acme:t", "telemetry", "event", "cbor", "", "+", "#", "$aws", "rules", "x"]),
        max_size=8,
    )
)
def test_any_levels_are_a_topic_only_if_one_of_ours_writes_them(levels):
    topic = "/".join(levels)
    try:
        found = parse_inbound(topic)
    except InvalidTopic as error:
        assert error.code == "bad_topic"  # noqa: PT017
    else:
        ours = topics.event(found.thing) if found.kind is Kind.EVENT else topics.telemetry(found.thing, found.format)
        assert topic.endswith(ours)
        assert topic == ours or topic.startswith(topics.BASIC_INGEST)


@pytest.mark.parametrize(
    "topic",
    [
        "dt/milkrun/acme:t",
        "dt/milkrun/acme:t/ack",
        "dt/milkrun/acme:t/telemetry/",
        "dt/milkrun/acme:t/telemetry/xml",
        "dt/milkrun/acme:t/telemetry/cbor/x",
        "dt/milkrun/acme:t/event/cbor",
        "/dt/milkrun/acme:t/event",
        "dt/other/acme:t/event",
        "$aws/rules/dt/milkrun/acme:t/event",
        "$share/g/dt/milkrun/acme:t/event",
    ],
)
def test_a_topic_that_is_nearly_ours_is_refused(topic):
    with pytest.raises(InvalidTopic):
        parse_inbound(topic)


def matches(topic_filter: str, topic: str) -> bool:
    wanted, given_ = topic_filter.split("/"), topic.split("/")
    return len(wanted) == len(given_) and all(w in {"+", g} for w, g in zip(wanted, given_, strict=True))


@given(things, st.sampled_from(Format), st.sampled_from(["", "$aws/rules/ingest/"]))
def test_exactly_one_filter_of_ingest_matches_each_inbound_topic(thing, fmt, prefix):
    for topic in (prefix + topics.telemetry(thing, fmt), prefix + topics.event(thing)):
        assert sum(matches(f, topic) for f in topics.ingest_filters()) == 1
    assert not any(matches(f, topics.ack(thing)) for f in topics.ingest_filters())
    assert not any(matches(f, topics.presence(thing, "connected")) for f in topics.ingest_filters())


def test_named_queries_load_by_name_without_their_heading():
    queries = sql.load("ingest")
    assert queries["merge_positions"].startswith("INSERT INTO telemetry.position")
    with pytest.raises(KeyError):
        queries["no_such_query"]


def test_a_query_name_given_twice_is_refused(tmp_path, monkeypatch):
    package = tmp_path / "planted_queries"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "queries.sql").write_text("-- name: a\nSELECT 1\n\n-- name: b\n-- why\nSELECT 2;\n")
    (package / "twice.sql").write_text("-- name: a\nSELECT 1\n-- name: a\nSELECT 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert dict(sql.load("planted_queries")) == {"a": "SELECT 1", "b": "-- why\nSELECT 2;"}
    with pytest.raises(ValueError, match="names a twice"):
        sql.load("planted_queries", "twice.sql")
