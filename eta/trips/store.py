"""Tables `trip` and `trip_stop`. A trip is loaded and saved with its stops as one.

Each function takes the tenant beside the transaction: the live worker saves trips of many tenants by one login.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from psycopg.errors import UniqueViolation
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from core import sql
from core.db import Tx
from core.tenancy import DeviceId, TenantId, device_id, tenant_id
from eta.sites.store import corners
from eta.trips.errors import CodeTaken, DeviceBusy, TripExists, VersionMoved
from eta.trips.model import StopState, Trip, TripState, TripStop

_SQL = sql.load("eta.trips")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """None: whichever. `route` and `site` are ids or codes; days are included; `only` are ids of trips."""

    day: date | None = None
    since: date | None = None
    until: date | None = None
    states: Collection[TripState] | None = None
    device: str | None = None
    route: str | None = None
    site: str | None = None
    only: Collection[str] | None = None


class OnItsWay(NamedTuple):
    """A trip under way, and who drives it."""

    trip: str
    device: DeviceId


@dataclass(frozen=True, slots=True)
class Estimate:
    """What was last said of a trip's arrivals: `arrivals` as stored, by stop, times epoch ms."""

    made_at: datetime
    method: str
    arrivals: dict[str, dict[str, int]]


async def find(tx: Tx, tenant: TenantId, ref: str) -> str | None:
    """The id of the trip with this id or code."""
    row = await tx.one(_SQL["trip_id"], {"tenant": tenant, "ref": ref})
    return None if row is None else str(row["trip_id"])


async def load(tx: Tx, tenant: TenantId, trips: Sequence[str], *, lock: bool = False) -> dict[str, Trip]:
    """Those of `trips` that there are, by id; with `lock` nobody else changes them until the transaction ends."""
    if not trips:
        return {}
    key = {"tenant": tenant, "trips": list(trips)}
    rows = await tx.all(_SQL["lock_trips" if lock else "trips_by_id"], key)
    stops: dict[str, list[TripStop]] = {}
    for row in await tx.all(_SQL["stops"], key):
        stops.setdefault(row["trip_id"], []).append(_stop(row))
    return {row["trip_id"]: _trip(row, stops.get(row["trip_id"], ())) for row in rows}


async def page(tx: Tx, tenant: TenantId, wanted: Wanted, *, after: str, limit: int) -> list[Trip]:
    """Trips by id, which is in the order in which they were planned."""
    params = {
        "tenant": tenant,
        "day": wanted.day,
        "since": wanted.since,
        "until": wanted.until,
        "states": None if wanted.states is None else [state.value for state in wanted.states],
        "device": wanted.device,
        "route": wanted.route,
        "site": wanted.site,
        "only": None if wanted.only is None else list(wanted.only),
        "after": after,
        "limit": limit,
    }
    found = await load(tx, tenant, [row["trip_id"] for row in await tx.all(_SQL["page"], params)])
    return list(found.values())


async def on_their_way(tx: Tx, tenant: TenantId, sites: Collection[str]) -> list[OnItsWay]:
    """Trips under way that have one of `sites` (ids or codes) still ahead."""
    if not sites:
        return []
    rows = await tx.all(_SQL["on_their_way"], {"tenant": tenant, "sites": list(sites)})
    return [OnItsWay(row["trip_id"], device_id(row["device_id"])) for row in rows]


async def add(tx: Tx, trip: Trip) -> None:
    """Raises CodeTaken, TripExists, DeviceBusy."""
    with _conflicts(trip):
        await tx.execute(_SQL["add_trip"], _row(trip))
    await _save_stops(tx, trip, enumerate(trip.stops, 1))


async def save(tx: Tx, before: Trip, after: Trip) -> None:
    """Write what differs over the version that was read. Raises VersionMoved, DeviceBusy."""
    if after == before:
        return
    with _conflicts(after):
        wrote = await tx.one(_SQL["save_trip"], {**_row(after), "was": before.version})
    if wrote is None:
        raise VersionMoved(f"trip {after.id} was changed by somebody else: it is not at version {before.version} now")
    was = {stop.id: (seq, stop) for seq, stop in enumerate(before.stops, 1)}
    await _save_stops(tx, after, ((n, stop) for n, stop in enumerate(after.stops, 1) if was.get(stop.id) != (n, stop)))


