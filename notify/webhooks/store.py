"""Tables `webhook` and `webhook_secret`, through the tenant's door."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from psycopg.rows import DictRow

from core import sql
from core.db import TenantTx, Tx
from core.tenancy import TenantId

_SQL = sql.load("notify.webhooks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where a tenant's own systems are told. `status`: active or disabled, by people or for failing."""

    id: str
    url: str
    description: str
    kinds: tuple[str, ...]
    status: str = "active"
    disabled_reason: str = ""
    failing_since: datetime | None = None
    version: int = 1
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class SecretInfo:
    """What may be said of a secret."""

    id: str
    created_at: datetime
    expires_at: datetime | None


class SealedSecret(NamedTuple):
    """A secret as it is kept."""

    tenant: TenantId
    webhook: str
    id: str
    sealed: bytes


async def webhooks(tx: TenantTx, *, after: str, limit: int) -> list[Webhook]:
    rows = await tx.all(_SQL["webhooks"], {"tenant": tx.tenant, "after": after, "limit": limit})
    return [_webhook(row) for row in rows]


async def webhook(tx: TenantTx, id_: str, *, lock: bool = False) -> Webhook | None:
    row = await tx.one(_SQL["lock" if lock else "webhook"], {"tenant": tx.tenant, "id": id_})
    return None if row is None else _webhook(row)


async def count(tx: TenantTx) -> int:
    row = await tx.one(_SQL["count"], {"tenant": tx.tenant})
    return int(row["webhooks"]) if row else 0


async def add(tx: TenantTx, new: Webhook) -> None:
    params = {"tenant": tx.tenant, "id": new.id, "url": new.url, "description": new.description}
    await tx.execute(_SQL["add"], {**params, "kinds": list(new.kinds), "at": new.created_at})


async def save(tx: TenantTx, after: Webhook) -> None:
    params = {
        "tenant": tx.tenant,
        "id": after.id,
        "url": after.url,
        "description": after.description,
        "kinds": list(after.kinds),
        "status": after.status,
        "disabled_reason": after.disabled_reason,
        "failing_since": after.failing_since,
        "version": after.version,
        "at": after.updated_at,
    }
    await tx.execute(_SQL["save"], params)


async def remove(tx: TenantTx, id_: str) -> bool:
    """With its secrets and deliveries. Whether there was one."""
    return (await tx.execute(_SQL["remove"], {"tenant": tx.tenant, "id": id_})).rowcount > 0


async def secrets(tx: TenantTx, id_: str, at: datetime) -> list[SecretInfo]:
    """Those that sign, the newest first."""
    rows = await tx.all(_SQL["secrets"], {"tenant": tx.tenant, "id": id_, "at": at})
    return [SecretInfo(row["secret_id"], row["created_at"], row["expires_at"]) for row in rows]


async def add_secret(tx: TenantTx, id_: str, secret_id: str, sealed: bytes, at: datetime) -> None:
    params = {"tenant": tx.tenant, "id": id_, "secret_id": secret_id, "sealed": sealed, "at": at}
    await tx.execute(_SQL["add_secret"], params)


async def sealed_before(tx: Tx, name: bytes, limit: int) -> list[SealedSecret]:
    """Those of all tenants that do not begin with the name of the key in use, locked. Needs the operator login."""
    rows = await tx.all(_SQL["sealed_before"], {"name": name, "limit": limit})
    return [SealedSecret(TenantId(r["tenant_id"]), r["webhook_id"], r["secret_id"], bytes(r["sealed"])) for r in rows]


async def seal(tx: Tx, anew: SealedSecret) -> None:
    params = {"tenant": anew.tenant, "id": anew.webhook, "secret_id": anew.id, "sealed": anew.sealed}
    await tx.execute(_SQL["seal"], params)


async def end_secrets(tx: TenantTx, id_: str, *, until: datetime, at: datetime) -> None:
    """Those so far sign until then, and what is over already goes."""
    await tx.execute(_SQL["drop_secrets"], {"tenant": tx.tenant, "id": id_, "at": at})
    await tx.execute(_SQL["end_secrets"], {"tenant": tx.tenant, "id": id_, "until": until})


async def listening(tx: TenantTx, kind: str) -> Sequence[str]:
    """Ids of the active webhooks that want to hear of this kind."""
    return [row["webhook_id"] for row in await tx.all(_SQL["listening"], {"tenant": tx.tenant, "kind": kind})]


def _webhook(row: DictRow) -> Webhook:
    return Webhook(
        id=row["webhook_id"],
        url=row["url"],
        description=row["description"],
        kinds=tuple(row["kinds"]),
        status=row["status"],
        disabled_reason=row["disabled_reason"],
        failing_since=row["failing_since"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
