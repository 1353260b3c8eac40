"""The worker loop, written once: take entries from the bus, hand each to its handler, retry, give up."""

import asyncio
import contextlib
import itertools
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import structlog
from prometheus_client import Counter, Histogram

from core import dead_letters, events, logs
from core.bus import Bus, BusUnavailable, Delivery
from core.db import Database, DatabaseUnavailable
from core.events import Event
from core.settings import BusSettings

type Handler = Callable[[Event, Delivery], Awaitable[None]]
type BatchHandler = Callable[[Sequence[tuple[Event, Delivery]]], Awaitable[None]]

HANDLED = Counter("milkrun_worker_handled_total", "Events handled", ["group", "event"])
FAILED = Counter(
    "milkrun_worker_failed_total", "Handler failures, each followed by a retry or a dead letter", ["group", "event"]
)
GIVEN_UP = Counter("milkrun_worker_given_up_total", "Events that became dead letters", ["group"])
SECONDS = Histogram("milkrun_worker_handle_seconds", "Time in a handler", ["group", "event"])

_MOST = 50
"""Entries read at once: one of a full batch has some 30 kB."""

_log = structlog.get_logger()


class Worker:
    """One consumer of `group`. `handlers` decides which streams it reads; events without a handler are passed by.

    `batches` are handlers that take all that was read of a partition at once, in order: who falls behind catches up
    with one piece of work for many entries. When one raises, its entries come again one by one. `concerns` says by an
    entry's bytes whether it is for this group at all; the others are passed by.

    `on_lease` is told of each stream whose reading begins (True) or is over (False): in between nobody else reads it,
    but for a reader that was held up for longer than its lease.

    A handler that raises is tried again with growing pauses, in order, so the partition waits; after
    `retry_limit` deliveries the entry is kept as a dead letter and the partition goes on.
    """

    def __init__(
        self,
        *,
        group: str,
        handlers: Mapping[type[Event], Handler],
        bus: Bus,
        database: Database,
        settings: BusSettings,
        batches: Mapping[type[Event], BatchHandler] | None = None,
        concerns: Mapping[type[Event], Callable[[bytes], bool]] | None = None,
        on_lease: Callable[[str, bool], None] | None = None,
    ) -> None:
        self._group = group
        batches = batches or {}
        self._batched = {event.__name__: batch for event, batch in batches.items()}
        self._handlers = {**handlers, **{event: _one_by_one(batch) for event, batch in batches.items()}}
        self._concerns = {event.__name__: concern for event, concern in (concerns or {}).items()}
        self._names = {event.__name__ for event in self._handlers}
        self._bus = bus
        self._database = database
        self._settings = settings
        self._on_lease = on_lease
        self._consumer = f"{group}-{uuid.uuid4().hex[:8]}"

    async def run(self) -> None:
        """Work until cancelled."""
        streams = sorted({event.stream for event in self._handlers})
        async with asyncio.TaskGroup() as tasks:
            for stream in streams:
                for key in self._bus.keys(stream):
                    tasks.create_task(self._partition(key))

    async def _partition(self, key: str) -> None:
        silent = False
        try:
            while True:
                try:
                    await self._bus.join(key, self._group)
                    if await self._bus.lease(key, self._group, self._consumer, self._settings.reclaim_after_s):
                        await self._as_reader(key)
                    silent = False
                except (BusUnavailable, DatabaseUnavailable) as error:
                    if not silent:
                        _log.warning("worker.waiting", group=self._group, stream=key, error=str(error))
                    silent = True
                await asyncio.sleep(1.0)
        finally:
            with contextlib.suppress(BusUnavailable):
                await self._bus.release(key, self._group, self._consumer)

    async def _as_reader(self, key: str) -> None:
        if self._on_lease is None:
            await self._while_leased(key)
            return
        self._on_lease(key, True)
        try:
            await self._while_leased(key)
        finally:
            self._on_lease(key, False)

    async def _while_leased(self, key: str) -> None:
        wait_ms = int(min(2.0, self._settings.reclaim_after_s / 2) * 1000)
        for delivery in await self._bus.held(key, self._group, self._consumer):
            await self._deliver(delivery)
        while await self._bus.lease(key, self._group, self._consumer, self._settings.reclaim_after_s):
            # A lease is good for much longer than this; renewing it at each entry would cost more than reading them.
            renew_at = time.monotonic() + self._settings.reclaim_after_s / 5
            while time.monotonic() < renew_at:
                found = await self._bus.read(key, self._group, self._consumer, most=_MOST, wait_ms=wait_ms)
                for name, run in itertools.groupby(found, self._name):
                    await self._take(key, name, list(run))

    def _name(self, delivery: Delivery) -> str:
        """Which event it is; empty when it is none of ours."""
        try:
            return events.name(delivery.body)
        except msgspec.DecodeError:
            return ""

    async def _take(self, key: str, name: str, run: Sequence[Delivery]) -> None:
        """Entries of one event, in order."""
        ours, others = list[Delivery](), list[Delivery]()
        for delivery in run:
            (ours if self._is_for_us(name, delivery) else others).append(delivery)
        if others:
            await self._acknowledge(key, name, others)
        if name not in self._batched or len(ours) < 2 or not await self._together(key, name, ours):
            for delivery in ours:
                await self._deliver(delivery)

    def _is_for_us(self, name: str, delivery: Delivery) -> bool:
        concern = self._concerns.get(name)
        return (not name or name in self._names) and (concern is None or concern(delivery.body))

    async def _together(self, key: str, name: str, run: Sequence[Delivery]) -> bool:
        """Handle them all as one; False when that went wrong: they are to be handled singly."""
        try:
            with SECONDS.labels(self._group, name).time():
                await self._batched[name]([(events.decode(delivery.body), delivery) for delivery in run])
        except Exception as error:  # noqa: BLE001  one of them may be to blame; alone it is found out
            FAILED.labels(self._group, name).inc()
            _log.warning("worker.batch_failed", group=self._group, event_type=name, entries=len(run), error=repr(error))
            return False
        await self._acknowledge(key, name, run)
        return True

    async def _acknowledge(self, key: str, name: str, run: Sequence[Delivery]) -> None:
        await self._bus.acknowledge(key, self._group, [delivery.id for delivery in run])
        HANDLED.labels(self._group, name).inc(len(run))

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            event = events.decode(delivery.body)
        except msgspec.DecodeError as error:
            await self._give_up(delivery, f"not an event of ours: {error}")
            return
        name = type(event).__name__
        handler = self._handlers.get(type(event))
        times = delivery.times
        while handler is not None:
            if times > self._settings.retry_limit:
                await self._give_up(delivery, f"{name}: given up after {self._settings.retry_limit} deliveries")
                return
            try:
                with SECONDS.labels(self._group, name).time(), logs.about(getattr(event, "thing", None)):
                    await handler(event, delivery)
                break
            except Exception as error:  # noqa: BLE001  whatever a handler raises is retried, then kept
                FAILED.labels(self._group, name).inc()
                _log.warning(
                    "worker.failed", group=self._group, event_type=name, key=event.key, times=times, error=repr(error)
                )
                await asyncio.sleep(min(5.0, 0.1 * 2**times))
                await self._bus.lease(delivery.stream_key, self._group, self._consumer, self._settings.reclaim_after_s)
                times += 1
        await self._acknowledge(delivery.stream_key, name, [delivery])

    async def _give_up(self, delivery: Delivery, detail: str) -> None:
        letter = dead_letters.DeadLetter(
            tenant=dead_letters.UNATTRIBUTED,
            received_at=datetime.now(UTC).isoformat(),
            source=f"bus:{self._group}",
            topic=delivery.stream_key,
            thing=None,
            reason="handler_failed",
            detail=detail,
            payload=delivery.body,
        )
        async with self._database.unscoped(reason="a handler's dead letter may concern any tenant") as tx:
            await dead_letters.keep(tx, [letter])
        await self._bus.acknowledge(delivery.stream_key, self._group, [delivery.id])
        GIVEN_UP.labels(self._group).inc()


def _one_by_one(batch: BatchHandler) -> Handler:
    async def handle(event: Event, delivery: Delivery) -> None:
        await batch([(event, delivery)])

    return handle


async def until_stopped(*work: Awaitable[None], before_cancel: Callable[[], Awaitable[None]] | None = None) -> None:
    """Run `work` side by side until SIGTERM or SIGINT, or one of them fails; then cancel and wait for the rest.

    `before_cancel` runs first when the end was asked for: the place to finish what was begun.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = [asyncio.ensure_future(each) for each in work]
    stopper = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([stopper, *tasks], return_when=asyncio.FIRST_COMPLETED)
    if stopper in done and before_cancel is not None:
        await before_cancel()
    for task in (stopper, *tasks):
        task.cancel()
    results = await asyncio.gather(stopper, *tasks, return_exceptions=True)
    failures = [r for r in results if isinstance(r, Exception) and not isinstance(r, asyncio.CancelledError)]
    if failures and stopper not in done:
        raise failures[0]
