"""The broker for machines without Mosquitto: amqtt behind a gate of ours. `python -m broker.embedded FILE`.

Same listeners, same authorities, same identity, same rights (broker/policy.py), same log lines as Mosquitto, so that
guard, presence and revocation work unchanged. It refuses to start where it could not keep identity and isolation.
"""

LACKS = (
    "MQTT 5 (clients must speak 3.1.1)",
    "persistence: sessions and queued messages end with the process",
    "shared subscriptions",
    "a window: it sends ahead without limit to a slow consumer",
    "speed: about 3,000 messages a second, not tens of thousands",
)
