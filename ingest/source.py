"""Messages from an MQTT broker, by a session that outlives us: what comes while we are away waits there."""

import asyncio
from collections.abc import Sequence

import structlog
from prometheus_client import Counter, Gauge

from core import topics
from core.metrics import READY
from core.mqtt import ConnectOptions, Message, MqttConnection, codec, keep_connected, tls_context
from core.settings import IngestSettings, MqttSettings
from ingest.service import IngestService

CONNECTED = Gauge("milkrun_ingest_connected", "1 while connected to the broker")
RECONNECTS = Counter("milkrun_ingest_reconnects_total", "Connections to the broker lost or refused")
ACKS = Counter("milkrun_ingest_durable_acks_total", "Durable acknowledgements published to devices")

_SESSION_EXPIRY_S = 7 * 86_400
_log = structlog.get_logger()


class MqttSource:
    """Feeds an `IngestService` from a durable session of the client id `name`, which a restart finds again.

    Mosquitto forgets shared subscriptions when it restarts (docs/adr/0003), so a group is joined only where the
    settings name one, for a broker that keeps them.
    """

    def __init__(self, mqtt: MqttSettings, ingest: IngestSettings, *, name: str) -> None:
        self._mqtt = mqtt
        self._ingest = ingest
        self._name = name
        self._connection: MqttConnection | None = None
        self._service: IngestService | None = None
        self._is_stopping = False

    async def run(self, service: IngestService) -> None:
        """Stay connected and feed `service` until cancelled."""
        self._service = service
        await keep_connected(self._connect, self._session, report=self._report, longest_pause_s=5.0)

    def stop(self) -> None:
        """Take no more messages; what the broker still sends stays unacknowledged and comes again next time."""
        self._is_stopping = True

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.disconnect()

    def send_acks(self, acks: Sequence[tuple[str, bytes]]) -> None:
        """Publish durable acknowledgements, QoS 0: a lost one is made good by the next, which says more."""
        connection = self._connection
        if connection is None or connection.closed:
            return
        protocol = self._mqtt.protocol
        connection.send(
            b"".join([codec.publish(topics.ack(thing), body, packet_id=0, protocol=protocol) for thing, body in acks])
        )
        ACKS.inc(len(acks))

    async def _connect(self) -> MqttConnection:
        mqtt = self._mqtt
        options = ConnectOptions(
            host=mqtt.host,
            port=mqtt.port,
            client_id=self._name,
            tls=tls_context(mqtt.ca_file, mqtt.cert_file, mqtt.key_file),
            protocol=mqtt.protocol,
            keepalive_s=mqtt.keepalive_s,
            clean_start=False,
            session_expiry_s=_SESSION_EXPIRY_S,
            receive_maximum=self._ingest.receive_maximum,
        )
        # A closure over the connection: its messages must be acknowledged on it and on no later one.
        holder: list[MqttConnection] = []

        def take(message: Message) -> None:
            if not self._is_stopping and self._service is not None:
                self._service.offer(message, holder[0])

        connection = MqttConnection(options, take)
        holder.append(connection)
        return await connection.connect()

    async def _session(self, connection: MqttConnection) -> None:
        self._connection = connection
        filters = list(topics.ingest_filters())
        if self._mqtt.share_group:
            filters = [topics.shared(self._mqtt.share_group, each) for each in filters]
        granted = await connection.subscribe(filters)
        if any(code >= 0x80 for code in granted):
            raise PermissionError(f"the broker refused our subscription: {dict(zip(filters, granted, strict=True))}")
        CONNECTED.set(1)
        READY.set(1)
        _log.info("ingest.connected", host=self._mqtt.host, port=self._mqtt.port, resumed=connection.session_present)
        try:
            await asyncio.shield(connection.lost)
        finally:
            CONNECTED.set(0)
            READY.set(0)

    def _report(self, error: Exception) -> None:
        RECONNECTS.inc()
        if not self._is_stopping:
            _log.warning("ingest.disconnected", error=str(error))
