"""The engine: trips under way, what was learned from finished ones, and the one way from a fix to arrival times."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from eta import alerts
from eta.engine.bands import Bands
from eta.engine.estimate import Estimate, Estimator
from eta.engine.history import History
from eta.engine.paths import Paths
from eta.engine.route import Route, Stop, assembled, drawn
from eta.engine.track import Fix, Track

_PROFILE_AGE_S = 900.0  # the likeness of other trips changes with the hour
_REPLAY_S = 30.0
_FAR_S = 2700.0  # nobody plans by an arrival further ahead


@dataclass(slots=True)
class Trip:
    """One trip under way."""

    trip_id: str
    route_id: str
    estimator: Estimator
    profiled_at: float
    learned: tuple[int, int]
    """versions of history and roads that the profile and the route were made from"""
    alert_states: dict[int, alerts.AlertState] = field(default_factory=dict)
    """by index of the stop"""

    @property
    def track(self) -> Track:
        return self.estimator.track


class Fleet:
    """Routes and trips of one fleet. Everything it says follows from what it was given, in whatever order fixes came.

    Times are epoch seconds of the devices' clocks.
    """

    def __init__(self, *, renew_s: float = 0.0) -> None:
        self._renew_s = renew_s
        self.history = History()
        self.bands = Bands()
        self.paths = Paths()
        self.trips: dict[str, Trip] = {}
        self._stops: dict[str, tuple[Stop, ...]] = {}
        self._called: dict[str, str] = {}
        self._routes: dict[str, Route] = {}
        self._drawn: dict[str, int] = {}

    def add_route(
        self,
        route_id: str,
        stops: Sequence[Stop],
        shape: Sequence[tuple[float, float]] = (),
        shape_s: Sequence[float] = (),
        *,
        called: str | None = None,
        guessed: Sequence[int] = (),
    ) -> None:
        """Declare a route by its stops and, where it is known, its road as (latitude, longitude).

        `called`: the route whose starts it learns from and tells of, where `route_id` is one trip's own.
        `shape_s`: driving seconds from the road's beginning to each of its points, where a routing engine told them.
        `guessed`: n stands for the stretch from its point n to the next, where it is only a straight line.
        """
        self._stops[route_id] = tuple(stops)
        self._called[route_id] = route_id if called is None else called
        self._routes.pop(route_id, None)
        self._drawn.pop(route_id, None)
        if shape:
            self._routes[route_id] = drawn(self._called[route_id], stops, shape, shape_s, guessed)

    def route(self, route_id: str) -> Route:
        """The snapshot that trips are followed on: the shape, or what was learned of the road so far."""
        route = self._routes.get(route_id)
        if route is not None and (route.source == "shape" or self._drawn[route_id] == self.paths.version):
            return route
        self._drawn[route_id] = self.paths.version
        fresh = assembled(self._called[route_id], self._stops[route_id], self.paths.of(self._stops[route_id]))
        if route is None or fresh.stop_at != route.stop_at or fresh.line.along != route.line.along:
            self._routes[route_id] = fresh  # otherwise other routes' roads changed, and trips stay where they are
        return self._routes[route_id]

    def begin(
        self, trip_id: str, route_id: str, at: float, planned_start: float | None = None, *, due_from: int = 1
    ) -> Trip:
        """A trip is about to start, or has been seen for the first time. `due_from`: see Track."""
        route = self.route(route_id)
        estimator = Estimator(Track(route, due_from), self.history.profile(route, at), planned_start)
        trip = Trip(trip_id, route_id, estimator, at, (self.history.version, self.paths.version))
        self.trips[trip_id] = trip
        return trip

    def take(self, trip_id: str, fixes: Iterable[Fix]) -> int:
        """Fixes of a trip, in any order, repeated ones included; returns how many were news."""
        trip = self.trips[trip_id]
        track = trip.track
        late, news = [], 0
        for fix in fixes:
            if fix.at > track.at:
                news += track.add(fix)
            else:
                late.append(fix)
        if late and (absorbed := track.absorb(late)):
            news += absorbed
            trip.estimator.use(trip.estimator.profile)
        return news

    def estimate(self, trip_id: str, now: float) -> Estimate:
        """Arrival times of a trip as of `now`."""
        trip = self.trips[trip_id]
        self._renew(trip, now)
        return trip.estimator.estimate(now, self.bands)

    def heed(self, trip_id: str, leg_s: Sequence[float], at: float) -> None:
        """Let a trip's arrival times rest on a map engine's driving seconds to its next stops, as of `at`."""
        self.trips[trip_id].estimator.heed(leg_s, at)

    def due_alerts(self, trip_id: str, estimate: Estimate) -> list[tuple[int, alerts.Alert]]:
        """(index of the stop, alert) of every warning this estimate makes due.

        Call it when the newest fix has moved on, never for a late one.
        """
        trip = self.trips[trip_id]
        track = trip.track
        is_under_way = track.next > 1 or track.progress_m > track.route.bounds[min(1, len(track.route.bounds) - 1)]
        due = []
        for arrival in estimate.arrivals:
            state = trip.alert_states.get(arrival.stop, _ARMED)
            facts = alerts.Facts(
                estimate.made_at,
                arrival.p50,
                arrival.p10,
                arrival.p90,
                estimate.age_s,
                track.is_on_route,
                is_under_way,
                False,
            )
            after, alert = alerts.evaluate(state, facts)
            if after is not state:
                trip.alert_states[arrival.stop] = after
            if alert is not None:
                due.append((arrival.stop, alert))
        return due

    def redraw(self, trip_id: str, at: float) -> None:
        """Its route was declared anew: follow it on that from its first fix on. Its alerts are by other stops then."""
        trip = self.trips[trip_id]
        route = self.route(trip.route_id)
        trip.estimator.track = trip.track.on(route)
        trip.estimator.use(self.history.profile(route, at))
        trip.profiled_at, trip.learned = at, (self.history.version, self.paths.version)

    def drop(self, trip_id: str) -> None:
        """Follow this trip no more, and forget the route if it was its own."""
        trip = self.trips.pop(trip_id, None)
        if trip is not None and trip.route_id == trip_id:
            for known in (self._stops, self._called, self._routes, self._drawn):
                known.pop(trip_id, None)

    def finish(self, trip_id: str) -> Trip:
        """End a trip and learn from it."""
        trip = self.trips.pop(trip_id)
        self.learn(trip_id, trip.track, trip.estimator.planned_start)
        self.calibrate(trip_id, trip.track, trip.estimator.planned_start)
        return trip

    def learn(self, trip_id: str, track: Track, planned_start: float | None = None) -> None:
        """Take roads, durations and services from a finished trip."""
        self.paths.learn(track)
        self.history.learn(trip_id, track, planned_start)

    def calibrate(self, trip_id: str, track: Track, planned_start: float | None = None) -> None:
        """Let the bands follow from how wrong the engine would have been on this trip."""
        self.bands.learn(trip_id, self.errors(trip_id, track, planned_start))

    def errors(self, trip_id: str, track: Track, planned_start: float | None = None) -> list[tuple[float, float]]:
        """How wrong the engine would have been on this trip, knowing all but it: (seconds ahead, standardised error).

        A replay rather than a record of what was said, so that neither a crash nor the order of arrival changes it.
        """
        replay = Track(track.route, track.due_from)
        estimator: Estimator | None = None
        errors: list[tuple[float, float]] = []
        plane, said, profiled = track.route.plane, -math.inf, -math.inf
        for at, x, y in track.fixes():
            replay.add(Fix(at, *plane.degrees(x, y)))
            if at - said < _REPLAY_S:
                continue
            said = at
            if estimator is None or at - profiled > 2.0 * _PROFILE_AGE_S:
                profile, profiled = self.history.profile(track.route, at, without=trip_id), at
                estimator = estimator or Estimator(replay, profile, planned_start)
                estimator.use(profile)
            for arrival in estimator.estimate(at, None).arrivals:
                reached = track.crossed[track.route.arrivals[arrival.stop]]
                if reached > at and arrival.eta - at < _FAR_S:
                    errors.append((arrival.eta - at, (reached - arrival.eta) / (arrival.p90 - arrival.eta)))
        return errors

    def _renew(self, trip: Trip, now: float) -> None:
        learned = (self.history.version, self.paths.version)
        age = now - trip.profiled_at
        # With many trips under way each that ends would have all the others' profiles made anew at once.
        if age < (self._renew_s if learned != trip.learned else _PROFILE_AGE_S):
            return
        route = self.route(trip.route_id)
        if route is not trip.track.route:
            trip.estimator.track = trip.track.on(route)
        trip.estimator.use(self.history.profile(route, now))
        trip.profiled_at, trip.learned = now, learned


_ARMED = alerts.AlertState()
