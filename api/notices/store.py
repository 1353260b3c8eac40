"""The log of alerts, read where eta keeps it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import DictRow

from core import sql
from core.db import TenantTx

_SQL = sql.load("api.notices")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which alerts; None: whichever."""

    sites: Sequence[str] | None = None
    trip: str | None = None
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def alerts(tx: TenantTx, wanted: Wanted, *, before: tuple[datetime, str] | None, limit: int) -> list[DictRow]:
    """Newest first."""
    before_at, before_id = before or (None, None)
    params = {
        "tenant": tx.tenant,
        "sites": None if wanted.sites is None else list(wanted.sites),
        "trip": wanted.trip,
        "kind": wanted.kind,
        "since": wanted.since,
        "until": wanted.until,
        "before_at": before_at,
        "before": before_id,
        "limit": limit,
    }
    return await tx.all(_SQL["alerts"], params)


async def alert(tx: TenantTx, id_: str, sites: Sequence[str] | None) -> DictRow | None:
    params = {"tenant": tx.tenant, "alert": id_, "sites": None if sites is None else list(sites)}
    return await tx.one(_SQL["alert"], params)
