"""Tables eta_said and eta_judged, and what is read beside them to judge a trip."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import msgspec
from psycopg.types.json import Jsonb

from core import sql
from core.db import TenantTx, Tx
from core.tenancy import TenantId
from eta.accuracy.tally import Said, Tally, Told
from eta.alerts import Kind
from eta.engine.track import Fix

_SQL = sql.load("eta.accuracy")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Tally).decode


@dataclass(frozen=True, slots=True)
class Sample:
    """What was said of a trip at one moment: per stop the seconds after `made_at` (epoch)."""

    tenant: TenantId
    trip: str
    made_at: float
    method: str
    stops: tuple[str, ...]
    etas: tuple[int, ...]
    p10s: tuple[int, ...]
    p90s: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """A trip that is over and not judged yet."""

    tenant: TenantId
    trip: str
    route: str
    device: str | None
    day: date
    started_at: datetime
    ended_at: datetime
    driven_since: datetime
    """by this device"""


@dataclass(frozen=True, slots=True)
class Visit:
    stop: str
    lat: float
    lon: float
    arrived_at: float | None
    """as the trip has it; epoch seconds"""


async def keep_said(tx: Tx, samples: Sequence[Sample]) -> None:
    """Needs the operator login. A trip that is gone takes what was said of it along."""
    rows = [
        {
            "tenant_id": s.tenant,
            "trip_id": s.trip,
            "made_at": s.made_at,
            "method": s.method,
            "stops": s.stops,
            "etas": s.etas,
            "p10s": s.p10s,
            "p90s": s.p90s,
        }
        for s in samples
    ]
    await tx.execute(_SQL["keep_said"], {"rows": Jsonb(rows)})


async def to_judge(tx: Tx, since: datetime, until: datetime, limit: int) -> list[Finished]:
    """Needs the operator login."""
    rows = await tx.all(_SQL["to_judge"], {"since": since, "until": until, "limit": limit})
    return [
        Finished(
            TenantId(row["tenant_id"]),
            row["trip_id"],
            row["route_id"] or "",
            row["device_id"],
            row["day"],
            row["started_at"],
            row["ended_at"],
            row["driven_since"],
        )
        for row in rows
    ]


async def said(tx: Tx, tenant: TenantId, trip: str) -> list[Said]:
    """Every prediction of a trip, stop by stop."""
    found = []
    for row in await tx.all(_SQL["said"], {"tenant": tenant, "trip": trip}):
        at = row["made_at"]
        for stop, eta, p10, p90 in zip(row["stops"], row["etas"], row["p10s"], row["p90s"], strict=True):
            found.append(Said(stop, at, at + eta, at + p10, at + p90, row["method"]))
    return found


async def visits(tx: Tx, tenant: TenantId, trip: str) -> list[Visit]:
    """The stops of a trip in driving order, but for those that a person spoke for."""
    rows = await tx.all(_SQL["stops"], {"tenant": tenant, "trip": trip})
    return [Visit(row["stop_id"], row["lat"], row["lon"], row["arrived_at"]) for row in rows]


async def fixes(tx: TenantTx, device: str, since: datetime, until: datetime) -> list[Fix]:
    params = {"tenant": tx.tenant, "device": device, "since": since, "until": until}
    return [Fix(row["at"], row["lat"], row["lon"]) for row in await tx.all(_SQL["fixes"], params)]


async def told(tx: Tx, tenant: TenantId, trip: str) -> list[Told]:
    rows = await tx.all(_SQL["told"], {"tenant": tenant, "trip": trip})
    return [Told(row["stop_id"], Kind(row["kind"]), row["at"]) for row in rows]


async def map_calls(tx: Tx, tenant: TenantId, trip: str) -> int:
    row = await tx.one(_SQL["map_calls"], {"tenant": tenant, "trip": trip})
    return 0 if row is None else int(row["calls"])


async def keep_judged(tx: Tx, trip: Finished, sums: Tally, at: datetime) -> None:
    params = {"tenant": trip.tenant, "trip": trip.trip, "day": trip.day, "route": trip.route, "at": at}
    await tx.execute(_SQL["keep_judged"], {**params, "sums": _encode(sums).decode()})


async def judged(tx: TenantTx, since: date, until: date, route: str | None) -> list[tuple[date, Tally]]:
    """The sums of every trip of these days, both included, in their order."""
    params = {"tenant": tx.tenant, "since": since, "until": until, "route": route}
    return [(row["day"], _decode(row["sums"])) for row in await tx.all(_SQL["judged"], params)]


async def forget(tx: Tx, *, said_before: datetime, judged_before: date) -> None:
    """Needs the operator login."""
    await tx.execute(_SQL["forget_said"], {"before": said_before})
    await tx.execute(_SQL["forget_judged"], {"before": judged_before})
