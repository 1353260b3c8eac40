"""The public AWS IoT Device SDK against the real broker: both of its shadow clients, over mutual TLS."""

import queue
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.shadow.world import SIBLING, TRUCK, World

pytest.importorskip("awsiot", reason="awsiotsdk is not installed")

from awscrt import mqtt, mqtt_request_response
from awsiot import (
    ServiceStreamOptions,
    V2ServiceException,
    iotshadow,
    mqtt5_client_builder,
    mqtt_connection_builder,
)

pytestmark = [pytest.mark.mosquitto, pytest.mark.db]

WITHIN_S = 30.0


def mutual_tls(world: World, thing: str) -> dict[str, Any]:
    credentials = world.fleet.credentials(thing, world.fleet.devices)
    return {
        "endpoint": "localhost",
        "port": world.fleet.device_port,
        "cert_filepath": str(credentials.cert_file),
        "pri_key_filepath": str(credentials.key_file),
        "ca_filepath": str(world.fleet.services.ca_file),
        "client_id": thing,
    }


@pytest.fixture(params=["mqtt5", "mqtt311"])
def client(world: World, request: pytest.FixtureRequest) -> Iterator[iotshadow.IotShadowClientV2]:
    """The V2 client (request and response) over a connection of either protocol."""
    stop: Callable[[], object]
    if request.param == "mqtt5":
        connected: queue.Queue[object] = queue.Queue()
        stopped: queue.Queue[object] = queue.Queue()
        protocol = mqtt5_client_builder.mtls_from_path(
            **mutual_tls(world, TRUCK),
            on_lifecycle_connection_success=connected.put,
            on_lifecycle_stopped=stopped.put,
        )
        protocol.start()
        connected.get(timeout=WITHIN_S)

        def stop() -> None:
            protocol.stop()
            stopped.get(timeout=WITHIN_S)

    else:
        protocol = mqtt_connection_builder.mtls_from_path(**mutual_tls(world, TRUCK), clean_session=True)
        protocol.connect().result(WITHIN_S)
        stop = lambda: protocol.disconnect().result(WITHIN_S)  # noqa: E731
    options = mqtt_request_response.ClientOptions(
        max_request_response_subscriptions=8, max_streaming_subscriptions=4, operation_timeout_in_seconds=10
    )
    yield iotshadow.IotShadowClientV2(protocol, options)
    stop()


def update(client: iotshadow.IotShadowClientV2, **request: Any) -> iotshadow.UpdateShadowResponse:
    state = iotshadow.ShadowState(**{name: request.pop(name) for name in ("desired", "reported") if name in request})
    if "shadow_name" in request:
        asked = iotshadow.UpdateNamedShadowRequest(thing_name=TRUCK, state=state, **request)
        return client.update_named_shadow(asked).result(WITHIN_S)
    asked = iotshadow.UpdateShadowRequest(thing_name=TRUCK, state=state, **request)
    return client.update_shadow(asked).result(WITHIN_S)


def refusal(future: Any) -> iotshadow.V2ErrorResponse:
    with pytest.raises(V2ServiceException) as caught:
        future.result(WITHIN_S)
    assert isinstance(caught.value.modeled_error, iotshadow.V2ErrorResponse)
    return caught.value.modeled_error


def test_get_update_delete_of_the_classic_shadow(client):
    get = iotshadow.GetShadowRequest(thing_name=TRUCK)
    absent = refusal(client.get_shadow(get))
    assert (absent.code, absent.message) == (404, f"No shadow exists with name: '{TRUCK}'")
    said = update(client, reported={"door": "open"}, desired={"door": "shut", "fan": 3})
    assert (said.version, said.state.reported) == (1, {"door": "open"})
    whole = client.get_shadow(get).result(WITHIN_S)
    assert whole.state.reported == {"door": "open"}
    assert whole.state.delta == {"door": "shut", "fan": 3}
    assert set(whole.metadata.desired) == {"door", "fan"}
    assert whole.timestamp is not None
    gone = client.delete_shadow(iotshadow.DeleteShadowRequest(thing_name=TRUCK)).result(WITHIN_S)
    assert gone.version == 1
    assert refusal(client.get_shadow(get)).code == 404
    assert update(client, reported={"door": "open"}).version > 1


def test_get_update_delete_of_a_named_shadow(client):
    name = {"thing_name": TRUCK, "shadow_name": "milk"}
    assert update(client, shadow_name="milk", reported={"litres": 8200}).version == 1
    whole = client.get_named_shadow(iotshadow.GetNamedShadowRequest(**name)).result(WITHIN_S)
    assert whole.state.reported == {"litres": 8200}
    assert refusal(client.get_shadow(iotshadow.GetShadowRequest(thing_name=TRUCK))).code == 404
    client.delete_named_shadow(iotshadow.DeleteNamedShadowRequest(**name)).result(WITHIN_S)
    gone = refusal(client.get_named_shadow(iotshadow.GetNamedShadowRequest(**name)))
    assert (gone.code, gone.message) == (404, "No shadow exists with name: 'milk'")


