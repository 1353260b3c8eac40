"""One trip as its worker has it in memory: all of it follows from what is kept of it and from its fixes."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from core.events import ArrivalEstimate, ArrivalsEstimated, Event, Received
from eta.alerts import Alert, AlertState, Kind
from eta.engine.estimate import Estimate, Method
from eta.engine.fleet import Fleet
from eta.engine.track import Fix, Track
from eta.live import model
from eta.live.store import Kept, Road
from eta.routing.recalibrate import Recalibration
from eta.trips import model as machine
from eta.trips.model import Change, Trip, TripStop


@dataclass(eq=False, slots=True)
class Followed:
    """A trip planned or under way whose device reports. `partition` is the stream its fixes come by."""

    trip: Trip
    fleet: Fleet
    partition: str
    since: float
    """fixes from here on are the trip's"""
    stops: tuple[TripStop, ...]
    is_from_depot: bool
    road: Road | None
    noticed: int = 0
    """events of the track that the trip's state has in it"""
    is_revised: bool = False
    """a late fix has changed what the track says"""
    is_stale: bool = False
    """somebody else changed the trip"""
    said: Estimate | None = None
    saved_at: float = 0.0
    kept_at: float = 0.0
    """when the estimate that is kept was made"""
    drawing_since: float = 0.0
    """since when another road is asked for; 0: none is"""
    drawn_at: float = 0.0
    raised: set[tuple[str, str]] = field(default_factory=set)
    recalibration: Recalibration = field(default_factory=Recalibration)

    @property
    def track(self) -> Track:
        return self.fleet.trips[self.trip.id].track

    @property
    def alert_states(self) -> dict[int, AlertState]:
        return self.fleet.trips[self.trip.id].alert_states

    def take(self, fixes: Iterable[Fix]) -> bool:
        """Whether any of them was news."""
        fixes = [fix for fix in fixes if fix.at >= self.since]
        late = any(fix.at <= self.track.at for fix in fixes)
        news = self.fleet.take(self.trip.id, fixes)
        self.is_revised |= late and news > 0
        return news > 0

    def has_moved(self) -> bool:
        """Whether the fixes may say something of the stops that they did not before."""
        return self.is_revised or len(self.track.events) != self.noticed

    def begun_at(self) -> float | None:
        track = self.track
        stop, (x, y) = self.stops[0], track.route.stop_xy[0]
        was_there = math.dist(track.first_xy, (x, y)) <= stop.radius_m
        return model.begun_at(self.trip, track.visits, track.at, is_start=self.is_from_depot or was_there)

    def as_seen(self, now: datetime) -> Callable[[Trip], Change]:
        """The move of the trip, begun and its stops moved, that the fixes so far come to."""
        began = self.begun_at() if len(self.track) else None
        seen = model.seen(self.stops, self.track.visits)

        def move(trip: Trip) -> Change:
            news: list[Event] = []
            if began is not None and (trip.started_at is None or model.at(began) < trip.started_at):
                trip, news = machine.begin(trip, model.at(began))
            if model.differs(trip, seen):
                trip, told = machine.observe(trip, seen, now)
                news = [*news, *told]
            return trip, news

        return move

    def say(self, now: float) -> ArrivalsEstimated:
        """The arrival times as of now, which never lies before the newest fix or what was said before."""
        before = now if self.said is None else max(now, self.said.made_at)
        estimate = self.fleet.estimate(self.trip.id, max(before, self.track.at))
        self.said = estimate
        track = self.track
        return ArrivalsEstimated(
            tenant=self.trip.tenant,
            trip=self.trip.id,
            device=self.trip.device or "",
            made_at=_ms(estimate.made_at),
            method=estimate.method.value,
            reason=estimate.reason,
            age_s=estimate.age_s,
            is_on_route=track.is_on_route,
            progress_m=track.progress_m,
            arrivals=[
                ArrivalEstimate(
                    self.stops[a.stop].id, self.stops[a.stop].site, _ms(a.eta), _ms(a.p10), _ms(a.p50), _ms(a.p90)
                )
                for a in estimate.arrivals
            ],
        )

    def due(self) -> list[tuple[TripStop, Alert]]:
        """Alerts that the newest estimate makes due."""
        assert self.said is not None
        if self.said.method is Method.AGED:
            return []
        due = self.fleet.due_alerts(self.trip.id, self.said)
        return [(self.stops[n], alert) for n, alert in due if (self.stops[n].id, alert.kind.value) not in self.raised]

    def row(self) -> dict[str, object]:
        """What is kept of it: the newest estimate, and how far its alerts have come."""
        assert self.said is not None
        track, said = self.track, self.said
        lat, lon = track.route.plane.degrees(track.x, track.y)
        return {
            "trip_id": self.trip.id,
            "device_id": self.trip.device,
            "made_at": said.made_at,
            "fix_at": track.at,
            "lat": lat,
            "lon": lon,
            "method": said.method.value,
            "reason": said.reason,
            "is_on_route": track.is_on_route,
            "progress_m": track.progress_m,
            "length_m": track.route.line.length,
            "source": track.route.source,
            "arrivals": [
                {
                    "stop": self.stops[a.stop].id,
                    "site": self.stops[a.stop].site,
                    "eta": _ms(a.eta),
                    "p10": _ms(a.p10),
                    "p50": _ms(a.p50),
                    "p90": _ms(a.p90),
                }
                for a in said.arrivals
            ],
            "alerts": {self.stops[n].id: _packed(state) for n, state in self.alert_states.items()},
        }

    def draw(self, road: Road, now: float) -> None:
        """Go on on another road, from the first fix on."""
        trip = self.trip
        self.fleet.add_route(
            trip.id,
            model.for_engine(self.stops),
            road.points,
            road.seconds,
            called=trip.route or "",
            guessed=road.guessed,
        )
        self.fleet.redraw(trip.id, now)
        self.road, self.drawn_at, self.is_revised = road, now, True


