"""AWS IoT Core's lifecycle events: read as documented, and taken in whatever order they come."""

import json
from dataclasses import dataclass, replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.presence import lifecycle, model
from broker.presence.lifecycle import Lifecycle
from broker.presence.model import Presence, Source

MINUTE = 60_000
HOUR = 60 * MINUTE
THING = "acme:t1"

# As https://docs.aws.amazon.com/iot/latest/developerguide/life-cycle-events.html shows them.
CONNECTED = {
    "clientId": "186b5",
    "timestamp": 1573002230757,
    "eventType": "connected",
    "sessionIdentifier": "a4666d2a7d844ae4ac5d7b38c9cb7967",
    "principalIdentifier": "12345678901234567890123456789012",
    "ipAddress": "192.0.2.0",
    "versionNumber": 0,
}
DISCONNECTED = {
    "clientId": "186b5",
    "timestamp": 1573002340451,
    "eventType": "disconnected",
    "sessionIdentifier": "a4666d2a7d844ae4ac5d7b38c9cb7967",
    "principalIdentifier": "12345678901234567890123456789012",
    "clientInitiatedDisconnect": True,
    "disconnectReason": "CLIENT_INITIATED_DISCONNECT",
    "versionNumber": 0,
}


def test_the_documented_events_are_read():
    came, went = (lifecycle.parse(json.dumps(each).encode()) for each in (CONNECTED, DISCONNECTED))
    assert (came.client_id, came.is_gone, came.ip_address, came.version_number) == ("186b5", False, "192.0.2.0", 0)
    assert (went.is_gone, went.reason, went.timestamp) == (True, "CLIENT_INITIATED_DISCONNECT", 1573002340451)


def test_what_aws_adds_later_is_passed_over_and_our_own_payload_reads_the_same():
    assert lifecycle.parse(json.dumps({**CONNECTED, "thingName": "t", "new": [1]}).encode()).client_id == "186b5"
    _, change = model.connected(None, thing=THING, session="s", at_ms=5, ip_address="10.0.0.1")
    assert change is not None
    assert lifecycle.parse(model.payload(change)) == Lifecycle(
        client_id=THING,
        timestamp=5,
        event_type="connected",
        version_number=1,
        session_identifier="s",
        ip_address="10.0.0.1",
    )


@pytest.mark.parametrize(
    "bad", [b"", b"[]", b"{}", b'{"clientId":1}', b'{"clientId":"a","timestamp":1,"eventType":"x"}']
)
def test_what_is_no_event_is_refused(bad):
    with pytest.raises(msgspec.DecodeError):
        lifecycle.parse(bad)


def test_an_event_without_a_reason_says_at_least_who_ended_it():
    went = {key: value for key, value in DISCONNECTED.items() if key != "disconnectReason"}
    assert lifecycle.parse(json.dumps(went).encode()).reason == "CLIENT_INITIATED_DISCONNECT"
    went["clientInitiatedDisconnect"] = False
    assert lifecycle.parse(json.dumps(went).encode()).reason == "CONNECTION_LOST"


@dataclass
class Taken:
    """One thing's presence as the watch would keep it, without grace."""

    presence: Presence | None = None

    def take(self, event: Lifecycle) -> None:
        if not lifecycle.is_news(self.presence, event):
            return
        if not event.is_gone:
            self.presence, _ = model.connected(
                self.presence, thing=THING, session=event.session_identifier, at_ms=event.timestamp, ip_address=""
            )
        elif self.presence is None:
            self.presence, _ = model.absent(
                thing=THING, session="", at_ms=event.timestamp, reason=event.reason, ip_address=""
            )
        else:
            left = model.disconnected(self.presence, at_ms=event.timestamp, reason=event.reason, grace_ms=0)
            self.presence, _ = model.settle(left, now_ms=event.timestamp)
        self.presence = replace(self.presence, source=Source(event.version_number, event.timestamp))

    @property
    def online(self) -> bool:
        assert self.presence is not None
        return self.presence.online


def event(version: int, kind: str, at_ms: int) -> Lifecycle:
    return Lifecycle(client_id=THING, timestamp=at_ms, event_type=kind, version_number=version)  # type: ignore[arg-type]


@st.composite
def mornings(draw: st.DrawFn) -> list[Lifecycle]:
    """Connections of half an hour, each time up to two minutes off; the last one may go on. Numbers skip some."""
    events, version, at_ms = [], draw(st.integers(0, 5)), 10 * HOUR
    for _ in range(draw(st.integers(1, 6))):
        for kind in ("connected", "disconnected"):
            at_ms += draw(st.integers(0, 5 * MINUTE))
            events.append(event(version, kind, at_ms + draw(st.integers(-2 * MINUTE, 2 * MINUTE))))
        version += draw(st.integers(1, 3))
    return events[:-1] if draw(st.booleans()) else events


@settings(max_examples=300)
@given(events=mornings(), data=st.data())
def test_disorder_and_repetition_end_in_the_state_the_newest_event_tells(events, data):
    repeated = events + data.draw(st.lists(st.sampled_from(events), max_size=6))
    taken = Taken()
    for each in data.draw(st.permutations(repeated)):
        taken.take(each)
    assert taken.online == (not events[-1].is_gone)


@settings(max_examples=300)
@given(morning=mornings(), data=st.data())
def test_numbers_that_begin_again_after_an_hour_are_followed_and_old_ones_still_are_not(morning, data):
    went = event(morning[-1].version_number, "disconnected", 15 * HOUR)
    taken = Taken()
    for each in [*data.draw(st.permutations(morning)), went]:
        taken.take(each)
    came = event(0, "connected", 16 * HOUR + 10 * MINUTE)
    for each in [came, *data.draw(st.permutations([*morning, went]))]:
        taken.take(each)
        assert taken.online, each
    taken.take(event(0, "disconnected", 16 * HOUR + 20 * MINUTE))
    assert not taken.online


def test_a_session_that_was_kept_for_minutes_only_begins_again_at_nought():
    taken = Taken()
    for each in (
        event(7, "connected", HOUR),
        event(7, "disconnected", HOUR + MINUTE),
        event(0, "connected", HOUR + 10 * MINUTE),
    ):
        taken.take(each)
    assert taken.online


def test_a_first_word_that_it_left_is_kept_against_the_late_word_that_it_had_come():
    taken = Taken()
    taken.take(event(3, "disconnected", HOUR + MINUTE))
    taken.take(event(3, "connected", HOUR))
    assert not taken.online


def test_versions_told_to_our_own_subscribers_go_on_growing_over_a_reset():
    taken, told = Taken(), []
    for each in (event(4, "connected", HOUR), event(4, "disconnected", 2 * HOUR), event(0, "connected", 4 * HOUR)):
        taken.take(each)
        assert taken.presence is not None
        told.append(taken.presence.version)
    assert told == [1, 2, 3]
