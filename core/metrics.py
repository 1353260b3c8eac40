"""Prometheus metrics: every process serves its own `/metrics` on loopback (`core.metrics.serve`).

A metric is declared beside the code that counts; names follow `milkrun_<part>_<what>_<unit>`.
"""

from prometheus_client import Gauge, start_http_server

from core.settings import MetricsSettings

READY = Gauge("milkrun_ready", "1 once this process does its work: connected, subscribed, consuming")


def serve(settings: MetricsSettings) -> int | None:
    """Start the exposition server and return its port, or None when metrics are switched off (`port` unset)."""
    if settings.port is None:
        return None
    server, _thread = start_http_server(settings.port, addr=settings.host)
    return int(server.server_port)
