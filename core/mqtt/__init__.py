"""Our MQTT client: 5 and 3.1.1, QoS 0 and 1, acknowledgements in the caller's hands.

Why not a library: docs/adr/0006. `broker`, `ingest` and `sim` alone may import it, and the process of a service that
answers devices, for its `desk` (docs/adr/0017).
"""

from core.mqtt.client import (
    ConnectionLost,
    ConnectOptions,
    Message,
    MqttConnection,
    Refused,
    keep_connected,
    tls_context,
)

__all__ = [
    "ConnectOptions",
    "ConnectionLost",
    "Message",
    "MqttConnection",
    "Refused",
    "keep_connected",
    "tls_context",
]
