"""What finished trips have taught: durations of cells, services and starts, and the profile they give a trip."""

import bisect
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

from eta.engine.quantity import Rates
from eta.engine.route import CellKey, Route, Stop
from eta.engine.track import Track

_KEEP = 60  # newest samples of a cell
_KEEP_TRIPS = 2000
_SERVICES = 500
_HOURS = 1.5  # trips this far apart in time of day still tell of each other
_FLOOR = 0.15  # ... and those at another hour are better than a guess
_OTHER_DAY_TYPE = 0.4
_HALF_LIFE_DAYS = 30.0
_PRIOR_TRIPS = 0.7  # the guess weighs as much as this many trips
_PLAIN_S = 30.0  # a cell may take this much longer than thrice its usual time and be traffic; more is an incident
_GAP_S = 150.0  # what was not seen for longer is not learned
_LEAST_SERVICE = 0.25
_DAY_S = 86_400.0


class Sample(NamedTuple):
    trip: str
    seconds: float


class Lesson(NamedTuple):
    """What one finished trip teaches of durations: all that `History` wants to know of it."""

    trip: str
    route: str
    at: float
    """of its first fix"""
    lon: float
    """of its first stop: tells the hour"""
    cells: list[tuple[CellKey, float]]
    pace: float | None
    """log of driven over guessed seconds"""
    start: float | None
    """seconds by which it left after its planned start"""
    idle: tuple[float, float]
    quantities: Mapping[str, float]
    """what was collected, by stop, where that is known"""


class When(NamedTuple):
    """A trip's place in time: for the likeness of two trips."""

    at: float
    hour: float
    """local solar hour, so that no time zone is needed"""
    is_weekend: bool


