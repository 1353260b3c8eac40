"""What follows from an estimate and must not hold up the next one: it is written down, and the traffic is asked for."""

import asyncio
from typing import Protocol

from prometheus_client import Counter

from core.events import ArrivalsEstimated
from eta.accuracy.record import Expected, Recorder
from eta.engine.visits import StopState
from eta.live import roads
from eta.live.followed import Followed
from eta.live.store import LatLon
from eta.routing.model import Asker, Purpose, Traffic
from eta.routing.recalibrate import Facts
from eta.trips.model import TripState

RECALIBRATED = Counter("milkrun_eta_recalibrated_total", "Times the traffic was asked for a trip", ["result"])


class Source(Protocol):
    """Whoever knows the traffic: `eta.routing.ladder.Ladder`."""

    @property
    def knows_traffic(self) -> bool: ...

    async def traffic(self, asker: Asker, points: list[LatLon]) -> Traffic | None: ...


class Beside:
    """Each method waits for nothing. What is told of the traffic lives in the trip's own estimator and goes with it."""

    def __init__(self, source: Source, recorder: Recorder) -> None:
        self._source = source
        self._recorder = recorder
        self._asking: set[asyncio.Task[None]] = set()

    def said(self, followed: Followed, told: ArrivalsEstimated) -> None:
        """New fixes have led to this."""
        trip = followed.trip
        expected = (Expected(a.stop, a.eta / 1000, a.p10 / 1000, a.p90 / 1000) for a in told.arrivals)
        self._recorder.heard(trip.tenant, trip.id, told.made_at / 1000, told.method, expected)
        self._recalibrate_if_due(followed)

    def over(self, followed: Followed) -> None:
        """The trip is followed here no more."""
        self._recorder.over(followed.trip.tenant, followed.trip.id)

    def _recalibrate_if_due(self, followed: Followed) -> None:
        if not self._source.knows_traffic or followed.trip.state is not TripState.UNDER_WAY:
            return
        said, track = followed.said, followed.track
        if said is None or not said.arrivals:
            return
        is_serving = StopState.ARRIVED in track.visits.states
        standing = 0.0 if is_serving else track.standing_s
        facts = Facts(said.made_at, said.arrivals[-1].p50, track.is_off_route, standing)
        if not followed.recalibration.due(facts):
            return
        followed.recalibration.asked(facts.now)
        task = asyncio.create_task(self._ask(followed, roads.wanted(followed, Purpose.REROUTE)))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask(self, followed: Followed, places: list[LatLon]) -> None:
        trip = followed.trip
        traffic = await self._source.traffic(Asker(trip.tenant, trip.id), places) if len(places) > 1 else None
        RECALIBRATED.labels("none" if traffic is None else "told").inc()
        if traffic is not None and trip.id in followed.fleet.trips:
            followed.fleet.heed(trip.id, traffic.leg_s, traffic.made_at)