def test_a_stale_version_conflicts_and_the_next_try_goes_through(client):
    update(client, reported={"n": 1})
    update(client, reported={"n": 2}, version=1)
    asked = iotshadow.UpdateShadowRequest(thing_name=TRUCK, state=iotshadow.ShadowState(reported={"n": 9}), version=1)
    conflict = refusal(client.update_shadow(asked))
    assert (conflict.code, conflict.message) == (409, "Version conflict")
    assert conflict.client_token == asked.client_token
    assert update(client, reported={"n": 3}, version=2).version == 3


def test_delta_and_documents_streams(client):
    deltas: queue.Queue[iotshadow.ShadowDeltaUpdatedEvent] = queue.Queue()
    documents: queue.Queue[iotshadow.ShadowUpdatedEvent] = queue.Queue()
    ready: queue.Queue[mqtt_request_response.SubscriptionStatusEvent] = queue.Queue()
    streams = [
        client.create_shadow_delta_updated_stream(
            iotshadow.ShadowDeltaUpdatedSubscriptionRequest(thing_name=TRUCK),
            ServiceStreamOptions(incoming_event_listener=deltas.put, subscription_status_listener=ready.put),
        ),
        client.create_shadow_updated_stream(
            iotshadow.ShadowUpdatedSubscriptionRequest(thing_name=TRUCK),
            ServiceStreamOptions(incoming_event_listener=documents.put, subscription_status_listener=ready.put),
        ),
    ]
    for stream in streams:
        stream.open()
        assert (
            ready.get(timeout=WITHIN_S).type
            == mqtt_request_response.SubscriptionStatusEventType.SUBSCRIPTION_ESTABLISHED
        )
    update(client, desired={"fan": {"level": 3}}, reported={"fan": {"level": 1, "rpm": 900}})
    delta = deltas.get(timeout=WITHIN_S)
    assert (delta.state, delta.version) == ({"fan": {"level": 3}}, 1)
    first = documents.get(timeout=WITHIN_S)
    assert first.previous is None
    assert first.current.state.desired == {"fan": {"level": 3}}
    update(client, reported={"fan": {"level": 3}})
    second = documents.get(timeout=WITHIN_S)
    assert (second.previous.version, second.current.version) == (1, 2)
    assert second.previous.state.reported == {"fan": {"level": 1, "rpm": 900}}
    assert deltas.empty()


def test_a_foreign_thing_is_refused(client, world: World):
    with world.device(SIBLING) as sibling:
        sibling.update({"state": {"reported": {"secret": 1}}})
        # As on AWS IoT, an unauthorised publish ends the connection: no answer comes, and nothing has happened.
        asked = iotshadow.UpdateShadowRequest(thing_name=SIBLING, state=iotshadow.ShadowState(reported={"secret": 2}))
        with pytest.raises(V2ServiceException) as caught:
            client.update_shadow(asked).result(WITHIN_S)
        assert caught.value.modeled_error is None
        with pytest.raises(V2ServiceException):
            client.get_shadow(iotshadow.GetShadowRequest(thing_name=SIBLING)).result(WITHIN_S)
        assert sibling.get()["state"] == {"reported": {"secret": 1}}


def test_the_classic_client_of_the_sdk_gets_updates_and_hears_deltas(world: World):
    connection = mqtt_connection_builder.mtls_from_path(**mutual_tls(world, TRUCK), clean_session=True)
    connection.connect().result(WITHIN_S)
    client = iotshadow.IotShadowClient(connection)
    heard: queue.Queue[Any] = queue.Queue()
    qos = mqtt.QoS.AT_LEAST_ONCE
    for subscribe, request in (
        (client.subscribe_to_update_shadow_accepted, iotshadow.UpdateShadowSubscriptionRequest(thing_name=TRUCK)),
        (client.subscribe_to_update_shadow_rejected, iotshadow.UpdateShadowSubscriptionRequest(thing_name=TRUCK)),
        (client.subscribe_to_get_shadow_accepted, iotshadow.GetShadowSubscriptionRequest(thing_name=TRUCK)),
        (client.subscribe_to_get_shadow_rejected, iotshadow.GetShadowSubscriptionRequest(thing_name=TRUCK)),
        (client.subscribe_to_delete_shadow_accepted, iotshadow.DeleteShadowSubscriptionRequest(thing_name=TRUCK)),
    ):
        subscribe(request, qos, heard.put)[0].result(WITHIN_S)

    def ask(publish: Callable[..., Any], request: object) -> Any:
        publish(request, qos).result(WITHIN_S)
        return heard.get(timeout=WITHIN_S)

    absent = ask(client.publish_get_shadow, iotshadow.GetShadowRequest(thing_name=TRUCK, client_token="a"))
    assert (absent.code, absent.client_token) == (404, "a")
    state = iotshadow.ShadowState(reported={"door": "open"}, desired={"door": "shut"})
    said = ask(client.publish_update_shadow, iotshadow.UpdateShadowRequest(thing_name=TRUCK, state=state))
    assert (said.version, said.state.desired) == (1, {"door": "shut"})
    stale = iotshadow.UpdateShadowRequest(thing_name=TRUCK, state=state, version=7)
    assert ask(client.publish_update_shadow, stale).code == 409
    whole = ask(client.publish_get_shadow, iotshadow.GetShadowRequest(thing_name=TRUCK))
    assert whole.state.delta == {"door": "shut"}
    assert ask(client.publish_delete_shadow, iotshadow.DeleteShadowRequest(thing_name=TRUCK)).version == 1
    connection.disconnect().result(WITHIN_S)
