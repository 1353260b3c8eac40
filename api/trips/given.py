"""What the routes of sites, routes and trips share: paths, text, and the audit log."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import Field, StringConstraints

from api.fleet.given import auditor
from api.http.numbers import Number
from api.http.security import Caller
from api.services import Services
from core.db import TenantTx
from eta.sites import service as sites
from eta.sites.model import Route, Site
from eta.trips.model import Trip
from eta.trips.service import Witness

SitePath = Annotated[str, Path(max_length=100, description="Its id, or the code you gave it")]
RoutePath = Annotated[str, Path(max_length=100, description="Its id, or the code you gave it")]
TripPath = Annotated[str, Path(max_length=100, description="Its id, or the code you gave it")]
StopPath = Annotated[str, Path(max_length=100, description="Its id, as the trip has it")]

CODE = "Your own name for it, unique among its kind; imports find it by this"

# As the model has it: whatever is written so can be kept.
Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Note = Annotated[str, StringConstraints(max_length=254, pattern=r"^[^\x00-\x1f\x7f]*$")]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.:-]+$")]
Timezone = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$")]
ClockTime = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Latitude = Annotated[Number, Field(ge=-90, le=90)]
Longitude = Annotated[Number, Field(ge=-180, le=180)]
Seconds = Annotated[Number, Field(ge=0, le=86_400)]
Quantity = Annotated[Number, Field(ge=0, le=1e12)]
Reach = Annotated[Number, Field(ge=5, le=5000)]
Archived = Annotated[bool, Query(description="Only those out of use, instead of only those in use")]


def site_witness(services: Services, caller: Caller, action: str) -> sites.Witness[Site]:
    """Writes the change of a site into the audit log, in the change's own transaction."""

    async def write(tx: TenantTx, before: Site | None, after: Site) -> None:
        await _write(services, caller, tx, action, after.id, _site(before) if before else None, _site(after))

    return write


def route_witness(services: Services, caller: Caller, action: str) -> sites.Witness[Route]:
    async def write(tx: TenantTx, before: Route | None, after: Route) -> None:
        await _write(services, caller, tx, action, after.id, _route(before) if before else None, _route(after))

    return write


def trip_witness(services: Services, caller: Caller, action: str) -> Witness:
    async def write(tx: TenantTx, before: Trip | None, after: Trip) -> None:
        await _write(services, caller, tx, action, after.id, _trip(before) if before else None, _trip(after))

    return write


async def _write(
    services: Services,
    caller: Caller,
    tx: TenantTx,
    action: str,
    target: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any],
) -> None:
    """Of a change only what it changed."""
    if before is not None:
        changed = {key for key in after if after[key] != before[key]}
        before, after = {key: before[key] for key in changed}, {key: after[key] for key in changed}
    await auditor(services).audit(tx, caller, action, target, before=before, after=after)


def _site(site: Site) -> dict[str, Any]:
    """Without the contacts: the log is kept longer than a person's address may be."""
    facts = site.facts
    return {
        "code": facts.code,
        "name": facts.name,
        "kind": facts.kind.value,
        "place": [facts.lat, facts.lon, facts.radius_m],
        "polygon": [list(corner) for corner in facts.polygon],
        "windows": [[*window.days, window.opens, window.closes] for window in facts.windows],
        "timezone": facts.timezone,
        "labels": dict(facts.labels),
        "archived": site.is_archived,
    }


def _route(route: Route) -> dict[str, Any]:
    facts = route.facts
    return {
        "code": facts.code,
        "name": facts.name,
        "stops": [[stop.site, stop.after_s, stop.service_s, stop.quantity] for stop in facts.stops],
        "weekdays": [day.value for day in facts.weekdays],
        "starts_at": facts.starts_at and facts.starts_at.isoformat("minutes"),
        "timezone": facts.timezone,
        "device": facts.device,
        "shape": len(facts.shape),
        "archived": route.is_archived,
    }


def _trip(trip: Trip) -> dict[str, Any]:
    return {
        "state": trip.state.value,
        "device": trip.device,
        "day": trip.day.isoformat(),
        "planned_start": trip.planned_start and trip.planned_start.isoformat(),
        "stops": [[stop.id, stop.state.value, stop.service_s, stop.quantity] for stop in trip.stops],
        "reason": trip.reason,
    }
