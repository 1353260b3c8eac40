"""One channel in this process: its last events, and the groups of subscriptions they are sent to."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from prometheus_client import Counter, Histogram

from api.live.stream import frames
from api.live.stream.client import Subscription
from api.live.stream.filters import Peek, Selection, peek
from api.live.stream.frames import Frame
from core.channels import Batch, Channel, Position

EVENTS = Counter("milkrun_live_events_total", "Events read from channel logs for this process's clients", ["channel"])
SECONDS = Histogram(
    "milkrun_live_publish_to_send_seconds",
    "From the commit of the news to its frames being sent, once a batch",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.15, 0.3, 0.5, 1, 2.5, 5, 30),
)

_MOST_IN_FRAME = 1000
_KEEP_S = 3.0
"""Events of the last seconds are kept whatever their number: a snapshot's position may be a second old."""


class OutOfPlace(Exception):
    """The next batch does not follow on the last one: the log was lost, or a part of it was not kept."""


@dataclass(frozen=True)
class Tick:
    """Events that travel together: `first` to `last`, whole JSON each."""

    epoch: int
    first: int
    told: list[bytes]
    at: float

    @property
    def last(self) -> int:
        return self.first + len(self.told) - 1

    @cached_property
    def peeks(self) -> list[Peek]:
        """Looked into at most once, and only where a filter or a slow client asks."""
        return [peek(event) for event in self.told]


class Group:
    """Subscriptions of the same name with the same filter: what one of them gets, all of them get."""

    def __init__(self, subscription: str, channel: str, selection: Selection) -> None:
        self.members: set[Subscription] = set()
        self.selection = selection
        self._subscription = subscription
        self._channel = channel

    def send(self, tick: Tick) -> None:
        chosen = self._chosen(tick, self.selection)
        if not chosen:
            return
        position = Position(tick.epoch, tick.last)
        reveal = self.selection.reveal
        told = tick.told if self.selection.is_everything else [reveal(tick.told[n]) for n in chosen]
        frame = frames.events(self._subscription, self._channel, position, told)
        for member in tuple(self.members):
            client = member.client
            if client.has_room(member, frame):
                client.tell_events(frame)
            else:
                peeks = tick.peeks
                waits = [(tick.first + n, event, peeks[n]) for n, event in zip(chosen, told, strict=True)]
                client.conflate(member, position, waits)

    def replay(self, ticks: Sequence[Tick], selection: Selection) -> list[Frame]:
        """Frames of all that passes, for one member."""
        told = [selection.reveal(tick.told[n]) for tick in ticks for n in self._chosen(tick, selection)]
        if not told:
            return []
        last = ticks[-1]
        position = Position(last.epoch, last.last)
        parts = [told[at : at + _MOST_IN_FRAME] for at in range(0, len(told), _MOST_IN_FRAME)]
        # A frame before the last one stands where its last event does, which is in its first bytes: {"offset":N,...
        stands = [*(Position(last.epoch, _offset(part[-1])) for part in parts[:-1]), position]
        return [
            frames.events(self._subscription, self._channel, at, part) for at, part in zip(stands, parts, strict=True)
        ]

    @staticmethod
    def _chosen(tick: Tick, selection: Selection) -> Sequence[int]:
        if selection.is_everything:
            return range(len(tick.told))
        return [n for n, about in enumerate(tick.peeks) if selection.passes(about)]


def _offset(event: bytes) -> int:
    return int(event[10 : event.index(b",")])


class Feed:
    """A followed channel. `position` None: it lost its place, and its subscriptions wait to be started over."""

    def __init__(self, channel: Channel, *, keep_events: int) -> None:
        self.channel = channel
        self.position: Position | None = None
        self.used_at = time.monotonic()
        self.behind_at: int | None = None
        """the offset at which the last look found the log ahead of this feed"""
        self._keep_events = keep_events
        self._ticks: deque[Tick] = deque()
        self._kept = 0
        self._groups: dict[tuple[object, ...], Group] = {}

    @property
    def subscriptions(self) -> list[Subscription]:
        return [member for group in self._groups.values() for member in group.members]

    def start(self, position: Position) -> None:
        """Follow from `position` on, with nothing remembered."""
        self.position = position
        self.behind_at = None
        self._ticks.clear()
        self._kept = 0

    def take(self, batches: Sequence[Batch], now_ms: int) -> Iterator[Tick]:
        """Remember and send batches; yields each tick after it was sent. Raises OutOfPlace."""
        told: list[bytes] = []
        assert self.position is not None
        first = self.position.offset + 1
        for batch in batches:
            if batch.epoch != self.position.epoch or batch.first != first + len(told):
                raise OutOfPlace
            told += [b'{"offset":%d,%b' % (batch.first + n, event) for n, event in enumerate(batch.events)]
            SECONDS.observe(max(0.0, (now_ms - batch.at_ms) / 1000))
        EVENTS.labels(self.channel.name.partition(":")[0]).inc(len(told))
        now = time.monotonic()
        for at in range(0, len(told), _MOST_IN_FRAME):
            tick = Tick(self.position.epoch, first + at, told[at : at + _MOST_IN_FRAME], now)
            self._ticks.append(tick)
            self._kept += len(tick.told)
            self.position = Position(tick.epoch, tick.last)
            for group in self._groups.values():
                group.send(tick)
            yield tick
        while self._kept - len(self._ticks[0].told) >= self._keep_events and self._ticks[0].at < now - _KEEP_S:
            self._kept -= len(self._ticks.popleft().told)

    def join(self, subscription: Subscription, key: tuple[object, ...], selection: Selection) -> tuple[Group, bool]:
        """Put a subscription into its group; the second part of the answer says whether the group is new."""
        group = self._groups.get(key)
        is_new = group is None
        if group is None:
            group = self._groups[key] = Group(subscription.id, self.channel.name, selection)
        group.members.add(subscription)
        subscription.feed, subscription.group = self, group
        return group, is_new

    def leave(self, subscription: Subscription) -> None:
        group, subscription.group = subscription.group, None
        subscription.waiting = None
        if group is None:
            return
        group.members.discard(subscription)
        if not group.members:
            self._groups = {key: each for key, each in self._groups.items() if each is not group}
        self.used_at = time.monotonic()

    @property
    def oldest(self) -> int:
        """The offset of the first event remembered, or the next one's."""
        assert self.position is not None
        return self._ticks[0].first if self._ticks else self.position.offset + 1

    def prepend(self, batches: Sequence[Batch], first: int) -> None:
        """Remember older events, `first` up to the oldest remembered."""
        assert self.position is not None
        oldest = self.oldest
        told = [
            b'{"offset":%d,%b' % (batch.first + n, event)
            for batch in batches
            for n, event in enumerate(batch.events)
            if first <= batch.first + n < oldest
        ]
        assert len(told) == oldest - first
        self._ticks.appendleft(Tick(self.position.epoch, first, told, time.monotonic()))
        self._kept += len(told)

    def since(self, offset: int) -> list[Tick]:
        """The remembered events after `offset`, which must not be before the oldest one."""
        found: list[Tick] = []
        for tick in reversed(self._ticks):
            if tick.last <= offset:
                break
            if tick.first <= offset:
                tick = Tick(tick.epoch, offset + 1, tick.told[offset + 1 - tick.first :], tick.at)  # noqa: PLW2901
            found.append(tick)
        found.reverse()
        return found
