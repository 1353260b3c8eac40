"""Tables `presence`, one row a device, and `presence_span`, one row a turn of it; both over all tenants."""

from collections.abc import Collection
from datetime import datetime

from psycopg.rows import DictRow

from broker.presence.model import Leaving, Presence, Source
from broker.presence.timeline import Turn
from core import sql
from core.clock import epoch_ms, from_epoch_ms
from core.db import TenantTx, Tx
from core.tenancy import DeviceId, Thing

_SQL = sql.load("broker")


async def load(tx: Tx) -> list[Presence]:
    """Every thing that was ever connected."""
    return [
        Presence(
            thing=row["thing"],
            online=row["online"],
            session=row["session"],
            version=row["version"],
            since_ms=epoch_ms(row["since"]),
            ip_address=row["ip_address"] or "",
            reason=row["disconnect_reason"],
            leaving=_leaving(row),
            source=_source(row),
        )
        for row in await tx.all(_SQL["load_presence"])
    ]


async def save(tx: Tx, presences: Collection[Presence]) -> set[str]:
    """Write the newest state of each thing, once each; return the things that were written.

    Left out: things the registry does not know, and states no newer than what is stored.
    """
    things = [Thing.parse(presence.thing) for presence in presences]
    rows = await tx.all(
        _SQL["save_presence"],
        {
            "tenant": [thing.tenant for thing in things],
            "device": [thing.device for thing in things],
            "online": [presence.online for presence in presences],
            "since": [from_epoch_ms(presence.since_ms) for presence in presences],
            "session": [presence.session for presence in presences],
            "ip_address": [presence.ip_address for presence in presences],
            "reason": [presence.reason for presence in presences],
            "version": [presence.version for presence in presences],
        },
    )
    return {row["thing"] for row in rows}


async def remember(tx: Tx, presences: Collection[Presence]) -> None:
    """Write these states of known things into the timeline; one that is there already stays as it is."""
    things = [Thing.parse(presence.thing) for presence in presences]
    await tx.execute(
        _SQL["remember_turns"],
        {
            "tenant": [thing.tenant for thing in things],
            "device": [thing.device for thing in things],
            "version": [presence.version for presence in presences],
            "online": [presence.online for presence in presences],
            "since": [from_epoch_ms(presence.since_ms) for presence in presences],
            "reason": [None if presence.online else presence.reason for presence in presences],
        },
    )


async def note(tx: Tx, presences: Collection[Presence]) -> None:
    """Write what AWS IoT Core's events said beside the state: which was the newest, and whose grace runs since when."""
    things = [Thing.parse(presence.thing) for presence in presences]
    leaving = [presence.leaving for presence in presences]
    sources = [presence.source for presence in presences]
    await tx.execute(
        _SQL["note_source"],
        {
            "tenant": [thing.tenant for thing in things],
            "device": [thing.device for thing in things],
            "source_version": [each and each.version for each in sources],
            "source_at": [each and from_epoch_ms(each.at_ms) for each in sources],
            "leaving_at": [each and from_epoch_ms(each.at_ms) for each in leaving],
            "leaving_due": [each and from_epoch_ms(each.due_ms) for each in leaving],
            "reason": [each and each.reason for each in leaving],
        },
    )


async def forget(tx: Tx, *, days: int, turns: int) -> None:
    """Drop turns that ended more than `days` ago (or the tenant's own days, if fewer), and all but the last `turns`."""
    await tx.execute(_SQL["forget_turns"], {"days": days, "turns": turns})


async def now(tx: TenantTx, device: DeviceId) -> DictRow | None:
    """Whether a device is connected, since when and why not (`disconnect_reason`); None: there is no such device."""
    return await tx.one(_SQL["presence_of_device"], {"tenant": tx.tenant, "device": device})


async def turns(tx: TenantTx, device: DeviceId, *, since: datetime, after: int, limit: int) -> list[Turn]:
    """A device's turns in order, from the one that lasted at `since` on; those with a version greater than `after`."""
    asked = {"tenant": tx.tenant, "device": device, "since": since, "after": after, "limit": limit}
    return [Turn(**row) for row in await tx.all(_SQL["turns_of_device"], asked)]


async def barred(tx: Tx, names: Collection[str]) -> set[str]:
    """Which of these things the registry does not let connect."""
    things = [Thing.parse(name) for name in names]
    found = await tx.all(
        _SQL["barred"], {"tenant": [thing.tenant for thing in things], "device": [thing.device for thing in things]}
    )
    return {row["thing"] for row in found}


def _source(row: DictRow) -> Source | None:
    return None if row["source_version"] is None else Source(row["source_version"], epoch_ms(row["source_at"]))


def _leaving(row: DictRow) -> Leaving | None:
    if row["leaving_at"] is None:
        return None
    return Leaving(epoch_ms(row["leaving_at"]), epoch_ms(row["leaving_due"]), row["leaving_reason"])
