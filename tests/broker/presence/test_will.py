"""Last will and retained messages, as docs/presence.md says they are, on both brokers."""

from collections.abc import Iterator

import pytest

from broker import policy
from tests.broker.brokers import Fleet, MosquittoRunner
from tests.broker.wire import Client

THING = "acme:t1"
EVENT = f"dt/milkrun/{THING}/event"
WILL = (EVENT, b'{"type": "connection_lost"}', 1, False)


@pytest.fixture(params=[pytest.param("mosquitto", marks=pytest.mark.mosquitto), "embedded"])
def protocol(request: pytest.FixtureRequest) -> int:
    """A broker runs; the protocol to speak with it."""
    request.getfixturevalue(request.param)
    return 5 if request.param == "mosquitto" else 4


@pytest.fixture
def ear(fleet: Fleet, protocol: int) -> Iterator[Client]:
    with fleet.service(policy.INGEST, protocol=protocol) as client:
        client.connect("ingest")
        client.subscribe("dt/milkrun/+/event")
        yield client


def _device(fleet: Fleet, protocol: int, **options: object) -> Client:
    client = fleet.device(THING, protocol=protocol)
    client.connect(THING, will=WILL, **options)
    return client


def test_a_lost_device_has_its_will_published_and_one_that_signs_off_has_not(
    fleet: Fleet, protocol: int, ear: Client
) -> None:
    _device(fleet, protocol).disconnect()
    assert ear.payloads(1.0) == []
    _device(fleet, protocol).drop()
    assert ear.payloads(10.0, until=1) == [WILL[1]]


def test_a_silent_device_has_its_will_published_when_its_keep_alive_is_over(
    fleet: Fleet, protocol: int, ear: Client
) -> None:
    client = _device(fleet, protocol, keepalive_s=1)
    assert ear.payloads(20.0, until=1) == [WILL[1]]
    client.drop()


def test_a_device_that_comes_back_on_another_connection_has_its_will_published_too(
    fleet: Fleet, protocol: int, ear: Client
) -> None:
    first = _device(fleet, protocol)
    again = fleet.device(THING, protocol=protocol)
    again.connect(THING)
    assert ear.payloads(10.0, until=1) == [WILL[1]]
    first.drop()
    again.drop()


def test_a_retained_message_is_kept_for_who_subscribes_later_until_an_empty_one_takes_its_place(
    fleet: Fleet, protocol: int, ear: Client
) -> None:
    device = fleet.device(THING, protocol=protocol)
    device.connect(THING)
    device.publish(EVENT, b"kept", retain=True)
    assert ear.payloads(5.0, until=1) == [b"kept"]
    assert _late(fleet, protocol) == [(b"kept", True)]
    device.publish(EVENT, b"", retain=True)
    assert _late(fleet, protocol) == []
    device.drop()


def _late(fleet: Fleet, protocol: int) -> list[tuple[bytes, bool]]:
    with fleet.service(policy.INGEST, protocol=protocol) as client:
        client.connect("late")
        client.subscribe("dt/milkrun/+/event")
        return [(message.payload, message.retained) for message in client.collect(1.0)]


@pytest.mark.mosquitto
def test_a_broker_that_is_stopped_publishes_every_will_to_who_comes_back_for_it(
    fleet: Fleet, mosquitto: MosquittoRunner
) -> None:
    def ingest() -> Client:
        client = fleet.service(policy.INGEST)
        client.connect("ingest", clean=False, expiry_s=600)
        return client

    with ingest() as before:
        before.subscribe("dt/milkrun/+/event")
    device = _device(fleet, 5)
    mosquitto.stop()
    mosquitto.start()
    with ingest() as after:
        assert after.payloads(10.0, until=1) == [WILL[1]]
    device.drop()
