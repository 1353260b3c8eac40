"""The road a trip is followed on: the tenant's own, else an engine's; and another one when the trip has left it."""

import math
from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Protocol

from eta.engine.geometry import METRES_PER_DEGREE, Line, Plane
from eta.live import model
from eta.live.followed import Followed
from eta.live.store import LatLon, Road
from eta.routing.model import Asker, Purpose, Snapshot
from eta.trips.model import StopState, Trip, TripState, TripStop

_FAR_FROM_SHAPE_M = 250.0
_PAST_MPS = 10.0
_OFF_STEP_M = 10.0


class Drawer(Protocol):
    """Whoever knows roads: `eta.routing.ladder.Ladder`."""

    async def snapshot(self, asker: Asker, points: list[LatLon], purpose: Purpose = ...) -> Snapshot: ...


def own(trip: Trip, shape: tuple[LatLon, ...]) -> Road | None:
    """The road the tenant gave with the route, if it leads past all stops of this trip."""
    stops = model.to_drive(trip)
    if len(shape) < 2 or not _leads_past(shape, stops):
        return None
    return Road(tuple(stop.id for stop in stops), "route", shape, (), 1)


def _leads_past(shape: tuple[LatLon, ...], stops: Sequence[TripStop]) -> bool:
    plane = Plane.around(stops[0].lat, stops[0].lon)
    line = Line([plane.xy(lat, lon) for lat, lon in shape])
    last = len(line.segments) - 1
    return all(
        min((off for off, _ in line.near(*plane.xy(stop.lat, stop.lon), 0, last)), default=math.inf)
        <= _FAR_FROM_SHAPE_M
        for stop in stops
    )


def is_due(followed: Followed, now: float, every_s: float) -> Purpose | None:
    """Whether a road is to be asked for: there is none yet, or the trip has left the one it was on."""
    if followed.drawing_since or now - followed.drawn_at < every_s:
        return None
    if followed.road is None and len(followed.stops) > 1:
        return Purpose.SNAPSHOT
    track = followed.track
    is_off = track.is_off_route or track.approach_m is not None
    is_under_way = followed.trip.state is TripState.UNDER_WAY
    return Purpose.REROUTE if is_off and is_under_way and _ahead(followed) else None


def wanted(followed: Followed, purpose: Purpose) -> list[LatLon]:
    """The places the road has to lead past."""
    if purpose is Purpose.SNAPSHOT:
        return [(stop.lat, stop.lon) for stop in followed.stops]
    track = followed.track
    return [track.route.plane.degrees(track.x, track.y), *_ahead(followed)]


def drawn(followed: Followed, snapshot: Snapshot, purpose: Purpose) -> Road | None:
    """The road to go on on, or None where the engines knew none."""
    if not snapshot.shape or (purpose is Purpose.SNAPSHOT and _is_better_driven(followed, snapshot)):
        return None
    ends = accumulate(snapshot.leg_s, initial=0.0)
    legs = zip(snapshot.legs, ends, strict=False)
    seconds = (0.0, *chain.from_iterable([end + s for s in leg.along_s[1:]] for leg, end in legs))
    times = 1 if followed.road is None else followed.road.times + 1
    if purpose is Purpose.SNAPSHOT:
        return Road(_stops(followed), snapshot.drawn_by.value, snapshot.shape, seconds, times, guessed=snapshot.guessed)
    past = _past(followed)
    behind = tuple(n / _PAST_MPS for n in accumulate(map(_metres, past, past[1:]), initial=0.0))
    gap = _metres(past[-1], snapshot.shape[0]) / _PAST_MPS if past else 0.0
    begins = behind[-1] + gap if past else 0.0
    points = (*past, *snapshot.shape)
    times_s = (*behind, *(begins + s for s in seconds))
    guessed = tuple(len(past) + n for n in snapshot.guessed)
    return Road(_stops(followed), snapshot.drawn_by.value, points, times_s, times, guessed)


def _is_better_driven(followed: Followed, snapshot: Snapshot) -> bool:
    """Whether earlier trips have shown the road on no fewer legs than the map does."""
    undriven = followed.fleet.paths.of(model.for_engine(followed.stops)).count(None)
    return bool(snapshot.roadless) and undriven <= len(snapshot.roadless)


def _past(followed: Followed) -> list[LatLon]:
    """The road as far as it was driven, then the way off it."""
    track = followed.track
    if track.next == 0 or track.is_bound_for_first:
        return []
    line, plane = track.route.line, track.route.plane
    past = [(x, y) for x, y, at in zip(line.xs, line.ys, line.along, strict=True) if at < track.distance]
    for at, x, y in track.fixes():
        if at >= track.off_since and (not past or _apart(past[-1], (x, y)) >= _OFF_STEP_M):
            past.append((x, y))
    return [plane.degrees(x, y) for x, y in past]


def _ahead(followed: Followed) -> list[LatLon]:
    ahead = {stop.id for stop in followed.trip.stops if stop.state is StopState.PLANNED}
    return [(stop.lat, stop.lon) for stop in followed.stops if stop.id in ahead]


def _stops(followed: Followed) -> tuple[str, ...]:
    return tuple(stop.id for stop in followed.stops)


def _apart(a: tuple[float, float], b: tuple[float, float]) -> float:
    return float(((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) ** 0.5)


def _metres(a: LatLon, b: LatLon) -> float:
    """Roughly: only for the times of what lies behind."""
    return _apart(a, b) * METRES_PER_DEGREE
