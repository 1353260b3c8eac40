"""Trips, their stops, and every move they may make. Pure: each function returns the new trip and the news.

Two move a trip. People do by the functions named after what they want (`assign`, `start`, `move_stop`). Positions do
by `begin`, `observe` and `finish`: `observe` takes what the fixes say of every stop, whole, so that late and repeated
fixes end in the same trip as fixes in order. What a person said of a stop stays said: positions change it no more.

A trip that is over changes no more, and none of its stops is still to come.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from core.clock import epoch_ms
from core.events import Event, StopChanged, TripChanged
from core.tenancy import DeviceId, TenantId
from eta.trips.errors import InvalidTrip, MoveNotAllowed, StopNotFound, VersionMoved

MAX_STOPS = 300


class TripState(enum.StrEnum):
    """docs/trips.md has the picture."""

    PLANNED = "planned"  # waits for its start; may have no device yet
    UNDER_WAY = "under_way"  # a device drives it, and that device drives no other
    DONE = "done"  # every stop was served or skipped, or a person said that this is it
    ABANDONED = "abandoned"  # given up, before or after its start; what was still to come is skipped


TRIP_MOVES: Mapping[TripState, frozenset[TripState]] = {
    TripState.PLANNED: frozenset({TripState.UNDER_WAY, TripState.ABANDONED}),
    TripState.UNDER_WAY: frozenset({TripState.DONE, TripState.ABANDONED}),
    TripState.DONE: frozenset(),
    TripState.ABANDONED: frozenset(),
}
OVER = frozenset({TripState.DONE, TripState.ABANDONED})


class StopState(enum.StrEnum):
    PLANNED = "planned"  # still ahead
    ARRIVED = "arrived"  # the truck stands there
    SERVED = "served"  # it was there and has left, or drove through
    SKIPPED = "skipped"  # left out: by a person, or driven past; in the second case a later visit still counts


STOP_MOVES: Mapping[StopState, frozenset[StopState]] = {
    StopState.PLANNED: frozenset({StopState.ARRIVED, StopState.SERVED, StopState.SKIPPED}),
    StopState.ARRIVED: frozenset({StopState.PLANNED, StopState.SERVED, StopState.SKIPPED}),
    StopState.SERVED: frozenset({StopState.PLANNED}),
    StopState.SKIPPED: frozenset({StopState.PLANNED}),
}
"""What a person may say of a stop. Positions are not bound by it: a late fix may take back what was noticed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TripStop:
    """One stop of one trip. It keeps the name and place its site had when the trip was made.

    `radius_m` around `lat`, `lon` (degrees) is the stop's area; with `polygon`, (latitude, longitude) of its corners,
    that is, and the circle encloses it. `is_settled`: a person said its state, or it was the business of a device that
    has handed the trip over; positions leave it alone.
    """

    id: str
    site: str
    name: str
    lat: float
    lon: float
    radius_m: float
    polygon: tuple[tuple[float, float], ...] = ()
    planned_at: datetime | None = None
    service_s: float | None = None
    quantity: float | None = None
    state: StopState = StopState.PLANNED
    is_settled: bool = False
    arrived_at: datetime | None = None
    departed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """A round that a device drives on a day, loaded, changed and saved with its stops as one.

    `stops` stand in the order in which they are to be driven. `day` is the day of its start where it starts. `version`
    counts every change of trip or stops. `is_recurring`: the trip that its route has on its day by plan; a route has
    one of these a day, and any number of others.
    """

    tenant: TenantId
    id: str
    code: str | None
    route: str | None
    device: DeviceId | None
    day: date
    planned_start: datetime | None
    stops: tuple[TripStop, ...]
    created_at: datetime
    updated_at: datetime
    state: TripState = TripState.PLANNED
    is_recurring: bool = False
    started_at: datetime | None = None
    handed_over_at: datetime | None = None
    """when its device got it, where it got it on the way: what that one did before is not the trip's"""
    ended_at: datetime | None = None
    reason: str = ""
    """why it was abandoned"""
    version: int = 1

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    @property
    def ahead(self) -> tuple[TripStop, ...]:
        """The stops still to come, in order."""
        return tuple(stop for stop in self.stops if stop.state is StopState.PLANNED)

    def stop(self, stop_id: str) -> TripStop:
        """Raises StopNotFound."""
        found = next((stop for stop in self.stops if stop.id == stop_id), None)
        if found is None:
            raise StopNotFound(f"trip {self.id} has no stop {stop_id[:80]}")
        return found


@dataclass(frozen=True, slots=True)
class Seen:
    """What positions say of one stop now."""

    state: StopState
    arrived_at: datetime | None = None
    departed_at: datetime | None = None


type Change = tuple[Trip, list[Event]]


def new_trip(trip: Trip) -> Change:
    """The trip as it is first kept. Raises InvalidTrip."""
    if not 1 <= len(trip.stops) <= MAX_STOPS:
        raise InvalidTrip(f"{len(trip.stops)} stops: a trip has 1 to {MAX_STOPS}")
    return trip, [_told(trip, trip.created_at)]


