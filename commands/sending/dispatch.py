"""Looks at queues that are due, decides by `planning`, hands over to the broker, and takes down what came of it.

Timers are `command_lane.due_at`, so they outlive every process. Any number of dispatchers may run: a lane is looked at
by one of them at a time. What is decided is committed first and sent after it; a crash in between has it sent again
under the same id.
"""

import asyncio
import contextlib
import enum
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from prometheus_client import Counter, Gauge, Histogram

from commands import model
from commands import store as executions
from commands.contract import wire
from commands.drafting import news
from commands.model import Execution
from commands.sending import planning, store
from commands.sending.planning import Lane, Plan
from core import outbox, topics
from core.clock import Clock
from core.db import Database, DatabaseUnavailable, Tx
from core.settings import CommandsSettings
from core.tenancy import TenantId, Thing

HANDED_OVER = Counter(
    "milkrun_commands_handed_over_total", "Commands handed to the broker, by what it said", ["result"]
)
MOVED = Counter("milkrun_commands_moved_total", "Commands that came into a state", ["state"])
OPEN = Gauge("milkrun_commands_open", "Commands that are not over, of all tenants", ["state"])
WAIT = Histogram(
    "milkrun_commands_wait_seconds",
    "From when a command was due to the broker's confirmation",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300, 3600),
)
LOOK = Histogram("milkrun_commands_look_seconds", "Time of one look at queues that were due")

_TIDY_EVERY_S = 15.0
_FORGET_AT_ONCE = 1000
_LONGEST_PAUSE_S = 5.0
_GATHER_S = 0.008
"""A call waits for others so long, for one look costs little more with ten queues than with one."""
_TAKE_DOWN_AFTER_S = 0.03
"""A device that answers within this has said more than the broker's confirmation, which then need not be written."""
_TAKEN_DOWN_WITHIN_S = 1.0
_log = structlog.get_logger()


