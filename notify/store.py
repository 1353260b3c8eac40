"""Tables `recipient`, `subscription`, `push_token` and `notice`, through the tenant's door."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from psycopg.rows import DictRow

from core import sql
from core.db import TenantTx, Tx
from core.events import NoticePosted
from core.tenancy import TenantId
from notify.model import Notice, PushToken, Recipient, Subscription

_SQL = sql.load("notify")


@dataclass(frozen=True, slots=True)
class User:
    """What an account says of whether it may be told something."""

    name: str
    is_active: bool
    sites: frozenset[str] | None
    """None: all of them"""


@dataclass(frozen=True, slots=True)
class Site:
    """`names`: its id, and the tenant's own code where it has one."""

    names: frozenset[str]
    name: str
    timezone: str


async def recipient(tx: TenantTx, id_: str, *, lock: bool = False) -> Recipient | None:
    row = await tx.one(_SQL["lock_recipient" if lock else "recipient"], {"tenant": tx.tenant, "id": id_})
    return None if row is None else _recipient(row)


async def recipients(tx: TenantTx, *, after: str, limit: int) -> list[Recipient]:
    params = {"tenant": tx.tenant, "after": after, "limit": limit}
    return [_recipient(row) for row in await tx.all(_SQL["recipients"], params)]


async def add_recipient(tx: TenantTx, new: Recipient) -> None:
    """One that is there already stays as it is."""
    await tx.execute(_SQL["add_recipient"], {**_wishes(tx, new), "at": new.created_at})


async def save_recipient(tx: TenantTx, after: Recipient) -> None:
    await tx.execute(_SQL["save_recipient"], {**_wishes(tx, after), "version": after.version, "at": after.updated_at})


async def remove_recipient(tx: TenantTx, id_: str) -> bool:
    """With all that is his. Whether there was one."""
    return (await tx.execute(_SQL["remove_recipient"], {"tenant": tx.tenant, "id": id_})).rowcount > 0


async def user(tx: TenantTx, id_: str) -> User | None:
    row = await tx.one(_SQL["user"], {"tenant": tx.tenant, "id": id_})
    if row is None:
        return None
    sites = frozenset(row["sites"]) if row["role"] == "site" else None
    return User(row["name"], row["status"] == "active", sites)


async def site(tx: TenantTx, id_: str) -> Site | None:
    row = await tx.one(_SQL["site"], {"tenant": tx.tenant, "site": id_})
    return None if row is None else Site(frozenset({id_, row["code"] or id_}), row["name"], row["timezone"])


async def subscriptions(
    tx: TenantTx, *, recipient_id: str | None, site_id: str | None, after: str, limit: int
) -> list[Subscription]:
    params = {"tenant": tx.tenant, "recipient": recipient_id, "site": site_id, "after": after, "limit": limit}
    return [_subscription(row) for row in await tx.all(_SQL["subscriptions"], params)]


async def subscription(tx: TenantTx, id_: str) -> Subscription | None:
    """Locked until the transaction ends."""
    row = await tx.one(_SQL["subscription"], {"tenant": tx.tenant, "id": id_})
    return None if row is None else _subscription(row)


async def add_subscription(tx: TenantTx, new: Subscription) -> Subscription | None:
    """None when the recipient has one for the site."""
    values = {"tenant": tx.tenant, "id": new.id, "recipient": new.recipient, "site": new.site, "at": new.created_at}
    row = await tx.one(_SQL["add_subscription"], {**values, "kinds": list(new.kinds)})
    return None if row is None else _subscription(row)


async def save_subscription(tx: TenantTx, id_: str, kinds: Sequence[str], at: datetime) -> Subscription:
    row = await tx.one(_SQL["save_subscription"], {"tenant": tx.tenant, "id": id_, "kinds": list(kinds), "at": at})
    assert row is not None
    return _subscription(row)


async def remove_subscription(tx: TenantTx, id_: str) -> None:
    await tx.execute(_SQL["remove_subscription"], {"tenant": tx.tenant, "id": id_})


async def tokens(tx: TenantTx, *, recipient_id: str | None, after: str, limit: int) -> list[PushToken]:
    params = {"tenant": tx.tenant, "recipient": recipient_id, "after": after, "limit": limit}
    return [_token(row) for row in await tx.all(_SQL["tokens"], params)]


async def token(tx: TenantTx, id_: str) -> PushToken | None:
    row = await tx.one(_SQL["token"], {"tenant": tx.tenant, "id": id_})
    return None if row is None else _token(row)


async def count_tokens(tx: TenantTx, recipient_id: str) -> int:
    row = await tx.one(_SQL["count_tokens"], {"tenant": tx.tenant, "recipient": recipient_id})
    return int(row["tokens"]) if row else 0


async def add_token(tx: TenantTx, new: PushToken) -> PushToken:
    """The same installation keeps its id, and is this recipient's from now on."""
    values = {"tenant": tx.tenant, "id": new.id, "recipient": new.recipient, "platform": new.platform}
    row = await tx.one(_SQL["add_token"], {**values, "token": new.token, "at": new.created_at})
    assert row is not None
    return _token(row)


async def remove_token(tx: TenantTx, id_: str) -> None:
    await tx.execute(_SQL["remove_token"], {"tenant": tx.tenant, "id": id_})


async def inbox(
    tx: TenantTx, recipient_id: str, *, is_unread: bool, before: tuple[datetime, str] | None, limit: int
) -> list[Notice]:
    """Newest first."""
    at, id_ = before or (None, None)
    params = {"tenant": tx.tenant, "recipient": recipient_id, "unread": is_unread, "limit": limit}
    return [_notice(row) for row in await tx.all(_SQL["inbox"], {**params, "at": at, "before": id_})]


