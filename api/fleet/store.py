"""Reads across the registry, presence and last positions, through the tenant's door."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from api.search.store import Clause
from core import sql
from core.db import TenantTx

_SQL = sql.load("api.fleet")
_WHERE = "/* where */ true"

type Area = tuple[float, float, float, float]
"""West, south, east, north in degrees; west may lie east of east, across the 180th meridian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which devices; None: whichever. `only` are names, `labels` must all be carried."""

    only: Sequence[str] | None = None
    status: str | None = None
    labels: Mapping[str, str] | None = None
    online: bool | None = None

    def params(self, tx: TenantTx) -> dict[str, object]:
        return {
            "tenant": tx.tenant,
            "only": None if self.only is None else list(self.only),
            "status": self.status,
            "labels": None if self.labels is None else Jsonb(dict(self.labels)),
            "online": self.online,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which lines of the registry besides. `soon`: a certificate that ends by then is expiring."""

    type: str | None = None
    certificate: str | None = None
    search: str | None = None
    at: datetime
    soon: datetime


@dataclass(frozen=True, slots=True)
class Positions:
    """A page of last positions: a JSON array's inside, and the name after which the next page begins."""

    items: str
    next: str | None


async def devices(
    tx: TenantTx, wanted: Wanted, search: Search, *, where: Clause | None = None, after: str = "", limit: int
) -> list[DictRow]:
    """Lines of the registry by name, those after the name `after`."""
    more: dict[str, object] = {
        "type": search.type,
        "certificate": search.certificate,
        "search": search.search,
        "at": search.at,
        "soon": search.soon,
        "after": after,
        "limit": limit,
    }
    query = _SQL["devices"]
    if where is not None:
        query, more = query.replace(_WHERE, where.text), more | where.params
    return await tx.all(query, wanted.params(tx) | more)


async def positions(
    tx: TenantTx, wanted: Wanted, *, area: Area | None, newer_than: datetime | None, after: str, limit: int
) -> Positions:
    west, south, east, north = area or (None, None, None, None)
    where = {"west": west, "south": south, "east": east, "north": north}
    more = {"newer_than": newer_than, "after": after, "limit": limit}
    row = await tx.one(_SQL["positions"], wanted.params(tx) | where | more)
    assert row is not None
    return Positions(row["items"], row["next"])
