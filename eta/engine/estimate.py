"""Arrival times of one running trip, from its track and its profile."""

import bisect
import enum
import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from eta.engine.bands import STEPS_A_S, Bands, Quantiles
from eta.engine.history import Profile
from eta.engine.track import Track
from eta.engine.visits import StopState

_PACE_MEMORY_S = 900.0  # of expected driving: the pace of the last quarter of an hour tells of the next
_PACE_NOISE_S = 19.0  # variance of the log pace over one second; over ten minutes a deviation of 18 %
_PACE_KNOWN = 0.10  # deviation of a trip's pace from its history
_PACE_GUESSED = 0.35  # ... and from the guess, where there is no history
_ROAD_GUESSED = 0.28  # an unknown road ahead is not like the one behind, which no pace so far can tell
# A trip that is slow here is slow later, but less so the further ahead: this share of its pace lasts, the rest fades.
_LASTS = 0.3
_FADES_S = 900.0
_PASSING = (1.0 - _LASTS) * _FADES_S
_STANDS_S = 10.0
_DETOUR = 1.35  # roads against the straight line
_DETOUR_MPS = 8.0
_ODD_PACE = 3.0
_ODD_S = 30.0
_STANDS_ON_S = 900.0
_LIFE_GUESS = 1.0
_AGED_S = 90.0
_AGED_SHARE = 0.2  # what was due while nothing was heard is expected after a fifth of the silence again
_JITTER_S2 = 64.0  # variance of an arrival already in sight
_NOISE_S = 4.0  # variance that each second ahead adds: lights, queues, passengers
_SERVICE_STOPS = 2.0  # so many stops served as guessed weigh against what this trip shows ...
_SERVICE_STOPS_A_TRIP = 10.0  # ... and so many more for each trip in the history
_LONG_SERVICE_S = 600.0
_TRAFFIC_FADES_S = 1200.0  # the traffic of so long ago counts for a third ...
_TRAFFIC_OVER_S = 1800.0  # ... and for nothing after this
_TRAFFIC_LEAST_S = 120.0  # of expected driving: less tells nothing of the rest


class Arrival(NamedTuple):
    """When one stop is reached. Epoch seconds."""

    stop: int
    """its index on the route"""
    eta: float
    """the time to announce: a little before the middle, since a truck before its time costs more than one after it"""
    p10: float
    p50: float
    p90: float


class Method(enum.StrEnum):
    """What an estimate rests on, best first."""

    TRAFFIC = "traffic"  # a map engine's word on the traffic of now, and the rest as below
    HISTORY = "history"  # earlier trips over most of this road
    GUESS = "guess"  # usual speeds, and this trip's own pace
    APPROACH = "approach"  # on the way to the first stop: straight-line way there, then as above
    DETOUR = "detour"  # off the route: straight-line way back to it, then as above
    AGED = "aged"  # no fix for a while: the last estimate, widening


class Estimate(NamedTuple):
    """Arrival at every stop ahead, with what it rests on."""

    made_at: float
    method: Method
    age_s: float
    """age of the newest fix"""
    reason: str
    arrivals: list[Arrival]


class _Plain:
    """One deviation either side, from which calibration starts."""

    steps: ClassVar[list[Quantiles]] = [(-1.0, 0.0, 0.0, 1.0)]


_PLAIN = _Plain()
_arrival = tuple.__new__


