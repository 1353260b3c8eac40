"""Messages in: from the broker, through the visible pipeline, into the telemetry store, and on to the bus.

Takes device messages (`core.topics.ingest_filters`) and gives `TelemetryReceived` and `DeviceReported`. Owns the tables
telemetry.*, device_state, device_event and, with `core.dead_letters`, what was refused. Acknowledges after commit.
"""
