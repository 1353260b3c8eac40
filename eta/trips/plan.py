"""How a trip is made of a plan: its stops in order, and when each is to be reached. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from eta.sites.model import Site, distance_m, zone
from eta.trips.model import TripStop

# Roads are longer than the line between their ends, and collection trucks on them slower than cars: enough for a first
# plan, which the times of a tenant's own (`after_s`) and then the arrival times replace.
_DETOUR = 1.3
_MPS = 11.0
_SERVICE_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One stop as it is wanted. `after_s`: planned arrival, seconds after the start; `planned_at` wins over it."""

    site: Site
    after_s: int | None = None
    planned_at: datetime | None = None
    service_s: float | None = None
    quantity: float | None = None


def stops(visits: Sequence[Visit], start: datetime | None, new_id: Callable[[], str]) -> tuple[TripStop, ...]:
    """The stops of a new trip. Where nothing was said of a stop's time, it follows from the one before it."""
    made: list[TripStop] = []
    for visit in visits:
        at = _when(visit, start)
        if at is None and start is not None:
            at = start if not made else _after(made[-1], visit, start)
        made.append(stop(visit, at, new_id()))
    return tuple(made)


def stop(visit: Visit, planned_at: datetime | None, stop_id: str) -> TripStop:
    """One stop of a trip, with the name and place its site has now."""
    facts = visit.site.facts
    return TripStop(
        id=stop_id,
        site=visit.site.id,
        name=facts.name,
        lat=facts.lat,
        lon=facts.lon,
        radius_m=facts.radius_m,
        polygon=facts.polygon,
        planned_at=planned_at,
        service_s=visit.service_s,
        quantity=visit.quantity,
    )


def start_of(day: date, starts_at: time | None, timezone: str) -> datetime | None:
    """When a route starts on a day, UTC. A time that the clock leaves out that day is as long after midnight."""
    if starts_at is None:
        return None
    return datetime.combine(day, starts_at, zone(timezone)).astimezone(UTC)


def today(now: datetime, timezone: str) -> date:
    return now.astimezone(zone(timezone)).date()


def _when(visit: Visit, start: datetime | None) -> datetime | None:
    if visit.planned_at is not None:
        return visit.planned_at
    if visit.after_s is not None and start is not None:
        return start + timedelta(seconds=visit.after_s)
    return None


def _after(before: TripStop, visit: Visit, start: datetime) -> datetime:
    way_m = _DETOUR * distance_m((before.lat, before.lon), (visit.site.facts.lat, visit.site.facts.lon))
    service_s = _SERVICE_S if before.service_s is None else before.service_s
    return (before.planned_at or start) + timedelta(seconds=round(service_s + way_m / _MPS))
