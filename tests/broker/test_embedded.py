"""The embedded broker: same identity, same rights, same signals as Mosquitto, in a process of its own."""

import contextlib
import subprocess
import time
from pathlib import Path

import pytest
from cryptography.x509 import ReasonFlags

from broker import policy
from broker.embedded import LACKS, launch
from broker.policy import Action, Device, Principal, Service, allowed
from tests.broker.brokers import EmbeddedRunner, Fleet, eventually
from tests.broker.test_acl_matrix import DEVICES, FOREIGNER, SERVICES, SIBLING, THING, TOPICS
from tests.broker.wire import Client, Closed

# No client may publish to the broker's own topics, and this broker has none to tell.
TOPICS = tuple(topic for topic in TOPICS if not topic.startswith("$SYS"))
TELEMETRY = f"dt/milkrun/{THING}/telemetry"


def _principal(name: str) -> Principal:
    return Service(name) if name in SERVICES else Device(name)


def _open(fleet: Fleet, name: str, **options: object) -> Client:
    client = fleet.service(name, protocol=4) if name in SERVICES else fleet.device(name, protocol=4)
    client.connect(f"{name}-probe", **options)
    return client


@pytest.mark.parametrize("actor", [*DEVICES, *SERVICES])
def test_rights_are_those_of_the_policy(embedded: EmbeddedRunner, fleet: Fleet, actor: str) -> None:
    principal = _principal(actor)
    for topic in TOPICS:
        with _open(fleet, actor) as client:
            if allowed(principal, Action.PUBLISH, topic):
                client.publish(topic)
                assert not client.is_cut_within(0.15), topic
            else:
                with contextlib.suppress(Closed):  # the cut may overtake the PUBACK
                    client.publish(topic)
                assert client.is_cut_within(10.0), topic
    with _open(fleet, actor) as client:
        for topic in TOPICS:
            granted = client.subscribe(topic) != [0x80]
            assert granted is allowed(principal, Action.SUBSCRIBE, topic), topic
    for topic in TOPICS:
        may = allowed(principal, Action.WILL, topic)
        try:
            with _open(fleet, actor, will=(topic, b"x", 1, False)):
                accepted = True
        except Closed:
            accepted = False
        assert accepted is may, topic


def test_messages_arrive_and_only_where_they_may(embedded: EmbeddedRunner, fleet: Fleet) -> None:
    with _open(fleet, policy.INGEST) as ingest, _open(fleet, THING) as device, _open(fleet, SIBLING) as sibling:
        assert ingest.subscribe("dt/milkrun/+/telemetry", "$aws/things/+/jobs/start-next") == [1, 1]
        assert ingest.subscribe("$aws/things/+/shadow/update") == [0x80]
        assert ingest.subscribe("$share/g/dt/milkrun/+/event") == [0x80]
        for nosy in ("#", "dt/milkrun/+/telemetry", "$share/g/#", TELEMETRY):
            assert sibling.subscribe(nosy) == [0x80]
        device.subscribe(f"dt/milkrun/{THING}/ack")
        device.publish(TELEMETRY, b"fix")
        device.publish(f"$aws/things/{THING}/jobs/start-next", b"state")
        assert ingest.payloads(10.0, until=2) == [b"fix", b"state"]
        ingest.publish(f"dt/milkrun/{THING}/ack", b"durable")
        assert device.payloads(10.0, until=1) == [b"durable"]
        assert sibling.collect(0.2) == []


def test_retained_messages_of_others_are_not_given_to_whoever_connects(embedded: EmbeddedRunner, fleet: Fleet) -> None:
    with _open(fleet, policy.INGEST) as ingest, _open(fleet, THING) as device:
        ingest.subscribe("dt/milkrun/+/telemetry")
        device.publish(TELEMETRY, b"kept", retain=True)
        assert ingest.payloads(10.0, until=1) == [b"kept"]
        with _open(fleet, SIBLING) as sibling:
            sibling.subscribe(f"dt/milkrun/{SIBLING}/#")
            assert sibling.collect(0.4) == []


def test_what_comes_while_ingest_is_away_waits_for_it(embedded: EmbeddedRunner, fleet: Fleet) -> None:
    with _open(fleet, policy.INGEST, clean=False) as ingest, _open(fleet, THING) as device:
        ingest.subscribe("dt/milkrun/+/telemetry")
        ingest.drop()
        assert eventually(lambda: "svc-ingest-probe closed its connection" in embedded.log)
        for number in range(200):
            device.publish(TELEMETRY, b"%d" % number)
        with _open(fleet, policy.INGEST, clean=False) as again:
            # A message that comes twice may fill a count while another is still on its way: all of them are waited for.
            got: set[bytes] = set()
            eventually(lambda: got.update(again.payloads(0.3)) or len(got) == 200, seconds=10.0)
            assert got == {b"%d" % number for number in range(200)}
            device.publish(TELEMETRY, b"live")
            assert again.payloads(10.0, until=1) == [b"live"]


