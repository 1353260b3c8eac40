"""What becomes of telemetry once it is stored: partitions, rollups and retention, and reading it back."""
