"""Table `presence`: one row a device, over all tenants."""

from collections.abc import Collection

from broker.presence import Presence
from core import sql
from core.clock import epoch_ms, from_epoch_ms
from core.db import Tx
from core.tenancy import Thing

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


async def barred(tx: Tx, names: Collection[str]) -> set[str]:
    """Which of these things the registry does not let connect."""
    things = [Thing.parse(name) for name in names]
    found = await tx.all(
        _SQL["barred"], {"tenant": [thing.tenant for thing in things], "device": [thing.device for thing in things]}
    )
    return {row["thing"] for row in found}
