"""Plays a recording in order of time through the engine, and keeps what it said and which alerts it gave."""

import enum
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from eta.alerts import Kind
from eta.backtest.dataset import Dataset, RecordedTrip
from eta.engine.fleet import Fleet
from eta.engine.track import Fix, Track

_EVERY_S = 30.0
_EVALUATE_S = 15.0
_AHEAD_S = 2700.0
_NEIGHBOURS = 40  # trips that leave-one-out learns from: the nearest in time of the same roads ...
_CALIBRATES = 15  # ... and of the same route, that its bands are measured on


class Protocol(enum.StrEnum):
    CAUSAL = "causal"  # known are the trips that ended earlier
    LEAVE_ONE_OUT = "leave-one-out"  # known is every other trip of the recording


class Prediction(NamedTuple):
    """Times in epoch seconds."""

    trip_id: str
    stop: int
    """index on the route"""
    stop_id: str
    made_at: float
    eta: float
    p10: float
    p90: float
    method: str


class FiredAlert(NamedTuple):
    trip_id: str
    stop: int
    stop_id: str
    kind: Kind
    fired_at: float
    eta: float


@dataclass(slots=True)
class Played:
    predictions: list[Prediction] = field(default_factory=list)
    alerts: list[FiredAlert] = field(default_factory=list)
    map_calls: int = 0
    """the engine asks no map"""


def play(dataset: Dataset, protocol: Protocol = Protocol.CAUSAL) -> Played:
    """What the engine would have said, knowing at each moment only what had been received by then."""
    return _causal(dataset) if protocol is Protocol.CAUSAL else _leave_one_out(dataset)


@dataclass(slots=True)
class _Said:
    """When something was last said of a trip."""

    predicted_at: float = -math.inf
    evaluated_at: float = -math.inf


def _causal(dataset: Dataset) -> Played:
    fleet, played = _fleet(dataset, dataset.stops), Played()
    said: dict[str, _Said] = {}
    for trip, fix in _moments(dataset.trips):
        if trip.trip_id not in said:
            fleet.begin(trip.trip_id, trip.route_id, trip.fixes[0].at, trip.planned_start)
            said[trip.trip_id] = _Said()
        if fix is None:
            fleet.finish(trip.trip_id)
        else:
            _hear(fleet, trip, fix, said[trip.trip_id], played)
    return played


def _moments(trips: Sequence[RecordedTrip]) -> Iterator[tuple[RecordedTrip, Fix | None]]:
    """Every fix in order of time, and after the last one of a trip its end."""
    moments = [(fix.at, False, number, i) for number, trip in enumerate(trips) for i, fix in enumerate(trip.fixes)]
    # A trip that ends at an instant has not ended earlier than the fixes of that instant: ends come after them.
    moments += [(trip.fixes[-1].at, True, number, 0) for number, trip in enumerate(trips)]
    for _, is_end, number, i in sorted(moments):
        yield trips[number], None if is_end else trips[number].fixes[i]


def _leave_one_out(dataset: Dataset) -> Played:
    played = Played()
    for trip in dataset.trips:
        fleet = _fleet(dataset, dataset.stops)
        _teach(fleet, dataset, trip)
        fleet.begin(trip.trip_id, trip.route_id, trip.fixes[0].at, trip.planned_start)
        said = _Said()
        for fix in trip.fixes:
            _hear(fleet, trip, fix, said, played)
    played.predictions.sort(key=lambda p: (p.made_at, p.trip_id, p.stop))
    played.alerts.sort(key=lambda a: (a.fired_at, a.trip_id, a.stop))
    return played


def _teach(fleet: Fleet, dataset: Dataset, trip: RecordedTrip) -> None:
    """Let the fleet know the other trips over the same roads."""
    legs = _legs(dataset, trip.route_id)
    others = [t for t in dataset.trips if t.trip_id != trip.trip_id and legs & _legs(dataset, t.route_id)]
    others.sort(key=lambda t: (t.route_id != trip.route_id, abs(t.fixes[0].at - trip.fixes[0].at), t.trip_id))
    others = sorted(others[:_NEIGHBOURS], key=lambda t: (t.fixes[0].at, t.trip_id))
    tracks = {}
    for other in others:
        tracks[other.trip_id] = track = Track(fleet.route(other.route_id))
        track.absorb(other.fixes)
        fleet.paths.learn(track)
    for other in others:
        route = fleet.route(other.route_id)
        if route is not tracks[other.trip_id].route:
            tracks[other.trip_id] = tracks[other.trip_id].on(route)
        fleet.history.learn(other.trip_id, tracks[other.trip_id], other.planned_start)
    same = [t for t in others if t.route_id == trip.route_id]
    for other in same[-_CALIBRATES:]:
        fleet.calibrate(other.trip_id, tracks[other.trip_id], other.planned_start)


def _legs(dataset: Dataset, route_id: str) -> set[tuple[str, str]]:
    stops = dataset.stops[route_id]
    return {(a.stop_id, b.stop_id) for a, b in pairwise(stops)}


def _fleet(dataset: Dataset, routes: Iterable[str]) -> Fleet:
    fleet = Fleet()
    for route_id in routes:
        fleet.add_route(route_id, dataset.stops[route_id], dataset.shapes.get(route_id, ()))
    return fleet


def _hear(fleet: Fleet, trip: RecordedTrip, fix: Fix, said: _Said, played: Played) -> None:
    """Take a fix; look whether an alert is due as often as one can be, and write predictions at most every 30 s."""
    if not fleet.take(trip.trip_id, [fix]) or fix.at - said.evaluated_at < _EVALUATE_S:
        return
    said.evaluated_at = fix.at
    estimate = fleet.estimate(trip.trip_id, fix.at)
    stops = dict(enumerate(stop.stop_id for stop in fleet.trips[trip.trip_id].track.route.stops))
    for index, alert in fleet.due_alerts(trip.trip_id, estimate):
        if alert.kind is not Kind.DELAYED:
            played.alerts.append(FiredAlert(trip.trip_id, index, stops[index], alert.kind, alert.fired_at, alert.eta))
    if fix.at - said.predicted_at < _EVERY_S:
        return
    said.predicted_at = fix.at
    for index, eta, p10, _, p90 in estimate.arrivals:
        if eta - fix.at <= _AHEAD_S:
            played.predictions.append(
                Prediction(trip.trip_id, index, stops[index], fix.at, eta, p10, p90, estimate.method.value)
            )
