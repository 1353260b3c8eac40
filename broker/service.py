"""Watches the broker: presence for subscribers, and the guard that cuts devices reaching outside their own space."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog
from prometheus_client import Counter

from broker import policy, signals
from broker.mosquitto import BrokerControl
from broker.presence.attendance import Attendance, Tell
from broker.revocation import RevocationListMissing, RevocationListNotNewer
from broker.signals import Line, LogTail, Signal
from core.clock import Clock, epoch_ms
from core.db import Database
from core.errors import MilkrunError
from core.events import Issued
from core.metrics import READY
from core.mqtt import ConnectionLost, ConnectOptions, Message, MqttConnection, keep_connected, tls_context
from core.settings import MqttSettings
from core.tenancy import Thing

KICKS = Counter("milkrun_broker_kicks_total", "Live sessions cut", ["reason"])
KICK_FAILURES = Counter("milkrun_broker_kick_failures_total", "Sessions that could not be cut")
DROPPING = Counter("milkrun_broker_dropping_total", "Times the broker began to discard messages for a client")
SENT = Counter("milkrun_broker_sent_total", "Messages of other services published to devices")
LISTS_REFUSED = Counter("milkrun_broker_revocation_lists_refused_total", "Revocation lists that could not be installed")

# Devices come back with growing pauses after the broker was away, a good one after a minute at the latest.
RESTART_GRACE_S = 90.0
_READ_EVERY_S = 0.05
_LIST_EVERY_S = 0.25
_SEND_AGAIN_S = 0.2
_KEPT_S = 3600  # as long as AWS IoT Core keeps a session by default
_log = structlog.get_logger()


@dataclass(slots=True)
class _Leave:
    """Where in the log a thing left, while its grace runs: a restart must read from there again."""

    log: int
    start: int


class Cutter:
    """Cuts live sessions, one attempt at a time for each client."""

    def __init__(self, control: BrokerControl) -> None:
        self._control = control
        self._cutting: dict[str, asyncio.Task[None]] = {}

    def cut(self, client_id: str, reason: str) -> None:
        if client_id not in self._cutting:
            task = asyncio.create_task(self._cut_now(client_id, reason))
            self._cutting[client_id] = task
            task.add_done_callback(lambda _: self._cutting.pop(client_id, None))

    def cut_barred(self, thing: str) -> None:
        """Cut a device that the registry does not let connect."""
        self.cut(thing, "barred")

    def close(self) -> None:
        for task in self._cutting.values():
            task.cancel()

    async def _cut_now(self, client_id: str, reason: str) -> None:
        try:
            await self._control.kick(client_id)
            KICKS.labels(reason).inc()
        except (MilkrunError, TimeoutError) as error:
            KICK_FAILURES.inc()
            _log.error("broker.kick_failed", client_id=client_id, reason=reason, error=str(error))


class BrokerWatch:
    """One a local broker. Reads its log for who comes and goes, and guards subscriptions.

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
        cutter: Cutter,
        database: Database,
        tell: Tell,
        clock: Clock,
    ) -> None:
        self._log_file = log_file
        self._position_file = position_file
        self._grace_ms = int(grace_s * 1000)
        self._clock = clock
        self._cutter = cutter
        self._attendance = Attendance(database=database, tell=tell, cut=cutter.cut_barred, clock=clock)
        self._left: dict[str, _Leave] = {}
        self._is_forgetful = False

    async def run(self) -> None:
        """Watch until cancelled; an outage of the database is waited out."""
        tail = self._resume()
        await self._attendance.load()
        while True:
            await self.step(tail)
            await asyncio.sleep(_READ_EVERY_S)

    async def step(self, tail: LogTail) -> None:
        """Take in what the log has gained, then tell what has changed."""
        before = tail.position
        while lines := list(tail.read()):
            for line in lines:
                signal = signals.parse(line.text)
                if signal is not None:
                    self._take(signal, line)
        self._attendance.settle()
        if not await self._attendance.announce():
            return
        if tail.position != before or self._left:
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
                    self._cutter.cut(thing, "not_a_thing")
            case signals.Disconnected(client_id=thing, reason=reason):
                self._leave(thing, signal.at_s, reason, line)
            case signals.Subscribed(client_id=thing, topic_filter=topic_filter):
                if Thing.is_name(thing) and not policy.allowed(
                    policy.Device(thing), policy.Action.SUBSCRIBE, topic_filter
                ):
                    _log.warning("broker.foreign_subscription", thing=thing, topic_filter=topic_filter[:200])
                    self._cutter.cut(thing, "foreign_subscription")
            case signals.Dropping(client_id=client_id):
                DROPPING.inc()
                _log.error("broker.dropping", client_id=client_id)
            case signals.Started():
                self._restart(signal.at_s, line)
            case _:
                pass

    def _arrive(self, signal: signals.Connected, line: Line) -> None:
        thing = signal.client_id
        # Named after the log line, so that a line read twice names the same session.
        session = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{line.log}:{line.start}:{thing}"))
        self._attendance.arrive(thing, session=session, at_ms=self._at_ms(signal.at_s), ip_address=signal.ip_address)
        self._left.pop(thing, None)

    def _leave(self, thing: str, at_s: int, reason: str, line: Line) -> None:
        # A keep-alive that ran out has been a grace already.
        grace_ms = 0 if reason == signals.KEEP_ALIVE_TIMEOUT else self._grace_ms
        if self._attendance.leave(thing, at_ms=self._at_ms(at_s), reason=reason, grace_ms=grace_ms):
            self._left[thing] = _Leave(line.log, line.start)

    def _restart(self, at_s: int, line: Line) -> None:
        grace_ms = max(self._grace_ms, int(RESTART_GRACE_S * 1000))
        gone = self._attendance.restarted(at_ms=self._at_ms(at_s), reason=signals.SERVER_INITIATED, grace_ms=grace_ms)
        for thing in gone:
            self._left.setdefault(thing, _Leave(line.log, line.start))

    def _at_ms(self, at_s: int) -> int:
        """The broker logs whole seconds; our clock, held inside that second, gives the rest."""
        return min(max(epoch_ms(self._clock()), at_s * 1000), at_s * 1000 + 999)

    # --- where we are -------------------------------------------------------------------------------------------

    def _resume(self) -> LogTail:
        try:
            log, offset = msgspec.json.decode(self._position_file.read_bytes(), type=tuple[int, int])
        except (FileNotFoundError, msgspec.DecodeError):
            log, offset = 0, 0
        return LogTail(self._log_file, log=log, offset=offset)

    def _remember(self, tail: LogTail) -> None:
        log, offset = tail.position
        self._left = {thing: left for thing, left in self._left.items() if self._attendance.is_leaving(thing)}
        offset = min((left.start for left in self._left.values() if left.log == log), default=offset)
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

    async def resume(self, client_id: str, on_message: Callable[[Message], None]) -> MqttConnection:
        """A connection that the broker keeps messages for while it is away, for an hour. Raises as `open` does."""
        options = ConnectOptions(
            host=self._settings.host,
            port=self._settings.port,
            client_id=client_id,
            tls=self._tls,
            keepalive_s=self._settings.keepalive_s,
            clean_start=False,
            session_expiry_s=_KEPT_S,
        )
        return await MqttConnection.open(options, on_message)

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
