"""The device shadow: for each device what it reports, what is wanted of it, and what still differs, as in AWS IoT.

Owns table `shadow`. Answers devices on `$aws/things/{thing}/shadow/...` at its own desk at the broker, and gives the
same documents and messages to whoever asks through `ShadowService`. Takes no events; gives MessagesIssued, which the
broker service publishes. The read-only shadow `$milkrun` is a view of what ingest and broker know of the device.
"""
