"""Table `tracking_link`, and what a link shows of a trip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow

from core import sql
from core.clock import from_epoch_ms
from core.db import TenantTx, Tx

_SQL = sql.load("notify.tracking")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Somebody's sight of one stop of one trip."""

    id: str
    trip: str
    stop: str
    note: str
    expires_at: datetime
    revoked_at: datetime | None = None
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Estimate:
    """When the truck is expected, in a band that holds four times in five, and from how old a position."""

    eta: datetime
    p10: datetime
    p90: datetime
    made_at: datetime
    fix_at: datetime
    method: str


@dataclass(frozen=True, slots=True)
class Position:
    ts: datetime
    lat: float
    lon: float
    heading: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a link shows. `state`: waiting (not set out), coming, here, over; of what is over nothing else is told."""

    state: str
    expires_at: datetime
    name: str = ""
    lat: float = 0.0
    lon: float = 0.0
    timezone: str = "UTC"
    planned_at: datetime | None = None
    stops_before: int = 0
    estimate: Estimate | None = None
    position: Position | None = None


async def stop_state(tx: TenantTx, trip: str, stop: str) -> tuple[str, str] | None:
    """The states of trip and stop; None where the trip has no such stop."""
    row = await tx.one(_SQL["stop"], {"tenant": tx.tenant, "trip": trip, "stop": stop})
    return None if row is None else (row["trip_state"], row["stop_state"])


async def has_trip(tx: TenantTx, trip: str) -> bool:
    return await tx.one(_SQL["has_trip"], {"tenant": tx.tenant, "trip": trip}) is not None


async def add(tx: TenantTx, new: Link) -> None:
    params = {"tenant": tx.tenant, "id": new.id, "trip": new.trip, "stop": new.stop, "note": new.note}
    at = {"expires_at": new.expires_at, "by": new.created_by, "at": new.created_at}
    await tx.execute(_SQL["add"], {**params, **at})


async def links(tx: TenantTx, trip: str, *, after: str, limit: int) -> list[Link]:
    rows = await tx.all(_SQL["links"], {"tenant": tx.tenant, "trip": trip, "after": after, "limit": limit})
    return [_link(row) for row in rows]


async def revoke(tx: TenantTx, trip: str, id_: str, at: datetime) -> Link | None:
    row = await tx.one(_SQL["revoke"], {"tenant": tx.tenant, "trip": trip, "id": id_, "at": at})
    return None if row is None else _link(row)


async def sight(tx: TenantTx, id_: str, at: datetime) -> Sight | None:
    """None for a link that is not there, revoked or over."""
    row = await tx.one(_SQL["sight"], {"tenant": tx.tenant, "id": id_, "at": at})
    return None if row is None else _sight(row)


async def forget(tx: Tx, before: datetime) -> int:
    """Links of all tenants that ended before then; needs the operator login."""
    return (await tx.execute(_SQL["forget"], {"before": before})).rowcount


def _link(row: DictRow) -> Link:
    return Link(
        id=row["link_id"],
        trip=row["trip_id"],
        stop=row["stop_id"],
        note=row["note"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        created_by=row["created_by"],
        created_at=row["created_at"],
    )


def _sight(row: DictRow) -> Sight:
    state = _state(row["trip_state"], row["stop_state"])
    if state == "over":
        return Sight(state=state, expires_at=row["expires_at"])
    estimate = None
    if state == "coming" and row["arrivals"]:
        estimate = _estimate(row, row["arrivals"])
    position = None
    if row["lat"] is not None and row["ts"] is not None:
        position = Position(row["ts"], row["lat"], row["lon"], row["heading"])
    return Sight(
        state=state,
        expires_at=row["expires_at"],
        name=row["name"],
        lat=row["stop_lat"],
        lon=row["stop_lon"],
        timezone=row["timezone"],
        planned_at=row["planned_at"],
        stops_before=row["stops_before"],
        estimate=estimate,
        position=position,
    )


def _state(trip: str, stop: str) -> str:
    if trip in {"done", "abandoned"} or stop in {"served", "skipped"}:
        return "over"
    if trip == "planned":
        return "waiting"
    return "here" if stop == "arrived" else "coming"


def _estimate(row: DictRow, arrivals: Sequence[Mapping[str, Any]]) -> Estimate | None:
    for each in arrivals:
        if each["stop"] == row["stop_id"]:
            eta, p10, p90 = (from_epoch_ms(each[name]) for name in ("eta", "p10", "p90"))
            return Estimate(eta, p10, p90, row["made_at"], row["fix_at"], row["method"])
    return None
