"""A device that is nothing but `awscrt`'s MQTT 5 client, and says only what AWS IoT Commands knows."""

import asyncio
import json
import queue
from collections.abc import Iterator
from typing import Any

import cbor2
import pytest

from commands.contract.template import Parameter, Type
from commands.model import State
from tests.commands.world import TRUCK, World, offer, send, template

pytest.importorskip("awsiot", reason="awsiotsdk is not installed")

from awscrt import mqtt5
from awsiot import mqtt5_client_builder

pytestmark = [pytest.mark.mosquitto, pytest.mark.db]

WITHIN_S = 30.0


class AwsDevice:
    """Subscribes as AWS's pages show it, reads the execution from the topic, answers in progress and done."""

    def __init__(self, world: World) -> None:
        credentials = world.fleet.credentials(TRUCK, world.fleet.devices)
        connected: queue.Queue[object] = queue.Queue()
        self.stopped: queue.Queue[object] = queue.Queue()
        self.heard: queue.Queue[mqtt5.PublishPacket] = queue.Queue()
        self.client = mqtt5_client_builder.mtls_from_path(
            endpoint="localhost",
            port=world.fleet.device_port,
            cert_filepath=str(credentials.cert_file),
            pri_key_filepath=str(credentials.key_file),
            ca_filepath=str(world.fleet.services.ca_file),
            client_id=TRUCK,
            on_publish_received=lambda data: self.heard.put(data.publish_packet),
            on_lifecycle_connection_success=connected.put,
            on_lifecycle_stopped=self.stopped.put,
        )
        self.client.start()
        connected.get(timeout=WITHIN_S)
        prefix = f"$aws/commands/things/{TRUCK}/executions/+"
        self.client.subscribe(
            mqtt5.SubscribePacket(
                subscriptions=[
                    mqtt5.Subscription(topic_filter=f"{prefix}/{rest}", qos=mqtt5.QoS.AT_LEAST_ONCE)
                    for rest in ("request/+", "response/accepted/+", "response/rejected/+")
                ]
            )
        ).result(WITHIN_S)

    def next(self) -> mqtt5.PublishPacket:
        return self.heard.get(timeout=WITHIN_S)

    def say(self, request: mqtt5.PublishPacket, body: dict[str, Any]) -> mqtt5.PublishPacket:
        """What comes back for it."""
        topic = request.topic.replace("/request/", "/response/")
        payload = cbor2.dumps(body) if topic.endswith("/cbor") else json.dumps(body)
        self.client.publish(mqtt5.PublishPacket(topic=topic, payload=payload, qos=mqtt5.QoS.AT_LEAST_ONCE)).result(
            WITHIN_S
        )
        return self.next()

    def stop(self) -> None:
        self.client.stop()
        self.stopped.get(timeout=WITHIN_S)


@pytest.fixture
def device(world: World) -> Iterator[AwsDevice]:
    made = AwsDevice(world)
    yield made
    made.stop()


async def test_a_plain_aws_client_carries_out_a_command(world: World, device: AwsDevice) -> None:
    async with world.serving() as service:
        await offer(service, template("lock", Parameter(name="door", type=Type.STRING)))
        world.presence(TRUCK, online=True)
        sent = await send(service, parameters={"door": "rear"}, expires_s=120)
        request = await asyncio.to_thread(device.next)
        assert request.topic.split("/")[5] == sent.id
        assert json.loads(request.payload)["parameters"] == {"door": "rear"}
        assert request.message_expiry_interval_sec in range(100, 120), "no Message Expiry Interval"
        assert request.retain is False
        working = await asyncio.to_thread(device.say, request, {"status": "IN_PROGRESS"})
        assert working.topic.endswith(f"executions/{sent.id}/response/accepted/json")
        body = {
            "status": "SUCCEEDED",
            "statusReason": {"reasonCode": "200", "reasonDescription": "locked"},
            "result": {"door": {"S": "rear"}, "moved": {"B": False}},
        }
        done = await asyncio.to_thread(device.say, request, body)
        assert json.loads(done.payload) == {"executionId": sent.id, "status": "SUCCEEDED"}
        row = world.row(sent)
        assert (row["state"], row["reason"]) == ("SUCCEEDED", "locked")
        assert row["result"] == {"door": {"s": "rear"}, "moved": {"b": False}}
        assert world.way(sent) == ["CREATED", "SENT", "DELIVERED", "IN_PROGRESS", "SUCCEEDED"]
        refused = await asyncio.to_thread(device.say, request, {"status": "FAILED"})
        assert refused.topic.endswith("/response/rejected/json")
        assert json.loads(refused.payload)["error"] == "TerminalStateReached"


async def test_the_same_in_cbor_with_bytes(world: World, device: AwsDevice) -> None:
    async with world.serving() as service:
        await offer(service, template("blob", Parameter(name="data", type=Type.BINARY), format="cbor"))
        world.presence(TRUCK, online=True)
        sent = await send(service, name="blob", parameters={"data": "AAEC"})
        request = await asyncio.to_thread(device.next)
        assert request.topic.endswith("/request/cbor")
        assert cbor2.loads(request.payload)["parameters"] == {"data": b"\x00\x01\x02"}
        body = {"status": "FAILED", "result": {"echo": {"bin": b"\x02\x01"}}}
        done = await asyncio.to_thread(device.say, request, body)
        assert cbor2.loads(done.payload) == {"executionId": sent.id, "status": "FAILED"}
        assert world.row(sent)["result"] == {"echo": {"bin": "AgE="}}
        assert world.state(sent) == State.FAILED