class Estimator:
    """Estimates of one trip. Holds nothing but what follows from the track and the profile."""

    __slots__ = (
        "_actual",
        "_expected",
        "_pace",
        "_seen",
        "_served",
        "_service",
        "_spread",
        "_to_serve",
        "_traffic",
        "planned_start",
        "profile",
        "track",
    )

    def __init__(self, track: Track, profile: Profile, planned_start: float | None) -> None:
        self.track = track
        self.planned_start = planned_start
        self._traffic: tuple[float, float] | None = None
        """(driving in traffic against what was expected, when it was asked)"""
        self.use(profile)

    def use(self, profile: Profile) -> None:
        """Go on with another profile, or after the track was worked out again."""
        self.profile = profile
        self._seen = 0
        self._actual = self._expected = self._served = self._to_serve = 0.0
        self._service = 1.0
        self._pace, self._spread = 1.0, 0.0
        self._weigh()

    def _weigh(self) -> None:
        """Bring the pace up to the newest boundary: driven against expected, old cells fading."""
        if self.track.next <= self._seen:  # the round started over
            self._seen, self._actual, self._expected, self._served, self._to_serve = 0, 0.0, 0.0, 0.0, 0.0
        crossed, seconds, keys = self.track.crossed, self.profile.seconds, self.track.route.keys
        for k in range(self._seen, self.track.next - 1):
            took, expected = crossed[k + 1] - crossed[k], seconds[k]
            if not took >= 0.0:
                continue
            if not keys[k][1]:
                self._served += min(took, 4.0 * expected + _LONG_SERVICE_S)
                self._to_serve += expected
                continue
            fade = math.exp(-expected / _PACE_MEMORY_S)
            # A vehicle that stood for ten minutes is not a slow vehicle.
            self._actual = self._actual * fade + min(took, _ODD_PACE * expected + _ODD_S)
            self._expected = self._expected * fade + expected
        self._seen = max(self.track.next - 1, 0)
        whole = self.profile.serve[-1] / len(self.track.route.stops)
        trips = self.profile.trips
        weight = whole * (_SERVICE_STOPS + _SERVICE_STOPS_A_TRIP * trips)
        self._service = (self._served + weight) / (self._to_serve + weight) if weight else 1.0
        variance = _PACE_KNOWN**2 + _PACE_GUESSED**2 / (1.0 + 3.0 * trips)
        if self._expected > 0.0:
            noise = _PACE_NOISE_S / self._expected
            share = variance / (variance + noise)
            self._pace = (max(self._actual, 1.0) / self._expected) ** share
            variance *= 1.0 - share
        else:
            self._pace = 1.0
        self._spread = math.sqrt(variance + _ROAD_GUESSED**2 / (1.0 + 3.0 * trips))

    def heed(self, leg_s: Sequence[float], at: float) -> None:
        """Take a map engine's driving seconds to the next stops, as of `at`: from here to the first, then on.

        Nothing of it outlives this estimator, and after half an hour no estimate rests on it.
        """
        if self.track.is_bound_for_first:
            return
        states, arrivals = self.track.visits.states, self.track.route.arrivals
        first = bisect.bisect_left(arrivals, self.track.next)
        ahead = [i for i in range(first, len(arrivals)) if states[i] is StopState.AHEAD][: len(leg_s)]
        if not ahead:
            return
        _, driven, _ = self._here()
        expected = self.profile.until[ahead[-1]][0] - driven
        if expected >= _TRAFFIC_LEAST_S:
            self._traffic = (sum(leg_s[: len(ahead)]) / expected, at)

    def _in_traffic(self, now: float) -> tuple[float, float, float]:
        """Excess over the expected driving, the share of it that lasts, and what fades with the distance ahead."""
        excess = self._pace - 1.0
        if self._traffic is None or not self._heeds(now):
            return excess, _LASTS, _PASSING
        ratio, at = self._traffic
        weight = math.exp(-max(now - at, 0.0) / _TRAFFIC_FADES_S)
        lasts = weight + (1.0 - weight) * _LASTS
        return weight * (ratio - 1.0) + (1.0 - weight) * excess, lasts, (1.0 - lasts) * _FADES_S

    def _heeds(self, now: float) -> bool:
        """Whether the traffic counts: not for a vehicle that is silent or elsewhere, and not for long."""
        track = self.track
        if self._traffic is None or now - track.at > _AGED_S or track.is_off_route or track.approach_m is not None:
            return False
        return now - self._traffic[1] <= _TRAFFIC_OVER_S

    def estimate(self, now: float, bands: Bands | None) -> Estimate:
        """Arrival at every stop still ahead. Without `bands`, p10 and p90 are one deviation off the middle."""
        track, profile, route = self.track, self.profile, self.track.route
        if track.next - 1 != self._seen:
            self._weigh()
        age = max(now - track.at, 0.0)
        wait, driven, served = self._here()
        excess, lasts, passing = self._in_traffic(now)
        service = self._service
        variance = self._spread * self._spread
        states, steps = track.visits.states, (bands or _PLAIN).steps
        last, base, soonest = len(steps) - 1, track.at, now + _AGED_SHARE * age
        shaken = _JITTER_S2 + 0.5 * wait * wait + 0.25 * age * age
        found = []
        # The one hot loop, once per stop and fix: comparisons in place of min and max save a third of it.
        first = track.due_from if track.is_bound_for_first else bisect.bisect_left(route.arrivals, track.next)
        for i in range(first, len(route.arrivals)):
            if states[i] is not StopState.AHEAD:
                continue
            drive, serve = profile.until[i]
            left = drive - driven
            if left < 0.0:  # noqa: PLR1730
                left = 0.0
            drives = left + left * excess * (lasts + passing / (_FADES_S + left))
            ahead = wait + drives + service * (serve - served)
            if ahead < 0.0:  # noqa: PLR1730
                ahead = 0.0
            scale = math.sqrt(shaken + _NOISE_S * ahead + variance * drives * drives)
            step = int(ahead * STEPS_A_S)
            low, announced, middle, high = steps[step if step < last else last]  # noqa: FURB136
            at = base + ahead
            eta = at + announced * scale
            if eta < soonest:  # noqa: PLR1730
                eta = soonest
            p10 = at + low * scale
            p10 = now if p10 < now else min(p10, eta)
            p50 = at + middle * scale
            p50 = eta if p50 < eta else p50  # noqa: FURB136
            p90 = at + high * scale
            found.append(_arrival(Arrival, (i, eta, p10, p50, p50 if p90 < p50 else p90)))  # noqa: FURB136
        method, reason = self._grounds(now, age)
        return Estimate(now, method, age, reason, found)

    def _here(self) -> tuple[float, float, float]:
        """Seconds until the vehicle moves on along the route, and what lies behind it: driving and service seconds."""
        track, profile, route = self.track, self.profile, self.track.route
        wait, distance, k = 0.0, track.distance, track.next
        if (away := track.approach_m) is not None:
            behind = profile.until[track.due_from] if track.is_bound_for_first else (0.0, 0.0)
            return away * _DETOUR / _DETOUR_MPS, *behind
        if track.is_off_route:
            wait, distance = self._rejoin()
            k = bisect.bisect_right(route.bounds, distance)
        here = k - 1
        drive, serve = profile.drive, profile.serve
        if here < 0:
            return wait, (distance - route.bounds[0]) / _DETOUR_MPS, 0.0
        if here >= len(route.bounds) - 1:
            return wait, drive[-1], serve[-1]
        length = route.bounds[k] - route.bounds[here]
        part = (distance - route.bounds[here]) / length if length > 0.0 else 0.0
        if not route.keys[here][1]:
            wait += self._service_left(here, part)
        elif track.standing_s > _STANDS_S:
            wait += min(profile.idle_ratio * track.standing_s, _STANDS_ON_S)
        return wait, drive[here] + part * (drive[k] - drive[here]), serve[k]

    def _grounds(self, now: float, age: float) -> tuple[Method, str]:
        if age > _AGED_S:
            return Method.AGED, f"no position for {age:.0f} s"
        if (away := self.track.approach_m) is not None:
            return Method.APPROACH, f"{away / 1000.0:.1f} km from the first stop, on the way to it"
        if self.track.is_off_route:
            return Method.DETOUR, f"off the route for {self.track.at - self.track.off_since:.0f} s"
        if self._traffic is not None and self._heeds(now):
            return Method.TRAFFIC, f"the traffic of {max(now - self._traffic[1], 0.0) / 60.0:.0f} min ago"
        share = self.profile.known_share
        if share >= 0.5:
            return Method.HISTORY, f"earlier trips know {min(share, 1.0):.0%} of the route"
        return Method.GUESS, "no earlier trip tells of this route yet"

    def _service_left(self, k: int, part: float) -> float:
        """What is left of the stop the vehicle is at, given how long it has been there."""
        track, profile = self.track, self.profile
        rest = (1.0 - part) * 8.0
        if k == 0 and part < 1.0 and self.planned_start is not None and math.isnan(track.crossed[0]):
            elapsed = track.at - self.planned_start
            return max(_life(profile.starts, elapsed, 30.0, profile.idle_ratio), rest)
        if track.woken:
            return rest
        since = track.crossed[k]
        elapsed = track.standing_s if math.isnan(since) else track.at - since
        return max(_life(profile.longer.get(k, ()), elapsed, profile.seconds[k], profile.idle_ratio), rest)

    def _rejoin(self) -> tuple[float, float]:
        """Seconds to the nearest place ahead on the route, and that place."""
        track = self.track
        first = track.route.segment_at(track.distance)
        near = track.route.line.near(track.x, track.y, first, first + 200)
        off, place = min((off + 0.1 * (place - track.distance), max(place, track.distance)) for off, place in near)
        return off * _DETOUR / _DETOUR_MPS, place


def _life(sorted_s: tuple[float, ...], elapsed: float, usual: float, idle_ratio: float) -> float:
    """Expected rest of something that has lasted `elapsed`: the mean of what lasted longer, and a guess beside it."""
    start = bisect.bisect_right(sorted_s, elapsed)
    n = len(sorted_s) - start
    rest = sum(sorted_s[start:]) - n * elapsed
    guess = max(usual - elapsed, idle_ratio * max(elapsed, 0.0))
    return (rest + _LIFE_GUESS * guess) / (n + _LIFE_GUESS)
