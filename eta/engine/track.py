"""One trip's fixes and what follows from them: progress that never goes back, and when each place was passed.

A track is a pure function of its route and its set of fixes: a late fix is put where its time belongs and what follows
is worked out again, so that the order of arrival leaves no trace.
"""

import bisect
import math
from array import array
from collections.abc import Iterable
from typing import NamedTuple

from eta.engine.route import Route
from eta.engine.visits import StopEvent, StopState, Visits

_BACK_M = 60.0  # a fix may fall behind the progress by this much and still be read as the same place
_REACH_MPS = 40.0  # nothing on wheels gets further along a route
_REACH_M = 150.0
_STILL_M = 20.0  # positions within this are one place: GPS wanders while a vehicle stands
_APPROACH_M = 500.0  # a truck that is still further from the first stop is on its way to it, and not there
# First seen beyond stops it has not been seen at, a vehicle may have left them out, or share a road with its way to
# them. It has left them out once it stops at a later one, or has gone this far on and away from them.
_BEYOND_M = 150.0
_LEFT_OUT_M = 1000.0
_LEFT_OUT_AWAY_M = 500.0
_OFF_ROUTE_S = 15.0
_OFF_ROUTE_FIXES = 2
_WAKES = 2.5  # silence longer than this many usual intervals is a device that sleeps while it stands
_CADENCE_MEMORY = 0.1


class Fix(NamedTuple):
    """`at` in epoch seconds of the device's clock, position in degrees."""

    at: float
    lat: float
    lon: float


