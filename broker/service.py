"""Watches the broker: presence for subscribers, and the guard that cuts devices reaching outside their own space."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog
from prometheus_client import Counter, Gauge

from broker import policy, presence, signals, store
from broker.mosquitto import BrokerControl
from broker.presence import Change, EventType, Presence
from broker.revocation import RevocationListMissing, RevocationListNotNewer
from broker.signals import Line, LogTail, Signal
from core import outbox, topics
from core.clock import Clock, epoch_ms
from core.db import Database, DatabaseUnavailable
from core.errors import MilkrunError
from core.events import DeviceConnected, DeviceDisconnected, Event, Issued
from core.metrics import READY
from core.mqtt import ConnectionLost, ConnectOptions, MqttConnection, keep_connected, tls_context
from core.settings import MqttSettings
from core.tenancy import Thing

CHANGES = Counter("milkrun_broker_presence_changes_total", "Presence events told to subscribers", ["event"])
FLAPS = Counter("milkrun_broker_presence_flaps_total", "Connections that ended and came back within the grace")
ONLINE = Gauge("milkrun_broker_devices_online", "Devices online, as told to subscribers")
KICKS = Counter("milkrun_broker_kicks_total", "Live sessions cut", ["reason"])
KICK_FAILURES = Counter("milkrun_broker_kick_failures_total", "Sessions that could not be cut")
DROPPING = Counter("milkrun_broker_dropping_total", "Times the broker began to discard messages for a client")
UNTOLD = Counter("milkrun_broker_presence_untold_total", "Presence events that could not be published over MQTT")
SENT = Counter("milkrun_broker_sent_total", "Messages of other services published to devices")
LISTS_REFUSED = Counter("milkrun_broker_revocation_lists_refused_total", "Revocation lists that could not be installed")

RESTART_GRACE_S = 30.0  # devices come back with growing pauses after the broker was away
_READ_EVERY_S = 0.05
_LIST_EVERY_S = 0.25
_SEND_AGAIN_S = 0.2
_log = structlog.get_logger()

type Tell = Callable[[str, bytes], Awaitable[None]]


@dataclass(slots=True)
class _Leave:
    """Where in the log a thing left, while its grace runs: a restart must read from there again."""

    log: int
    start: int


class BrokerWatch:
    """One a broker. Reads its log, keeps table `presence`, announces changes, guards subscriptions.

    `tell(topic, payload)` publishes over MQTT and raises ConnectionLost when it cannot; the bus gets the news all the
    same. `position_file` remembers how far the log has been read, so that nothing is missed over our own restart
    and nobody goes offline because of it.
    """

    def __init__(
        self,
        *,
        log_file: Path,
        position_file: Path,
        grace_s: float,
        control: BrokerControl,
        database: Database,
        tell: Tell,
        clock: Clock,
    ) -> None:
        self._log_file = log_file
        self._position_file = position_file
        self._grace_ms = int(grace_s * 1000)
        self._control = control
        self._database = database
        self._tell = tell
        self._clock = clock
        self._presences: dict[str, Presence] = {}
        self._leaving: dict[str, _Leave] = {}
        self._cutting: dict[str, asyncio.Task[None]] = {}
        self._unsaved: list[Change] = []
        self._is_forgetful = False

    async def run(self) -> None:
        """Watch until cancelled; an outage of the database is waited out."""
        tail = self._resume()
        await self._load()
        try:
            while True:
                await self.step(tail)
                await asyncio.sleep(_READ_EVERY_S)
        finally:
            for task in self._cutting.values():
                task.cancel()

    async def step(self, tail: LogTail) -> None:
        """Take in what the log has gained, then tell what has changed."""
        before = tail.position
        while lines := list(tail.read()):
            for line in lines:
                signal = signals.parse(line.text)
                if signal is not None:
                    self._take(signal, line)
        self._settle()
        if self._unsaved and not await self._announce():
            return
        if tail.position != before or self._leaving:
            self._remember(tail)

    # --- one signal ---------------------------------------------------------------------------------------------

    def _take(self, signal: Signal, line: Line) -> None:
        match signal:
            case signals.Connected(client_id=thing, username=username):
                if username in policy.SERVICES:
                    self._leave(thing, signal.at_s, signals.SERVER_INITIATED, line)
                elif Thing.is_name(thing):
                    self._arrive(signal, line)
                else:
                    self._cut(thing, "not_a_thing")
            case signals.Disconnected(client_id=thing, reason=reason):
                self._leave(thing, signal.at_s, reason, line)
            case signals.Subscribed(client_id=thing, topic_filter=topic_filter):
                if Thing.is_name(thing) and not policy.allowed(
                    policy.Device(thing), policy.Action.SUBSCRIBE, topic_filter
                ):
                    _log.warning("broker.foreign_subscription", thing=thing, topic_filter=topic_filter[:200])
                    self._cut(thing, "foreign_subscription")
            case signals.Dropping(client_id=client_id):
                DROPPING.inc()
                _log.error("broker.dropping", client_id=client_id)
            case signals.Started():
                for thing in [p.thing for p in self._presences.values() if p.online]:
                    self._leave(
                        thing, signal.at_s, signals.SERVER_INITIATED, line, grace_ms=int(RESTART_GRACE_S * 1000)
                    )
            case _:
                pass

    def _arrive(self, signal: signals.Connected, line: Line) -> None:
        thing = signal.client_id
        before = self._presences.get(thing)
        # Named after the log line, so that a line read twice names the same session.
        session = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{line.log}:{line.start}:{thing}"))
        after, change = presence.connected(
            before, thing=thing, session=session, at_ms=self._at_ms(signal.at_s), ip_address=signal.ip_address
        )
        self._presences[thing] = after
        if self._leaving.pop(thing, None) is not None:
            FLAPS.inc()
        if change:
            self._unsaved.append(change)

    def _leave(self, thing: str, at_s: int, reason: str, line: Line, *, grace_ms: int | None = None) -> None:
        before = self._presences.get(thing)
        if before is None or not before.online or before.leaving is not None:
            return
        grace = self._grace_ms if grace_ms is None else grace_ms
        self._presences[thing] = presence.disconnected(before, at_ms=self._at_ms(at_s), reason=reason, grace_ms=grace)
        self._leaving[thing] = _Leave(line.log, line.start)

    def _settle(self) -> None:
        now_ms = epoch_ms(self._clock())
        for thing in list(self._leaving):
            self._presences[thing], change = presence.settle(self._presences[thing], now_ms=now_ms)
            if change:
                del self._leaving[thing]
                self._unsaved.append(change)

    def _at_ms(self, at_s: int) -> int:
        """The broker logs whole seconds; our clock, held inside that second, gives the rest."""
        return min(max(epoch_ms(self._clock()), at_s * 1000), at_s * 1000 + 999)

    # --- the guard ----------------------------------------------------------------------------------------------

    def _cut(self, client_id: str, reason: str) -> None:
        if client_id not in self._cutting:
            task = asyncio.create_task(self._cut_now(client_id, reason))
            self._cutting[client_id] = task
            task.add_done_callback(lambda _: self._cutting.pop(client_id, None))

    async def _cut_now(self, client_id: str, reason: str) -> None:
        try:
            await self._control.kick(client_id)
            KICKS.labels(reason).inc()
        except (MilkrunError, TimeoutError) as error:
            KICK_FAILURES.inc()
            _log.error("broker.kick_failed", client_id=client_id, reason=reason, error=str(error))

    # --- news ---------------------------------------------------------------------------------------------------

    async def _announce(self) -> bool:
        """Tell what is unsaved: MQTT first, then one transaction of rows and bus news. False when it has to wait.

        A crash in between repeats the MQTT events under the same version numbers; none is left out.
        """
        changes = list(self._unsaved)
        try:
            await self._tell_all(changes)
            async with self._database.unscoped(reason="one broker carries every tenant's devices") as tx:
                newest = {change.presence.thing: change.presence for change in changes}
                known = await store.save(tx, list(newest.values()))
                await outbox.add(tx, [_news(change) for change in changes if change.presence.thing in known])
                barred = await store.barred(tx, [name for name, told in newest.items() if told.online])
        except DatabaseUnavailable as error:
            _log.warning("broker.presence_waiting", error=str(error))
            return False
        for thing in barred:
            # A resumed TLS 1.2 session is not checked against the revocation list again; the registry is.
            self._cut(thing, "barred")
        del self._unsaved[: len(changes)]
        for change in changes:
            CHANGES.labels(change.event.value).inc()
        ONLINE.set(sum(p.online for p in self._presences.values()))
        return True

    async def _tell_all(self, changes: Sequence[Change]) -> None:
        tasks = [
            self._tell(topics.presence(change.presence.thing, change.event.value), presence.payload(change))
            for change in changes
        ]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, MilkrunError | TimeoutError):
                UNTOLD.inc()
            elif isinstance(result, BaseException):
                raise result

    # --- where we are -------------------------------------------------------------------------------------------

    async def _load(self) -> None:
        while True:
            try:
                async with self._database.unscoped(reason="one broker carries every tenant's devices") as tx:
                    self._presences = {p.thing: p for p in await store.load(tx)}
            except DatabaseUnavailable as error:
                _log.warning("broker.presence_waiting", error=str(error))
                await asyncio.sleep(1.0)
            else:
                ONLINE.set(sum(p.online for p in self._presences.values()))
                return

    def _resume(self) -> LogTail:
        try:
            log, offset = msgspec.json.decode(self._position_file.read_bytes(), type=tuple[int, int])
        except (FileNotFoundError, msgspec.DecodeError):
            log, offset = 0, 0
        return LogTail(self._log_file, log=log, offset=offset)

    def _remember(self, tail: LogTail) -> None:
        log, offset = tail.position
        offset = min((leave.start for leave in self._leaving.values() if leave.log == log), default=offset)
        temporary = self._position_file.with_suffix(".next")
        try:
            temporary.write_bytes(msgspec.json.encode((log, offset)))
            temporary.replace(self._position_file)
            tail.free(offset)
        except OSError as error:
            # A full disk must not cost the guard as well; a restart would only read some lines again.
            if not self._is_forgetful:
                _log.error("broker.position_unsaved", error=str(error))
            self._is_forgetful = True
        else:
            self._is_forgetful = False


class Link:
    """The broker service's own connection, kept up, and short ones under the client id of whoever is to be cut."""

    def __init__(self, settings: MqttSettings) -> None:
        self._settings = settings
        self._tls = tls_context(settings.ca_file, settings.cert_file, settings.key_file)
        self._connection: MqttConnection | None = None
        self._is_up = asyncio.Event()

    async def open(self, client_id: str) -> MqttConnection:
        """A clean connection under `client_id`. Raises ConnectionLost, Refused, TimeoutError."""
        options = ConnectOptions(
            host=self._settings.host,
            port=self._settings.port,
            client_id=client_id,
            tls=self._tls,
            protocol=self._settings.protocol,
            keepalive_s=self._settings.keepalive_s,
        )
        return await MqttConnection.open(options)

    async def tell(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 1. Raises ConnectionLost when there is no connection now."""
        if self._connection is None:
            raise ConnectionLost("the broker service has no connection to the broker")
        await self._connection.publish(topic, payload)

    async def send(self, messages: Sequence[Issued]) -> None:
        """Publish `messages` in order, QoS 1, once there is a connection, and again where it broke off."""
        while True:
            await self._is_up.wait()
            connection = self._connection
            if connection is None:
                continue
            try:
                await asyncio.gather(*(connection.publish(each.topic, each.payload) for each in messages))
            except ConnectionLost:
                await asyncio.sleep(_SEND_AGAIN_S)
            else:
                SENT.inc(len(messages))
                return

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        await keep_connected(
            lambda: self.open(policy.BROKER),
            self._hold,
            report=lambda error: _log.warning("broker.link_lost", error=str(error)),
            longest_pause_s=5.0,
        )

    async def _hold(self, connection: MqttConnection) -> None:
        self._connection = connection
        self._is_up.set()
        READY.set(1)
        try:
            await connection.lost
        finally:
            READY.set(0)
            self._is_up.clear()
            self._connection = None


async def keep_revocations(control: BrokerControl) -> None:
    """Install each new revocation list as soon as provisioning has written it, until cancelled.

    Events do the same on their way; this one needs neither bus nor database.
    """
    complaint = ""
    while True:
        try:
            await control.reload()
            complaint = ""
        except (RevocationListMissing, RevocationListNotNewer, OSError) as error:
            if str(error) != complaint:
                complaint = str(error)
                LISTS_REFUSED.inc()
                _log.error("broker.revocation_list_refused", error=complaint)
        await asyncio.sleep(_LIST_EVERY_S)


def _news(change: Change) -> Event:
    told = change.presence
    if change.event is EventType.CONNECTED:
        return DeviceConnected(thing=told.thing, at=told.since_ms, session=told.session, version=told.version)
    return DeviceDisconnected(
        thing=told.thing, at=told.since_ms, session=told.session, version=told.version, reason=told.reason or ""
    )
