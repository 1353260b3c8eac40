"""Learns from trips that ended: each once, from its fixes in the telemetry store, whichever process comes to it."""

import asyncio
from datetime import timedelta

import structlog
from prometheus_client import Counter

from core.clock import Clock
from core.db import Database, DatabaseUnavailable, TenantTx
from core.settings import EtaSettings
from eta.engine.fleet import Fleet
from eta.live import knowledge, model, store
from eta.live.known import Known
from eta.live.store import Ended, Kept, Span
from eta.trips import store as trips
from eta.trips.model import Trip

LEARNED = Counter("milkrun_eta_learned_total", "Finished trips learned from", ["result"])

_WITHIN = timedelta(days=14)
_ROADS_KEPT = timedelta(days=7)
_AT_ONCE = 20
_LEAST_FIXES = 20
_log = structlog.get_logger()


class Learner:
    """`run` until cancelled. What it knows is its own: it is used in a thread beside those who follow trips."""

    def __init__(self, *, database: Database, everyone: Database, settings: EtaSettings, clock: Clock) -> None:
        self._database = database
        self._everyone = everyone
        self._settings = settings
        self._clock = clock
        self._known = Known(database)

    async def run(self) -> None:
        """Look for trips that ended, until cancelled."""
        while True:
            try:
                while await self.learn_once():
                    pass
                self._known.forget_unused()
            except DatabaseUnavailable as error:
                _log.warning("eta.waiting", error=str(error))
            await asyncio.sleep(self._settings.learn_every_s)

    async def learn_once(self) -> int:
        """How many trips taught something or had nothing to teach. Raises DatabaseUnavailable."""
        now = self._clock()
        async with self._everyone.unscoped(reason="trips of every tenant end") as tx:
            await store.forget_roads(tx, now - _ROADS_KEPT)
            ended = await store.to_learn(tx, now - _WITHIN, _AT_ONCE)
        for each in ended:
            await self._learn(each)
        return len(ended)

    async def _learn(self, ended: Ended) -> None:
        try:
            async with self._database.tenant(ended.tenant) as tx:
                await self._teach(tx, ended.trip)
        except BaseException as error:
            self._known.forget(ended.tenant)  # it may know by now what was not kept
            if not isinstance(error, Exception) or isinstance(error, DatabaseUnavailable):
                raise
            # One odd trip must not keep the others from being learned from.
            _log.exception("eta.not_learned", tenant=ended.tenant, trip=ended.trip)
            async with self._database.tenant(ended.tenant) as tx:
                trip = (await trips.load(tx, tx.tenant, [ended.trip]))[ended.trip]
                await store.add_lesson(tx, trip, b"", [], self._clock())
            LEARNED.labels("failed").inc()

    async def _teach(self, tx: TenantTx, trip_id: str) -> None:
        await store.take_turn(tx)
        known = await self._known.catch_up(tx)
        if await store.has_lesson(tx, trip_id):
            return  # another process had its turn before
        trip = (await trips.load(tx, tx.tenant, [trip_id]))[trip_id]
        since = model.counts_since(trip, self._settings.lead_s, None)
        assert since is not None
        kept = (await store.kept(tx, [Span(trip, since, trip.ended_at)]))[trip.id]
        lesson, roads = b"", list[knowledge.LegRoad]()
        if len(kept.fixes) >= _LEAST_FIXES:
            # Seconds of work for a long trip, in which nothing else of this process may stand still.
            lesson, roads = await asyncio.to_thread(_worked_out, known.fleet, trip, kept)
        id_ = await store.add_lesson(tx, trip, lesson, roads, self._clock())
        assert id_ is not None
        known.lesson = id_
        settings = self._settings
        most = settings.lessons_of_route if trip.route else settings.lessons_of_tenant
        await store.forget_lessons(tx, trip.route or "", of_route=most, of_tenant=settings.lessons_of_tenant)
        LEARNED.labels("learned" if lesson else "nothing").inc()
        _log.info("eta.learned", tenant=tx.tenant, trip=trip_id, roads=len(roads), bytes=len(lesson))


def _worked_out(fleet: Fleet, trip: Trip, kept: Kept) -> tuple[bytes, list[knowledge.LegRoad]]:
    """The lesson, drawn on the road the trip was followed on."""
    stops = model.to_drive(trip)
    road = kept.road
    points, seconds, guessed = ((), (), ()) if road is None else (road.points, road.seconds, road.guessed)
    planned = None if trip.planned_start is None else trip.planned_start.timestamp()
    fleet.add_route(trip.id, model.for_engine(stops), points, seconds, called=trip.route or "", guessed=guessed)
    try:
        due_from = 1 if stops[0].site in kept.depots else 0
        track = fleet.begin(trip.id, trip.id, kept.fixes[0].at, planned, due_from=due_from).track
        track.absorb(kept.fixes)
        lesson, roads = knowledge.drawn_from(fleet, trip.id, track, planned)
    finally:
        fleet.drop(trip.id)
    return knowledge.encode(lesson), roads
