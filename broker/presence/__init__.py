"""Who is online, since when and why not: the state, its timeline, and where the news comes from.

`model` is the state machine with AWS IoT's payloads, `timeline` what happened over a day, `lifecycle` AWS IoT's own
events and their order. `attendance` keeps tables `presence` and `presence_span` and announces changes; it is fed from a
local broker's log (`broker.service`) or by AWS IoT Core (`aws`).
"""
