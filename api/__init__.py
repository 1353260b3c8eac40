"""Every HTTP surface of Milkrun: REST under `/v1`, OAuth 2, live streams on WebSocket and SSE, the console's files.

It composes the services (provisioning, ingest's history) and owns who may use them: users, API clients, keys, sessions
and the audit log (`identity`). From the bus it takes TelemetryReceived, DeviceReported, DeviceRegistered,
DeviceStatusChanged, DeviceConnected and DeviceDisconnected (`live`). Any number of these processes serve the same.
"""
