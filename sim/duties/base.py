"""A duty: something a device does over the connection its link keeps."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from core.mqtt import ConnectionLost, ConnectOptions, Message, MqttConnection
from core.tenancy import Thing


class Line:
    """A connection as a duty may use it."""

    def __init__(self, connection: MqttConnection) -> None:
        self._connection = connection

    async def say(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 1 and wait for the broker's acknowledgement. Raises ConnectionLost."""
        await self._connection.publish(topic, payload)

    def drop(self) -> None:
        """End the connection without a word, as a device that crashes."""
        self._connection.abort()


class Duty(Protocol):
    """`hear` is called for every message of the connection, in order, and must not block."""

    def filters(self, thing: Thing) -> Sequence[str]:
        """What is subscribed to on each connection before `serve`."""
        ...

    def hear(self, topic: str, payload: bytes) -> None: ...

    async def serve(self, line: Line) -> None:
        """Do it while this connection lasts; cancelled when it ends. May raise ConnectionLost."""
        ...


async def connect(
    options: ConnectOptions, own: Mapping[str, Callable[[Message], None]], duties: Sequence[Duty]
) -> MqttConnection:
    """A connection whose messages are acknowledged as they are heard: `own` by topic, all others by the duties.

    Raises what MqttConnection.open raises.
    """

    def take(message: Message) -> None:
        connection.ack([message.packet_id] if message.packet_id else [])
        topic = message.topic.decode()
        if topic in own:
            own[topic](message)
            return
        for duty in duties:
            duty.hear(topic, message.payload)

    connection = MqttConnection(options, take)
    return await connection.connect()


async def subscribe(duties: Sequence[Duty], thing: Thing, connection: MqttConnection) -> None:
    """Raises ConnectionLost, also when the broker refuses a filter."""
    wanted = [topic_filter for duty in duties for topic_filter in duty.filters(thing)]
    granted = await connection.subscribe(wanted) if wanted else []
    if any(code >= 0x80 for code in granted):
        raise ConnectionLost(f"the broker refused {thing} what its duties need: {granted}")


async def serve(duty: Duty, connection: MqttConnection) -> None:
    """Serve until the connection ends."""
    with contextlib.suppress(ConnectionLost):
        await duty.serve(Line(connection))
