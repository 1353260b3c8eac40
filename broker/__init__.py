"""The broker's side of the contract: who may use which topic, Mosquitto's configuration, and presence.

Owns: `policy` (the one table of rights, from which Mosquitto's ACL files are rendered and by which the embedded broker
and the guard decide), the rendered configuration, revocation at the broker, the guard that cuts devices subscribing
outside their own space, and table `presence`. Takes CertificateRevoked and DeviceStatusChanged; gives DeviceConnected
and DeviceDisconnected, and AWS IoT's `$aws/events/presence/...` over MQTT.
"""
