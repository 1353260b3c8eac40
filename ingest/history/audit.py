"""Counting what arrived: a device's own record of what it sent, against what the store holds."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

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
    missing: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Audit") -> None:
        self.sent += other.sent
        self.stored += other.stored
        self.duplicates += other.duplicates
        self.missing += other.missing
        self.rejected += other.rejected


async def audit(
    tx: TenantTx, device: DeviceId, sent: Iterable[Name], *, measured_since: datetime, received_since: datetime
) -> Audit:
    """Compare the names a device sent with the rows and dead letters of the tenant; each sample had a position."""
    missing = set(sent)
    result = Audit(sent=len(missing))
    params = {"device": device, "boots": sorted({boot for boot, _ in missing}), "since": measured_since}
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
    result.missing = len(missing)
    return result


def _names(payload: bytes) -> set[Name]:
    try:
        found = _decode_names(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return set()
    return {(each.boot, each.seq) for each in (found if isinstance(found, list) else [found])}
