"""amqtt with our rights and our log lines."""

import asyncio
import contextlib
import ssl
import time
from dataclasses import dataclass, field
from typing import Any, TextIO, override

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import Action as AmqttAction
from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType
from amqtt.mqtt.disconnect import DisconnectPacket
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.session import Session

from broker.embedded.gate import Admitted, Gate, NotAdmitted, context
from broker.mosquitto import MAX_PAYLOAD_BYTES, MosquittoConfig
from broker.policy import Action, Principal, Service, allowed
from core.errors import Unavailable
from core.mqtt import codec

_REFUSED = 0x80
_TAKEOVER_TIMEOUT_S = 5.0
_PROOF_TIMEOUT_S = 5.0


class Unfit(Unavailable):
    """The embedded broker cannot keep identity or isolation here, and so does not start."""

    code = "embedded_broker_unfit"


@dataclass(slots=True)
class _Live:
    """One connection past the gate."""

    principal: Principal
    writer: asyncio.StreamWriter
    keepalive_s: int
    heard_at: float
    over: asyncio.Event = field(default_factory=asyncio.Event)
    farewell: str = "closed its connection."


class _Reader(StreamReaderAdapter):  # type: ignore[misc]
    """The CONNECT packet the gate has read, then the connection; no packet above the limit."""

    def __init__(self, first: bytes, reader: asyncio.StreamReader, live: _Live) -> None:
        super().__init__(reader)
        self._first = first
        self._live = live

    @override
    async def read(self, n: int = -1) -> bytes:
        if self._first:
            data, self._first = self._first[:n], self._first[n:]
            return data
        if n > MAX_PAYLOAD_BYTES + 1024:
            self._live.farewell = "disconnected due to oversize packet."
            self._live.writer.transport.abort()
        data = await super().read(n)
        self._live.heard_at = asyncio.get_running_loop().time()
        return bytes(data)


