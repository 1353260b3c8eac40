"""A tenant's fleet over HTTP: devices and certificates, positions, tracks, metrics, events, dead letters; and tenants.

It owns no table. What is written goes through provisioning and ingest's replay; what is read comes from ingest's
history and, across the registry, presence and last positions, from the queries beside this.
"""

from api.fleet import devices, events, letters, metrics, positions, presence, tenants, tracks

ROUTERS = (
    tenants.router,
    devices.router,
    positions.router,
    presence.router,
    tracks.router,
    metrics.router,
    events.router,
    letters.router,
)