def require_version(expected: int | None, version: int) -> None:
    """Raises VersionMoved when the caller has seen another version; None: he does not care."""
    if expected is not None and expected != version:
        raise VersionMoved(f"this has changed: it is at version {version} now, not at {expected}")


def assign(before: Trip, device: DeviceId | None, at: datetime) -> Change:
    """Give the trip to a device, also while it runs; None takes it from the one it has. Raises MoveNotAllowed.

    Handed over on the way, what the one device has reached stays as it is, whatever the other one's positions say.
    """
    _require_open(before)
    if device == before.device:
        return before, []
    if device is None and before.state is TripState.UNDER_WAY:
        raise MoveNotAllowed(f"trip {before.id} is under way: it can be given to another device, not to none")
    if before.state is TripState.PLANNED:
        return _changed(replace(before, device=device), at)
    handed = {stop.id: _handed_over(stop, at) for stop in before.stops}
    after = replace(before, device=device, stops=_replaced(before.stops, handed), handed_over_at=at)
    after, told = _changed(after, at)
    return after, [*_stop_news(before, handed, at), *told]


def _handed_over(stop: TripStop, at: datetime) -> TripStop:
    """Where the device before was is done with; what it only drove past is ahead of the next one."""
    if stop.state is StopState.SKIPPED and not stop.is_settled:
        return replace(stop, state=StopState.PLANNED)
    return stop if stop.state is StopState.PLANNED else replace(_closed(stop, at), is_settled=True)


def reschedule(before: Trip, day: date, planned_start: datetime | None, at: datetime) -> Change:
    """Another day or start, its stops moved by as much. Raises MoveNotAllowed unless the trip is still planned."""
    if before.state is not TripState.PLANNED:
        raise MoveNotAllowed(f"trip {before.id} is {before.state}: only a planned one gets another start")
    if (day, planned_start) == (before.day, before.planned_start):
        return before, []
    stops = before.stops
    if planned_start is not None and before.planned_start is not None:
        later = planned_start - before.planned_start
        stops = tuple(
            stop if stop.planned_at is None else replace(stop, planned_at=stop.planned_at + later) for stop in stops
        )
    return _changed(replace(before, day=day, planned_start=planned_start, stops=stops), at)


def start(before: Trip, at: datetime) -> Change:
    """The trip begins: a person says so. Raises MoveNotAllowed."""
    if before.device is None:
        raise MoveNotAllowed(f"trip {before.id} has no device yet: assign one, then start it")
    return _to(before, TripState.UNDER_WAY, at, started_at=at)


def begin(before: Trip, at: datetime) -> Change:
    """The trip begins: its device's positions say so. Nothing changes unless it is planned and has a device.

    Of a trip under way they may say that it began earlier: late fixes, or a person who was.
    """
    if before.state is TripState.UNDER_WAY and before.started_at is not None and at < before.started_at:
        return replace(before, started_at=at, version=before.version + 1), []
    if before.state is not TripState.PLANNED or before.device is None:
        return before, []
    return _to(before, TripState.UNDER_WAY, at, started_at=at)


def finish(before: Trip, at: datetime) -> Change:
    """The trip is done. Where the truck stands is served; what is still ahead is skipped. Raises MoveNotAllowed."""
    return _to(before, TripState.DONE, at, ended_at=at)


def abandon(before: Trip, reason: str, at: datetime) -> Change:
    """The trip is given up. Raises MoveNotAllowed."""
    return _to(before, TripState.ABANDONED, at, ended_at=at, reason=reason)


def move_stop(before: Trip, stop_id: str, state: StopState, at: datetime) -> Change:
    """A person says what became of a stop; `planned` takes it back and leaves it to positions again.

    A stop can be skipped before the trip begins, and reached only while it runs. Raises StopNotFound, MoveNotAllowed.
    """
    _require_open(before)
    stop = before.stop(stop_id)
    if state is stop.state and (stop.is_settled or state is StopState.PLANNED):
        return before, []
    if state is not stop.state and state not in STOP_MOVES[stop.state]:
        raise MoveNotAllowed(f"stop {stop.id} is {stop.state} and cannot become {state}")
    if state in {StopState.ARRIVED, StopState.SERVED} and before.state is not TripState.UNDER_WAY:
        raise MoveNotAllowed(f"trip {before.id} is {before.state}: a stop is reached only while it is under way")
    was_there = state in {StopState.ARRIVED, StopState.SERVED}
    after = replace(
        stop,
        state=state,
        is_settled=state is not StopState.PLANNED,
        arrived_at=(stop.arrived_at or at) if was_there else None,
        departed_at=(stop.departed_at or at) if state is StopState.SERVED else None,
    )
    return _with(before, {stop_id: after}, at)


def describe_stop(before: Trip, stop_id: str, service_s: float | None, quantity: float | None, at: datetime) -> Change:
    """Another service time or quantity of a stop. Raises StopNotFound, MoveNotAllowed."""
    _require_open(before)
    stop = before.stop(stop_id)
    after = replace(stop, service_s=service_s, quantity=quantity)
    if after == stop:
        return before, []
    return _changed(replace(before, stops=_replaced(before.stops, {stop_id: after})), at)


