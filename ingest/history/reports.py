"""Discrete events that devices reported, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.db import TenantTx
from core.tenancy import DeviceId
from ingest.history.export import QUERIES

type Place = tuple[datetime, str, str, int]
"""An event's place in the order: time, device, boot, seq."""


@dataclass(frozen=True, slots=True)
class Report:
    """One event as its device named it; `seq` < 0: it gave none."""

    device: str
    ts: datetime
    boot: str
    seq: int
    type: str
    data: Any
    received_at: datetime

    @property
    def place(self) -> Place:
        return self.ts, self.device, self.boot, self.seq


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which events; None: whichever. From `since` to before `until`."""

    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    only: Sequence[str] | None = None


async def of_tenant(tx: TenantTx, wanted: Wanted, *, after: Place | None, limit: int) -> list[Report]:
    return await _read(tx, "events_of_tenant", wanted, after, {"limit": limit, "only": wanted.only})


async def of_device(tx: TenantTx, device: DeviceId, wanted: Wanted, *, after: Place | None, limit: int) -> list[Report]:
    return await _read(tx, "events_of_device", wanted, after, {"limit": limit, "device": device})


async def _read(tx: TenantTx, query: str, wanted: Wanted, after: Place | None, more: dict[str, object]) -> list[Report]:
    ts, device, boot, seq = after or (None, "", "", 0)
    place = {"after_ts": ts, "after_device": device, "after_boot": boot, "after_seq": seq}
    asked = {"type": wanted.type, "since": wanted.since, "until": wanted.until}
    return [Report(**row) for row in await tx.all(QUERIES[query], {**more, **place, **asked})]