class EmbeddedBroker(Broker):  # type: ignore[misc]  # amqtt ships no types
    """`run` serves until cancelled."""

    def __init__(self, config: MosquittoConfig, log: TextIO) -> None:
        listeners = {
            name: ListenerConfig(type=ListenerType.EXTERNAL, bind="external")
            for name in ("default", "device", "service")
        }
        super().__init__(BrokerConfig(listeners=listeners, plugins={}))
        self._config = config
        self._log = log
        self._gate = Gate(config.crl_file)
        self._live: dict[str, _Live] = {}
        self._principals: dict[str, Principal] = {}

    async def run(self) -> None:
        """Serve until cancelled. Raises Unfit before the first client, OSError when a port is taken."""
        self._say("mosquitto version amqtt starting")
        try:
            self._gate.load_list()
        except NotAdmitted as error:
            raise Unfit(str(error)) from error
        await self.start()
        config = self._config
        async with contextlib.AsyncExitStack() as stack:
            for name, address, port, authority in (
                ("service", "127.0.0.1", config.service_port, config.service_ca_file),
                ("device", config.device_address, config.device_port, config.device_ca_file),
            ):
                server = await asyncio.start_server(
                    self._serve(name), address, port, ssl=context(config, authority=authority)
                )
                await stack.enter_async_context(server)
                await _prove_refusal("127.0.0.1" if address == "0.0.0.0" else address, port)  # noqa: S104
            self._say("mosquitto version amqtt running")
            try:
                await self._enforce_keepalive()
            finally:
                self._say("mosquitto version amqtt terminating")
                # As Mosquitto, it says of nobody that he went when it is itself that goes.
                ending, self._live = self._live, {}
                for live in ending.values():
                    live.writer.transport.abort()
                await self.shutdown()

    # --- one connection -----------------------------------------------------------------------------------------

    def _serve(self, listener: str) -> Any:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await self._connection(listener, reader, writer)

        return serve

    async def _connection(self, listener: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            admitted = await self._gate.admit(
                reader, writer.get_extra_info("ssl_object"), is_device=listener == "device"
            )
        except NotAdmitted as error:
            self._say(f"Connection refused: {error!s}")
            if error.reason is not None:
                writer.write(bytes([codec.CONNACK << 4, 2, 0, error.reason]))
            writer.close()
            return
        live = await self._take_over(admitted, writer)
        client_id = admitted.connect.client_id
        try:
            first = _Reader(admitted.connect.packet, reader, live)
            await self.external_connected(first, StreamWriterAdapter(writer), listener)
        finally:
            if self._live.get(client_id) is live:
                del self._live[client_id]
                self._say(f"Client {client_id} {live.farewell}")
            writer.transport.abort()
            live.over.set()

    async def _take_over(self, admitted: Admitted, writer: asyncio.StreamWriter) -> _Live:
        """A client id has one connection: the new one, once the old one is really gone."""
        client_id = admitted.connect.client_id
        live = _Live(admitted.principal, writer, admitted.connect.keepalive_s, asyncio.get_running_loop().time())
        old, self._live[client_id] = self._live.get(client_id), live
        ip_address, port = writer.get_extra_info("peername")[:2]
        if old is not None:
            self._say(f"Client {client_id} already connected, closing old connection.")
            old.writer.transport.abort()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(old.over.wait(), _TAKEOVER_TIMEOUT_S)
        self._principals[client_id] = admitted.principal
        name = admitted.principal.name if isinstance(admitted.principal, Service) else admitted.principal.thing
        self._say(
            f"New client connected from {ip_address}:{port} as {client_id} (p2, c1, k{live.keepalive_s}, u'{name}')."
        )
        return live

    async def _enforce_keepalive(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            now = asyncio.get_running_loop().time()
            for live in self._live.values():
                if live.keepalive_s and now - live.heard_at > 1.5 * live.keepalive_s:
                    live.farewell = "has exceeded timeout, disconnecting."
                    live.writer.transport.abort()

    def _say(self, text: str) -> None:
        printable = "".join(c if c.isprintable() else "?" for c in text)
        # A full disk must not end the connection; what could not be written is with the next line that can.
        with contextlib.suppress(OSError):
            self._log.write(f"{int(time.time())}: {printable}\n")
            self._log.flush()

    # --- what amqtt asks ----------------------------------------------------------------------------------------

    def _may(self, session: Session, action: Action, topic: str) -> bool:
        principal = self._principals.get(session.client_id or "")
        return principal is not None and allowed(principal, action, topic)

    @override
    async def _authenticate(self, session: Session, _: ListenerConfig) -> bool:
        return session.client_id in self._live

    @override
    async def _topic_filtering(self, session: Session, topic: str, action: AmqttAction) -> bool:
        return self._may(session, Action(action.value), topic)

    @override
    async def add_subscription(self, subscription: tuple[str, int], session: Session) -> int:
        topic_filter, qos = subscription
        if topic_filter.startswith("$share/"):
            granted = _REFUSED
        else:
            granted = int(await super().add_subscription(subscription, session))
        self._say(f"{session.client_id} {qos} {topic_filter}")
        return granted

    @override
    async def _handle_message_delivery(
        self, client_session: Session, handler: BrokerProtocolHandler, wait_deliver: asyncio.Future[Any]
    ) -> bool:
        message = wait_deliver.result()
        if message is None or not message.topic:
            return True
        if not self._may(client_session, Action.PUBLISH, message.topic):
            live = self._live.get(client_session.client_id or "")
            if live is not None:
                live.farewell = "disconnected, not authorised."
                live.writer.transport.abort()
            return True
        await self._broadcast_message(client_session, message.topic, message.data)
        if message.publish_packet and message.publish_packet.retain_flag:
            await self.retain_message(client_session, message.topic, message.data, message.qos)
        return True

    @override
    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        # amqtt would give a returning client the retained messages of everybody's subscriptions.
        topic_filter, qos = subscription
        handler = self._get_handler(session)
        if handler is None or not any(s is session for s, _ in self._subscriptions.get(topic_filter, ())):
            return
        for topic, kept in list(self._retained_messages.items()):
            if self._matches(topic, topic_filter) and self._may(session, Action.RECEIVE, topic):
                await handler.mqtt_publish(topic, kept.data, min(qos, kept.qos or qos), retain=True)

    @override
    async def _handle_disconnect(
        self, client_session: Session, handler: BrokerProtocolHandler, disconnect_waiter: asyncio.Future[Any]
    ) -> None:
        live = self._live.get(client_session.client_id or "")
        if live is not None and isinstance(disconnect_waiter.result(), DisconnectPacket):
            live.farewell = "disconnected."
        await super()._handle_disconnect(client_session, handler, disconnect_waiter)


async def _prove_refusal(address: str, port: int) -> None:
    """Raises Unfit if a client without a certificate gets any answer."""
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    hello = codec.connect(
        protocol=4, client_id="proof", keepalive_s=5, clean_start=True, session_expiry_s=0, receive_maximum=1, will=None
    )
    try:
        async with asyncio.timeout(_PROOF_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(address, port, ssl=anybody)
            writer.write(hello)
            answer = await reader.read(1)
            writer.transport.abort()
    except OSError:  # TLS errors are OSErrors: refused, as it must be
        return
    if answer:
        raise Unfit(f"port {port} answered a client without a certificate")
