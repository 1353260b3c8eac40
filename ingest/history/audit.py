"""Counting what arrived: a device's own record of what it sent, against what the store holds."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

import msgspec

from core.db import TenantTx
from core.tenancy import DeviceId, Thing
from ingest.history.export import QUERIES

type Name = tuple[str, int]
"""What a device calls a sample: boot and seq."""


class _Named(msgspec.Struct):
    boot: str = ""
    seq: int = -1


_decode_names = msgspec.json.Decoder(_Named | list[_Named]).decode


@dataclass(slots=True)
class Audit:
    """Of the samples sent: `stored`; `rejected` by reason, their dead letters kept; `missing` without a trace.

    `duplicates` counts the rows that are there beyond one a sample.
    """

    sent: int = 0
    stored: int = 0
    duplicates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    missing: set[Name] = field(default_factory=set)

    def add(self, other: Self) -> None:
        """Take in the counts of another device; which samples of it are missing is not kept apart."""
        self.sent += other.sent
        self.stored += other.stored
        self.duplicates += other.duplicates
        self.rejected += other.rejected
        self.missing |= other.missing


async def audit(
    tx: TenantTx, device: DeviceId, sent: Iterable[Name], *, measured_since: datetime, received_since: datetime
) -> Audit:
    """Compare the names a device sent with the rows and dead letters of the tenant; each sample had a position."""
    missing = set(sent)
    result = Audit(sent=len(missing), missing=missing)
    boots = sorted({boot for boot, _ in missing})
    params = {"device": device, "boots": boots, "since": measured_since}
    for row in await tx.all(QUERIES["audit_positions"], params):
        if (name := (row["boot"], row["seq"])) in missing:
            missing.remove(name)
            result.stored += 1
            result.duplicates += row["copies"] - 1
    thing = str(Thing(tx.tenant, device))
    for row in await tx.all(QUERIES["audit_letters"], {"thing": thing, "since": received_since}):
        refused = _names(row["payload"]) & missing
        missing -= refused
        if refused:
            result.rejected[row["reason"]] += len(refused)
    return result


def _names(payload: bytes) -> set[Name]:
    try:
        found = _decode_names(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return set()
    return {(each.boot, each.seq) for each in (found if isinstance(found, list) else [found])}
