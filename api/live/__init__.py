"""Live streams: what happens in a fleet, told as it happens over WebSocket and SSE (docs/live.md is the protocol).

Takes TelemetryReceived, DeviceReported, DeviceRegistered, DeviceStatusChanged, DeviceDescribed, DeviceConnected,
DeviceDisconnected, TripChanged, StopChanged, EstimatesMade, AlertRaised, NoticePosted and CommandChanged from the bus
(`publisher`, `news`) into the channel logs of `core.channels`; from there `stream` serves this process's clients. Gives
no events.
Reads device, device_state, presence, trip, trip_stop and trip_estimate for snapshots; writes live_ticket.
"""
