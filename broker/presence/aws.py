"""Presence with AWS IoT Core as the broker: its lifecycle events, taken in and acknowledged once they are kept."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import msgspec
import structlog
from prometheus_client import Counter

from broker import policy, store
from broker.presence import lifecycle
from broker.presence.attendance import Attendance
from broker.presence.lifecycle import Lifecycle
from broker.presence.model import Source
from core import topics
from core.clock import Clock, epoch_ms
from core.db import Database, Tx
from core.metrics import READY
from core.mqtt import Message, MqttConnection, keep_connected
from core.tenancy import Thing

STALE = Counter("milkrun_broker_lifecycle_stale_total", "Lifecycle events that were older than what was known")
REFUSED = Counter("milkrun_broker_lifecycle_refused_total", "Lifecycle events that could not be read")

CLIENT_ID = f"{policy.BROKER}-presence"
_TAKE_EVERY_S = 0.05
_log = structlog.get_logger()

type Resume = Callable[[str, Callable[[Message], None]], Awaitable[MqttConnection]]


class LifecycleWatch:
    """One an AWS account. `resume(client_id, on_message)` opens a connection whose session the broker keeps.

    A disconnect counts after the grace, as AWS advises; which one runs is in the database, so our own restart takes
    nobody offline and forgets nobody who left. What came while we were away for longer than the session is kept, no
    event tells: such a thing is put right by its next event.
    """

    def __init__(
        self, *, resume: Resume, grace_s: float, database: Database, cut: Callable[[str], None], clock: Clock
    ) -> None:
        self._resume = resume
        self._grace_ms = int(grace_s * 1000)
        self._clock = clock
        self._attendance = Attendance(database=database, tell=None, cut=cut, clock=clock)
        self._waiting: list[Message] = []
        self._unacknowledged: list[int] = []
        self._unnoted: set[str] = set()
        self._in_grace: set[str] = set()

    async def run(self) -> None:
        """Watch until cancelled; outages of the broker and of the database are waited out."""
        await self._attendance.load()
        self._in_grace = {thing for thing in self._attendance.online() if self._attendance.is_leaving(thing)}
        await keep_connected(
            lambda: self._resume(CLIENT_ID, self._waiting.append),
            self._session,
            report=lambda error: _log.warning("broker.link_lost", error=str(error)),
            longest_pause_s=5.0,
        )

    async def _session(self, connection: MqttConnection) -> None:
        await connection.subscribe([topics.presence("+", kind) for kind in ("connected", "disconnected")])
        READY.set(1)
        try:
            while not connection.lost.done():
                await self._step(connection)
                await asyncio.wait([connection.lost], timeout=_TAKE_EVERY_S)
        finally:
            READY.set(0)
            # They come again on the next connection.
            self._waiting.clear()
            self._unacknowledged.clear()
        connection.lost.result()

    async def _step(self, connection: MqttConnection) -> None:
        taken, self._waiting[:] = list(self._waiting), []
        for message in taken:
            self.take(message.payload)
        self._unacknowledged += [message.packet_id for message in taken if message.packet_id]
        attendance = self._attendance
        attendance.settle()
        self._unnoted |= {thing for thing in self._in_grace if not attendance.is_leaving(thing)}
        if not await attendance.announce(self._note if self._unnoted else None):
            return
        self._in_grace -= self._unnoted
        self._in_grace |= {thing for thing in self._unnoted if attendance.is_leaving(thing)}
        self._unnoted.clear()
        connection.ack(self._unacknowledged)
        self._unacknowledged.clear()

    def take(self, payload: bytes) -> None:
        """Take one event in, unless it is older than what is known."""
        try:
            event = lifecycle.parse(payload)
        except msgspec.DecodeError as error:
            REFUSED.inc()
            _log.error("broker.lifecycle_refused", error=str(error))
            return
        if not Thing.is_name(event.client_id):
            return
        known = self._attendance.of(event.client_id)
        if not lifecycle.is_news(known, event):
            STALE.inc()
            return
        self._apply(event, is_known=known is not None)

    def _apply(self, event: Lifecycle, *, is_known: bool) -> None:
        thing, attendance = event.client_id, self._attendance
        if not event.is_gone:
            attendance.arrive(
                thing, session=event.session_identifier, at_ms=event.timestamp, ip_address=event.ip_address
            )
        elif is_known:
            # The grace runs from when we hear of it: the event's own time may be off by minutes.
            waits_ms = epoch_ms(self._clock()) + self._grace_ms - event.timestamp
            attendance.leave(thing, at_ms=event.timestamp, reason=event.reason, grace_ms=waits_ms)
        else:
            attendance.left_before(
                thing,
                session=event.session_identifier,
                at_ms=event.timestamp,
                reason=event.reason,
                ip_address=event.ip_address,
            )
        now = attendance.of(thing)
        assert now is not None
        attendance.put(replace(now, source=Source(event.version_number, event.timestamp)))
        self._unnoted.add(thing)

    async def _note(self, tx: Tx) -> None:
        known = [self._attendance.of(thing) for thing in self._unnoted]
        await store.note(tx, [presence for presence in known if presence is not None])
