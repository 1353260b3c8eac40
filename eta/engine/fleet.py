"""The engine: running trips, what was learned, and the one way from a fix to arrival times."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from eta.engine.bands import Bands
from eta.engine.estimate import Arrival, Estimator
from eta.engine.history import History
from eta.engine.paths import Paths
from eta.engine.route import Route, Stop, assembled, drawn
from eta.engine.track import Fix, Track

_PROFILE_AGE_S = 900.0
_REPLAY_S = 30.0


@dataclass(slots=True)
class Trip:
    trip_id: str
    route_id: str
    estimator: Estimator
    profiled_at: float
    learned: tuple[int, int]

    @property
    def track(self) -> Track:
        return self.estimator.track


class Engine:
    def __init__(self) -> None:
        self.history = History()
        self.bands = Bands()
        self.paths = Paths()
        self.trips: dict[str, Trip] = {}
        self._stops: dict[str, Sequence[Stop]] = {}
        self._routes: dict[str, tuple[int, Route]] = {}

    def add_route(self, route_id: str, stops: Sequence[Stop], shape: Sequence[tuple[float, float]] = ()) -> None:
        self._stops[route_id] = stops
        if shape:
            self._routes[route_id] = (-1, drawn(route_id, stops, shape))

    def route(self, route_id: str) -> Route:
        version, route = self._routes.get(route_id, (-2, None))
        if route is None or version not in {-1, self.paths.version}:
            stops = self._stops[route_id]
            paths = self.paths.of(stops)
            fresh = assembled(route_id, stops, paths)
            route = fresh if route is None or fresh != route else route
            self._routes[route_id] = (self.paths.version, fresh)
        return self._routes[route_id][1]

    def begin(self, trip_id: str, route_id: str, planned_start: float | None, at: float) -> None:
        route = self.route(route_id)
        estimator = Estimator(Track(route), self.history.profile(route, at), planned_start)
        self.trips[trip_id] = Trip(trip_id, route_id, estimator, at, (self.history.version, self.paths.version))

    def fix(self, trip_id: str, fix: Fix) -> bool:
        trip = self.trips[trip_id]
        late = fix.at <= trip.track.at
        news = trip.track.add(fix)
        if late and news:
            trip.estimator.use(trip.estimator.profile)
        return news

    def arrivals(self, trip_id: str, now: float) -> list[Arrival]:
        trip = self.trips[trip_id]
        self._renew(trip, now)
        return trip.estimator.arrivals(now, self.bands)

    def _renew(self, trip: Trip, now: float) -> None:
        learned = (self.history.version, self.paths.version)
        if learned == trip.learned and now - trip.profiled_at < _PROFILE_AGE_S:
            return
        route = self.route(trip.route_id)
        if route is not trip.track.route:
            trip.estimator.track = trip.track.on(route)
        trip.estimator.use(self.history.profile(route, now))
        trip.profiled_at, trip.learned = now, learned

    def finish(self, trip_id: str) -> None:
        """End a trip and learn from it."""
        trip = self.trips.pop(trip_id)
        self.learn(trip_id, trip.track, trip.estimator.planned_start)
        self.calibrate(trip_id, trip.track, trip.estimator.planned_start)

    def learn(self, trip_id: str, track: Track, planned_start: float | None) -> None:
        self.paths.learn(track)
        self.history.learn(trip_id, track, planned_start)

    def calibrate(self, trip_id: str, track: Track, planned_start: float | None) -> None:
        """Measure what the engine would have said during this trip, knowing all but it."""
        fixes = track.fixes()
        if not fixes:
            return
        replay = Track(track.route)
        estimator: Estimator | None = None
        errors: list[tuple[float, float]] = []
        plane, said, profiled = track.route.plane, -math.inf, -math.inf
        for at, x, y in fixes:
            replay.add(Fix(at, plane.lat + y / 111_195.0, plane.lon + x / plane.east))
            if at - said < _REPLAY_S:
                continue
            said = at
            if estimator is None or at - profiled > 2 * _PROFILE_AGE_S:
                profile, profiled = self.history.profile(track.route, at, trip_id), at
                if estimator is None:
                    estimator = Estimator(replay, profile, planned_start)
                estimator.use(profile)
            for arrival in estimator.arrivals(at, None):
                truth = track.crossed[track.route.arrivals[arrival.index]]
                if truth > at and arrival.eta - at < 2700.0:
                    errors.append((arrival.eta - at, (truth - arrival.eta) / (arrival.p90 - arrival.eta)))
        self.bands.learn(trip_id, errors)
