"""A device's named signals over time: last values, raw rows, and buckets of any width that whole seconds make.

Buckets are counted from 1970-01-01 UTC on. Those of whole hours and minutes come out of the rollups; minutes that these
do not have yet are added from the rows, in the same statement, so that a reader misses nothing that was committed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import LiteralString

from core.db import TenantTx
from core.tenancy import DeviceId
from ingest.history.export import QUERIES, Span

LADDER_S: Sequence[int] = (10, 30, 60, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 604_800)
"""Widths that `fitting_width_s` chooses from: those that people read easily."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_LOOK = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Last:
    """A signal's last value: a number (flags are 0 and 1) or a text."""

    name: str
    ts: datetime
    value: float | None
    text: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """A stored value of a signal. `(ts, boot, seq)` is its place in the order; `seq` < 0: the device gave none."""

    ts: datetime
    boot: str
    seq: int
    value: float | None
    text: str | None


@dataclass(frozen=True, slots=True)
class Bucket:
    """The numbers of a signal from `ts` on, one width long; there is none where nothing was measured."""

    ts: datetime
    avg: float
    min: float
    max: float
    last: float
    count: int


async def last_values(tx: TenantTx, device: DeviceId, since: datetime) -> list[Last]:
    """Every signal measured since then, by name."""
    rows = await tx.all(QUERIES["last_metrics"], {"device": device, "since": since})
    return [Last(**row) for row in rows]


async def raw(tx: TenantTx, name: str, span: Span, *, after: tuple[datetime, str, int] | None, limit: int) -> list[Row]:
    """The first `limit` rows of the span, those after the place `after` where it is given."""
    found: list[Row] = []
    since, width = span.since if after is None else max(after[0], span.since), _FIRST_LOOK
    # A look at a stretch at a time: the tenant's view gives rows in no order, and to sort all of a month for one page
    # would be a waste.
    while len(found) < limit and since < span.until:
        until = min(since + width, span.until)
        at, boot, seq = after or (span.since, "", -(2**63))
        place = {"after_ts": at, "after_boot": boot, "after_seq": seq, "is_first": after is None}
        stretch = {"device": span.device, "name": name, "since": since, "until": until, "limit": limit - len(found)}
        found += [Row(**row) for row in await tx.all(QUERIES["raw_metrics"], stretch | place)]
        since, width = until, width * 4
    return found


async def buckets(tx: TenantTx, name: str, span: Span, width_s: int) -> list[Bucket]:
    """The span's buckets in order; span and width as `whole` gives them."""
    params = {**span.params(), "name": name, "width": timedelta(seconds=width_s)}
    return [Bucket(**row) for row in await tx.all(_query(width_s), params)]


def whole(span: Span, width_s: int) -> Span:
    """The span widened to whole buckets."""
    width = timedelta(seconds=width_s)
    since = span.since - (span.since - _EPOCH) % width
    return Span(span.device, since, span.until + (_EPOCH - span.until) % width)


def count_of(span: Span, width_s: int) -> int:
    """How many buckets a span has room for."""
    widened = whole(span, width_s)
    return (widened.until - widened.since) // timedelta(seconds=width_s)


def fitting_width_s(span: Span, points: int) -> int:
    """The narrowest width of the ladder, or whole weeks beyond it, that needs at most `points` buckets."""
    for width_s in LADDER_S:
        if count_of(span, width_s) <= points:
            return width_s
    weeks = 2
    while count_of(span, weeks * LADDER_S[-1]) > points:
        weeks *= 2
    return weeks * LADDER_S[-1]


def _query(width_s: int) -> LiteralString:
    if width_s % 3600 == 0:
        return QUERIES["metric_buckets_of_hours"]
    return QUERIES["metric_buckets_of_minutes" if width_s % 60 == 0 else "metric_buckets_of_rows"]
