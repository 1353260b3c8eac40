"""State and news share a transaction: events are written as rows beside the state they tell of, and relayed afterwards.

A crash between commit and announcement loses nothing; a crash between announcement and delete repeats, so handlers are
idempotent. `Relay` may run in any number of processes: rows are locked while they are published.
"""

import asyncio
import contextlib
from collections.abc import Sequence

import msgspec
import structlog
from prometheus_client import Counter, Gauge

from core import events
from core.bus import Bus, BusUnavailable, Entry
from core.db import Database, DatabaseUnavailable, Tx

RELAYED = Counter("milkrun_outbox_relayed_total", "Outbox rows published to the bus by the relay")
WAITING = Gauge("milkrun_outbox_waiting_rows", "Outbox rows not yet published, those not yet due included")

_COUNT_EVERY_S = 5.0
_MOST_ROWS = 100
_AT_ONCE = 500
_TAKE = """
DELETE FROM outbox WHERE id = ANY(ARRAY(
    SELECT id FROM outbox WHERE due_at <= clock_timestamp() ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED))
RETURNING id, entries
"""
_log = structlog.get_logger()
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Entry])


def pack(entries: Sequence[Entry]) -> bytes:
    """The value of `outbox.entries`."""
    return _encoder.encode(entries)


async def add(tx: Tx, news: Sequence[events.Event]) -> None:
    """Announce `news` if and only if `tx` commits."""
    if news:
        entries = [Entry(event.stream, event.key, events.encode(event)) for event in news]
        # The relay is woken by the commit, so that news does not wait for its next look.
        await tx.execute(
            "WITH added AS (INSERT INTO outbox (entries) VALUES (%s)) SELECT pg_notify('milkrun_outbox', '')",
            (pack(entries),),
        )


class Relay:
    """Publishes waiting outbox rows in order of their ids, oldest first.

    A row is left alone until it is due: a writer that announces its own right after commit (ingest) sets it some
    seconds ahead, and so keeps the relay for what a crash or an outage of the bus left behind. `add` wakes the relay;
    `every_s` is how long a row may wait for which nobody did, or whose call was lost.
    """

    def __init__(self, database: Database, bus: Bus, *, every_s: float = 0.1) -> None:
        self._database = database
        self._bus = bus
        self._every_s = every_s
        self._called = asyncio.Event()

    async def run(self) -> None:
        """Relay until cancelled; an outage of database or bus is waited out, with one log line."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._relay())

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(DatabaseUnavailable):
                await self._database.listen("milkrun_outbox", self._called.set)
            await asyncio.sleep(1.0)

    async def _relay(self) -> None:
        silent = False
        while True:
            self._called.clear()
            try:
                moved = await self.relay_once()
                silent = False
            except (BusUnavailable, DatabaseUnavailable) as error:
                if not silent:
                    _log.warning("outbox.waiting", error=str(error))
                silent = True
                await asyncio.sleep(self._every_s)
                continue
            if moved < _MOST_ROWS:  # what came meanwhile has called
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._called.wait(), self._every_s)

    async def count(self) -> None:
        """Keep the gauge of waiting rows true until cancelled."""
        while True:
            with contextlib.suppress(DatabaseUnavailable):
                async with self._database.unscoped(reason="the outbox carries every tenant's news") as tx:
                    row = await tx.one("SELECT count(*) AS waiting FROM outbox")
                    WAITING.set(row["waiting"] if row else 0)
            await asyncio.sleep(_COUNT_EVERY_S)

    async def relay_once(self, most: int = _MOST_ROWS) -> int:
        """Publish up to `most` rows and return how many. Raises BusUnavailable with nothing deleted.

        What it takes is deleted at the commit, which follows the publication.
        """
        async with self._database.unscoped(reason="the outbox carries every tenant's news") as tx:
            rows = await tx.all(_TAKE, (most,))
            if not rows:
                return 0
            rows.sort(key=lambda row: row["id"])
            await self._publish([_decoder.decode(row["entries"]) for row in rows])
        RELAYED.inc(len(rows))
        return len(rows)

    async def _publish(self, rows: Sequence[Sequence[Entry]]) -> None:
        """In order; those of many small rows in one round trip."""
        waiting: list[Entry] = []
        for entries in rows:
            if waiting and len(waiting) + len(entries) > _AT_ONCE:
                await self._bus.publish(waiting)
                waiting = []
            waiting.extend(entries)
        await self._bus.publish(waiting)
