"""Keeps tables `presence` and `presence_span`, and announces who came and who went."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from prometheus_client import Counter, Gauge

from broker import store
from broker.presence import model
from broker.presence.model import Change, EventType, Presence
from core import outbox, topics
from core.clock import Clock, epoch_ms
from core.db import Database, DatabaseUnavailable, Tx
from core.errors import MilkrunError
from core.events import DeviceConnected, DeviceDisconnected, Event

CHANGES = Counter("milkrun_broker_presence_changes_total", "Presence events told to subscribers", ["event"])
FLAPS = Counter("milkrun_broker_presence_flaps_total", "Connections that ended and came back within the grace")
ONLINE = Gauge("milkrun_broker_devices_online", "Devices online, as told to subscribers")
UNTOLD = Counter("milkrun_broker_presence_untold_total", "Presence events that could not be published over MQTT")

_LOAD_AGAIN_S = 1.0
_log = structlog.get_logger()

type Tell = Callable[[str, bytes], Awaitable[None]]
type Alongside = Callable[[Tx], Awaitable[None]]


class Attendance:
    """Every thing's presence, in memory and in the database. One a broker.

    `tell(topic, payload)` publishes over MQTT and raises ConnectionLost when it cannot; None where the broker publishes
    its own. `cut(thing)` is called for a thing that is connected and may not be.
    """

    def __init__(self, *, database: Database, tell: Tell | None, cut: Callable[[str], None], clock: Clock) -> None:
        self._database = database
        self._tell = tell
        self._cut = cut
        self._clock = clock
        self._presences: dict[str, Presence] = {}
        self._leaving: set[str] = set()
        self._unsaved: list[Change] = []

    async def load(self) -> None:
        """Read what was known last; an outage of the database is waited out."""
        while True:
            try:
                async with self._database.unscoped(reason="one broker carries every tenant's devices") as tx:
                    self._presences = {p.thing: p for p in await store.load(tx)}
            except DatabaseUnavailable as error:
                _log.warning("broker.presence_waiting", error=str(error))
                await asyncio.sleep(_LOAD_AGAIN_S)
            else:
                self._leaving = {p.thing for p in self._presences.values() if p.leaving}
                ONLINE.set(sum(p.online for p in self._presences.values()))
                return

    def of(self, thing: str) -> Presence | None:
        return self._presences.get(thing)

    def online(self) -> list[str]:
        """The things that are online, those in their grace included."""
        return [p.thing for p in self._presences.values() if p.online]

    def is_leaving(self, thing: str) -> bool:
        """Its connection ended and its grace runs."""
        return thing in self._leaving

    def arrive(self, thing: str, *, session: str, at_ms: int, ip_address: str) -> None:
        """A connection of the thing began."""
        after, change = model.connected(
            self._presences.get(thing), thing=thing, session=session, at_ms=at_ms, ip_address=ip_address
        )
        self._presences[thing] = after
        if thing in self._leaving:
            self._leaving.remove(thing)
            FLAPS.inc()
        if change:
            self._unsaved.append(change)

    def leave(self, thing: str, *, at_ms: int, reason: str, grace_ms: int) -> bool:
        """A connection of the thing ended; whether that is news."""
        before = self._presences.get(thing)
        if before is None or not before.online or before.leaving is not None:
            return False
        self._presences[thing] = model.disconnected(before, at_ms=at_ms, reason=reason, grace_ms=grace_ms)
        self._leaving.add(thing)
        return True

    def left_before(self, thing: str, *, session: str, at_ms: int, reason: str, ip_address: str) -> None:
        """The first that is heard of a thing is that it left."""
        self._presences[thing], change = model.absent(
            thing=thing, session=session, at_ms=at_ms, reason=reason, ip_address=ip_address
        )
        self._unsaved.append(change)

    def restarted(self, *, at_ms: int, reason: str, grace_ms: int) -> list[str]:
        """The broker began anew: every connection is gone. Those that were there and have the grace to come back."""
        online = self.online()
        for thing in online:
            if not self.leave(thing, at_ms=at_ms, reason=reason, grace_ms=grace_ms):
                self.put(model.excused(self._presences[thing], until_ms=at_ms + grace_ms))
        return online

    def put(self, presence: Presence) -> None:
        """Replace what is known of a thing beside its state."""
        self._presences[presence.thing] = presence

    def settle(self) -> None:
        """Those whose grace is over are offline."""
        now_ms = epoch_ms(self._clock())
        for thing in list(self._leaving):
            self._presences[thing], change = model.settle(self._presences[thing], now_ms=now_ms)
            if change:
                self._leaving.remove(thing)
                self._unsaved.append(change)

    async def announce(self, alongside: Alongside | None = None) -> bool:
        """Tell what is unsaved: MQTT first, then one transaction of rows, bus news and `alongside`. False: it waits.

        A crash in between repeats the MQTT events under the same version numbers; none is left out.
        """
        if not self._unsaved and alongside is None:
            return True
        changes = list(self._unsaved)
        try:
            await self._tell_all(changes)
            async with self._database.unscoped(reason="one broker carries every tenant's devices") as tx:
                newest = {change.presence.thing: change.presence for change in changes}
                known = await store.save(tx, list(newest.values()))
                told = [change for change in changes if change.presence.thing in known]
                await store.remember(tx, [change.presence for change in told])
                await outbox.add(tx, [_news(change) for change in told])
                barred = await store.barred(tx, [name for name, presence in newest.items() if presence.online])
                if alongside is not None:
                    await alongside(tx)
        except DatabaseUnavailable as error:
            _log.warning("broker.presence_waiting", error=str(error))
            return False
        for thing in barred:
            # A resumed TLS 1.2 session is not checked against the revocation list again; the registry is.
            self._cut(thing)
        del self._unsaved[: len(changes)]
        for change in changes:
            CHANGES.labels(change.event.value).inc()
        ONLINE.set(sum(p.online for p in self._presences.values()))
        return True

    async def _tell_all(self, changes: Sequence[Change]) -> None:
        if self._tell is None:
            return
        tasks = [
            self._tell(topics.presence(change.presence.thing, change.event.value), model.payload(change))
            for change in changes
        ]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, MilkrunError | TimeoutError):
                UNTOLD.inc()
            elif isinstance(result, BaseException):
                raise result


async def keep_bounded(database: Database, *, days: int, turns: int, every_s: float) -> None:
    """Drop what is too old or too much of the timeline now and then, until cancelled.

    A tenant that keeps its telemetry for fewer days keeps this for as many. Of each device the turn before the oldest
    day stays, so that the state at that day's beginning is known.
    """
    while True:
        try:
            async with database.unscoped(reason="the timeline of every tenant's devices is bounded") as tx:
                await store.forget(tx, days=days, turns=turns)
        except DatabaseUnavailable as error:
            _log.warning("broker.presence_waiting", error=str(error))
        await asyncio.sleep(every_s)


def _news(change: Change) -> Event:
    told = change.presence
    if change.event is EventType.CONNECTED:
        return DeviceConnected(thing=told.thing, at=told.since_ms, session=told.session, version=told.version)
    return DeviceDisconnected(
        thing=told.thing, at=told.since_ms, session=told.session, version=told.version, reason=told.reason or ""
    )
