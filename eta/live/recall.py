"""What is kept of trips, brought back: what a worker needs to follow them as if it always had."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from core.db import TenantTx
from eta.live import model, roads, store
from eta.live.store import Kept, Span
from eta.trips.model import Trip


async def recalled(
    tx: TenantTx, trips: Mapping[str, Trip], lead_s: float, now: datetime
) -> list[tuple[str, Span, Kept]]:
    """By thing, of those trips whose fixes count by now. The tenant's own road is a trip's from here on."""
    earlier = await store.trips_before(tx, list(trips.values()))
    spans = {}
    for thing, trip in trips.items():
        since = model.counts_since(trip, lead_s, earlier.get(trip.id))
        if since is not None:
            spans[thing] = Span(trip, since)
    found = await store.kept(tx, list(spans.values()))
    told = []
    for thing, span in spans.items():
        kept = found[span.trip.id]
        if kept.road is None and (road := roads.own(span.trip, kept.shape)) is not None:
            await store.save_road(tx, span.trip.id, road, now)
            kept = replace(kept, road=road)
        told.append((thing, span, kept))
    return told


def is_same_way(before: Trip, after: Trip) -> bool:
    """Whether a change left alone what the trip is worked out from."""
    return (
        (before.device, before.handed_over_at) == (after.device, after.handed_over_at)
        and before.planned_start == after.planned_start
        and (before.started_at == after.started_at or before.planned_start is not None)
        and [(s.id, s.lat, s.lon, s.service_s, s.quantity) for s in model.to_drive(before)]
        == [(s.id, s.lat, s.lon, s.service_s, s.quantity) for s in model.to_drive(after)]
    )