async def by_plan(tx: Tx, tenant: TenantId, route: str, day: date) -> str | None:
    """The trip that the route has on that day by plan."""
    row = await tx.one(_SQL["by_plan"], {"tenant": tenant, "route": route, "day": day})
    return None if row is None else str(row["trip_id"])


async def estimates(tx: Tx, tenant: TenantId, trips: Sequence[str]) -> dict[str, Estimate]:
    """What was last said of the arrivals of these trips; nothing of those nobody follows."""
    if not trips:
        return {}
    rows = await tx.all(_SQL["estimates"], {"tenant": tenant, "trips": list(trips)})
    return {
        row["trip_id"]: Estimate(
            row["made_at"], row["method"], {arrival["stop"]: arrival for arrival in row["arrivals"]}
        )
        for row in rows
    }


@contextmanager
def _conflicts(trip: Trip) -> Iterator[None]:
    try:
        yield
    except UniqueViolation as error:
        match error.diag.constraint_name:
            case "trip_under_way":
                raise DeviceBusy(f"device {trip.device} is under way on another trip: finish that one first") from error
            case _ if trip.is_recurring:  # by its day, or by the code that names route and day
                raise TripExists(f"route {trip.route} has its trip of {trip.day} already") from error
            case _:
                raise CodeTaken(f"there is another trip with the code {trip.code}: a code names one") from error


async def _save_stops(tx: Tx, trip: Trip, stops: Iterable[tuple[int, TripStop]]) -> None:
    if rows := [_stop_row(seq, stop) for seq, stop in stops]:
        await tx.execute(_SQL["save_stops"], {"tenant": trip.tenant, "trip": trip.id, "rows": Jsonb(rows)})


def _row(trip: Trip) -> dict[str, object]:
    return {
        "tenant": trip.tenant,
        "trip": trip.id,
        "code": trip.code,
        "route": trip.route,
        "device": trip.device,
        "day": trip.day,
        "planned_start": trip.planned_start,
        "state": trip.state,
        "is_recurring": trip.is_recurring,
        "started_at": trip.started_at,
        "handed_over_at": trip.handed_over_at,
        "ended_at": trip.ended_at,
        "reason": trip.reason,
        "version": trip.version,
        "created_at": trip.created_at,
        "updated_at": trip.updated_at,
    }


def _stop_row(seq: int, stop: TripStop) -> dict[str, object]:
    return {
        "stop_id": stop.id,
        "seq": seq,
        "site_id": stop.site,
        "name": stop.name,
        "lat": stop.lat,
        "lon": stop.lon,
        "radius_m": stop.radius_m,
        "polygon": stop.polygon or None,
        "planned_at": _iso(stop.planned_at),
        "service_s": stop.service_s,
        "quantity": stop.quantity,
        "state": stop.state,
        "is_settled": stop.is_settled,
        "arrived_at": _iso(stop.arrived_at),
        "departed_at": _iso(stop.departed_at),
    }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _trip(row: DictRow, stops: Sequence[TripStop]) -> Trip:
    return Trip(
        tenant=tenant_id(row["tenant_id"]),
        id=row["trip_id"],
        code=row["code"],
        route=row["route_id"],
        device=None if row["device_id"] is None else device_id(row["device_id"]),
        day=row["day"],
        planned_start=row["planned_start"],
        stops=tuple(stops),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        state=TripState(row["state"]),
        is_recurring=row["is_recurring"],
        started_at=row["started_at"],
        handed_over_at=row["handed_over_at"],
        ended_at=row["ended_at"],
        reason=row["reason"],
        version=row["version"],
    )


def _stop(row: DictRow) -> TripStop:
    return TripStop(
        id=row["stop_id"],
        site=row["site_id"],
        name=row["name"],
        lat=row["lat"],
        lon=row["lon"],
        radius_m=row["radius_m"],
        polygon=corners(row["polygon"]),
        planned_at=row["planned_at"],
        service_s=row["service_s"],
        quantity=row["quantity"],
        state=StopState(row["state"]),
        is_settled=row["is_settled"],
        arrived_at=row["arrived_at"],
        departed_at=row["departed_at"],
    )
