"""Actors x topic classes x verbs on the real Mosquitto, compared with broker/policy.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.x509 import ReasonFlags

from broker import policy
from broker.policy import Action, Device, Principal, Service, allowed
from tests.broker.brokers import Fleet, MosquittoRunner, eventually, serving
from tests.broker.wire import Client, Closed

pytestmark = pytest.mark.mosquitto

NOT_AUTHORIZED = 0x87
THING, SIBLING, FOREIGNER = "acme:t1", "acme:t2", "other:t1"
DEVICES = (THING, SIBLING, FOREIGNER)
SERVICES = (policy.INGEST, policy.BROKER, policy.SHADOW, policy.COMMANDS)

# Every class of topic there is, as it looks for THING, and some that are nobody's.
TOPICS = (
    "dt/milkrun/acme:t1/telemetry",
    "dt/milkrun/acme:t1/telemetry/owntracks",
    "dt/milkrun/acme:t1/telemetry/a/b",
    "dt/milkrun/acme:t1/event",
    "dt/milkrun/acme:t1/ack",
    "dt/milkrun/acme:t1/other",
    "dt/milkrun/acme/telemetry",
    "$aws/rules/r1/dt/milkrun/acme:t1/telemetry",
    "$aws/rules/r1/dt/milkrun/acme:t1/telemetry/cbor",
    "$aws/rules/dt/milkrun/acme:t1/telemetry",
    "$aws/things/acme:t1/shadow/update",
    "$aws/things/acme:t1/shadow/update/accepted",
    "$aws/things/acme:t1/shadow/update/delta",
    "$aws/things/acme:t1/shadow/name/milk/update",
    "$aws/things/acme:t1/shadow/name/milk/update/documents",
    "$aws/things/acme:t1/jobs/notify-next",
    "$aws/things/acme:t1/jobs/j1/update",
    "$aws/things/acme:t1/jobs/j1/update/accepted",
    "$aws/commands/things/acme:t1/executions/x1/request/json",
    "$aws/commands/things/acme:t1/executions/x1/response/json",
    "$aws/commands/things/acme:t1/executions/x1/request/cbor",
    "$aws/commands/things/acme:t1/executions/x1/response/cbor",
    "$aws/commands/things/acme:t1/executions/x1/response/accepted/json",
    "$aws/commands/things/acme:t1/executions/x1/response/rejected/cbor",
    "$aws/commands/clients/acme:t1/executions/x1/request/json",
    "$aws/events/commandExecution/acme:stop/SUCCEEDED",
    "$aws/events/presence/connected/acme:t1",
    "$SYS/broker/uptime",
    "$SYS/broker/connection/acme:t1/state",
    "$CONTROL/dynamic-security/v1",
    "anything/else",
)


@pytest.fixture(scope="module")
def ground(mosquitto_path: Path) -> Iterator[tuple[Fleet, MosquittoRunner]]:
    with serving() as found:
        yield found


@pytest.fixture
def ground_fleet(ground: tuple[Fleet, MosquittoRunner]) -> Fleet:
    return ground[0]


def _principal(name: str) -> Principal:
    return Service(name) if name in SERVICES else Device(name)


def _open(fleet: Fleet, name: str, **options: object) -> Client:
    client = fleet.service(name) if name in SERVICES else fleet.device(name)
    client.connect(f"{name}-probe", **options)
    return client


def _ears(fleet: Fleet, *, but: str) -> list[Client]:
    """Everybody who can hear anything at all, subscribed to all they may hear."""
    names = [name for name in (*SERVICES, *DEVICES) if name != but]
    ears = []
    for name in names:
        ear = _open(fleet, name)
        rights = policy.SERVICES.get(name, policy.DEVICE)
        ear.subscribe(*(pattern.format(thing=name) for pattern in rights.reads))
        ears.append(ear)
    for ear in ears:
        ear.heard()
    return ears


@pytest.mark.parametrize("actor", [*DEVICES, *SERVICES])
def test_publishing_is_allowed_exactly_where_the_policy_says(ground_fleet: Fleet, actor: str) -> None:
    for topic in TOPICS:
        with _open(ground_fleet, actor) as client:
            expected = allowed(_principal(actor), Action.PUBLISH, topic)
            assert (client.publish(topic) != NOT_AUTHORIZED) is expected, topic
            # As AWS IoT does, an unauthorised publish ends the connection.
            assert client.is_alive() is expected, topic


@pytest.mark.parametrize("actor", [*DEVICES, *SERVICES])
def test_a_last_will_goes_exactly_where_the_policy_says(ground_fleet: Fleet, actor: str) -> None:
    ears = _ears(ground_fleet, but=actor)
    for number, topic in enumerate(TOPICS):
        client = _open(ground_fleet, actor, will=(topic, f"will-{number}".encode(), 1, False))
        client.drop()
    others = [_principal(ear) for ear in (*SERVICES, *DEVICES) if ear != actor]
    expected = {
        f"will-{number}".encode()
        for number, topic in enumerate(TOPICS)
        if allowed(_principal(actor), Action.WILL, topic) and any(allowed(o, Action.RECEIVE, topic) for o in others)
    }
    heard: set[bytes] = set()

    def listen() -> None:
        heard.update(m.payload for ear in ears for m in ear.heard() if m.payload.startswith(b"will-"))

    # The broker finds out in its own time that somebody is gone; what must not come has the same time to come.
    eventually(lambda: listen() or heard >= expected, seconds=10.0)
    for ear in ears:
        ear.is_cut_within(0.1)
    listen()
    assert heard == expected
    for ear in ears:
        ear.drop()


EVERYTHING = ("#", "+/+/+/+", "$aws/#", "$SYS/#", *TOPICS)


def _send_all(fleet: Fleet, *, but: str, retained: bool = False, payload: bytes | None = None) -> dict[str, set[bytes]]:
    """Everybody but one publishes wherever they may; what was sent, by topic."""
    sent: dict[str, set[bytes]] = {topic: set() for topic in TOPICS}
    for name in (*DEVICES, *SERVICES):
        if name == but:
            continue
        with _open(fleet, name) as writer:
            for topic in TOPICS:
                if allowed(_principal(name), Action.PUBLISH, topic):
                    message = f"{name} on {topic}".encode() if payload is None else payload
                    writer.publish(topic, message, retain=retained)
                    sent[topic].add(message)
    return sent


@pytest.mark.parametrize("actor", [*DEVICES, *SERVICES])
def test_messages_reach_exactly_whom_the_policy_says_whatever_they_subscribe(ground_fleet: Fleet, actor: str) -> None:
    with _open(ground_fleet, actor) as client:
        client.subscribe(*EVERYTHING)
        sent = _send_all(ground_fleet, but=actor)
        heard = {message.payload for message in client.heard() if b" on " in message.payload}
    may_hear = [topic for topic in TOPICS if allowed(_principal(actor), Action.RECEIVE, topic)]
    assert heard == {payload for topic in may_hear for payload in sent[topic]}


@pytest.mark.parametrize("actor", [*DEVICES, *SERVICES])
def test_retained_messages_reach_exactly_whom_the_policy_says(ground_fleet: Fleet, actor: str) -> None:
    sent = _send_all(ground_fleet, but=actor, retained=True)
    with _open(ground_fleet, actor) as client:
        client.subscribe(*EVERYTHING)
        heard = {message.topic for message in client.heard() if message.retained and b" on " in message.payload}
    _send_all(ground_fleet, but="", retained=True, payload=b"")
    assert heard == {t for t in TOPICS if sent[t] and allowed(_principal(actor), Action.RECEIVE, t)}


@pytest.mark.parametrize("actor", DEVICES)
def test_a_device_hears_nothing_of_the_broker_itself(ground_fleet: Fleet, actor: str) -> None:
    with _open(ground_fleet, actor) as client:
        client.subscribe("$SYS/#", "$SYS/broker/version", "$SYS/broker/log/#")
        assert client.collect(0.3) == []
    with _open(ground_fleet, policy.BROKER) as service:
        service.subscribe("$SYS/broker/version")
        assert service.collect(10.0, until=1)


@pytest.mark.parametrize("actor", DEVICES)
def test_a_shared_subscription_gives_a_device_nothing(ground_fleet: Fleet, actor: str) -> None:
    other = THING if actor != THING else SIBLING
    with _open(ground_fleet, other) as writer, _open(ground_fleet, actor) as client:
        client.subscribe("$share/g/#", "$share/g/dt/milkrun/+/telemetry", f"$share/g/dt/milkrun/{other}/telemetry")
        writer.publish(f"dt/milkrun/{other}/telemetry")
        assert client.collect(0.3) == []


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("actor", [SIBLING, FOREIGNER])
def test_a_device_cannot_take_over_the_client_id_of_another(ground_fleet: Fleet, actor: str, protocol: int) -> None:
    with ground_fleet.device(THING) as owner, ground_fleet.device(actor, protocol=protocol) as thief:
        owner.connect(THING, clean=False, expiry_s=600)
        owner.subscribe(f"dt/milkrun/{THING}/ack")
        thief.connect(THING)
        owner.ping()
        with _open(ground_fleet, policy.INGEST) as ingest:
            ingest.publish(f"dt/milkrun/{THING}/ack", b"for the owner")
        assert owner.payloads(10.0, until=1) == [b"for the owner"]
        assert thief.payloads(0.2) == []


def test_the_unauthorised_publish_of_an_old_client_is_dropped_too(ground_fleet: Fleet) -> None:
    with _open(ground_fleet, policy.INGEST) as ingest, ground_fleet.device(SIBLING, protocol=4) as client:
        ingest.subscribe("dt/milkrun/+/telemetry")
        client.connect(SIBLING)
        client.publish(f"dt/milkrun/{SIBLING}/telemetry", b"own")
        client.publish(f"dt/milkrun/{THING}/telemetry", b"forged")
        assert not client.is_alive()
        assert [message.payload for message in ingest.heard()] == [b"own"]


class TestWhoMayConnect:
    def _refused(self, client_of: object) -> bool:
        try:
            with client_of() as client:  # type: ignore[operator]
                client.connect("x")
        except Closed:
            return True
        return False

    def test_nobody_without_a_certificate(self, ground_fleet: Fleet) -> None:
        for port in (ground_fleet.device_port, ground_fleet.service_port):
            assert self._refused(lambda port=port: Client(port, ground_fleet.services.ca_file, None))

    def test_nobody_of_an_unknown_authority(self, ground_fleet: Fleet) -> None:
        stranger = ground_fleet.credentials(THING, ground_fleet.strangers)
        for port in (ground_fleet.device_port, ground_fleet.service_port):
            assert self._refused(lambda port=port: Client(port, ground_fleet.services.ca_file, stranger))

    def test_no_device_at_the_service_listener_and_no_service_at_the_device_listener(self, ground_fleet: Fleet) -> None:
        named_like_a_service = ground_fleet.credentials(policy.INGEST, ground_fleet.devices)
        for name in (THING, policy.INGEST):
            assert self._refused(lambda name=name: ground_fleet.device(name, port=ground_fleet.service_port))
        assert self._refused(lambda: ground_fleet.service(policy.INGEST, port=ground_fleet.device_port))
        with Client(ground_fleet.device_port, ground_fleet.services.ca_file, named_like_a_service) as client:
            client.connect("x")
            client.subscribe("dt/milkrun/+/telemetry")
            with _open(ground_fleet, THING) as writer:
                writer.publish(f"dt/milkrun/{THING}/telemetry")
            assert client.collect(0.3) == []
            assert client.publish(f"dt/milkrun/{THING}/ack") == NOT_AUTHORIZED

    @pytest.mark.parametrize(
        "reason", [ReasonFlags.key_compromise, ReasonFlags.certificate_hold], ids=["revoked", "suspended"]
    )
    def test_nobody_barred_and_the_suspended_again_once_freed(
        self, ground: tuple[Fleet, MosquittoRunner], reason: ReasonFlags
    ) -> None:
        fleet, runner = ground
        barred = fleet.credentials("acme:barred", fleet.devices)
        fleet.devices.bar(barred, reason)
        runner.config.revocations.install()
        assert self._refused(lambda: fleet.device("acme:barred"))
        fleet.devices.free(barred)
        runner.config.revocations.install()
        assert not self._refused(lambda: fleet.device("acme:barred"))

    def test_names_with_wildcards_or_slashes_reach_nothing(self, ground_fleet: Fleet) -> None:
        for name in ("+", "#", "acme:t1/telemetry"):
            with ground_fleet.device(name) as client:
                client.connect("x")
                client.subscribe("dt/milkrun/+/ack", "#")
                assert client.publish(f"dt/milkrun/{THING}/telemetry") == NOT_AUTHORIZED
                with _open(ground_fleet, policy.INGEST) as ingest:
                    ingest.publish(f"dt/milkrun/{THING}/ack")
                assert client.collect(0.2) == []