class Outcome(enum.Enum):
    """What became of a message that was to be handed over."""

    TAKEN = "taken"  # the broker gave it to a session
    NOBODY = "nobody"  # nobody subscribed to it
    UNSENT = "unsent"  # it did not leave this process
    UNKNOWN = "unknown"  # it left, and the connection was lost before the broker said anything


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message for one device; the broker drops it `expiry_s` seconds later."""

    topic: str
    payload: bytes
    expiry_s: int


class Wire(Protocol):
    """The way to the broker."""

    @property
    def is_up(self) -> bool: ...

    async def hand_over(self, messages: Sequence[Outgoing]) -> Sequence[Outcome]:
        """In order, all at once; one outcome each, within seconds."""


_MISSES = {
    Outcome.NOBODY: ("NOT_SUBSCRIBED", "the device is connected and has not subscribed to its commands"),
    Outcome.UNSENT: ("BROKER_AWAY", "there was no connection to the broker"),
}


class Dispatcher:
    """`run` until cancelled; `wake` when something may be due. `database` sees every tenant."""

    def __init__(self, *, database: Database, wire: Wire, settings: CommandsSettings, clock: Clock) -> None:
        self._database = database
        self._wire = wire
        self._settings = settings
        self._clock = clock
        self._called = asyncio.Event()
        self._next_due: datetime | None = None
        self._told: dict[str, tuple[Execution, Outcome]] = {}
        self._told_at = 0.0
        self._is_told, self._is_taken_down = asyncio.Event(), asyncio.Event()

    def wake(self) -> None:
        self._called.set()

    def over(self, ids: Collection[str]) -> None:
        """These have ended: what the broker said of them need not be written down."""
        for id_ in ids:
            self._told.pop(id_, None)

    async def run(self) -> None:
        """Look on until cancelled; an outage of the database is waited out."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._look_on())
            tasks.create_task(self._take_down_on())
            tasks.create_task(self._every(self._settings.presence_every_s, self._find_returned))
            tasks.create_task(self._every(_TIDY_EVERY_S, self._tidy))

    async def wake_device(self, thing: Thing) -> None:
        """Something about the device is new: look at its queue now."""
        async with self._unscoped() as tx:
            await store.wake_lanes(tx, [thing], self._clock())
        self.wake()

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(DatabaseUnavailable):
                await self._database.listen("milkrun_commands", self.wake)
            await asyncio.sleep(1.0)

    async def _look_on(self) -> None:
        is_silent = False
        while True:
            self._called.clear()
            if self._told and asyncio.get_running_loop().time() - self._told_at > _TAKEN_DOWN_WITHIN_S:
                await self._is_taken_down.wait()  # else an outage would have it sent again
            pause_s = self._settings.look_every_s
            try:
                if await self.look_once() == self._settings.lanes_at_once:
                    continue
                if self._next_due is not None:
                    pause_s = min(pause_s, max(0.005, (self._next_due - self._clock()).total_seconds()))
                is_silent = False
            except DatabaseUnavailable as error:
                if not is_silent:
                    _log.warning("commands.waiting", error=str(error))
                is_silent = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._called.wait(), pause_s)
                await asyncio.sleep(_GATHER_S)

    async def _every(self, pause_s: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(pause_s)
            with contextlib.suppress(DatabaseUnavailable):
                await work()

    # --- one look -------------------------------------------------------------------------------------------------

    async def look_once(self) -> int:
        """Look at what is due, send what is to be sent; how many queues that were. Raises DatabaseUnavailable."""
        with LOOK.time():
            now = self._clock()
            async with self._unscoped() as tx:
                lanes = await store.due_lanes(tx, now, limit=self._settings.lanes_at_once)
                plans = await self._plan(tx, lanes, now) if lanes else {}
                self._next_due = await store.next_due(tx)
            await self._send([each for plan in plans.values() for each in plan.send])
        return len(lanes)

    async def _plan(self, tx: Tx, lanes: Sequence[Lane], now: datetime) -> Mapping[Lane, Plan]:
        lanes = [replace(lane, is_in_service=lane.is_in_service and self._wire.is_up) for lane in lanes]
        queued: dict[Thing, list[Execution]] = {lane.thing: [] for lane in lanes}
        for each in await store.queues(tx, queued.keys(), now):
            queued[each.thing].append(each)
        plans = {lane: planning.plan(queued[lane.thing], lane, now) for lane in lanes}
        before = {each.id: each for queue in queued.values() for each in queue}
        await self._hold_back(tx, plans.values(), before, now)
        changed = {id_: each for plan in plans.values() for id_, each in plan.changed.items()}
        await self._save(tx, before, changed)
        await store.save_lanes(tx, plans)
        return plans

    async def _hold_back(self, tx: Tx, plans: Collection[Plan], before: Mapping[str, Execution], now: datetime) -> None:
        """Of groups with a rate let through what may go now; the others wait for their turn behind it."""
        rated = {(each.thing.tenant, each.batch) for plan in plans for each in plan.send if each.batch is not None}
        gates = await store.gates(tx, rated)
        if not gates:
            return
        turns: dict[tuple[TenantId, str], int] = dict.fromkeys(gates, 0)
        for plan in plans:
            for each in list(plan.send):
                key = (each.thing.tenant, each.batch or "")
                gate = gates.get(key)
                if gate is None or each.attempts > 1:  # what is said again is not one more
                    continue
                if gate.free_at <= now:
                    gate.free_at = max(gate.free_at, now - gate.step) + gate.step
                    continue
                due_at = gate.free_at + gate.step * turns[key]
                turns[key] += 1
                plan.send.remove(each)
                plan.changed[each.id] = replace(before[each.id], due_at=due_at)
                plan.look(due_at)
        await store.save_gates(tx, gates)

    async def _save(self, tx: Tx, before: Mapping[str, Execution], changed: Mapping[str, Execution]) -> None:
        await executions.save(tx, changed.values())
        moved = [each for id_, each in changed.items() if each.state is not before[id_].state]
        await outbox.add(tx, [news(each) for each in moved])
        for each in moved:
            MOVED.labels(each.state.value).inc()

    # --- handing over ---------------------------------------------------------------------------------------------

    async def _send(self, wanted: Sequence[Execution]) -> None:
        if not wanted:
            return
        now = self._clock()
        # Between decision and wire time has passed: what must not be late is asked for once more.
        sent = [each for each in wanted if planning.is_sendable(each, now)]
        outcomes = dict.fromkeys((each.id for each in wanted), Outcome.UNSENT)
        messages = [
            Outgoing(
                topics.command(each.thing, each.id, f"request/{each.terms.format}"),
                wire.request(each, now),
                planning.expiry_s(each, now),
            )
            for each in sent
        ]
        for each, outcome in zip(sent, await self._wire.hand_over(messages), strict=True):
            outcomes[each.id] = outcome
            HANDED_OVER.labels(outcome.value).inc()
            if outcome is Outcome.TAKEN and each.attempts == 1:
                due_at = max(each.approved_at or each.created_at, each.created_at)
                WAIT.observe(max(0.0, (self._clock() - due_at).total_seconds()))
        told = {each.id: (each, outcomes[each.id]) for each in wanted if outcomes[each.id] is not Outcome.UNKNOWN}
        if told:
            if not self._told:
                self._told_at = asyncio.get_running_loop().time()
            self._told |= told
            self._is_taken_down.clear()
            self._is_told.set()

    async def _take_down_on(self) -> None:
        """Write down what was handed over, until cancelled; then what is left, once."""
        try:
            while True:
                await self._is_told.wait()
                await asyncio.sleep(_TAKE_DOWN_AFTER_S)
                await self._take_down_all()
        except asyncio.CancelledError:
            with contextlib.suppress(DatabaseUnavailable):
                await self._take_down(list(self._told.values()))
            raise

    async def _take_down_all(self) -> None:
        told, pause_s = dict(self._told), 0.1
        while True:
            try:
                await self._take_down(list(told.values()))
            except DatabaseUnavailable as error:
                _log.warning("commands.waiting", error=str(error), sent=len(told))
                await asyncio.sleep(pause_s)
                pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)
            else:
                break
        self._told = {id_: pair for id_, pair in self._told.items() if told.get(id_) is not pair}
        self._told_at = asyncio.get_running_loop().time()
        if not self._told:
            self._is_told.clear()
            self._is_taken_down.set()

    async def _take_down(self, told: Sequence[tuple[Execution, Outcome]]) -> None:
        if not told:
            return
        now, outcomes = self._clock(), {each.id: outcome for each, outcome in told}
        async with self._unscoped() as tx:
            await executions.lock_lanes(tx, {each.thing for each, _ in told})
            found = await executions.by_ids(tx, [(each.thing.tenant, each.id) for each, _ in told])
            before = {each.id: each for each in found.values()}
            changed = {}
            for each, outcome in told:
                now_is = before.get(each.id)
                if now_is is None or not now_is.is_open or now_is.attempts != each.attempts:
                    continue  # answered, called back or sent again meanwhile
                after = (
                    model.confirm(now_is, now)
                    if outcome is Outcome.TAKEN
                    else model.miss(now_is, now, *_MISSES[outcome])
                )
                if after is not now_is:
                    changed[each.id] = after
            await self._save(tx, before, changed)
            missed = {e.thing: e.due_at for e in changed.values() if outcomes[e.id] is not Outcome.TAKEN}
            for thing, due_at in missed.items():
                await store.wake_lanes(tx, [thing], due_at)
        if missed:
            self.wake()

    # --- now and then ---------------------------------------------------------------------------------------------

    async def _find_returned(self) -> None:
        """News of presence comes by the bus; this finds what was lost there."""
        async with self._unscoped() as tx:
            found = await store.wake_returned(tx, self._clock())
        if found:
            self.wake()

    async def _tidy(self) -> None:
        before = self._clock() - timedelta(days=self._settings.keep_days)
        async with self._unscoped() as tx:
            await store.forget(tx, before, limit=_FORGET_AT_ONCE)
            counts = await store.count_states(tx)
        for state in model.OPEN:
            OPEN.labels(state.value).set(counts.get(state.value, 0))

    def _unscoped(self) -> contextlib.AbstractAsyncContextManager[Tx]:
        return self._database.unscoped(reason="a look is at queues of many tenants' devices")
