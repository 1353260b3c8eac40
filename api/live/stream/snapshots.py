"""Snapshots: a channel's position first, then the state that holds at least all up to it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from prometheus_client import Counter

from api.live.stream.feed import Feed, OutOfPlace
from api.live.stream.filters import Selection
from core.channels import Position

QUERIES = Counter("milkrun_live_snapshot_queries_total", "Snapshots read from the database, each for all who ask then")

_FRESH_S = 1.0
_FEW = 100


class Line(Protocol):
    """The state of a vehicle or a trip: its JSON, and what filters ask for."""

    @property
    def device(self) -> str | None: ...
    @property
    def lat(self) -> float | None: ...
    @property
    def lon(self) -> float | None: ...
    @property
    def item(self) -> bytes: ...
    @property
    def labels(self) -> Mapping[str, object]: ...


@dataclass(frozen=True)
class Snapshot:
    """State as it was at `position` or later."""

    position: Position
    lines: Sequence[Line]
    at: float

    @cached_property
    def whole(self) -> bytes:
        return b"[%b]" % b",".join(line.item for line in self.lines)

    def chosen(self, selection: Selection) -> bytes:
        """What passes, as a JSON array."""
        if selection.is_everything:
            return self.whole
        shown = [
            selection.reveal(line.item)
            for line in self.lines
            if selection.shows(line.device, line.labels if selection.wanted.labels else {}, line.lat, line.lon)
        ]
        return b"[%b]" % b",".join(shown)


class Snapshots:
    """Reads a snapshot of a feed, at most one at a time and at most about once a second however many ask."""

    def __init__(self, load: Callable[[Feed], Awaitable[Sequence[Line]]]) -> None:
        self._load = load
        self._last: dict[Feed, Snapshot] = {}
        self._running: dict[Feed, asyncio.Task[Snapshot]] = {}

    async def get(self, feed: Feed) -> Snapshot:
        """A snapshot the feed can go on from. Raises OutOfPlace when the feed lost its place meanwhile."""
        if feed.position is None:
            raise OutOfPlace
        last = self._last.get(feed)
        if last is not None and self._is_usable(feed, last) and self._is_fresh(feed.position, last):
            return last
        running = self._running.get(feed)
        if running is None:
            running = self._running[feed] = asyncio.create_task(self._read(feed, feed.position))
            running.add_done_callback(lambda _: self._running.pop(feed, None))
        # One who gives up must not take the snapshot from the others.
        snapshot = await asyncio.shield(running)
        if not self._is_usable(feed, snapshot):
            raise OutOfPlace
        return snapshot

    def forget(self, feed: Feed) -> None:
        self._last.pop(feed, None)

    async def _read(self, feed: Feed, position: Position) -> Snapshot:
        QUERIES.inc()
        snapshot = Snapshot(position, await self._load(feed), time.monotonic())
        self._last[feed] = snapshot
        return snapshot

    @staticmethod
    def _is_fresh(position: Position, snapshot: Snapshot) -> bool:
        """Not old, and what came since is less to send than another snapshot would be."""
        behind = position.offset - snapshot.position.offset
        return time.monotonic() - snapshot.at < _FRESH_S and behind <= max(_FEW, len(snapshot.lines))

    @staticmethod
    def _is_usable(feed: Feed, snapshot: Snapshot) -> bool:
        position = feed.position
        return (
            position is not None
            and snapshot.position.epoch == position.epoch
            and snapshot.position.offset >= feed.oldest - 1
        )
