"""Tables `command_lane` and, as a worker of every tenant sees them, `command` and `command_batch`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from commands.model import Execution
from commands.sending.planning import Lane, Plan
from commands.store import encode, execution_of, key, keys, thing_of
from core import sql
from core.db import Tx
from core.tenancy import TenantId, Thing, tenant_id

_SQL = sql.load("commands.sending")
_AHEAD = 16
_OVER = 200


@dataclass(slots=True)
class Gate:
    """A group's rate: the next of it passes at `free_at`."""

    step: timedelta
    free_at: datetime
    total: int


async def due_lanes(tx: Tx, now: datetime, *, limit: int) -> list[Lane]:
    """Queues to be looked at, held until the transaction ends; those another worker holds are left out."""
    rows = await tx.all(_SQL["due_lanes"], {"now": now, "limit": limit})
    return [Lane(thing_of(row), row["status"] == "active", row["online_since"]) for row in rows]


async def save_lanes(tx: Tx, plans: Mapping[Lane, Plan]) -> None:
    rows = [
        {
            **key(lane.thing),
            "look_at": plan.look_at,
            "waits": plan.waits,
            "seen_since": lane.online_since if lane.is_reachable else None,
        }
        for lane, plan in plans.items()
    ]
    await tx.execute(_SQL["save_lanes"], {"rows": encode(rows)})


async def wake_lanes(tx: Tx, things: Collection[Thing], at: datetime) -> None:
    await tx.execute(_SQL["wake_lanes"], {**keys(things), "at": at})


async def settle_lanes(tx: Tx, things: Collection[Thing], at: datetime) -> bool:
    """Have those lanes looked at that have open commands still; whether there are any. Only by who holds them."""
    rows = await tx.all(_SQL["settle_lanes"], {**keys(things), "at": at})
    return any(row["has_more"] for row in rows)


async def wake_returned(tx: Tx, at: datetime) -> int:
    return (await tx.execute(_SQL["wake_returned"], {"at": at})).rowcount


async def next_due(tx: Tx) -> datetime | None:
    row = await tx.one(_SQL["next_due"])
    return row["due_at"] if row else None


async def queues(tx: Tx, things: Collection[Thing], now: datetime) -> list[Execution]:
    """What a plan of each lane is made of."""
    params = {**keys(things), "now": now, "ahead": _AHEAD, "over": _OVER}
    return [execution_of(row) for row in await tx.all(_SQL["queues"], params)]


async def gates(tx: Tx, batches: Collection[tuple[TenantId, str]]) -> dict[tuple[TenantId, str], Gate]:
    """Of these groups the ones with a rate, held until the transaction ends."""
    if not batches:
        return {}
    params = {"tenants": [tenant for tenant, _ in batches], "batches": [batch for _, batch in batches]}
    return {
        (tenant_id(row["tenant_id"]), row["batch_id"]): Gate(
            timedelta(minutes=1) / row["rate_per_minute"], row["free_at"], row["total"]
        )
        for row in await tx.all(_SQL["gates"], params)
    }


async def save_gates(tx: Tx, passed: Mapping[tuple[TenantId, str], Gate]) -> None:
    if passed:
        rows = [{"tenant_id": t, "batch_id": b, "free_at": gate.free_at} for (t, b), gate in passed.items()]
        await tx.execute(_SQL["save_gates"], {"rows": encode(rows)})


async def forget(tx: Tx, before: datetime, *, limit: int) -> int:
    """Remove executions that ended before then, and groups that have none left."""
    gone = (await tx.execute(_SQL["forget"], {"before": before, "limit": limit})).rowcount
    if gone < limit:
        await tx.execute(_SQL["forget_batches"], {"before": before})
    return gone


async def count_states(tx: Tx) -> dict[str, int]:
    """Open executions by state, of all tenants."""
    return {row["state"]: row["number"] for row in await tx.all(_SQL["count_states"])}