@pytest.mark.parametrize("actor", [SIBLING, FOREIGNER])
def test_a_device_cannot_take_over_or_clear_the_session_of_another(
    embedded: EmbeddedRunner, fleet: Fleet, actor: str
) -> None:
    with fleet.device(THING, protocol=4) as owner, fleet.device(actor, protocol=4) as thief:
        owner.connect(THING, clean=False)
        owner.subscribe(f"dt/milkrun/{THING}/ack")
        thief.connect(THING)
        owner.ping()
        with _open(fleet, policy.INGEST) as ingest:
            ingest.publish(f"dt/milkrun/{THING}/ack", b"for the owner")
        assert owner.payloads(10.0, until=1) == [b"for the owner"]
        assert thief.collect(0.2) == []


def test_a_device_that_returns_ends_its_own_old_connection(embedded: EmbeddedRunner, fleet: Fleet) -> None:
    with _open(fleet, THING) as old, _open(fleet, THING) as new:
        assert old.is_cut_within(10.0)
        new.ping()


class TestWhoMayConnect:
    def _refused(self, port: int, fleet: Fleet, credentials: object, protocol: int = 4) -> bool:
        try:
            with Client(port, fleet.services.ca_file, credentials, protocol=protocol) as client:  # type: ignore[arg-type]
                client.connect("x")
        except Closed:
            return True
        return False

    def test_only_certificates_of_the_listeners_authority(self, embedded: EmbeddedRunner, fleet: Fleet) -> None:
        stranger = fleet.credentials(THING, fleet.strangers)
        device = fleet.credentials(THING, fleet.devices)
        service = fleet.credentials(policy.INGEST, fleet.services)
        for port in (fleet.device_port, fleet.service_port):
            assert self._refused(port, fleet, None)
            assert self._refused(port, fleet, stranger)
        assert self._refused(fleet.service_port, fleet, device)
        assert self._refused(fleet.device_port, fleet, service)
        assert self._refused(fleet.device_port, fleet, fleet.credentials(policy.INGEST, fleet.devices))
        assert self._refused(fleet.service_port, fleet, fleet.credentials("svc-stranger", fleet.services))
        assert not self._refused(fleet.device_port, fleet, device)
        assert not self._refused(fleet.service_port, fleet, service)

    def test_mqtt_5_is_refused(self, embedded: EmbeddedRunner, fleet: Fleet) -> None:
        assert self._refused(fleet.device_port, fleet, fleet.credentials(THING, fleet.devices), protocol=5)

    @pytest.mark.parametrize("reason", [ReasonFlags.key_compromise, ReasonFlags.certificate_hold])
    def test_nobody_barred_and_again_once_freed(
        self, embedded: EmbeddedRunner, fleet: Fleet, reason: ReasonFlags
    ) -> None:
        device = fleet.credentials(THING, fleet.devices)
        fleet.devices.bar(device, reason)
        assert self._refused(fleet.device_port, fleet, device)
        fleet.devices.free(device)
        assert not self._refused(fleet.device_port, fleet, device)

    def test_nobody_without_a_revocation_list(self, embedded: EmbeddedRunner, fleet: Fleet) -> None:
        fleet.devices.crl_file.unlink()
        assert self._refused(fleet.device_port, fleet, fleet.credentials(THING, fleet.devices))


def test_a_service_kicks_a_device_by_its_client_id(embedded: EmbeddedRunner, fleet: Fleet) -> None:
    with _open(fleet, THING) as device, fleet.service(policy.BROKER, protocol=4) as kicker:
        kicker.connect(THING)
        assert device.is_cut_within(10.0)
        kicker.disconnect()
    with fleet.service(policy.INGEST, protocol=4) as other, pytest.raises(Closed):
        other.connect(THING)


def test_its_log_tells_what_mosquittos_tells(embedded: EmbeddedRunner, fleet: Fleet) -> None:
    with _open(fleet, THING) as client:
        client.subscribe("#")
        client.disconnect()
    with _open(fleet, SIBLING) as client:
        client.drop()
    with _open(fleet, FOREIGNER, keepalive_s=1) as client:
        assert client.is_cut_within(10.0)
    for line in (
        "as acme:t1 (p2, c1, k60, u'acme:t1').",
        "acme:t1 1 #",
        "Client acme:t1 disconnected.",
        "Client acme:t2 closed its connection.",
        "Client other:t1 has exceeded timeout, disconnecting.",
        "mosquitto version amqtt running",
    ):
        assert eventually(lambda line=line: line in embedded.log), line


def test_it_says_what_it_lacks(embedded: EmbeddedRunner) -> None:
    said = (embedded.config.folder / "output").read_text()
    for lack in LACKS:
        assert lack in said


def test_it_refuses_to_start_without_a_revocation_list(fleet: Fleet, tmp_path: Path) -> None:
    runner = EmbeddedRunner(fleet, tmp_path / "broker")
    fleet.devices.crl_file.unlink()
    launch.prepare(runner.config)
    ended = subprocess.run(launch.command(runner.config), capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode != 0
    assert "revocation list" in ended.stderr


def test_it_ends_at_once_when_told_to(embedded: EmbeddedRunner, fleet: Fleet) -> None:
    with _open(fleet, THING):
        began = time.monotonic()
        embedded.stop()
        assert time.monotonic() - began < 10