class Track:
    """Progress of one trip on one route. Times are epoch seconds, distances metres along the route's line."""

    __slots__ = (
        "_ats",
        "_xs",
        "_ys",
        "at",
        "bound_from",
        "cadence_s",
        "crossed",
        "distance",
        "due_from",
        "events",
        "first_at",
        "last_on_at",
        "next",
        "off_fixes",
        "off_since",
        "place",
        "route",
        "still_since",
        "still_x",
        "still_y",
        "visits",
        "woken",
        "x",
        "y",
    )  # fmt: skip

    def __init__(self, route: Route, due_from: int = 1) -> None:
        """`due_from`: index of the first stop that is on the trip for its own sake: 0, or 1 after a place to start."""
        self.route = route
        self.due_from = min(due_from, len(route.stops) - 1)
        self._ats = array("d")
        self._xs = array("d")
        self._ys = array("d")
        self._reset()

    def _reset(self) -> None:
        self.at = -math.inf
        """time of the newest fix"""
        self.first_at = -math.inf
        self.x = self.y = 0.0
        self.distance = 0.0
        """progress: the furthest place reached"""
        self.place = 0.0
        """the place of the newest fix that was on the route; may lie a little behind the progress"""
        self.next = 0
        """index of the first boundary not yet reached"""
        self.crossed = array("d", [math.nan]) * len(self.route.bounds)
        """when each boundary was passed; NaN for those ahead and those passed before the first fix"""
        self.last_on_at = -math.inf
        self.off_since = math.inf
        self.off_fixes = 0
        self.still_since = -math.inf
        self.still_x = self.still_y = 0.0
        self.cadence_s = 0.0
        """usual time between fixes"""
        self.visits = Visits(self.route)
        self.bound_from: tuple[float, float] | None = None
        """(place, metres to the first stop due) where a vehicle that seems to be still bound for it was first seen"""
        self.events: list[StopEvent] = []
        """arrivals, departures and stops left out so far, in the order they were noticed"""
        self.woken = False
        """the newest fix ended a silence without movement: such devices speak again when they move off"""

    def __len__(self) -> int:
        return len(self._ats)

    @property
    def is_off_route(self) -> bool:
        return self.off_fixes >= _OFF_ROUTE_FIXES and self.at - self.off_since >= _OFF_ROUTE_S

    @property
    def is_bound_for_first(self) -> bool:
        """Whether it was first seen beyond stops that nothing yet shows it to have left out: these are ahead of it."""
        return self.bound_from is not None

    @property
    def is_on_route(self) -> bool:
        """Whether the newest fix was on it, and tells how far along it the vehicle is."""
        return self.off_fixes == 0 and self.bound_from is None

    @property
    def progress_m(self) -> float:
        """The furthest place reached, of a vehicle that has been at or past its first stop."""
        return self.distance if self.bound_from is None else 0.0

    @property
    def first_xy(self) -> tuple[float, float]:
        """Where the vehicle was first seen; there is one fix at least."""
        return self._xs[0], self._ys[0]

    @property
    def approach_m(self) -> float | None:
        """Metres to the first stop, as the crow flies, of a truck that is far from it and has been nowhere else yet."""
        if self.bound_from is not None:
            return self._away(self.x, self.y)
        if self.next > 0 or self.off_fixes == 0:
            return None
        away = math.dist((self.x, self.y), self.route.stop_xy[0])
        return away if away > _APPROACH_M else None

    @property
    def standing_s(self) -> float:
        """How long the vehicle has stood at the newest fix; 0 when it moves or just moves off."""
        return 0.0 if self.woken or not self._ats else self.at - self.still_since

    def fixes(self) -> list[tuple[float, float, float]]:
        """(time, x, y) of every fix in order of time."""
        return list(zip(self._ats, self._xs, self._ys, strict=True))

    def add(self, fix: Fix) -> bool:
        """Take one fix. False when it was known already."""
        if fix.at > self.at and math.isfinite(fix.lat) and math.isfinite(fix.lon):
            x, y = self.route.plane.xy(fix.lat, fix.lon)
            self._ats.append(fix.at)
            self._xs.append(x)
            self._ys.append(y)
            self._step(fix.at, x, y)
            return True
        return self.absorb([fix]) > 0

    def absorb(self, fixes: Iterable[Fix]) -> int:
        """Take fixes in any order, late and repeated ones included; returns how many were news.

        Of several positions for one instant the least by (x, y) stays, whichever came first.
        """
        news = 0
        for fix in fixes:
            if not (math.isfinite(fix.at) and math.isfinite(fix.lat) and math.isfinite(fix.lon)):
                continue
            x, y = self.route.plane.xy(fix.lat, fix.lon)
            i = bisect.bisect_left(self._ats, fix.at)
            if i < len(self._ats) and self._ats[i] == fix.at:
                if (x, y) < (self._xs[i], self._ys[i]):
                    self._xs[i], self._ys[i] = x, y
                    news += 1
                continue
            self._ats.insert(i, fix.at)
            self._xs.insert(i, x)
            self._ys.insert(i, y)
            news += 1
        if news:
            self._reset()
            for at, x, y in zip(self._ats, self._xs, self._ys, strict=True):
                self._step(at, x, y)
        return news

    def on(self, route: Route) -> "Track":
        """The same fixes on another snapshot."""
        other = Track(route, self.due_from)
        plane = self.route.plane
        other._ats = array("d", self._ats)
        for x, y in zip(self._xs, self._ys, strict=True):
            nx, ny = route.plane.xy(*plane.degrees(x, y))
            other._xs.append(nx)
            other._ys.append(ny)
        other._reset()
        for at, x, y in zip(other._ats, other._xs, other._ys, strict=True):
            other._step(at, x, y)
        return other

    def _step(self, at: float, x: float, y: float) -> None:
        if self.at == -math.inf:
            self._begin(at, x, y)
        else:
            self._go_on(at, x, y)
        if self.bound_from is not None:
            self._look_bound(x, y)
        events = self.visits.step(at, x, y, None if self.bound_from else self.distance, self.standing_s)
        if events:
            self.events += events
            reached = next((event.stop for event in events if event.state is StopState.ARRIVED), None)
            if self.bound_from is not None and reached is not None:
                self._start_at(reached)
            elif self.next > 1 and self.visits.is_at_first_again(events):
                self._start_at(0)
                self.visits.start_over()

    def _away(self, x: float, y: float) -> float:
        return math.dist((x, y), self.route.stop_xy[self.due_from])

    def _first_seen_on(self, x: float, y: float) -> None:
        """The first place on the route is known: is it beyond stops that were to come?"""
        if self.place > self.route.stop_at[self.due_from] + _BEYOND_M:
            self.bound_from = self.place, self._away(x, y)

    def _look_bound(self, x: float, y: float) -> None:
        assert self.bound_from is not None
        place, away = self.bound_from
        if math.dist((x, y), self.route.stop_xy[0]) <= self.route.stops[0].radius_m:
            self._start_at(0)
        elif self.place - place >= _LEFT_OUT_M and self._away(x, y) - away >= _LEFT_OUT_AWAY_M:
            self.bound_from = None

    def _go_on(self, at: float, x: float, y: float) -> None:
        before = self.at
        dx, dy = x - self.still_x, y - self.still_y
        moved_on = dx * dx + dy * dy > _STILL_M * _STILL_M
        silence = at - before
        if moved_on:
            self.still_since, self.still_x, self.still_y = at, x, y
            self.woken = False
        else:
            self.woken = self.cadence_s > 0.0 and silence > _WAKES * self.cadence_s and silence > 8.0
        if not self.woken:
            self.cadence_s += (_CADENCE_MEMORY if self.cadence_s else 1.0) * (silence - self.cadence_s)
        place, is_on = self._match(at, x, y)
        self.at, self.x, self.y = at, x, y
        if not is_on and not self._at_stop(x, y):
            if self.off_fixes == 0:
                self.off_since = at
            self.off_fixes += 1
            return
        self.off_fixes, self.off_since = 0, math.inf
        came_from, self.last_on_at = self.last_on_at, at
        if is_on:
            self.place = place
            if place > self.distance:
                self._advance(place, came_from, at)
            if came_from == -math.inf:
                self._first_seen_on(x, y)

    def _start_at(self, stop: int) -> None:
        """What was driven so far was no part of the round: the vehicle is at this stop, and was nowhere else."""
        self.distance = self.place = self.route.stop_at[stop]
        self.next = bisect.bisect_right(self.route.bounds, self.distance)
        self.crossed = array("d", [math.nan]) * len(self.route.bounds)
        self.bound_from = None

    def _begin(self, at: float, x: float, y: float) -> None:
        route = self.route
        near = route.line.near(x, y, 0, len(route.line.segments) - 1)
        # The start is likelier than a later pass over the same road.
        _, off, place, grade = min(
            (off * off * grade.weight + grade.doubt + place / 3000.0, off, place, grade)
            for (off, place), grade in zip(near, route.grades, strict=True)
        )
        self.at = self.first_at = self.still_since = at
        self.x = self.still_x = x
        self.y = self.still_y = y
        if off > min(grade.tolerance_m, _APPROACH_M if place <= 0.0 else math.inf):
            self.off_since, self.off_fixes = at, 1
            return
        self.last_on_at = at
        self.distance = self.place = place
        self.next = bisect.bisect_right(route.bounds, place)
        self._first_seen_on(x, y)

    def _match(self, at: float, x: float, y: float) -> tuple[float, bool]:
        """The likeliest place on the route within reach, and whether the fix is near enough to be there."""
        route = self.route
        since = self.at if self.last_on_at == self.at else max(self.last_on_at, self.first_at)
        here = self.place
        reach = here + _REACH_MPS * (at - since) + _REACH_M
        moved = math.sqrt((x - self.x) ** 2 + (y - self.y) ** 2) if since == self.at else -1.0
        best, found, near, grade = math.inf, here, math.inf, route.grades[0]
        segments, grades = route.line.segments, route.grades
        floor = max(here - _BACK_M, 0.0)
        for i in range(route.segment_at(floor), len(segments)):
            ax, ay, ux, uy, length, start = segments[i]
            if start > reach:
                break
            dx, dy = x - ax, y - ay
            t = dx * ux + dy * uy
            t = 0.0 if t < 0.0 else min(t, length)
            ex, ey = dx - t * ux, dy - t * uy
            square = ex * ex + ey * ey
            place = start + t
            if not floor <= place <= reach:
                continue
            trust = grades[i]
            leap = place - here - moved if moved >= 0.0 else 0.1 * (place - here)
            cost = square * trust[0] + (leap if leap > 0.0 else -leap) * trust[1] + trust[3]
            if cost < best:
                best, found, near, grade = cost, place, square, trust
        if found <= 0.0 and near > _APPROACH_M * _APPROACH_M:
            return found, False  # before the beginning, where no road is known that one could be off
        return found, near <= grade[2] * grade[2]

    def _at_stop(self, x: float, y: float) -> bool:
        """Within the radius of the stop last reached or the one to come: a yard off the road is no detour."""
        route = self.route
        upcoming = bisect.bisect_left(route.arrivals, self.next)
        for i in (upcoming - 1, upcoming):
            if 0 <= i < len(route.stops) and math.dist((x, y), route.stop_xy[i]) <= route.stops[i].radius_m:
                return True
        return False

    def _advance(self, place: float, before: float, at: float) -> None:
        bounds, crossed, start = self.route.bounds, self.crossed, self.distance
        k = self.next
        share = (at - before) / (place - start)
        while k < len(bounds) and bounds[k] <= place:
            crossed[k] = before + (bounds[k] - start) * share
            k += 1
        self.next = k
        self.distance = place
