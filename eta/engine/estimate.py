"""Arrival times of one running trip, from its track and its profile."""

import bisect
import math
from typing import NamedTuple

from eta.engine.bands import Bands
from eta.engine.history import Profile
from eta.engine.track import Track

_PACE_MEMORY_S = 900.0  # of expected driving: the pace of the last quarter of an hour tells of the next
_PACE_NOISE_S = 19.0  # variance of the log pace over one second; over ten minutes a deviation of 18 %
_PACE_KNOWN = 0.10  # deviation of a trip's pace from its history
_PACE_GUESSED = 0.35  # ... and from the guess, where there is no history
_STANDS_S = 10.0
_DETOUR = 1.35  # roads against the straight line
_DETOUR_MPS = 8.0
_ODD_PACE = 3.0
_ODD_S = 30.0
_AGED_S = 90.0
_LIFE_GUESS = 1.0


class Arrival(NamedTuple):
    """Epoch seconds. `index` is that of the stop on the route."""

    index: int
    eta: float
    p10: float
    p90: float
    method: str


class Estimator:
    """Estimates of one trip. Holds nothing but what follows from the track and the profile."""

    __slots__ = ("_actual", "_expected", "_pace", "_seen", "_spread", "planned_start", "profile", "track", "variance")

    def __init__(self, track: Track, profile: Profile, planned_start: float | None) -> None:
        self.track = track
        self.planned_start = planned_start
        self.use(profile)

    def use(self, profile: Profile) -> None:
        """Go on with another profile, or after the track was worked out again."""
        self.profile = profile
        self._seen = 0
        self._actual = self._expected = 0.0
        self._pace, self._spread = 1.0, 0.0
        self._weigh()

    def _weigh(self) -> None:
        """Bring the pace up to the newest boundary: driven against expected, old cells fading."""
        crossed, seconds, keys = self.track.crossed, self.profile.seconds, self.track.route.keys
        for k in range(self._seen, self.track.next - 1):
            took, expected = crossed[k + 1] - crossed[k], seconds[k]
            if not keys[k][1] or not took >= 0.0:
                continue
            fade = math.exp(-expected / _PACE_MEMORY_S)
            # A vehicle that stood for ten minutes is not a slow vehicle.
            self._actual = self._actual * fade + min(took, _ODD_PACE * expected + _ODD_S)
            self._expected = self._expected * fade + expected
        self._seen = max(self.track.next - 1, 0)
        total = self.profile.drive[-1]
        trips = self.profile.known[-1] / total if total else 0.0
        variance = _PACE_KNOWN**2 + _PACE_GUESSED**2 / (1.0 + 3.0 * trips)
        if self._expected > 0.0:
            noise = _PACE_NOISE_S / self._expected
            share = variance / (variance + noise)
            self._pace = (max(self._actual, 1.0) / self._expected) ** share
            self._spread = math.sqrt(variance * (1.0 - share))
        else:
            self._pace, self._spread = 1.0, math.sqrt(variance)

    def arrivals(self, now: float, bands: Bands | None) -> list[Arrival]:
        """Every stop still ahead. Without `bands`, p10 and p90 hold eta minus and plus one deviation."""
        track, profile = self.track, self.profile
        if track.next - 1 != self._seen:
            self._weigh()
        route = track.route
        method = "history" if profile.known[-1] >= 0.5 * profile.drive[-1] else "guess"
        if track.is_off_route:
            method, wait, distance = "detour", *self._rejoin()
            k = bisect.bisect_right(route.bounds, distance)
        else:
            wait, distance, k = 0.0, track.distance, track.next
        here = k - 1
        drive, serve = profile.drive, profile.serve
        if here < 0:
            driven, served = drive[0] - (route.bounds[0] - distance) / _DETOUR_MPS, 0.0
        elif here >= len(route.bounds) - 1:
            driven, served = drive[-1], serve[-1]
        else:
            length = route.bounds[k] - route.bounds[here]
            part = (distance - route.bounds[here]) / length if length > 0.0 else 0.0
            driven = drive[here] + part * (drive[k] - drive[here])
            served = serve[k]
            if not route.keys[here][1]:
                wait += self._service_left(here, part)
            elif track.standing_s > _STANDS_S:
                wait += profile.idle_ratio * track.standing_s
        age = now - track.at
        pace, spread = self._pace, self._spread
        soonest = now + 0.2 * age
        found = []
        first = bisect.bisect_left(route.arrivals, track.next)
        for i in range(first, len(route.arrivals)):
            b = route.arrivals[i]
            left = drive[b] - driven
            if left < 0.0:
                left = 0.0
            ahead = wait + pace * left + serve[b] - served
            scale = math.sqrt(64.0 + 4.0 * ahead + (spread * pace * left) ** 2 + 0.25 * age * age)
            eta = max(track.at + ahead, soonest)
            if bands is None:
                found.append(Arrival(i, eta, eta - scale, eta + scale, method))
                continue
            low, middle, high = bands.at(ahead)
            p50 = max(eta + middle * scale, soonest)
            found.append(Arrival(i, p50, max(eta + low * scale, now), max(eta + high * scale, p50), method))
        return found

    def _service_left(self, k: int, part: float) -> float:
        """What is left of the stop the vehicle is at, given how long it has been there."""
        track, profile = self.track, self.profile
        rest = (1.0 - part) * 8.0
        if k == 0 and part < 1.0 and self.planned_start is not None and track.crossed[0] != track.crossed[0]:
            elapsed = track.at - self.planned_start
            return max(_life(profile.starts, elapsed, 30.0, profile.idle_ratio), rest)
        if track.woken:
            return rest
        since = track.crossed[k]
        elapsed = track.at - since if since == since else track.standing_s
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
