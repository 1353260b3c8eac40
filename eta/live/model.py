"""What a trip's fixes come to: since when they count, what they say of its stops, when it begins and ends. Pure."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from core.clock import from_epoch_ms
from eta.engine import visits
from eta.engine.route import Stop
from eta.engine.visits import Visits
from eta.trips.model import Seen, StopState, Trip, TripState, TripStop

_LEFT_S = 120.0  # out of the first stop's area for so long: the trip has begun
_BEFORE_START_S = 120.0
_EARLY_S = 1800.0
_LATE_S = 900.0
_HOME_S = 120.0  # at the last stop for so long, with none to come: the trip has ended
_STATES = {
    visits.StopState.AHEAD: StopState.PLANNED,
    visits.StopState.ARRIVED: StopState.ARRIVED,
    visits.StopState.SERVED: StopState.SERVED,
    visits.StopState.PASSED: StopState.SERVED,
    visits.StopState.SKIPPED: StopState.SKIPPED,
}

_REACHED = frozenset({visits.StopState.ARRIVED, visits.StopState.SERVED})


def at(epoch_s: float) -> datetime:
    return from_epoch_ms(round(epoch_s * 1000))


def counts_since(trip: Trip, lead_s: float, earlier: datetime | None) -> datetime | None:
    """Fixes from this time on are the trip's; None: it has not begun and nobody said when it will.

    Of a device that got the trip on the way they count from shortly before then: what it passed earlier was not served.
    `earlier`: when the trip before it of the same device ended. The same before and after a crash, for it follows from
    what is kept of the trip alone.
    """
    starts = [trip.planned_start - timedelta(seconds=lead_s)] if trip.planned_start is not None else []
    if trip.started_at is not None:
        starts.append(trip.started_at - timedelta(seconds=_BEFORE_START_S))
    since = min(starts, default=None)
    if since is None:
        return None
    later = [] if earlier is None else [earlier]
    if trip.handed_over_at is not None:
        later.append(trip.handed_over_at - timedelta(seconds=_BEFORE_START_S))
    return max([since, *later])


def to_drive(trip: Trip) -> tuple[TripStop, ...]:
    """The stops its road goes through: those a person left out are not on it.

    Nor are those before the first one to come where all of these are settled: another device has been there.
    """
    stops = trip.stops
    ahead = next((n for n, stop in enumerate(stops) if not stop.is_settled), 0)
    if trip.state is TripState.UNDER_WAY and any(stop.state is not StopState.SKIPPED for stop in stops[:ahead]):
        stops = stops[ahead:]
    kept = tuple(s for s in stops if not (s.is_settled and s.state is StopState.SKIPPED))
    return kept or trip.stops[-1:]


def for_engine(stops: Sequence[TripStop]) -> list[Stop]:
    """Stops as the engine knows them: by their sites, so that what one trip learns serves the next."""
    return [
        Stop(stop.site, stop.lat, stop.lon, stop.service_s, stop.radius_m, stop.polygon, stop.quantity)
        for stop in stops
    ]


def seen(stops: Sequence[TripStop], found: Visits) -> dict[str, Seen]:
    """What the fixes say of each stop."""
    told = {}
    for n, stop in enumerate(stops):
        arrived, departed = found.arrived_at[n], found.departed_at[n]
        state = _STATES[found.states[n]]
        told[stop.id] = Seen(
            state,
            at(arrived) if arrived is not None and state in {StopState.ARRIVED, StopState.SERVED} else None,
            at(departed) if departed is not None and state is StopState.SERVED else None,
        )
    return told


def differs(trip: Trip, told: Mapping[str, Seen]) -> bool:
    """Whether `observe` would change the trip."""
    if trip.state is not TripState.UNDER_WAY:
        return False
    return any(
        Seen(stop.state, stop.arrived_at, stop.departed_at) != told[stop.id]
        for stop in trip.stops
        if stop.id in told and not stop.is_settled
    )


def begun_at(trip: Trip, found: Visits, newest: float, *, is_start: bool) -> float | None:
    """When the trip began by its fixes, the newest of them made at `newest`; None: it has not.

    It begins when the truck has left the first stop's area for two minutes, or with the first arrival at a later one;
    with that at the first one too, unless that is where trucks start (`is_start`). What happened long before its
    planned start was no beginning of it.
    """
    left = found.departed_at[0]
    began = [left] if left is not None and newest - left >= _LEFT_S else []
    reached = zip(found.states, found.arrived_at, strict=True)
    began += [arrived for state, arrived in [*reached][is_start:] if arrived is not None and state in _REACHED]
    planned = trip.planned_start
    soonest = -math.inf if planned is None else planned.timestamp() - _EARLY_S
    return min((each for each in began if each >= soonest), default=None)


def ended_at(trip: Trip, now: datetime) -> datetime | None:
    """When the trip ended by the state of its stops; None: it goes on."""
    if trip.state is not TripState.UNDER_WAY or trip.ahead:
        return None
    there = [stop for stop in trip.stops if stop.state is StopState.ARRIVED]
    if there and there != [trip.stops[-1]]:
        return None
    times = [time for stop in trip.stops for time in (stop.arrived_at, stop.departed_at) if time is not None]
    end = max(times, default=trip.started_at or now) + timedelta(seconds=_HOME_S)
    # What looks left out may have been served where there was no coverage: those fixes are waited for a while.
    is_doubtful = any(stop.state is StopState.SKIPPED and not stop.is_settled for stop in trip.stops)
    return end if end + timedelta(seconds=_LATE_S if is_doubtful else 0.0) <= now else None
