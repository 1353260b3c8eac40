"""Table `delivery`, and what an attempt changes at its target."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from core import sql
from core.db import TenantTx, Tx
from core.tenancy import TenantId
from notify.model import Next, Outcome, State

_SQL = sql.load("notify.delivery")


class NewDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """One message for one target. `event_id` stays the same over all attempts; a second one of it is not added."""

    delivery_id: str
    channel: str
    target_id: str
    event_id: str
    kind: str
    created_at: datetime
    alert_id: str | None = None
    notice_id: str | None = None
    webhook_id: str | None = None
    payload: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A delivery as its sender takes it, with what its target is now; None where that is gone."""

    tenant: TenantId
    id: str
    channel: str
    target: str
    event: str
    kind: str
    payload: str | None
    attempts: int
    expires_at: datetime | None
    created_at: datetime
    token: str | None
    token_at: datetime | None
    title: str
    body: str
    trip: str
    stop: str
    site: str
    eta: datetime | None
    raised_at: datetime | None
    url: str | None
    is_enabled: bool
    secrets: tuple[bytes, ...]
    """as they are kept: sealed"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A delivery as people see it. `history`: at, status, error and ms of the last attempts."""

    id: str
    channel: str
    target: str
    event: str
    alert: str | None
    notice: str | None
    webhook: str | None
    recipient: str | None
    kind: str
    payload: str | None
    state: State
    attempts: int
    next_at: datetime | None
    expires_at: datetime | None
    status: int | None
    error: str | None
    response: str | None
    history: Sequence[Mapping[str, Any]]
    created_at: datetime
    settled_at: datetime | None


async def add(tx: TenantTx, new: Sequence[NewDelivery]) -> None:
    """Those whose target has the event already are left out."""
    if new:
        rows = msgspec.json.encode(list(new)).decode()
        await tx.execute(_SQL["add"], {"tenant": tx.tenant, "rows": rows})


async def claim(
    tx: Tx,
    channels: Collection[str],
    *,
    busy: Collection[str],
    now: datetime,
    lease: datetime,
    most: int,
    of_target: int,
) -> list[Message]:
    """Take up to `most` that are due, `of_target` of one target; nobody else gets them before `lease`."""
    params = {"channels": list(channels), "busy": list(busy), "now": now, "lease": lease}
    rows = await tx.all(_SQL["claim"], {**params, "most": most, "of_target": of_target})
    return [_message(row) for row in rows]


async def settle(
    tx: Tx, message: Message, stands: Next, outcome: Outcome, *, at: datetime, took_ms: int | None
) -> bool:
    """Write down an attempt; False when its lease was over and somebody else has taken it since.

    `took_ms` None: nothing was sent.
    """
    attempt = {"at": at.isoformat(), "status": outcome.status, "error": outcome.error, "ms": took_ms}
    params = {
        "tenant": message.tenant,
        "id": message.id,
        "attempts": message.attempts,
        "state": stands.state.value,
        "next_at": stands.at,
        "status": outcome.status,
        "error": outcome.error or None,
        "response": outcome.response or None,
        "settled_at": at if stands.at is None else None,
        "attempt": Jsonb([] if took_ms is None else [attempt]),
    }
    return (await tx.execute(_SQL["settle"], params)).rowcount > 0


async def drop_token(tx: Tx, message: Message, at: datetime) -> bool:
    """The push service knows the token no more. Whether it was still there as it was when we sent."""
    key = {"tenant": message.tenant, "target": message.target}
    gone = (await tx.execute(_SQL["drop_token"], {**key, "seen": message.token_at})).rowcount > 0
    if gone:
        await tx.execute(_SQL["give_up"], {**key, "error": "token_gone", "at": at})
    return gone


async def note_success(tx: Tx, message: Message) -> None:
    await tx.execute(_SQL["works"], {"tenant": message.tenant, "target": message.target})


async def note_failure(tx: Tx, message: Message, at: datetime) -> datetime | None:
    """Since when the webhook fails without a success in between; None for a disabled one."""
    row = await tx.one(_SQL["fails"], {"tenant": message.tenant, "target": message.target, "at": at})
    return None if row is None else row["failing_since"]


