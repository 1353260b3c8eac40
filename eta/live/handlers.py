"""Follows the trips of the devices whose fixes come here: states, arrival times and alerts, fix by fix."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime

import structlog
from prometheus_client import Counter, Gauge, Histogram

from core import events, outbox
from core.bus import Bus, BusUnavailable, Delivery, Entry
from core.clock import Clock
from core.db import Database, DatabaseUnavailable
from core.errors import MilkrunError
from core.events import ArrivalsEstimated, EstimatesMade, Event, Received, TelemetryReceived
from core.settings import EtaSettings
from core.tenancy import TenantId
from core.worker import BatchHandler
from eta.live import announce, model, roads, store
from eta.live.beside import Beside
from eta.live.followed import Followed, fix_of, follow
from eta.live.known import Known
from eta.live.recall import is_same_way, recalled
from eta.live.roads import Drawer
from eta.live.store import MOST_ACC_M, Open, Road
from eta.live.watch import Watch
from eta.routing.model import Asker, Purpose
from eta.trips import model as machine
from eta.trips import store as trips
from eta.trips.errors import DeviceBusy, MoveNotAllowed
from eta.trips.model import Change, Trip, TripState

FOLLOWED = Gauge("milkrun_eta_trips", "Trips this process follows")
ESTIMATES = Counter("milkrun_eta_estimates_total", "Estimates made, by what they rest on", ["method"])
WORKED_OUT = Counter("milkrun_eta_worked_out_total", "Trips worked out from their stored fixes")
ROADS = Counter("milkrun_eta_roads_total", "Roads asked for trips, and whether one was known", ["purpose", "result"])
DELAY = Histogram(
    "milkrun_eta_delay_seconds",
    "From the commit of a batch of fixes to the estimates that follow from it",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30),
)

type Move = tuple[Followed, Callable[[Trip], Change]]

_AT_ONCE = 50
"""Trips worked out in one transaction: each may have tens of thousands of fixes."""

_log = structlog.get_logger()


class Follower:
    """`batches` for the worker, and `run`. A trip is followed by the process that holds its device's partition.

    Whatever fails in the middle of a trip, it is forgotten and worked out again: nothing in memory is the only copy.
    """

    def __init__(
        self,
        *,
        database: Database,
        everyone: Database,
        bus: Bus,
        drawer: Drawer | None,
        settings: EtaSettings,
        clock: Clock,
        beside: Beside | None = None,
    ) -> None:
        self._database = database
        self._bus = bus
        self._drawer = drawer
        self._beside = beside
        self._settings = settings
        self._clock = clock
        self.watch = Watch(everyone, settings, clock)
        self._known = Known(database)
        self._places = {key: n for n, key in enumerate(bus.keys(TelemetryReceived.stream))}
        self._following: dict[str, Followed] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._drawing: set[asyncio.Task[None]] = set()
        FOLLOWED.set_function(lambda: len(self._following))

    def batches(self) -> Mapping[type[Event], BatchHandler]:
        return {TelemetryReceived: self.on_telemetry}

    def on_lease(self, key: str, _is_ours: bool) -> None:
        """Another process has read, or will read, this partition: what is known of its trips is no longer all."""
        for thing, followed in list(self._following.items()):
            if followed.partition == key:
                self._forget(thing)

    # --- fixes --------------------------------------------------------------------------------------------------------

    async def on_telemetry(self, batch: Sequence[tuple[Event, Delivery]]) -> None:
        """Take the fixes of one partition; tell the new arrival times of all trips they belong to, each once."""
        now, key = self._clock(), batch[0][1].stream_key
        heard: dict[str, list[Received]] = {}
        received_ms = []
        for event, _ in batch:
            assert isinstance(event, TelemetryReceived)
            received_ms.append(event.received_ms)
            for received in event.samples:
                pos = received.sample.pos
                if pos is not None and (pos.acc is None or pos.acc <= MOST_ACC_M):
                    heard.setdefault(received.thing, []).append(received)
        async with self._locks[key]:
            try:
                await self._bring_up({thing: self.watch.trip_of(thing, now) for thing in heard}, key)
                told = await self._hear({thing: fixes for thing, fixes in heard.items() if thing in self._following})
            except BaseException:
                for thing in heard:
                    self._forget(thing)
                raise
            await self._tell(key, told)
        if told:
            said_at = self._clock().timestamp()
            for each in received_ms:
                DELAY.observe(max(0.0, said_at - each / 1000))

    async def _hear(self, heard: Mapping[str, Sequence[Received]]) -> list[ArrivalsEstimated]:
        newest_live = {}
        for thing, fixes in heard.items():
            live = (received.sample.ts / 1000 for received in fixes if received.live)
            newest_live[thing] = max(live, default=float("-inf"))
            self._following[thing].take(fix_of(received) for received in fixes)
        await self._move([self._following[thing] for thing in heard])
        told = []
        for thing, newest in newest_live.items():
            followed = self._following[thing]
            if not await self._goes_on(thing, followed) or not len(followed.track):
                continue
            told.append(self._say(followed))
            # An old fix moves nobody forward: only the newest one, live, is ground for an alert.
            if newest >= followed.track.at:
                await self._alert(followed)
            self._draw_if_due(thing, followed)
            if self._beside is not None:
                self._beside.said(followed, told[-1])
        return told

    async def _bring_up(self, wanted: Mapping[str, Open | None], partition: str) -> None:
        """Follow each device's trip as it is kept now."""
        missing: dict[TenantId, dict[str, Open]] = {}
        for thing, chosen in wanted.items():
            known = self._following.get(thing)
            if known is not None and (chosen is None or chosen.trip != known.trip.id):
                self._forget(thing)
                known = None
            if chosen is None or (known and known.trip.version >= chosen.version and not known.is_stale):
                continue
            missing.setdefault(chosen.tenant, {})[thing] = chosen
        for tenant, things in missing.items():
            for several in itertools.batched(things.items(), _AT_ONCE):
                await self._work_out(tenant, dict(several), partition)

    async def _work_out(self, tenant: TenantId, things: Mapping[str, Open], partition: str) -> None:
        fleet = await self._known.of(tenant)
        async with self._database.tenant(tenant) as tx:
            found = await trips.load(tx, tenant, [chosen.trip for chosen in things.values()])
            anew: dict[str, Trip] = {}
            for thing, chosen in things.items():
                trip, before = found.get(chosen.trip), self._following.get(thing)
                if trip is None or trip.is_over or f"{trip.tenant}:{trip.device}" != thing:
                    self._note(trip)
                    self._forget(thing)
                elif before is not None and is_same_way(before.trip, trip):
                    before.trip, before.is_stale, before.is_revised = trip, False, True
                else:
                    self._forget(thing)
                    anew[thing] = trip
            for thing, span, kept in await recalled(tx, anew, self._settings.lead_s, self._clock()):
                self._following[thing] = follow(span.trip, kept, fleet, partition, span.since)
                WORKED_OUT.inc()

    def _forget(self, thing: str) -> None:
        followed = self._following.pop(thing, None)
        if followed is not None:
            followed.fleet.drop(followed.trip.id)
            if self._beside is not None:
                self._beside.over(followed)

    def _note(self, trip: Trip | None) -> None:
        if trip is not None:
            state = trip.state.value
            self.watch.note(
                Open(trip.tenant, trip.id, trip.device, state, trip.planned_start, trip.version, trip.updated_at)
            )

    # --- states -------------------------------------------------------------------------------------------------------

    async def _move(self, several: Sequence[Followed]) -> None:
        """Begin trips and move their stops as the fixes say."""
        due: dict[TenantId, list[Move]] = {}
        for followed in several:
            if followed.has_moved() or followed.trip.state is TripState.PLANNED:
                move = followed.as_seen(self._clock())
                # Whether it would change anything is seen in memory: most fixes change nothing.
                if move(followed.trip)[0] != followed.trip:
                    due.setdefault(followed.trip.tenant, []).append((followed, move))
        for tenant, moves in due.items():
            await self._change(tenant, moves)
        for followed in several:
            if followed.trip.state is TripState.UNDER_WAY:
                followed.noticed, followed.is_revised = len(followed.track.events), False

    async def _goes_on(self, thing: str, followed: Followed) -> bool:
        """End the trip if that is due; whether it is still one to follow."""
        trip = followed.trip
        ended = model.ended_at(trip, self._clock())
        if ended is not None:
            await self._change(trip.tenant, [(followed, lambda before: _finish(before, ended))])
            if followed.trip.version != trip.version:
                await self._save([followed])
        if followed.trip.is_over:
            self._forget(thing)
        return not followed.trip.is_over

    async def _change(self, tenant: TenantId, moves: Sequence[Move]) -> None:
        """Move the trips as they are kept now, with the news of it, in one transaction."""
        changed, news = [], list[Event]()
        try:
            async with self._database.tenant(tenant) as tx:
                kept = await trips.load(tx, tenant, [followed.trip.id for followed, _ in moves], lock=True)
                for followed, move in moves:
                    before = kept.get(followed.trip.id)
                    if before is None or before.device != followed.trip.device:
                        followed.is_stale = True
                        continue
                    after, told = move(before)
                    await trips.save(tx, before, after)
                    changed.append((followed, before, after))
                    news += told
                await outbox.add(tx, news)
        except DeviceBusy as error:
            if len(moves) > 1:
                for each in moves:
                    await self._change(tenant, [each])
            else:
                _log.info("eta.device_busy", tenant=tenant, trip=moves[0][0].trip.id, error=str(error))
            return
        for followed, before, after in changed:
            followed.is_stale |= before.version != followed.trip.version
            followed.trip, followed.saved_at = after, 0.0
            self._note(after)

    # --- arrival times ------------------------------------------------------------------------------------------------

    def _say(self, followed: Followed) -> ArrivalsEstimated:
        told = followed.say(self._clock().timestamp())
        ESTIMATES.labels(told.method).inc()
        return told

    async def _tell(self, partition: str, told: list[ArrivalsEstimated]) -> None:
        """At once, to whoever watches; with the bus away there is nobody to tell, and the next fix brings the next."""
        if not told:
            return
        news = EstimatesMade(partition=self._places[partition], estimates=told)
        try:
            await self._bus.publish([Entry(news.stream, news.key, events.encode(news))])
        except BusUnavailable as error:
            _log.warning("eta.not_told", error=str(error))

    async def _alert(self, followed: Followed) -> None:
        due = followed.due()
        if not due:
            return
        now = self._clock()
        async with self._database.tenant(followed.trip.tenant) as tx:
            trip = (await trips.load(tx, tx.tenant, [followed.trip.id], lock=True)).get(followed.trip.id)
            ahead = frozenset() if trip is None else frozenset(stop.id for stop in trip.ahead)
            if trip is not None and not trip.is_over and trip.device == followed.trip.device:
                alerts = [
                    announce.told(trip, stop, alert.kind.value, _at(alert.fired_at), _at(alert.eta))
                    for stop, alert in due
                    if stop.id in ahead
                ]
                await announce.raise_(tx, trip, alerts, now)
            await store.save_estimates(tx, [followed.row()])
        followed.raised |= {(stop.id, alert.kind.value) for stop, alert in due}

    # --- roads --------------------------------------------------------------------------------------------------------

    def _draw_if_due(self, thing: str, followed: Followed) -> None:
        now = self._clock().timestamp()
        purpose = roads.is_due(followed, now, self._settings.redraw_every_s)
        if purpose is None or self._drawer is None:
            return
        followed.drawing_since = now
        task = asyncio.create_task(self._draw(self._drawer, thing, followed, purpose))
        self._drawing.add(task)
        task.add_done_callback(self._drawing.discard)

    async def _draw(self, drawer: Drawer, thing: str, followed: Followed, purpose: Purpose) -> None:
        """Beside the fixes that go on coming: an engine may take its time, and a trip does not wait for it."""
        trip = followed.trip
        try:
            asked = roads.wanted(followed, purpose)
            snapshot = await drawer.snapshot(Asker(trip.tenant, trip.id), asked, purpose)
            async with self._locks[followed.partition]:
                if self._following.get(thing) is not followed:
                    return
                road = roads.drawn(followed, snapshot, purpose)
                ROADS.labels(purpose.value, "none" if road is None else "known").inc()
                if road is not None:
                    await self._take_road(followed, road)
        except MilkrunError as error:
            _log.warning("eta.no_road", tenant=trip.tenant, trip=trip.id, error=str(error))
        finally:
            followed.drawing_since, followed.drawn_at = 0.0, self._clock().timestamp()

    async def _take_road(self, followed: Followed, road: Road) -> None:
        now = self._clock()
        async with self._database.tenant(followed.trip.tenant) as tx:
            await store.save_road(tx, followed.trip.id, road, now)
        followed.draw(road, now.timestamp())

    # --- time passes --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look for trips that changed, let estimates age, and keep the newest, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._again_and_again(self._settings.refresh_s, self.watch.look))
            tasks.create_task(self._again_and_again(1.0, self.pass_time))

    @staticmethod
    async def _again_and_again(every_s: float, work: Callable[[], Awaitable[None]]) -> None:
        is_silent = False
        while True:
            try:
                await work()
                is_silent = False
            except DatabaseUnavailable as error:
                if not is_silent:
                    _log.warning("eta.waiting", error=str(error))
                is_silent = True
            await asyncio.sleep(every_s)

    async def pass_time(self) -> None:
        """What becomes of trips though nothing is heard of them. Raises DatabaseUnavailable."""
        for partition in {each.partition for each in self._following.values()}:
            async with self._locks[partition]:
                await self._age(partition)
                mine = [each for each in self._following.values() if each.partition == partition]
                await self._save([each for each in mine if self._is_to_save(each)])
        self._known.forget_unused()

    async def _age(self, partition: str) -> None:
        told = []
        for thing, followed in list(self._following.items()):
            if followed.partition != partition or not len(followed.track):
                continue
            now, settings = self._clock(), self._settings
            chosen = self.watch.trip_of(thing, now)
            try:
                await self._bring_up({thing: chosen}, partition)
                current = self._following.get(thing)
                if current is None or not await self._goes_on(thing, current):
                    continue
            except BaseException:
                self._forget(thing)
                raise
            said = current.said
            is_due = said is None or now.timestamp() - said.made_at >= settings.age_every_s
            if is_due and len(current.track) and now.timestamp() - current.track.at < settings.silent_h * 3600.0:
                told.append(self._say(current))
        await self._tell(partition, told)

    def _is_to_save(self, followed: Followed) -> bool:
        if followed.said is None or followed.said.made_at <= followed.kept_at:
            return False
        return self._clock().timestamp() - followed.saved_at >= self._settings.save_every_s

    async def _save(self, chosen: Sequence[Followed]) -> None:
        by_tenant: dict[str, list[Followed]] = {}
        for each in chosen:
            if each.said is not None:
                by_tenant.setdefault(each.trip.tenant, []).append(each)
        for group in by_tenant.values():
            async with self._database.tenant(group[0].trip.tenant) as tx:
                await store.save_estimates(tx, [each.row() for each in group])
            for each in group:
                assert each.said is not None
                each.saved_at, each.kept_at = self._clock().timestamp(), each.said.made_at


def _finish(trip: Trip, at: datetime) -> Change:
    try:
        return machine.finish(trip, at)
    except MoveNotAllowed:  # a person has ended it already
        return trip, []


def _at(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)