def when(at: float, lon: float) -> When:
    local = at + lon * 240.0
    return When(at, local % _DAY_S / 3600.0, int(local // _DAY_S + 3) % 7 >= 5)


@dataclass(frozen=True, slots=True)
class Profile:
    """Expected seconds of each cell of a route for a trip at one time, as sums over the cells before each boundary."""

    route: Route
    drive: tuple[float, ...]
    """between the stops, up to each boundary"""
    serve: tuple[float, ...]
    """at the stops, up to each boundary"""
    until: tuple[tuple[float, float], ...]
    """the same two up to the arrival at each stop"""
    seconds: tuple[float, ...]
    """of each cell"""
    trips: float
    """trips behind the drive, each by its likeness to this one, on the average second"""
    known_share: float
    """of the drive: what at least one trip has shown"""
    longer: dict[int, tuple[float, ...]]
    """per stop: its durations so far, sorted"""
    starts: tuple[float, ...]
    """departures against the planned start, sorted"""
    idle_ratio: float
    """of a stand that has lasted a while: how long it usually goes on, as a share of that"""


class History:
    """Durations learned from finished trips. Bounded; grows and forgets by whole trips."""

    def __init__(self) -> None:
        self.version = 0
        self._cells: dict[CellKey, list[Sample]] = {}
        self._whens: dict[str, When] = {}
        self._pace: dict[str, float] = {}
        """per trip: log of driven over guessed seconds"""
        self._starts: dict[str, list[Sample]] = {}
        self._idle: dict[str, tuple[float, float]] = {}
        self._rates = Rates()
        self._services: deque[Sample] = deque(maxlen=_SERVICES)
        """the newest at any stop: what to expect of one never visited"""

    def learn(self, trip: str, track: Track, planned_start: float | None) -> None:
        """Take the durations of a finished trip."""
        if trip not in self._whens and len(track):
            self.take(lesson(trip, track, planned_start))

    def take(self, lesson: Lesson) -> None:
        """Take what a finished trip taught, once."""
        trip = lesson.trip
        if trip in self._whens:
            return
        self.version += 1
        self._whens[trip] = when(lesson.at, lesson.lon)
        for key, seconds in lesson.cells:
            samples = self._cells.setdefault(key, [])
            samples.append(Sample(trip, seconds))
            del samples[:-_KEEP]
            if not key[1]:
                self._services.append(samples[-1])
                if (quantity := lesson.quantities.get(key[0])) is not None:
                    self._rates.take(key[0], quantity, seconds)
        if lesson.pace is not None:
            self._pace[trip] = lesson.pace
        if lesson.start is not None:
            starts = self._starts.setdefault(lesson.route, [])
            starts.append(Sample(trip, lesson.start))
            del starts[:-_KEEP]
        self._idle[trip] = lesson.idle
        if len(self._whens) > _KEEP_TRIPS:
            oldest = next(iter(self._whens))
            for known in (self._whens, self._pace, self._idle):
                known.pop(oldest, None)

    def profile(self, route: Route, at: float, *, without: str = "") -> Profile:
        """What a trip at this time may expect. `without` names a trip that must not tell of itself."""
        now = when(at, route.stops[0].lon)
        weights = {trip: _likeness(now, other) for trip, other in self._whens.items() if trip != without}
        paces = [(weights[trip], pace) for trip, pace in self._pace.items() if trip in weights]
        pace = math.exp(sum(w * p for w, p in paces) / (sum(w for w, _ in paces) + 0.1))
        seconds, known = [], []
        longer: dict[int, tuple[float, ...]] = {}
        service = self._usual_service(weights)
        for k, key in enumerate(route.keys):
            samples = [s for s in self._cells.get(key, ()) if s.trip in weights]
            guess = route.priors_s[k] * pace if key[1] else _guess_service(route, k, service)
            more = 0.0 if key[1] else self._more(route, k)
            if not samples:
                seconds.append(_at_least(guess + more, guess) if service is not None else guess)
                known.append(0.0)
                continue
            middle = sorted(s.seconds for s in samples)[len(samples) // 2]
            cap = 3.0 * middle + (_PLAIN_S if key[1] else 120.0)
            weight = sum(weights[s.trip] for s in samples)
            total = sum(weights[s.trip] * min(s.seconds, cap) for s in samples)
            usual = (total + _PRIOR_TRIPS * guess) / (weight + _PRIOR_TRIPS)
            seconds.append(_at_least(usual + more, usual))
            known.append(weight)
            if not key[1]:
                longer[k] = tuple(sorted(_at_least(s.seconds + more, s.seconds) for s in samples))
        is_drive = [bool(key[1]) for key in route.keys]
        driving = sum(s for s, d in zip(seconds, is_drive, strict=True) if d) or 1.0
        starts = sorted(s.seconds for s in self._starts.get(route.route_id, ()) if s.trip in weights)
        stood, went_on = (sum(v[i] for t, v in self._idle.items() if t in weights) for i in (0, 1))
        drive = _sums(s if d else 0.0 for s, d in zip(seconds, is_drive, strict=True))
        serve = _sums(0.0 if d else s for s, d in zip(seconds, is_drive, strict=True))
        return Profile(
            route,
            drive,
            serve,
            tuple((drive[b], serve[b]) for b in route.arrivals),
            tuple(seconds),
            sum(s * n for s, n, d in zip(seconds, known, is_drive, strict=True) if d) / driving,
            sum(s for s, n, d in zip(seconds, known, is_drive, strict=True) if d and n > 0.0) / driving,
            longer,
            tuple(starts),
            (went_on + 0.3 * 300.0) / (stood + 300.0),
        )

    def _more(self, route: Route, k: int) -> float:
        """Seconds by which what is to be collected at this stop takes longer than what usually is."""
        stop = _stop(route, k)
        return 0.0 if stop.quantity is None else self._rates.more_s(stop.stop_id, stop.quantity)

    def _usual_service(self, weights: dict[str, float]) -> float | None:
        seen = [service.seconds for service in self._services if service.trip in weights]
        return sorted(seen)[len(seen) // 2] if len(seen) >= 5 else None


def lesson(trip: str, track: Track, planned_start: float | None) -> Lesson:
    """What a finished trip teaches; the track has one fix at least."""
    route = track.route
    driven = guessed = 0.0
    cells = []
    for k, seconds in durations(track):
        key = route.keys[k]
        cells.append((key, seconds))
        if key[1]:
            driven += min(seconds, 3.0 * route.priors_s[k] + _PLAIN_S)
            guessed += route.priors_s[k]
    left = track.crossed[1] if len(track.crossed) > 1 else math.nan
    return Lesson(
        trip,
        route.route_id,
        track.first_at,
        route.stops[0].lon,
        cells,
        math.log(max(driven, 1.0) / guessed) if guessed > 300.0 else None,
        None if planned_start is None or math.isnan(left) else left - planned_start,
        _idle(track),
        {stop.stop_id: stop.quantity for stop in route.stops if stop.quantity is not None},
    )


def durations(track: Track) -> Iterable[tuple[int, float]]:
    """(cell, seconds) of every cell the trip went through from end to end and was seen in."""
    crossed = track.crossed
    ats = [at for at, _, _ in track.fixes()]
    blind = [(a, b) for a, b in pairwise(ats) if b - a > _GAP_S]
    places = _moved_while_blind(track, blind)
    for k in range(len(crossed) - 1):
        a, b = crossed[k], crossed[k + 1]
        if b >= a and not any(a < to and b > since for since, to in places):
            yield k, b - a


def _moved_while_blind(track: Track, blind: list[tuple[float, float]]) -> list[tuple[float, float]]:
    where = {at: (x, y) for at, x, y in track.fixes()}
    return [(a, b) for a, b in blind if math.dist(where[a], where[b]) > 300.0]


def _idle(track: Track) -> tuple[float, float]:
    """Sums over the fixes of a standing vehicle, one a 30 s: how long it had stood, and how long it went on to."""
    stood = went_on = 0.0
    since, x0, y0, counted = -math.inf, math.inf, math.inf, -math.inf
    open_fixes: list[float] = []
    usual = track.cadence_s
    before = -math.inf
    for at, x, y in track.fixes():
        if (x - x0) ** 2 + (y - y0) ** 2 > 400.0:
            went_on += sum(max(before, t) - t for t in open_fixes)
            open_fixes, since, x0, y0 = [], at, x, y
        elif at - before <= max(2.5 * usual, 8.0) and at - since >= 20.0 and at - counted >= 30.0:
            stood += at - since
            open_fixes.append(at)
            counted = at
        before = at
    return stood, went_on


def _guess_service(route: Route, k: int, service: float | None) -> float:
    return route.priors_s[k] if _stop(route, k).planned_service_s is not None or service is None else service


def _stop(route: Route, k: int) -> Stop:
    """The stop whose cell this is."""
    return route.stops[bisect.bisect_left(route.arrivals, k)]


def _at_least(seconds: float, usual: float) -> float:
    """However little is collected, the truck stops, and somebody gets out."""
    return max(seconds, _LEAST_SERVICE * usual)


def _likeness(now: When, other: When) -> float:
    apart = abs(now.hour - other.hour)
    apart = min(apart, 24.0 - apart)
    close = math.exp(-0.5 * (apart / _HOURS) ** 2)
    day = 1.0 if now.is_weekend == other.is_weekend else _OTHER_DAY_TYPE
    age: float = 0.5 ** (max(now.at - other.at, 0.0) / _DAY_S / _HALF_LIFE_DAYS)
    return (_FLOOR + (1.0 - _FLOOR) * close) * day * age


def _sums(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(accumulate(values, initial=0.0))