async def unread(tx: TenantTx, recipient_id: str) -> int:
    row = await tx.one(_SQL["unread"], {"tenant": tx.tenant, "recipient": recipient_id})
    return int(row["unread"]) if row else 0


async def notice(tx: TenantTx, id_: str) -> Notice | None:
    row = await tx.one(_SQL["notice"], {"tenant": tx.tenant, "id": id_})
    return None if row is None else _notice(row)


async def mark_read(tx: TenantTx, recipient_id: str, id_: str, at: datetime) -> Notice | None:
    """None where it is not in this inbox."""
    row = await tx.one(_SQL["mark_read"], {"tenant": tx.tenant, "recipient": recipient_id, "id": id_, "at": at})
    return None if row is None else _notice(row)


async def mark_all_read(tx: TenantTx, recipient_id: str, *, until: datetime, at: datetime) -> int:
    params = {"tenant": tx.tenant, "recipient": recipient_id, "until": until, "at": at}
    return (await tx.execute(_SQL["mark_all_read"], params)).rowcount


async def who_is_told(tx: TenantTx, site_id: str, kind: str) -> list[Recipient]:
    """Whoever is subscribed and may be told, locked until the transaction ends."""
    rows = await tx.all(_SQL["who_is_told"], {"tenant": tx.tenant, "site": site_id, "kind": kind})
    return [_recipient(row) for row in rows]


async def pushed_since(tx: TenantTx, since: Mapping[str, datetime]) -> dict[str, int]:
    """How many notices of each recipient were pushed since his own moment."""
    params = {"tenant": tx.tenant, "recipients": list(since), "since": list(since.values())}
    return {row["recipient_id"]: row["pushed"] for row in await tx.all(_SQL["pushed_since"], params)}


async def admins(tx: Tx, tenant: TenantId, at: datetime) -> list[Recipient]:
    """Who looks after the tenant, each with an inbox from now on. Needs the operator login."""
    await tx.execute(_SQL["admit_admins"], {"tenant": tenant, "at": at})
    return [_recipient(row) for row in await tx.all(_SQL["admins"], {"tenant": tenant})]


async def add_notices(tx: Tx, tenant: TenantId, new: Sequence[Notice]) -> set[str]:
    """The ids of those that were not there before, by trip, stop, recipient and kind."""
    if not new:
        return set()
    rows = msgspec.json.encode([_row(each) for each in new]).decode()
    return {row["notice_id"] for row in await tx.all(_SQL["add_notices"], {"tenant": tenant, "rows": rows})}


async def tokens_of(tx: TenantTx, recipient_ids: Collection[str]) -> list[tuple[str, str, str]]:
    """Token, recipient and platform of each installation."""
    if not recipient_ids:
        return []
    rows = await tx.all(_SQL["tokens_of"], {"tenant": tx.tenant, "recipients": list(recipient_ids)})
    return [(row["token_id"], row["recipient_id"], row["platform"]) for row in rows]


async def forget_notices(tx: Tx, before: datetime) -> int:
    """Of all tenants; needs the operator login."""
    return (await tx.execute(_SQL["forget_notices"], {"before": before})).rowcount


def posted(tenant: TenantId, notice: Notice) -> NoticePosted:
    """The news of it."""
    return NoticePosted(
        tenant=tenant,
        notice=notice.id,
        recipient=notice.recipient,
        kind=notice.kind,
        title=notice.title,
        body=notice.body,
        trip=notice.trip,
        stop=notice.stop,
        site=notice.site,
    )


def _wishes(tx: TenantTx, of: Recipient) -> dict[str, Any]:
    return {
        "tenant": tx.tenant,
        "id": of.id,
        "name": of.name,
        "language": of.language,
        "timezone": of.timezone,
        "quiet_from": of.quiet_from,
        "quiet_to": of.quiet_to,
        "daily_cap": of.daily_cap,
        "channels": sorted(of.channels),
    }


def _recipient(row: DictRow) -> Recipient:
    return Recipient(
        id=row["recipient_id"],
        name=row["name"],
        language=row["language"],
        timezone=row["timezone"],
        quiet_from=row["quiet_from"],
        quiet_to=row["quiet_to"],
        daily_cap=row["daily_cap"],
        channels=frozenset(row["channels"]),
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _subscription(row: DictRow) -> Subscription:
    return Subscription(
        id=row["subscription_id"],
        recipient=row["recipient_id"],
        site=row["site_id"],
        kinds=tuple(row["kinds"]),
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _token(row: DictRow) -> PushToken:
    return PushToken(
        id=row["token_id"],
        recipient=row["recipient_id"],
        platform=row["platform"],
        token=row["token"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _notice(row: DictRow) -> Notice:
    return Notice(
        id=row["notice_id"],
        recipient=row["recipient_id"],
        trip=row["trip_id"],
        stop=row["stop_id"],
        kind=row["kind"],
        alert=row["alert_id"],
        site=row["site_id"],
        device=row["device_id"],
        title=row["title"],
        body=row["body"],
        eta=row["eta"],
        raised_at=row["raised_at"],
        expires_at=row["expires_at"],
        held=row["held"],
        created_at=row["created_at"],
        read_at=row["read_at"],
    )


def _row(of: Notice) -> dict[str, Any]:
    return {
        "notice_id": of.id,
        "recipient_id": of.recipient,
        "trip_id": of.trip,
        "stop_id": of.stop,
        "kind": of.kind,
        "alert_id": of.alert,
        "site_id": of.site,
        "device_id": of.device,
        "title": of.title,
        "body": of.body,
        "eta": of.eta,
        "raised_at": of.raised_at,
        "expires_at": of.expires_at,
        "held": of.held,
        "created_at": of.created_at,
        "read_at": of.read_at,
    }
