import json

from broker.presence import model as presence
from broker.presence.model import Change, EventType, Presence

GRACE = 3000


def _online(at_ms: int = 1000) -> Presence:
    state, change = presence.connected(None, thing="acme:t1", session="s1", at_ms=at_ms, ip_address="10.0.0.1")
    assert change == Change(EventType.CONNECTED, state)
    return state


def test_the_first_connection_is_version_one() -> None:
    assert _online().version == 1


def test_a_disconnect_is_news_only_after_the_grace_and_bears_the_time_it_happened() -> None:
    leaving = presence.disconnected(_online(), at_ms=5000, reason="CONNECTION_LOST", grace_ms=GRACE)
    assert presence.settle(leaving, now_ms=7999) == (leaving, None)
    after, change = presence.settle(leaving, now_ms=8000)
    assert change == Change(EventType.DISCONNECTED, after)
    assert (after.online, after.version, after.since_ms, after.reason) == (False, 2, 5000, "CONNECTION_LOST")


def test_back_within_the_grace_is_no_news_and_the_same_session() -> None:
    leaving = presence.disconnected(_online(), at_ms=5000, reason="CONNECTION_LOST", grace_ms=GRACE)
    back, change = presence.connected(leaving, thing="acme:t1", session="s2", at_ms=6000, ip_address="10.0.0.2")
    assert change is None
    assert (back.online, back.version, back.session, back.ip_address) == (True, 1, "s1", "10.0.0.2")
    assert presence.settle(back, now_ms=99_000) == (back, None)


def test_the_first_reason_for_leaving_stands() -> None:
    kicked = presence.disconnected(_online(), at_ms=5000, reason="SERVER_INITIATED_DISCONNECT", grace_ms=GRACE)
    again = presence.disconnected(kicked, at_ms=5001, reason="CLIENT_INITIATED_DISCONNECT", grace_ms=GRACE)
    assert again == kicked


def test_versions_go_on_growing_over_sessions() -> None:
    state = _online()
    for expected in (3, 5, 7):
        state = presence.disconnected(state, at_ms=1, reason="CONNECTION_LOST", grace_ms=0)
        state, _ = presence.settle(state, now_ms=1)
        state, change = presence.connected(state, thing="acme:t1", session="n", at_ms=2, ip_address="10.0.0.1")
        assert change is not None
        assert change.presence.version == expected


def test_the_payload_is_the_one_of_aws_iot() -> None:
    state = _online()
    assert json.loads(presence.payload(Change(EventType.CONNECTED, state))) == {
        "clientId": "acme:t1",
        "timestamp": 1000,
        "eventType": "connected",
        "sessionIdentifier": "s1",
        "principalIdentifier": "acme:t1",
        "ipAddress": "10.0.0.1",
        "versionNumber": 1,
    }
    leaving = presence.disconnected(state, at_ms=5000, reason="CLIENT_INITIATED_DISCONNECT", grace_ms=0)
    _, change = presence.settle(leaving, now_ms=5000)
    assert change is not None
    assert json.loads(presence.payload(change)) == {
        "clientId": "acme:t1",
        "timestamp": 5000,
        "eventType": "disconnected",
        "sessionIdentifier": "s1",
        "principalIdentifier": "acme:t1",
        "ipAddress": "10.0.0.1",
        "versionNumber": 2,
        "clientInitiatedDisconnect": True,
        "disconnectReason": "CLIENT_INITIATED_DISCONNECT",
    }