def fix_of(received: Received) -> Fix:
    """Of a sample that has a position."""
    pos = received.sample.pos
    assert pos is not None
    return Fix(received.sample.ts / 1000, pos.lat, pos.lon)


def follow(trip: Trip, kept: Kept, fleet: Fleet, partition: str, since: datetime) -> Followed:
    """Work a trip out from what is kept of it."""
    stops = model.to_drive(trip)
    road = kept.road if kept.road is not None and kept.road.stops == tuple(stop.id for stop in stops) else None
    fleet.drop(trip.id)
    points, seconds, guessed = ((), (), ()) if road is None else (road.points, road.seconds, road.guessed)
    planned = None if trip.planned_start is None else trip.planned_start.timestamp()
    fleet.add_route(trip.id, model.for_engine(stops), points, seconds, called=trip.route or "", guessed=guessed)
    at = kept.fixes[0].at if kept.fixes else since.timestamp()
    is_from_depot = stops[0].site in kept.depots
    engine = fleet.begin(trip.id, trip.id, at, planned, due_from=1 if is_from_depot else 0)
    followed = Followed(trip, fleet, partition, since.timestamp(), stops, is_from_depot, road)
    followed.take(kept.fixes)
    followed.is_revised = True
    followed.raised = set(kept.raised)
    if kept.device == trip.device:
        for n, stop in enumerate(stops):
            if stop.id in kept.alerts:
                engine.alert_states[n] = _unpacked(kept.alerts[stop.id])
    for n, stop in enumerate(stops):
        sent = frozenset(kind for kind in Kind if (stop.id, kind.value) in followed.raised)
        if sent:
            state = engine.alert_states.get(n, AlertState())
            engine.alert_states[n] = replace(state, sent=state.sent | sent)
    return followed


def _packed(state: AlertState) -> list[object]:
    return [
        sorted(kind.value for kind in state.sent),
        sorted(kind.value for kind in state.forgone),
        state.was_under_way,
        state.seen_at,
        round(state.seen_left_s, 1),
        state.late_since,
        state.is_over,
    ]


def _unpacked(stored: list[Any]) -> AlertState:
    sent, forgone, *rest = stored
    return AlertState(frozenset(map(Kind, sent)), frozenset(map(Kind, forgone)), *rest)


def _ms(epoch_s: float) -> int:
    return round(epoch_s * 1000)
