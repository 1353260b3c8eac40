"""Command and control: what is to be done by a device, proof of whether it was, and nothing done too late.

Owns tables `command_template`, `command` (one execution on one device), `command_batch` (a group) and `command_lane` (a
device's queue and its next timer). Answers devices at its own desk at the broker and sends over a connection beside it.
Takes DeviceConnected, DeviceStatusChanged and its own CommandChanged, which it gives, from the bus.
"""
