"""The one way to a road: the best engine that answers, within time, money and terms, and the label of what it was."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Container, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import structlog
from prometheus_client import Counter, Gauge, Histogram

from core.clock import Clock
from core.db import Database, DatabaseUnavailable
from core.errors import MilkrunError
from core.settings import MapsSettings
from eta.routing import checks, store
from eta.routing.breaker import Breaker
from eta.routing.budget import Budget
from eta.routing.engines.straight import straight
from eta.routing.errors import EngineDown, EngineSlow, EngineWrong, NoRoad, NotOffered, NotReady, OverQuota
from eta.routing.model import Asker, Engine, LatLon, Leg, Nearest, Purpose, Router, Snapshot, Traffic
from eta.routing.store import KeptLeg

CALLS = Counter(
    "milkrun_map_calls_total", "calls of map engines by what came of them", ["engine", "purpose", "outcome"]
)
SECONDS = Histogram("milkrun_map_call_seconds", "time a map engine took for a call, answered or not", ["engine"])
OPEN = Gauge("milkrun_map_engine_resting", "1 while a map engine is left alone after failures", ["engine"])
LEGS = Counter(
    "milkrun_map_legs_total", "legs of road given to trips, by engine and whether they were kept", ["engine", "source"]
)

_log = structlog.get_logger()
_AT_ONCE = 4
_NEVER = datetime.min.replace(tzinfo=UTC)
_NO_ROAD_FOR = timedelta(hours=6)
_NO_ROADS = 10_000
# What tells that the engine itself is unwell; that there is no road tells nothing of the kind.
_FAILURES = (EngineDown, EngineSlow, EngineWrong, OverQuota)


@dataclass(slots=True)
class _Rung:
    router: Router
    breaker: Breaker
    turns: asyncio.Semaphore


@dataclass(slots=True)
class _Found:
    """Legs of a snapshot in the making; None where none is found yet."""

    legs: list[tuple[Engine, Leg] | None]
    calls: int = 0
    reasons: list[str] = field(default_factory=list)
    roadless: set[int] = field(default_factory=set)
    """legs that an engine has no road for"""

    def missing(self, hopeless: Container[int]) -> tuple[int, int] | None:
        """First and last leg that is still missing and not known to have no road."""
        gaps = [i for i, leg in enumerate(self.legs) if leg is None and i not in hopeless]
        return (gaps[0], gaps[-1]) if gaps else None


class Ladder:
    """Engines from best to last. Nothing here raises for an engine's sake; a caller's trip goes on in any case."""

    def __init__(self, routers: Sequence[Router], database: Database, settings: MapsSettings, clock: Clock) -> None:
        self._rungs = [
            _Rung(
                router,
                Breaker(router.engine.value, settings.failures, settings.rest_s),
                asyncio.Semaphore(_AT_ONCE),
            )
            for router in routers
        ]
        self._no_road: dict[tuple[Engine, str, store.Ends], datetime] = {}
        """legs that an edition of an engine has no road for, and when that was said: not asked about again soon"""
        self._database = database
        self._budget = Budget(database, settings, clock)
        self._settings = settings
        self._clock = clock

    @property
    def knows_traffic(self) -> bool:
        """Whether any engine tells the traffic of now."""
        return any(offers(rung.router.engine, Purpose.TRAFFIC) for rung in self._rungs)

    async def snapshot(self, asker: Asker, points: Sequence[LatLon], purpose: Purpose = Purpose.SNAPSHOT) -> Snapshot:
        """The road through two or more points. The straight line, labelled so, where no engine may or can answer.

        With REROUTE the first point is where the vehicle is, so that its leg is not looked for among the kept ones.
        Raises InvalidPlaces.
        """
        checks.checked_places(points)
        first_kept = 1 if purpose is Purpose.REROUTE else 0
        found = _Found([None] * (len(points) - 1))
        kept = await self._kept(asker, points, first_kept)
        for i, choices in kept.items():
            fresh = [leg for leg in choices if self._is_fresh(leg)]
            if fresh:
                found.legs[i] = (fresh[0].engine, fresh[0].leg)
                LEGS.labels(fresh[0].engine.value, "kept").inc()
        for rung in self._rungs:
            await self._climb(rung, asker, purpose, points, found, first_kept)
        for i, choices in kept.items():
            if found.legs[i] is None and choices:
                found.legs[i] = (choices[0].engine, choices[0].leg)
                LEGS.labels(choices[0].engine.value, "old").inc()
                found.reasons.append(f"leg {i + 1} is as it was asked on {choices[0].made_at:%Y-%m-%d}")
        return self._settled(points, found)

    async def traffic(self, asker: Asker, points: Sequence[LatLon]) -> Traffic | None:
        """The durations of now, or None: no engine for it, over the budget, or not answering. Raises InvalidPlaces."""
        checks.checked_places(points)

        async def ask(router: Router) -> tuple[float, ...]:
            seconds = await router.traffic_s(points)
            checks.checked_seconds(points, seconds)
            return seconds

        for rung in self._rungs:
            try:
                seconds = await self._asked(rung, asker, Purpose.TRAFFIC, ask)
            except MilkrunError as error:
                _log.info("no_traffic", engine=rung.router.engine.value, reason=str(error))
                continue
            return Traffic(seconds, rung.router.engine, self._clock().timestamp())
        return None

    async def nearest(self, asker: Asker, point: LatLon) -> Nearest | None:
        """The road beside a point, or None. Raises InvalidPlaces."""
        checks.checked_places([point], least=1)

        async def ask(router: Router) -> Nearest:
            found = await router.nearest(point)
            checks.checked_place(point, found.place, found.away_m)
            return found

        for rung in self._rungs:
            try:
                return await self._asked(rung, asker, Purpose.NEAREST, ask)
            except MilkrunError as error:
                _log.info("no_nearest", engine=rung.router.engine.value, reason=str(error))
        return None

    async def _climb(
        self,
        rung: _Rung,
        asker: Asker,
        purpose: Purpose,
        points: Sequence[LatLon],
        found: _Found,
        first_kept: int,
    ) -> None:
        """Ask one engine for the stretch from the first to the last missing leg."""
        router, now = rung.router, self._clock()
        names = [(router.engine, router.edition, store.ends(*pair)) for pair in pairwise(points)]
        hopeless = {i for i, name in enumerate(names) if now - self._no_road.get(name, _NEVER) < _NO_ROAD_FOR}
        if hopeless:
            found.reasons.append(f"{router.engine.value}: no road on {len(hopeless)} of {len(names)} legs")
            found.roadless |= hopeless
        gap = found.missing(hopeless)
        if gap is None:
            return
        first, last = gap
        stretch = points[first : last + 2]
        try:
            legs = await self._stretch(rung, asker, purpose, stretch, found)
        except NotOffered:
            return
        except MilkrunError as error:
            found.reasons.append(f"{router.engine.value}: {error}")
            return
        fresh = {}
        for i, leg in enumerate(legs, first):
            if leg is None:
                self._forbear(names[i], now)
                found.roadless.add(i)
            elif found.legs[i] is None:
                found.legs[i] = (router.engine, leg)
                LEGS.labels(router.engine.value, "asked").inc()
                if i >= first_kept:
                    fresh[store.ends(points[i], points[i + 1])] = leg
        await self._keep(router, asker, fresh)

    def _forbear(self, name: tuple[Engine, str, store.Ends], now: datetime) -> None:
        if len(self._no_road) >= _NO_ROADS:
            self._no_road.clear()
        self._no_road[name] = now

    async def _stretch(
        self, rung: _Rung, asker: Asker, purpose: Purpose, points: Sequence[LatLon], found: _Found
    ) -> list[Leg | None]:
        """The legs of a stretch. Where one place has no road, the halves are asked, so that the others get theirs."""

        async def ask(router: Router) -> tuple[Leg, ...]:
            found.calls += 1
            legs = await router.route(points)
            checks.checked_legs(points, legs)
            return legs

        try:
            return list(await self._asked(rung, asker, purpose, ask))
        except NoRoad as error:
            if len(points) == 2:
                found.reasons.append(f"{rung.router.engine.value}: {error}")
                return [None]
        middle = len(points) // 2
        before = await self._stretch(rung, asker, purpose, points[: middle + 1], found)
        return before + await self._stretch(rung, asker, purpose, points[middle:], found)

    async def _asked[T](self, rung: _Rung, asker: Asker, purpose: Purpose, ask: Callable[[Router], Awaitable[T]]) -> T:
        """One call, if the engine may and can be asked: breaker, budget, time, and the count of it."""
        router, engine = rung.router, rung.router.engine
        if not offers(engine, purpose):
            raise NotOffered(f"{engine.value} is not asked for {purpose.value}")
        if router.unready:
            raise NotReady(router.unready)
        async with rung.turns:
            rung.breaker.enter(self._clock())
            failure: Exception | None = None
            is_known = False
            begun, outcome = time.monotonic(), "cancelled"
            try:
                await self._pay(asker, router)
                begun = time.monotonic()
                answer = await self._in_time(router, ask)
                is_known, outcome = True, "ok"
            except MilkrunError as error:
                is_known = isinstance(error, (*_FAILURES, NoRoad))
                failure = error if isinstance(error, _FAILURES) else None
                outcome = error.code
                raise
            finally:
                rung.breaker.leave(self._clock(), failure, is_known=is_known)
                OPEN.labels(engine.value).set(rung.breaker.is_open)
                await self._count(asker, engine, purpose, outcome, time.monotonic() - begun)
            return answer

    async def _pay(self, asker: Asker, router: Router) -> None:
        try:
            await self._budget.take(asker, router.terms)
        except DatabaseUnavailable:
            # Nobody knows what is left: our own engines are asked all the same, those that bill are not.
            if router.terms.is_paid:
                raise

    async def _in_time[T](self, router: Router, ask: Callable[[Router], Awaitable[T]]) -> T:
        limit = self._settings.timeout_s
        try:
            async with asyncio.timeout(limit):
                return await ask(router)
        except TimeoutError as error:
            raise EngineSlow(f"{router.engine.value} took longer than {limit:g} s") from error
        except MilkrunError:
            raise
        except Exception as error:
            # An engine that breaks in a way nobody thought of must not take a trip's arrival times with it.
            _log.exception("map_engine_broke", engine=router.engine.value)
            raise EngineWrong(f"{router.engine.value} broke: {type(error).__name__}") from error

    async def _count(self, asker: Asker, engine: Engine, purpose: Purpose, outcome: str, seconds: float) -> None:
        CALLS.labels(engine.value, purpose.value, outcome).inc()
        SECONDS.labels(engine.value).observe(seconds)
        day = self._clock().date()
        try:
            async with self._database.unscoped(reason="calls are counted for trips of all tenants") as tx:
                await store.count(
                    tx, asker.tenant, day=day, engine=engine, purpose=purpose, outcome=outcome, seconds=seconds
                )
        except DatabaseUnavailable as error:
            _log.warning("map_call_not_counted", engine=engine.value, reason=str(error))

    async def _kept(self, asker: Asker, points: Sequence[LatLon], first: int) -> dict[int, list[KeptLeg]]:
        """What is kept of each leg, best engine first."""
        wanted = {i: store.ends(*pair) for i, pair in enumerate(pairwise(points)) if i >= first}
        if not wanted or not self._settings.keep_days:
            return {}
        try:
            async with self._database.unscoped(reason="roads are kept for trips of all tenants") as tx:
                found = await store.legs(tx, asker.tenant, list(set(wanted.values())))
        except DatabaseUnavailable as error:
            _log.warning("kept_legs_unknown", reason=str(error))
            return {}
        order = list(Engine)
        return {i: sorted(found.get(key, ()), key=lambda k: order.index(k.engine)) for i, key in wanted.items()}

    def _is_fresh(self, kept: KeptLeg) -> bool:
        """It is what its engine would answer now."""
        age = self._clock() - kept.made_at
        editions = {rung.router.engine: rung.router.edition for rung in self._rungs}
        return age < timedelta(days=self._settings.keep_days) and editions.get(kept.engine) == kept.edition

    async def _keep(self, router: Router, asker: Asker, legs: dict[store.Ends, Leg]) -> None:
        if not legs or not router.terms.may_keep or not self._settings.keep_days:
            return
        now = self._clock()
        kept = {key: KeptLeg(router.engine, router.edition, leg, now) for key, leg in legs.items()}
        try:
            async with self._database.unscoped(reason="roads are kept for trips of all tenants") as tx:
                await store.keep_legs(tx, asker.tenant, kept)
        except DatabaseUnavailable as error:
            _log.warning("legs_not_kept", reason=str(error))

    def _settled(self, points: Sequence[LatLon], found: _Found) -> Snapshot:
        legs, engines = [], []
        for leg, (start, end) in zip(found.legs, pairwise(points), strict=True):
            if leg is None:
                LEGS.labels(Engine.STRAIGHT.value, "guessed").inc()
            engine, road = leg or (Engine.STRAIGHT, straight(start, end))
            legs.append(road)
            engines.append(engine)
        reasons = found.reasons if self._rungs else ["no map is configured"]
        made_at = self._clock().timestamp()
        roadless = frozenset(i for i in found.roadless if found.legs[i] is None)
        told = "; ".join(dict.fromkeys(reasons))
        return Snapshot(tuple(legs), tuple(engines), made_at, found.calls, told, roadless)


def offers(engine: Engine, purpose: Purpose) -> bool:
    """Google is asked for the traffic and nothing else, and nobody else is asked for that."""
    return (engine is Engine.GOOGLE) == (purpose is Purpose.TRAFFIC)
