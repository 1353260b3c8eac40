"""Tables trip_estimate, trip_alert, trip_road, trip_lesson and leg_road, and what the live worker reads beside them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from core import sql
from core.db import TenantTx, Tx
from core.tenancy import TenantId
from eta.engine.route import Path
from eta.engine.track import Fix
from eta.live.knowledge import LegRoad
from eta.trips.model import Trip

_SQL = sql.load("eta.live")

type LatLon = tuple[float, float]

MOST_ACC_M = 250.0
"""A fix that is vaguer by its device's own word is none."""


class Open(NamedTuple):
    """A trip that is planned or under way, as the list of those to follow has it."""

    tenant: TenantId
    trip: str
    device: str | None
    state: str
    planned_start: datetime | None
    version: int
    updated_at: datetime


class Road(NamedTuple):
    """The road a trip is followed on. `points` empty: no engine knew one. `seconds` to each point, or empty.

    `guessed`: n stands for the stretch from point n to the next, where the map has no road.
    """

    stops: tuple[str, ...]
    source: str
    points: tuple[LatLon, ...]
    seconds: tuple[float, ...]
    times: int
    guessed: tuple[int, ...] = ()


class Span(NamedTuple):
    """A trip, and from when to when its device's fixes are its own; `until` None: all that come."""

    trip: Trip
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a trip beside the trip itself."""

    fixes: Sequence[Fix]
    device: str | None
    """whose fixes the estimate was made from"""
    alerts: Mapping[str, Any]
    raised: Sequence[tuple[str, str]]
    """(stop, kind) of the alerts raised so far"""
    road: Road | None
    shape: tuple[LatLon, ...]
    """of its route, where the tenant gave one"""
    depots: frozenset[str]
    """of its sites, those where trucks start"""


class Told(NamedTuple):
    """An alert as it is raised."""

    alert: str
    stop: str
    site: str
    kind: str
    at: datetime
    eta: datetime | None


class Ended(NamedTuple):
    """A trip that is done and has taught nothing yet."""

    tenant: TenantId
    trip: str


async def open_trips(tx: Tx, since: datetime, until: datetime) -> list[Open]:
    """Trips under way, and those planned to start between. Needs the operator login."""
    return [_open(row) for row in await tx.all(_SQL["open_trips"], {"since": since, "until": until})]


async def changed_trips(tx: Tx, since: datetime) -> list[Open]:
    """Trips changed since, whatever they are now. Needs the operator login."""
    return [_open(row) for row in await tx.all(_SQL["changed_trips"], {"since": since})]


async def trips_before(tx: TenantTx, found: Sequence[Trip]) -> dict[str, datetime]:
    """By trip, when the one before it of the same device ended; those that have none are left out."""
    params = {
        "tenant": tx.tenant,
        "trips": [trip.id for trip in found],
        "devices": [trip.device for trip in found],
        "begins": [trip.started_at or trip.planned_start for trip in found],
    }
    return {row["trip_id"]: row["ended_at"] for row in await tx.all(_SQL["trips_before"], params)}


async def kept(tx: TenantTx, spans: Sequence[Span]) -> dict[str, Kept]:
    """All there is of each trip by its id, the fixes of its span included."""
    if not spans:
        return {}
    ids, routes = [span.trip.id for span in spans], [span.trip.route for span in spans]
    sites = sorted({stop.site for span in spans for stop in span.trip.stops})
    depots = {row["site_id"] for row in await tx.all(_SQL["depots"], {"tenant": tx.tenant, "sites": sites})}
    rows = await tx.all(_SQL["kept"], {"tenant": tx.tenant, "trips": ids, "routes": routes})
    found = {row["trip_id"]: row for row in rows}
    heard = await _fixes(tx, spans)
    return {
        span.trip.id: Kept(
            fixes=heard.get(span.trip.id, ()),
            device=found[span.trip.id]["device_id"],
            alerts=found[span.trip.id]["alerts"] or {},
            raised=[(stop, kind) for stop, kind in found[span.trip.id]["raised"] or ()],
            road=None if found[span.trip.id]["stops"] is None else _road(found[span.trip.id]),
            shape=_points(found[span.trip.id]["shape"]),
            depots=frozenset(depots),
        )
        for span in spans
    }


async def _fixes(tx: TenantTx, spans: Sequence[Span]) -> dict[str, list[Fix]]:
    """By trip, where its device was, in order of time."""
    params = {
        "tenant": tx.tenant,
        "trips": [span.trip.id for span in spans],
        "devices": [span.trip.device for span in spans],
        "since": [span.since for span in spans],
        "until": [span.until for span in spans],
        "earliest": min(span.since for span in spans),
        "acc_m": MOST_ACC_M,
    }
    heard: dict[str, list[Fix]] = {}
    for row in await tx.all(_SQL["fixes"], params):
        heard.setdefault(row["trip_id"], []).append(Fix(row["at"], row["lat"], row["lon"]))
    return heard


async def save_estimates(tx: TenantTx, rows: Sequence[Mapping[str, object]]) -> None:
    """Keep the newest estimates; one that is older than what is there changes nothing."""
    if rows:
        await tx.execute(_SQL["save_estimates"], {"tenant": tx.tenant, "rows": Jsonb(rows)})


async def add_alert(tx: TenantTx, trip: Trip, told: Told, raised_at: datetime) -> bool:
    """Whether it is news: False when these people were told before, by whomever."""
    row = await tx.one(
        _SQL["add_alert"],
        {
            "tenant": tx.tenant,
            "trip": trip.id,
            "device": trip.device or "",
            "raised_at": raised_at,
            **told._asdict(),
        },
    )
    return row is not None


async def newest(tx: TenantTx, trip: str) -> DictRow | None:
    """The estimate made last, by its columns."""
    return await tx.one(_SQL["newest"], {"tenant": tx.tenant, "trip": trip})


async def last_said(tx: TenantTx, trip: str) -> dict[str, int]:
    """The arrival times said last, by stop, epoch ms."""
    row = await newest(tx, trip)
    return {} if row is None else {each["stop"]: each["eta"] for each in row["arrivals"]}


async def save_road(tx: TenantTx, trip: str, road: Road, at: datetime) -> None:
    """Keep the road unless it was drawn more often by somebody else."""
    params = {
        "tenant": tx.tenant,
        "trip": trip,
        "at": at,
        "times": road.times,
        "stops": list(road.stops),
        "source": road.source,
        "points": Jsonb(road.points),
        "seconds": Jsonb(road.seconds),
        "guessed": list(road.guessed),
    }
    await tx.execute(_SQL["save_road"], params)


async def forget_roads(tx: Tx, before: datetime) -> None:
    """Needs the operator login."""
    await tx.execute(_SQL["forget_roads"], {"before": before})


async def to_learn(tx: Tx, since: datetime, limit: int) -> list[Ended]:
    """Trips that ended after `since` and taught nothing yet, oldest first. Needs the operator login."""
    rows = await tx.all(_SQL["to_learn"], {"since": since, "limit": limit})
    return [Ended(TenantId(row["tenant_id"]), row["trip_id"]) for row in rows]


async def take_turn(tx: TenantTx) -> None:
    """Until the transaction ends nobody else adds a lesson of this tenant, so that lessons are seen in their order."""
    await tx.execute(_SQL["take_turn"], {"tenant": tx.tenant})


async def lessons(tx: TenantTx, after: int) -> list[DictRow]:
    """lesson_id, trip_id, route_id and lesson of those after `after`, in order."""
    return await tx.all(_SQL["lessons"], {"tenant": tx.tenant, "after": after})


async def has_lesson(tx: TenantTx, trip: str) -> bool:
    """Whether the trip has taught, also if that is forgotten by now."""
    return await tx.one(_SQL["has_lesson"], {"tenant": tx.tenant, "trip": trip}) is not None


async def leg_roads(tx: TenantTx, after: int) -> list[LegRoad]:
    rows = await tx.all(_SQL["leg_roads"], {"tenant": tx.tenant, "after": after})
    return [LegRoad(r["from_site"], r["to_site"], Path(_points(r["points"]), r["spacing_m"])) for r in rows]


async def add_lesson(tx: TenantTx, trip: Trip, lesson: bytes, roads: Iterable[LegRoad], at: datetime) -> int | None:
    """The lesson's id, or None when the trip has taught already."""
    params = {"tenant": tx.tenant, "trip": trip.id, "route": trip.route or "", "lesson": lesson, "at": at}
    row = await tx.one(_SQL["add_lesson"], params)
    if row is None:
        return None
    for road in roads:
        await tx.execute(
            _SQL["save_leg_road"],
            {
                "tenant": tx.tenant,
                "start": road.start,
                "end": road.end,
                "lesson": row["lesson_id"],
                "spacing_m": road.path.spacing_m,
                "points": Jsonb(road.path.points),
            },
        )
    return int(row["lesson_id"])


async def forget_lessons(tx: TenantTx, route: str, *, of_route: int, of_tenant: int) -> None:
    """Only the newest are kept, of the route and of all."""
    params = {"tenant": tx.tenant, "route": route, "of_route": of_route, "of_tenant": of_tenant}
    await tx.execute(_SQL["forget_lessons"], params)


def _open(row: DictRow) -> Open:
    return Open(
        TenantId(row["tenant_id"]),
        row["trip_id"],
        row["device_id"],
        row["state"],
        row["planned_start"],
        row["version"],
        row["updated_at"],
    )


def _road(row: DictRow) -> Road:
    points, seconds, guessed = _points(row["points"]), tuple(row["seconds"]), tuple(row["guessed"])
    return Road(tuple(row["stops"]), row["source"], points, seconds, row["times"], guessed)


def _points(stored: Sequence[Sequence[float]] | None) -> tuple[LatLon, ...]:
    return tuple((lat, lon) for lat, lon in stored or ())
