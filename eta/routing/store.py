"""Tables map_leg, map_spend, map_total and map_use: kept legs, budgets, and what was used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise

import msgspec

from core import sql
from core.db import TenantTx, Tx
from core.tenancy import TenantId
from eta.routing.model import Engine, LatLon, Leg, Purpose

_SQL = sql.load("eta.routing")

type Ends = tuple[int, int, int, int]
"""Start and end of a leg in hundred-thousandths of a degree."""


class _Road(msgspec.Struct, array_like=True):
    """Differences from point to point: millionths of a degree, centimetres, milliseconds."""

    lats: list[int]
    lons: list[int]
    lengths: list[int]
    times: list[int]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Road).decode


@dataclass(frozen=True, slots=True)
class KeptLeg:
    engine: Engine
    edition: str
    leg: Leg
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Driven:
    """Trips of one month that have ended. `tours`: calls it takes to ask for each of them once, 26 legs a call."""

    trips: int
    legs: int
    tours: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Used:
    month: str
    engine: str
    purpose: str
    outcome: str
    calls: int
    seconds: float


def ends(start: LatLon, end: LatLon) -> Ends:
    return round(start[0] * 1e5), round(start[1] * 1e5), round(end[0] * 1e5), round(end[1] * 1e5)


async def legs(tx: Tx, tenant: TenantId, wanted: Sequence[Ends]) -> dict[Ends, list[KeptLeg]]:
    """What is kept of each of these, newest first."""
    columns = list(zip(*wanted, strict=True))
    params = {"tenant": tenant, **dict(zip(_ENDS, map(list, columns), strict=True))}
    found: dict[Ends, list[KeptLeg]] = {}
    for row in await tx.all(_SQL["legs"], params):
        key = (row["start_lat"], row["start_lon"], row["end_lat"], row["end_lon"])
        kept = KeptLeg(Engine(row["engine"]), row["edition"], _unpacked(row["road"]), row["made_at"])
        found.setdefault(key, []).append(kept)
    for kept_legs in found.values():
        kept_legs.sort(key=lambda leg: leg.made_at, reverse=True)
    return found


_ENDS = ("start_lats", "start_lons", "end_lats", "end_lons")


async def keep_legs(tx: Tx, tenant: TenantId, kept: Mapping[Ends, KeptLeg]) -> None:
    # In the order of the key, so that two who keep several wait for each other and do not embrace.
    for key in sorted(kept):
        leg = kept[key]
        where = dict(zip(("start_lat", "start_lon", "end_lat", "end_lon"), key, strict=True))
        what = {"engine": leg.engine.value, "edition": leg.edition, "road": _packed(leg.leg), "at": leg.made_at}
        await tx.execute(_SQL["keep_leg"], {"tenant": tenant, **where, **what})


async def spend(tx: Tx, tenant: TenantId, account: str, *, is_paid: bool, day: date, most: int) -> bool:
    """Take one call from an account; False when it holds none."""
    params = {"tenant": tenant, "account": account, "is_paid": is_paid, "day": day, "most": most}
    return most > 0 and await tx.one(_SQL["spend"], params) is not None


async def spend_total(tx: Tx, *, day: date, most: int) -> bool:
    """Take one paid call from all tenants' common account; False when it holds none."""
    return most > 0 and await tx.one(_SQL["spend_total"], {"day": day, "most": most}) is not None


async def count(
    tx: Tx, tenant: TenantId, *, day: date, engine: Engine, purpose: Purpose, outcome: str, seconds: float
) -> None:
    params = {"tenant": tenant, "day": day, "engine": engine.value, "purpose": purpose.value}
    await tx.execute(_SQL["count"], {**params, "outcome": outcome, "seconds": seconds})


async def used(tx: TenantTx, since: date, until: date) -> list[Used]:
    """Calls by month, engine, purpose and outcome, both days included."""
    rows = await tx.all(_SQL["used"], {"tenant": tx.tenant, "since": since, "until": until})
    return [Used(**row) for row in rows]


async def driven(tx: TenantTx, since: date, until: date) -> dict[str, Driven]:
    """By month, both days included."""
    rows = await tx.all(_SQL["driven"], {"tenant": tx.tenant, "since": since, "until": until})
    return {row.pop("month"): Driven(**row) for row in rows}


async def forget(tx: Tx, *, legs_before: datetime, spends_before: date, uses_before: date) -> None:
    await tx.execute(_SQL["forget_legs"], {"before": legs_before})
    await tx.execute(_SQL["forget_spends"], {"before": spends_before})
    await tx.execute(_SQL["forget_totals"], {"before": spends_before})
    await tx.execute(_SQL["forget_uses"], {"before": uses_before})


def _packed(leg: Leg) -> bytes:
    lats, lons = [lat for lat, _ in leg.points], [lon for _, lon in leg.points]
    columns = ((lats, 1e6), (lons, 1e6), (leg.along_m, 1e2), (leg.along_s, 1e3))
    return _encode(_Road(*(_steps(values, scale) for values, scale in columns)))


def _unpacked(data: bytes) -> Leg:
    road = _decode(data)
    lats, lons = _sums(road.lats, 1e6), _sums(road.lons, 1e6)
    return Leg(tuple(zip(lats, lons, strict=True)), tuple(_sums(road.lengths, 1e2)), tuple(_sums(road.times, 1e3)))


def _steps(values: Sequence[float], scale: float) -> list[int]:
    whole = [round(value * scale) for value in values]
    return [whole[0], *(b - a for a, b in pairwise(whole))]


def _sums(steps: Sequence[int], scale: float) -> list[float]:
    total, found = 0, []
    for step in steps:
        total += step
        found.append(total / scale)
    return found