def add_stop(before: Trip, stop: TripStop, position: int | None, at: datetime) -> Change:
    """One more stop, before the `position`-th of those still ahead (from 0), or as the last one.

    Raises MoveNotAllowed when the trip is over, InvalidTrip when it has as many stops as it may have.
    """
    _require_open(before)
    if len(before.stops) >= MAX_STOPS:
        raise InvalidTrip(f"trip {before.id} has {MAX_STOPS} stops already, which is the most")
    ahead = before.ahead
    if position is None or position >= len(ahead):
        stops = (*before.stops, stop)
    else:
        place = before.stops.index(ahead[max(0, position)])
        stops = (*before.stops[:place], stop, *before.stops[place:])
    return _changed(replace(before, stops=stops), at)


def reorder(before: Trip, order: Sequence[str], at: datetime) -> Change:
    """Drive the stops still ahead in this order; the others keep their places.

    `order` names each of them once. Raises MoveNotAllowed, InvalidTrip.
    """
    _require_open(before)
    ahead = {stop.id: stop for stop in before.ahead}
    if sorted(order) != sorted(ahead):
        raise InvalidTrip(f"the order has to name each stop that is still ahead once: {', '.join(ahead) or 'none is'}")
    coming = iter(order)
    stops = tuple(ahead[next(coming)] if stop.id in ahead else stop for stop in before.stops)
    return (before, []) if stops == before.stops else _changed(replace(before, stops=stops), at)


def observe(before: Trip, seen: Mapping[str, Seen], at: datetime) -> Change:
    """What positions say of the stops, by their ids; stops not named stay as they are.

    Takes back what they said before and do not say any more. Nothing changes where a person has spoken, or unless the
    trip is under way. News of a stop carries the time of its arrival or departure, not of this notice.
    """
    if before.state is not TripState.UNDER_WAY:
        return before, []
    told = {
        stop.id: replace(
            stop,
            state=seen[stop.id].state,
            arrived_at=seen[stop.id].arrived_at,
            departed_at=seen[stop.id].departed_at,
        )
        for stop in before.stops
        if stop.id in seen and not stop.is_settled
    }
    return _with(before, told, at)


def _require_open(trip: Trip) -> None:
    if trip.is_over:
        raise MoveNotAllowed(f"trip {trip.id} is {trip.state}: it does not change any more")


def _to(
    before: Trip,
    state: TripState,
    at: datetime,
    *,
    started_at: datetime | None = None,
    ended_at: datetime | None = None,
    reason: str = "",
) -> Change:
    if state not in TRIP_MOVES[before.state]:
        raise MoveNotAllowed(f"trip {before.id} is {before.state} and cannot become {state}")
    news: list[Event] = []
    stops = before.stops
    if state in OVER:
        closed = {stop.id: _closed(stop, at) for stop in stops}
        news = _stop_news(before, closed, at)
        stops = _replaced(stops, closed)
    after = replace(
        before,
        state=state,
        stops=stops,
        started_at=started_at or before.started_at,
        ended_at=ended_at,
        reason=reason,
    )
    after, told = _changed(after, at)
    return after, [*news, *told]


def _closed(stop: TripStop, at: datetime) -> TripStop:
    if stop.state is StopState.ARRIVED:
        return replace(stop, state=StopState.SERVED, departed_at=stop.departed_at or at)
    return replace(stop, state=StopState.SKIPPED) if stop.state is StopState.PLANNED else stop


def _with(before: Trip, stops: Mapping[str, TripStop], at: datetime) -> Change:
    """The trip with these stops in the place of its own, told of each whose state is another."""
    after = replace(before, stops=_replaced(before.stops, stops))
    if after == before:
        return before, []
    return replace(after, version=before.version + 1, updated_at=at), _stop_news(before, stops, at)


def _replaced(stops: tuple[TripStop, ...], by: Mapping[str, TripStop]) -> tuple[TripStop, ...]:
    return tuple(by.get(stop.id, stop) for stop in stops)


def _since(stop: TripStop) -> datetime | None:
    match stop.state:
        case StopState.ARRIVED:
            return stop.arrived_at
        case StopState.SERVED:
            return stop.departed_at
        case StopState.PLANNED | StopState.SKIPPED:
            return None


def _stop_news(before: Trip, after: Mapping[str, TripStop], at: datetime) -> list[Event]:
    return [
        StopChanged(
            tenant=before.tenant,
            trip=before.id,
            stop=stop.id,
            site=stop.site,
            state=after[stop.id].state.value,
            at=epoch_ms(_since(after[stop.id]) or at),
        )
        for stop in before.stops
        if stop.id in after and after[stop.id].state is not stop.state
    ]


def _changed(after: Trip, at: datetime) -> Change:
    """The next version of the trip, and the word that its plan or state is another."""
    after = replace(after, version=after.version + 1, updated_at=at)
    return after, [_told(after, at)]


def _told(trip: Trip, at: datetime) -> TripChanged:
    return TripChanged(tenant=trip.tenant, trip=trip.id, state=trip.state.value, device=trip.device, at=epoch_ms(at))
