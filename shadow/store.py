"""Table `shadow`, and what others keep of a device that its last known state is made of."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from psycopg.rows import DictRow

from core import outbox, sql
from core.bus import Entry
from core.db import TenantTx, Tx
from core.tenancy import DeviceId, TenantId, Thing, device_id, tenant_id
from shadow.algebra import Leaf
from shadow.errors import ShadowMoved
from shadow.model import Document, Key, Section, encode

_SQL = sql.load("shadow")
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class LastKnown:
    """What was last heard of a device, by PostgreSQL's columns; None where it never said any."""

    device: DictRow
    metrics: Sequence[DictRow]


async def load(tx: Tx, keys: Collection[Key], *, lock: bool) -> dict[Key, Document]:
    """Those of `keys` that there are or were; with `lock` nobody else changes them until the transaction ends."""
    if not keys:
        return {}
    params = {
        "tenants": [key.thing.tenant for key in keys],
        "devices": [key.thing.device for key in keys],
        "names": [key.name for key in keys],
    }
    rows = await tx.all(_SQL["lock" if lock else "load"], params)
    return {_key(row): _document(row) for row in rows}


async def save(tx: Tx, changes: Mapping[Key, tuple[Document, Document]], at: datetime, *, searched: int) -> None:
    """Write each shadow over the one it was made from, and those of its values that search knows, at most `searched`.

    Raises ShadowMoved when one of them is not there any more.
    """
    new = [_row(key, after) for key, (before, after) in changes.items() if before.version == 0]
    old = [{**_row(key, after), "was": before.version} for key, (before, after) in changes.items() if before.version]
    wrote = 0
    for name, rows in (("add", new), ("save", old)):
        if rows:
            wrote += (await tx.execute(_SQL[name], {"rows": encode(rows).decode(), "at": at})).rowcount
    if wrote != len(changes):
        raise ShadowMoved(f"{len(changes) - wrote} of {len(changes)} shadows were written by somebody else")
    await _save_leaves(tx, changes, searched)


async def _save_leaves(tx: Tx, changes: Mapping[Key, tuple[Document, Document]], most: int) -> None:
    """Only what differs: an update changes a few values of many."""
    gone: list[dict[str, object]] = []
    new: list[dict[str, object]] = []
    for key, (before, after) in changes.items():
        had, has = before.leaves(most), after.leaves(most)
        gone += [_leaf(key, leaf) for leaf in had - has]
        new += [_leaf(key, leaf) for leaf in has - had]
    for name, rows in (("drop_leaves", gone), ("add_leaves", new)):
        if rows:
            await tx.execute(_SQL[name], {"rows": encode(rows).decode()})


def _leaf(key: Key, leaf: Leaf) -> dict[str, object]:
    field, value, number = leaf
    thing = {"tenant_id": key.thing.tenant, "device_id": key.thing.device}
    # JSON has no infinity; PostgreSQL reads it from a text.
    shown = number if number is None or math.isfinite(number) else str(number)
    return {**thing, "name": key.name, "field": field, "key": value, "number": shown}


async def names(tx: TenantTx, device: DeviceId, *, after: str, limit: int) -> list[str]:
    """Named shadows by name, those after `after`."""
    params = {"tenant": tx.tenant, "device": device, "after": after, "limit": limit}
    return [row["name"] for row in await tx.all(_SQL["names"], params)]


async def names_of(tx: Tx, thing: Thing) -> list[str]:
    """All named shadows of a device, by name."""
    params = {"tenant": thing.tenant, "device": thing.device, "after": "", "limit": None}
    return [row["name"] for row in await tx.all(_SQL["names"], params)]


async def things(tx: Tx, *, after: Thing | None, limit: int) -> list[Thing]:
    """Devices of all tenants, by name, those after one."""
    place = ("", "") if after is None else (after.tenant, after.device)
    rows = await tx.all(_SQL["things"], {"tenant": place[0], "device": place[1], "limit": limit})
    return [Thing(tenant_id(row["tenant_id"]), device_id(row["device_id"])) for row in rows]


async def statuses(tx: Tx, things: Collection[Thing]) -> dict[Thing, str]:
    """The registry's word on each; unknown ones are left out."""
    if not things:
        return {}
    params = {"tenants": [thing.tenant for thing in things], "devices": [thing.device for thing in things]}
    rows = await tx.all(_SQL["statuses"], params)
    return {Thing(TenantId(row["tenant_id"]), DeviceId(row["device_id"])): row["status"] for row in rows}


async def add_news(tx: Tx, entries: Sequence[Entry], *, due_in_s: float) -> int:
    """The id of the outbox row that holds `entries` until they are told."""
    row = await tx.one(_SQL["add_news"], {"entries": outbox.pack(entries), "due_in_s": due_in_s})
    assert row is not None
    return int(row["id"])


async def drop_told(tx: Tx, ids: Sequence[int]) -> None:
    if ids:
        await tx.execute(_SQL["drop_told"], {"ids": list(ids)})


async def last_known(tx: TenantTx, device: DeviceId) -> LastKnown | None:
    """None for a device that is not registered."""
    key = {"tenant": tx.tenant, "device": device}
    found = await tx.one(_SQL["last_position"], key)
    return None if found is None else LastKnown(found, await tx.all(_SQL["last_metrics"], key))


def _key(row: DictRow) -> Key:
    return Key(Thing(tenant_id(row["tenant_id"]), device_id(row["device_id"])), row["name"])


def _document(row: DictRow) -> Document:
    if row["is_deleted"]:
        return Document(version=row["version"], recent=tuple(row["recent"]))
    stamps = _decode(row["stamps"])
    return Document(
        version=row["version"],
        exists=True,
        desired=Section(_decode(row["desired"]), stamps.get("desired", {})),
        reported=Section(_decode(row["reported"]), stamps.get("reported", {})),
        recent=tuple(row["recent"]),
    )


def _row(key: Key, document: Document) -> dict[str, object]:
    return {
        "tenant_id": key.thing.tenant,
        "device_id": key.thing.device,
        "name": key.name,
        "version": document.version,
        "is_deleted": not document.exists,
        "desired": document.desired.state,
        "reported": document.reported.state,
        "stamps": {"desired": document.desired.stamps, "reported": document.reported.stamps},
        "recent": document.recent,
    }
