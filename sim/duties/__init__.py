"""What the platform asks of a device beside telemetry, done as a good device does it."""
