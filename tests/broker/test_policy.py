import pytest

from broker import policy
from broker.policy import Action, Device, Service, allowed, matches

OWN = Device("acme:t1")


@pytest.mark.parametrize(
    "topic",
    [
        "dt/milkrun/acme:t1/telemetry",
        "dt/milkrun/acme:t1/telemetry/owntracks",
        "dt/milkrun/acme:t1/event",
        "$aws/rules/anything/dt/milkrun/acme:t1/telemetry/cbor",
        "$aws/things/acme:t1/shadow/update",
        "$aws/things/acme:t1/shadow/name/milk/get",
        "$aws/things/acme:t1/jobs/start-next",
        "$aws/things/acme:t1/jobs/j-1/update",
        "$aws/commands/things/acme:t1/executions/x-1/response/json",
    ],
)
def test_a_device_speaks_on_its_own_topics(topic: str) -> None:
    assert allowed(OWN, Action.PUBLISH, topic)
    assert allowed(OWN, Action.WILL, topic)
    assert not allowed(OWN, Action.RECEIVE, topic)
    assert not allowed(Device("acme:t2"), Action.PUBLISH, topic)
    assert not allowed(Device("other:t1"), Action.PUBLISH, topic)


@pytest.mark.parametrize(
    "topic",
    [
        "$aws/things/acme:t1/shadow/update/accepted",
        "$aws/things/acme:t1/shadow/update/delta",
        "$aws/things/acme:t1/jobs/notify-next",
        "$aws/things/acme:t1/jobs/j-1/get/accepted",
        "$aws/commands/things/acme:t1/executions/x-1/request/json",
        "$aws/commands/things/acme:t1/executions/x-1/response/accepted/json",
        "dt/milkrun/acme:t1/ack",
    ],
)
def test_a_device_is_given_answers_and_cannot_forge_them(topic: str) -> None:
    assert allowed(OWN, Action.RECEIVE, topic)
    assert not allowed(OWN, Action.PUBLISH, topic)
    assert allowed(Service(policy.BROKER), Action.PUBLISH, topic)


@pytest.mark.parametrize(
    ("topic_filter", "granted"),
    [
        ("dt/milkrun/acme:t1/ack", True),
        ("$aws/things/acme:t1/shadow/#", True),
        ("$aws/things/acme:t1/jobs/+/get/accepted", True),
        ("$aws/commands/things/acme:t1/executions/+/request/+", True),
        ("#", False),
        ("+/+/+/ack", False),
        ("dt/milkrun/+/ack", False),
        ("dt/milkrun/acme:t2/ack", False),
        ("dt/milkrun/acme:t10/ack", False),
        ("$SYS/#", False),
        ("$share/g/dt/milkrun/acme:t1/ack", False),
        ("$share/ingest/dt/milkrun/+/telemetry", False),
        ("$aws/things/+/shadow/#", False),
        ("$aws/events/presence/connected/acme:t1", False),
    ],
)
def test_a_device_subscribes_below_its_own_name_only(topic_filter: str, granted: bool) -> None:
    assert allowed(OWN, Action.SUBSCRIBE, topic_filter) is granted


def test_ingest_hears_every_device_and_may_say_nothing_but_ack() -> None:
    ingest = Service(policy.INGEST)
    assert allowed(ingest, Action.SUBSCRIBE, "dt/milkrun/+/telemetry")
    assert allowed(ingest, Action.SUBSCRIBE, "$share/ingest-4f2a/dt/milkrun/+/telemetry/+")
    assert allowed(ingest, Action.RECEIVE, "$aws/rules/r/dt/milkrun/acme:t1/event")
    assert allowed(ingest, Action.PUBLISH, "dt/milkrun/acme:t1/ack")
    assert not allowed(ingest, Action.PUBLISH, "dt/milkrun/acme:t1/telemetry")
    assert not allowed(ingest, Action.SUBSCRIBE, "#")
    assert not allowed(ingest, Action.SUBSCRIBE, "$SYS/broker/#")


def test_an_unknown_service_may_nothing() -> None:
    stranger = Service("svc-stranger")
    assert not allowed(stranger, Action.PUBLISH, "dt/milkrun/acme:t1/ack")
    assert not allowed(stranger, Action.RECEIVE, "dt/milkrun/acme:t1/telemetry")
    assert not allowed(stranger, Action.SUBSCRIBE, "dt/milkrun/+/telemetry")


@pytest.mark.parametrize(
    ("pattern", "topic", "is_match"),
    [
        ("a/+/c", "a/b/c", True),
        ("a/+", "a/b/c", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("a/b", "a/b/", False),
    ],
)
def test_topics_match_filters_as_mqtt_says(pattern: str, topic: str, is_match: bool) -> None:
    assert matches(pattern, topic) is is_match


def test_no_device_right_is_written_without_the_device_in_it() -> None:
    for line in policy.device_acl().splitlines()[1:]:
        assert line.startswith(("pattern read ", "pattern write "))
        assert "/%u/" in line
