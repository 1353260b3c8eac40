"""The shared kernel: tenancy, errors, settings, database, bus, outbox, topics, telemetry, worker, logs, metrics, MQTT.

Imports nothing of ours. Everything that two services must agree on stands here, and nothing else does.
"""
