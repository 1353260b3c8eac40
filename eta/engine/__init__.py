"""The ETA engine: geometry, progress, history, bands and the estimate, pure and deterministic."""
