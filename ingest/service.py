"""Collects messages into batches, commits each in one transaction, and only then acknowledges and announces."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import structlog
from prometheus_client import Counter, Gauge, Histogram
from psycopg import errors as pg

from core import dead_letters, events, outbox
from core.bus import Bus, BusUnavailable, Entry
from core.clock import Clock, epoch_ms
from core.db import Database, DatabaseUnavailable, Tx
from core.mqtt import Message
from core.settings import IngestSettings
from ingest import store
from ingest.batch import Batch
from ingest.errors import StateMoved
from ingest.gate import Registry
from ingest.pipeline import AckSink, Context, Inflight, Replay, Unidentified, halves, part, refuse_whole, run
from ingest.reasons import Reason, Rejection, printable
from ingest.store import Written

MESSAGES = Counter("milkrun_ingest_messages_total", "Messages received and settled, whatever became of them")
WAITING = Gauge("milkrun_ingest_waiting_messages", "Messages received and not yet committed")
BATCH = Histogram("milkrun_ingest_batch_messages", "Messages a transaction took", buckets=(1, 10, 100, 500, 1000, 5000))
COMMIT = Histogram("milkrun_ingest_commit_seconds", "Time from taking a batch to its commit")
DELAY = Histogram(
    "milkrun_ingest_delay_seconds",
    "Time from receipt of a batch's first message to its commit",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30),
)
RETRIES = Counter("milkrun_ingest_retries_total", "Batches tried again", ["why"])


_log = structlog.get_logger()
_encode_json = msgspec.json.Encoder().encode

type SendAcks = Callable[[Sequence[tuple[str, bytes]]], None]


@dataclass(frozen=True, slots=True)
class _Done:
    """A batch that is committed, and the news of it."""

    batch: Batch
    written: Written
    entries: list[Entry]


class IngestService:
    """One writer. `offer` is synchronous and quick; `run` commits until cancelled; `drain` settles what is left.

    `send_acks` is handed (thing, payload) pairs for the durable acknowledgement topic after each commit.
    """

    def __init__(
        self,
        *,
        settings: IngestSettings,
        database: Database,
        bus: Bus,
        clock: Clock,
        send_acks: SendAcks,
    ) -> None:
        self._settings = settings
        self._database = database
        self._bus = bus
        self._clock = clock
        self._send_acks = send_acks
        self._context = Context(settings, Registry(settings))
        self._batch: list[Inflight] = []
        self._work = asyncio.Event()
        self._full = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._announcements: asyncio.Queue[tuple[int, list[Entry]]] = asyncio.Queue(maxsize=64)
        self._relayed: list[int] = []
        self._paused: set[AckSink] = set()
        self._waiting_bytes = self._in_hand = 0
        self._now_ms, self._now_s, self._is_now_fresh = 0, 0.0, False
        WAITING.set_function(lambda: self.waiting)

    # --- in -----------------------------------------------------------------------------------------------------

    def offer(self, message: Message, source: AckSink) -> None:
        """Take a message into the next batch; its acknowledgement goes to `source` once it is settled."""
        if not self._is_now_fresh:
            self._now_ms, self._now_s, self._is_now_fresh = epoch_ms(self._clock()), time.monotonic(), True
            # Messages of one read share one reading of the clock: they did arrive together.
            asyncio.get_running_loop().call_soon(self._forget_now)
        self._take(Inflight(message, source, self._now_ms, self._now_s))

    def _forget_now(self) -> None:
        self._is_now_fresh = False

    def replay(self, message: Message, source: AckSink, *, received_ms: int, reason: str) -> Replay:
        """Take a dead letter, received then and refused for `reason`; the answer is complete once all is drained.

        It is judged by the time of its receipt, keeps its own seq though that was marked as settled when it was
        refused, is never live, and makes no second letter.
        """
        flight = Inflight(message, source, received_ms, time.monotonic(), replay=Replay(reason))
        assert flight.replay is not None
        self._take(flight)
        return flight.replay

    def _take(self, flight: Inflight) -> None:
        try:  # noqa: SIM105  suppress() costs a microsecond a message
            run(flight, self._context)
        except Unidentified:
            pass  # the batch that carries it asks who it is, and runs it again
        self._batch.append(flight)
        self._waiting_bytes += len(flight.message.payload)
        self._work.set()
        settings = self._settings
        if len(self._batch) >= settings.batch_rows:
            self._full.set()
        if len(self._batch) >= settings.receive_maximum or self._waiting_bytes >= settings.waiting_bytes:
            # Mosquitto 2.0 lets more out than Receive Maximum allows once it is acknowledged to; TCP does not.
            self._full.set()
            flight.source.pause()
            self._paused.add(flight.source)

    @property
    def waiting(self) -> int:
        """Messages received and not yet settled."""
        return len(self._batch) + self._in_hand

    # --- the loop -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Commit batches until cancelled. What a cancellation finds in memory was never acknowledged."""
        while True:
            await self._work.wait()
            self._idle.clear()
            if len(self._batch) < self._settings.batch_rows:
                self._full.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._full.wait(), self._settings.batch_wait_ms / 1000)
            flights = self._next_batch()
            if not self._batch:
                self._work.clear()
            self._in_hand = len(flights)
            await self._settle(flights)
            MESSAGES.inc(self._in_hand)
            self._in_hand = 0
            self._resume_sources()
            if not self._batch:
                self._idle.set()

    def _next_batch(self) -> list[Inflight]:
        """The oldest messages, as many as one transaction takes."""
        settings, samples, count = self._settings, 0, 0
        for flight in self._batch[: settings.batch_rows]:
            count += 1
            samples += len(flight.samples)
            if samples >= settings.batch_samples:
                break
        flights = self._batch[:count]
        del self._batch[:count]
        self._waiting_bytes -= sum(len(flight.message.payload) for flight in flights)
        return flights

    def _resume_sources(self) -> None:
        settings = self._settings
        if len(self._batch) <= settings.receive_maximum // 2 and self._waiting_bytes <= settings.waiting_bytes // 2:
            for source in self._paused:
                source.resume()
            self._paused.clear()

    async def drain(self) -> None:
        """Wait until everything offered is settled."""
        while self._batch or not self._idle.is_set():
            await self._idle.wait()
            await asyncio.sleep(0)

    async def _settle(self, flights: list[Inflight]) -> None:
        """Commit `flights`, whatever it takes: outages are waited out, a poisonous row is found and set aside."""
        pause, is_in_doubt, started = 0.05, False, time.monotonic()
        while True:
            try:
                done = await self._commit(flights, is_in_doubt=is_in_doubt)
            except StateMoved:
                RETRIES.labels("state_moved").inc()
            except DatabaseUnavailable as error:
                RETRIES.labels("database").inc()
                _log.warning("ingest.waiting", error=str(error), messages=len(flights))
                await asyncio.sleep(pause)
                pause, is_in_doubt = min(5.0, pause * 2), True
            except (pg.OperationalError, pg.ProgrammingError, pg.NotSupportedError, pg.InternalError):
                raise  # no message's fault: the process ends, is started anew, and the broker still has them all
            except Exception as error:  # noqa: BLE001  one message must not hold up the others, whatever is wrong with it
                RETRIES.labels("bad_row").inc()
                await self._bisect(flights, error)
                return
            else:
                self._conclude(flights, done, started)
                return

    async def _bisect(self, flights: list[Inflight], error: Exception) -> None:
        if len(flights) > 1:
            middle = len(flights) // 2
            await self._settle(flights[:middle])
            await self._settle(flights[middle:])
            return
        flight = flights[0]
        if any(verdict.reason is Reason.POISON_ROW for verdict in flight.rejected):
            raise error  # it is out of the way already: the fault is not in the message
        if len(flight.samples) > 1 and flight.replay is None:
            for half in halves(flight):
                await self._settle([half])
            return
        _log.warning("ingest.poison", topic=flight.message.topic.decode("utf-8", "replace"), error=str(error))
        verdict = Rejection(Reason.POISON_ROW, printable(str(error) or repr(error)))
        refuse_whole(flight, part(verdict, flight.samples[0]) if flight.is_part else verdict)
        await self._settle(flights)

    async def _commit(self, flights: list[Inflight], *, is_in_doubt: bool) -> "_Done":
        batch = Batch(self._settings, is_in_doubt=is_in_doubt)
        relayed, self._relayed = self._relayed, []
        batch.writes.relayed = relayed
        entries: list[Entry] = []
        try:
            async with self._database.unscoped(reason="a batch carries many tenants") as tx:
                await store.prepare(tx)
                await self._identify(tx, flights)
                batch.judge(flights)
                batch.settle(await store.stored(tx, [(w.known, w.sample) for w in batch.open]))
                if batch.repeatable:
                    batch.add_repeatable(await dead_letters.known(tx, batch.repeatable))
                entries = self._news(batch)
                batch.writes.outbox = outbox.pack(entries) if entries else None
                written = await self._write(tx, batch)
        except BaseException:
            batch.forget_states()
            self._relayed += relayed
            raise
        return _Done(batch, written, entries)

    def _conclude(self, flights: list[Inflight], done: "_Done", started: float) -> None:
        """The commit is through: remember it, and tell everybody."""
        batch, written = done.batch, done.written
        for known in batch.writes.touched.values():
            assert known.state is not None
            known.state.version += 1
        self._acknowledge(flights, batch)
        if written.outbox_id is not None and not self._announcements.full():
            self._announcements.put_nowait((written.outbox_id, done.entries))
        self._count(flights, batch, written, started)

    async def _write(self, tx: Tx, batch: Batch) -> Written:
        try:
            async with tx.conn.transaction():
                return await store.write(tx, batch.writes)
        except pg.CheckViolation:
            # No partition for a day within the accepted window: maintenance is behind, so make it here, once.
            first, last = min(batch.writes.minutes), max(batch.writes.minutes)
            await store.ensure_partitions(tx, first, last)
            return await store.write(tx, batch.writes)

    async def _identify(self, tx: Tx, flights: Sequence[Inflight]) -> None:
        context, now_s = self._context, time.monotonic()
        strangers = [f for f in flights if f.known is None and f.route is not None]
        things = sorted({f.route.inbound.thing for f in strangers if f.route is not None})
        unasked = [thing for thing in things if context.registry.get(str(thing), now_s) is None]
        if unasked:
            places = [self._bus.partition(str(thing)) for thing in unasked]
            await store.lookup(tx, context.registry, unasked, partitions=places, now_s=now_s)
        for flight in strangers:
            if not flight.rejected:
                flight.now_s = now_s
                run(flight, context)
        stateless = {f.known.name: f.known for f in flights if f.known is not None and f.known.state is None}
        if stateless:
            await store.load_states(tx, list(stateless.values()))

    def _news(self, batch: Batch) -> list[Entry]:
        now_ms = epoch_ms(self._clock())
        news = [
            Entry(
                events.TelemetryReceived.stream,
                f"#{partition}",
                events.encode(events.TelemetryReceived(partition=partition, received_ms=now_ms, samples=samples)),
            )
            for partition, samples in batch.received.items()
        ]
        for known, event, _seq, _at in batch.writes.events:
            report = events.DeviceReported(thing=known.name, ts=event.ts, type=event.type, data=event.data or {})
            news.append(Entry(report.stream, report.key, events.encode(report)))
        return news

    # --- out ----------------------------------------------------------------------------------------------------

    def _acknowledge(self, flights: Sequence[Inflight], batch: Batch) -> None:
        by_source: dict[AckSink, list[int]] = {}
        for flight in flights:
            if flight.message.packet_id:
                by_source.setdefault(flight.source, []).append(flight.message.packet_id)
        for source, packet_ids in by_source.items():
            source.ack(packet_ids)
        acks = [
            (known.name, _encode_json({"boot": boot, "seq": last, "from": first}))
            for known in batch.writes.touched.values()
            if known.state is not None
            for boot, first, last in known.state.take_news()
        ]
        if acks:
            self._send_acks(acks)

    def _count(self, flights: Sequence[Inflight], batch: Batch, written: Written, started: float) -> None:
        now = time.monotonic()
        BATCH.observe(len(flights))
        COMMIT.observe(now - started)
        DELAY.observe(now - flights[0].now_s)
        batch.count(positions=written.positions, metrics=written.metrics)

    async def announce(self) -> None:
        """Publish committed batches at once; whatever fails here is left to the outbox relay."""
        while True:
            outbox_id, entries = await self._announcements.get()
            try:
                await self._bus.publish(entries)
            except BusUnavailable:
                continue
            self._relayed.append(outbox_id)

    async def follow_registry(self) -> None:
        """Keep what is known of devices fresh, and clear announced outbox rows when no batch comes to do it."""
        since = datetime.now(UTC) - timedelta(minutes=1)
        while True:
            await asyncio.sleep(self._settings.registry_refresh_s)
            relayed, self._relayed = self._relayed, []
            try:
                async with self._database.unscoped(reason="the registry of every tenant") as tx:
                    latest = await store.changes(tx, self._context.registry, since - timedelta(seconds=5))
                    if relayed:
                        await tx.execute(store.QUERIES["drop_outbox"], (relayed,))
                since = max(since, latest)
            except DatabaseUnavailable:
                self._relayed += relayed
