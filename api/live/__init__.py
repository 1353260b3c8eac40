"""Live streams: what happens in a fleet, told as it happens over WebSocket and SSE (docs/live.md is the protocol).

Takes TelemetryReceived, DeviceReported, DeviceRegistered, DeviceStatusChanged, DeviceDescribed, DeviceConnected and
DeviceDisconnected from the bus (`publisher`) into the channel logs of `core.channels`; from there `stream` serves this
process's clients. Gives no events. Reads device, device_state and presence for snapshots; writes live_ticket.
"""
