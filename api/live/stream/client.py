"""One client's side of the stream: what waits for it, in order and within bounds.

While a client takes what it is sent, frames go straight to it. What it does not take waits; above a bound positions
wait as the latest of each device (conflated), above a second one the client is cut.
"""

import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from prometheus_client import Counter

from api.access import Principal
from api.live.stream import frames
from api.live.stream.filters import Peek
from api.live.stream.frames import Close, Frame
from core.channels import Position
from core.settings import LiveSettings
from core.tenancy import TenantId

if TYPE_CHECKING:
    from api.live.stream.feed import Feed, Group

CONFLATED = Counter(
    "milkrun_live_conflated_total", "Positions and arrivals left out because newer ones of the device waited too"
)
DISCONNECTS = Counter("milkrun_live_disconnects_total", "Live connections ended by the server, by close code", ["code"])
SENT = Counter("milkrun_live_frames_total", "Frames handed to clients' connections")

# Each holds whole what the one before it said; a channel has one of these types.
_CONFLATED = frozenset({"position", "arrivals"})


class Sink(Protocol):
    """A connection as its client sees it."""

    @property
    def is_ready(self) -> bool:
        """Whether a frame may be written at once."""
        ...

    def write(self, frame: Frame) -> None: ...

    def wake(self) -> None:
        """Something waits; take it by `Client.take` when there is room."""
        ...

    def unsent(self) -> int:
        """Bytes written and not yet taken by the network."""
        ...

    def close(self, code: Close, reason: str) -> None: ...


class Subscription:
    """A client's wish to hear of one channel. It is in a group while events are sent to it."""

    __slots__ = ("channel", "client", "feed", "group", "id", "waiting")

    def __init__(self, id_: str, channel: str, client: "Client") -> None:
        self.id = id_
        self.channel = channel
        self.client = client
        self.feed: Feed | None = None
        self.group: Group | None = None
        self.waiting: Conflation | None = None


class Conflation:
    """Events of one subscription that wait: the latest position or arrivals of each device, and every other event."""

    __slots__ = ("_latest", "_others", "_subscription", "epoch", "left_out", "size", "upto")

    def __init__(self, subscription: Subscription, epoch: int) -> None:
        self._subscription = subscription
        self._latest: dict[str | None, tuple[int, bytes]] = {}
        self._others: list[tuple[int, bytes]] = []
        self.epoch = epoch
        self.upto = self.size = self.left_out = 0

    def add(self, offset: int, event: bytes, about: Peek) -> None:
        if about.type in _CONFLATED:
            before = self._latest.get(about.data.device)
            if before is not None:
                self.size -= len(before[1])
                self.left_out += 1
                CONFLATED.inc()
            self._latest[about.data.device] = (offset, event)
        else:
            self._others.append((offset, event))
        self.size += len(event)

    def frame(self) -> Frame:
        self._subscription.waiting = None
        told = [event for _, event in sorted((*self._latest.values(), *self._others))]
        position = Position(self.epoch, self.upto)
        subscription = self._subscription
        return frames.events(subscription.id, subscription.channel, position, told, is_conflated=self.left_out > 0)


class Client:
    """A live connection. `tell` and `tell_events` never wait; `cut` ends it with the reason told first."""

    def __init__(self, sink: Sink, *, tenant: TenantId, principal: Principal, settings: LiveSettings) -> None:
        self.tenant = tenant
        self.principal = principal
        self.subscriptions: dict[str, Subscription] = {}
        self.is_cut = False
        self._sink = sink
        self._settings = settings
        self._queue: deque[Frame | Conflation] = deque()
        self._queued = 0
        self._handed = 0
        self._seen = (0, 0)
        self._seen_at = time.monotonic()

    @property
    def queued(self) -> int:
        """Bytes of events that wait."""
        return self._queued

    def tell(self, frame: Frame) -> None:
        """Answers, snapshots, replays: bounded by what the client asked for, so they count for nothing."""
        if self.is_cut:
            return
        for subscription in self.subscriptions.values():
            subscription.waiting = None  # what comes after this frame must not be merged into what waits before it
        self._append(frame, 0)

    def has_room(self, subscription: Subscription, frame: Frame) -> bool:
        """Whether the events of a tick can go to it as they are, or must be conflated."""
        if subscription.waiting is not None:
            return False
        is_idle = not self._queue and self._sink.is_ready
        return is_idle or self._queued + len(frame.text) <= self._settings.conflate_above_bytes

    def tell_events(self, frame: Frame) -> None:
        """The events of a tick, as all in their group get them."""
        if not self.is_cut:
            self._append(frame, len(frame.text))

    def conflate(self, subscription: Subscription, position: Position, told: Sequence[tuple[int, bytes, Peek]]) -> None:
        """The same for a client that is behind; `position` is that after the tick."""
        waiting = subscription.waiting
        if waiting is None or waiting.epoch != position.epoch:
            waiting = subscription.waiting = Conflation(subscription, position.epoch)
            self._queue.append(waiting)
        before = waiting.size
        for offset, event, about in told:
            waiting.add(offset, event, about)
        waiting.upto = position.offset
        self._queued += waiting.size - before
        self._judge()

    def take(self) -> Frame | None:
        """The next frame to write, or None."""
        if not self._queue:
            return None
        item = self._queue.popleft()
        self._handed += 1
        if isinstance(item, Conflation):
            self._queued -= item.size
            return item.frame()
        if item.type == "events":
            self._queued = max(0, self._queued - len(item.text))
        return item

    def pump(self) -> None:
        """Write what waits while there is room."""
        while self._sink.is_ready and (frame := self.take()) is not None:
            SENT.inc()
            self._sink.write(frame)

    def cut(self, code: Close, error: str, detail: str) -> None:
        """End the connection: what waits is given up, the error is told, the close follows."""
        if self.is_cut:
            return
        self.is_cut = True
        DISCONNECTS.labels(str(int(code))).inc()
        self._queue.clear()
        self._queued = 0
        self._queue.append(frames.error(error, detail))
        self._sink.wake()
        self._sink.close(code, error)

    def send_away(self, after_ms: int) -> None:
        """End the connection because this process stops; the client comes back after `after_ms`."""
        if self.is_cut:
            return
        self.is_cut = True
        DISCONNECTS.labels(str(int(Close.RESTART))).inc()
        self._queue.append(frames.message("reconnect", after_ms=after_ms))
        self._sink.wake()
        self._sink.close(Close.RESTART, f"after_ms={after_ms}")

    def is_stalled(self, now: float) -> bool:
        """Whether something waits and the network took nothing of it for too long. To be asked every second or so."""
        unsent = self._sink.unsent()
        seen = (self._handed, unsent)
        if seen != self._seen or (unsent == 0 and not self._queue):
            self._seen = seen
            self._seen_at = now
        return now - self._seen_at > self._settings.stall_s

    def _append(self, frame: Frame, size: int) -> None:
        if not self._queue and self._sink.is_ready:
            SENT.inc()
            self._handed += 1
            self._sink.write(frame)
            return
        self._queue.append(frame)
        self._queued += size
        self._sink.wake()
        self._judge()

    def _judge(self) -> None:
        if self._queued > self._settings.queue_bytes:
            self.cut(
                Close.TOO_SLOW,
                "too_slow",
                f"over {self._settings.queue_bytes} bytes of events wait for you: read faster, or filter",
            )