async def disable(tx: Tx, message: Message, reason: str, at: datetime) -> bool:
    """No more is sent to this webhook; what waits for it is dead, and can be redelivered later."""
    key = {"tenant": message.tenant, "target": message.target}
    done = (await tx.execute(_SQL["disable"], {**key, "reason": reason, "at": at})).rowcount > 0
    await tx.execute(_SQL["give_up"], {**key, "error": "webhook_disabled", "at": at})
    return done


async def give_up(tx: Tx, tenant: TenantId, target: str, error: str, at: datetime) -> None:
    """Nothing that waits for this target is sent any more."""
    await tx.execute(_SQL["give_up"], {"tenant": tenant, "target": target, "error": error, "at": at})


async def of_webhook(
    tx: TenantTx, webhook_id: str, *, state: State | None, before: tuple[datetime, str] | None, limit: int
) -> list[Delivery]:
    """Newest first."""
    at, id_ = before or (None, None)
    params = {"tenant": tx.tenant, "webhook": webhook_id, "state": state and state.value, "limit": limit}
    return [_delivery(row) for row in await tx.all(_SQL["of_webhook"], {**params, "at": at, "before": id_})]


async def one(tx: TenantTx, id_: str) -> Delivery | None:
    row = await tx.one(_SQL["one"], {"tenant": tx.tenant, "id": id_})
    return None if row is None else _delivery(row)


async def again(tx: TenantTx, webhook_id: str, id_: str, at: datetime) -> Delivery | None:
    """None where it waits for its first attempt, or is not there."""
    row = await tx.one(_SQL["again"], {"tenant": tx.tenant, "webhook": webhook_id, "id": id_, "at": at})
    return None if row is None else _delivery(row)


async def of_alert(tx: TenantTx, alert: str) -> list[Delivery]:
    return [_delivery(row) for row in await tx.all(_SQL["of_alert"], {"tenant": tx.tenant, "alert": alert})]


async def waiting(tx: Tx) -> dict[str, int]:
    """How many are not settled, by channel, of all tenants."""
    return {row["channel"]: row["waiting"] for row in await tx.all(_SQL["waiting"])}


async def forget(tx: Tx, before: datetime) -> int:
    """Settled ones of all tenants that are older; needs the operator login."""
    return (await tx.execute(_SQL["forget"], {"before": before})).rowcount


def _message(row: DictRow) -> Message:
    return Message(
        tenant=TenantId(row["tenant_id"]),
        id=row["delivery_id"],
        channel=row["channel"],
        target=row["target_id"],
        event=row["event_id"],
        kind=row["kind"],
        payload=row["payload"],
        attempts=row["attempts"],
        expires_at=row["expires_at"],
        created_at=row["created_at"],
        token=row["token"],
        token_at=row["token_at"],
        title=row["title"] or "",
        body=row["body"] or "",
        trip=row["trip_id"] or "",
        stop=row["stop_id"] or "",
        site=row["site_id"] or "",
        eta=row["eta"],
        raised_at=row["raised_at"],
        url=row["url"],
        is_enabled=row["webhook_status"] == "active",
        secrets=tuple(bytes(each) for each in row["secrets"] or ()),
    )


def _delivery(row: DictRow) -> Delivery:
    return Delivery(
        id=row["delivery_id"],
        channel=row["channel"],
        target=row["target_id"],
        event=row["event_id"],
        alert=row["alert_id"],
        notice=row["notice_id"],
        webhook=row["webhook_id"],
        recipient=row.get("recipient_id"),
        kind=row["kind"],
        payload=row["payload"],
        state=State(row["state"]),
        attempts=row["attempts"],
        next_at=row["next_at"],
        expires_at=row["expires_at"],
        status=row["status"],
        error=row["error"],
        response=row["response"],
        history=row["history"],
        created_at=row["created_at"],
        settled_at=row["settled_at"],
    )
