"""The live streams' view of the registry and of devices' last state, and table `live_ticket`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from core import sql
from core.db import TenantTx, Tx
from core.tenancy import DeviceId, TenantId

_SQL = sql.load("api.live")
_decode_labels = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True)
class Vehicle:
    """A line of a snapshot: `item` is its JSON, the rest is what filters ask for."""

    device: str
    lat: float | None
    lon: float | None
    item: bytes
    labels_json: str

    @cached_property
    def labels(self) -> Mapping[str, object]:
        return _decode_labels(self.labels_json)


@dataclass(frozen=True, slots=True)
class Trip:
    """The one line of a trip's snapshot."""

    device: str | None
    item: bytes
    lat: None = None
    lon: None = None

    @property
    def labels(self) -> Mapping[str, object]:
        return {}


@dataclass(frozen=True, slots=True)
class Registered:
    """A device as the registry has it."""

    device: str
    status: str
    type: str
    labels: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Ticket:
    """A right to open one connection: in which tenant, for whom, until when."""

    tenant: TenantId
    principal: Mapping[str, Any]
    expires_at: datetime


async def vehicles(tx: TenantTx) -> list[Vehicle]:
    """The state of every device of the tenant that is not decommissioned, by name."""
    rows = await tx.all(_SQL["vehicles"], {"tenant": tx.tenant})
    return [Vehicle(r["device_id"], r["lat"], r["lon"], r["item"].encode(), r["labels"]) for r in rows]


async def trip(tx: TenantTx, trip_id: str) -> Trip | None:
    """A trip with its stops and its newest arrival times."""
    row = await tx.one(_SQL["trip"], {"tenant": tx.tenant, "trip": trip_id})
    return None if row is None else Trip(row["device_id"], row["item"].encode())


async def has_trip(tx: TenantTx, trip_id: str) -> bool:
    return await tx.one(_SQL["has_trip"], {"tenant": tx.tenant, "trip": trip_id}) is not None


async def device(tx: TenantTx, name: DeviceId) -> Registered | None:
    row = await tx.one(_SQL["device"], {"tenant": tx.tenant, "device": name})
    return None if row is None else Registered(row["device_id"], row["status"], row["type"], row["labels"])


async def labels(tx: TenantTx) -> dict[str, Mapping[str, object]]:
    """Labels by device, of those that have any."""
    return {row["device_id"]: row["labels"] for row in await tx.all(_SQL["labels"], {"tenant": tx.tenant})}


async def has_tenant(tx: TenantTx) -> bool:
    return await tx.one(_SQL["tenant"], {"tenant": tx.tenant}) is not None


async def add_ticket(tx: TenantTx, digest: bytes, principal: Mapping[str, object], expires_at: datetime) -> None:
    """Keep a ticket by its digest."""
    values = {"tenant": tx.tenant, "hash": digest, "principal": Jsonb(dict(principal)), "expires_at": expires_at}
    await tx.execute(_SQL["add_ticket"], values)


async def take_ticket(tx: Tx, digest: bytes) -> Ticket | None:
    """What the ticket was made for, once: whoever comes second gets None. Needs the operator login."""
    row = await tx.one(_SQL["take_ticket"], {"hash": digest})
    return None if row is None else Ticket(TenantId(row["tenant_id"]), row["principal"], row["expires_at"])


async def drop_tickets(tx: Tx, now: datetime) -> None:
    """Forget those nobody came with in time. Needs the operator login."""
    await tx.execute(_SQL["drop_tickets"], {"now": now})
