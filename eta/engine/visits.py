"""Which stops were reached, left, driven past or left out: by place and dwell, with hysteresis, in whatever order."""

import enum
import math
from typing import NamedTuple

from eta.engine.geometry import outside_m
from eta.engine.route import Route

_DWELL_S = 20.0
_SLOW_MPS = 1.4  # 5 km/h
_WIDER = 0.1
_WIDER_M = 20.0
_GONE_S = 60.0
_PAST_M = 150.0


class StopState(enum.Enum):
    AHEAD = "ahead"
    ARRIVED = "arrived"  # within the radius, slow or long enough
    SERVED = "served"  # left for good after an arrival
    PASSED = "passed"  # driven through the radius without stopping
    SKIPPED = "skipped"  # progress is well beyond it and it was never near; a later visit still counts


class StopEvent(NamedTuple):
    at: float
    stop: int
    state: StopState
    is_out_of_order: bool
    """an arrival while an earlier stop is still ahead or was left out"""


class Visits:
    """States of the stops of one trip. Feed it the fixes in order of time."""

    __slots__ = (
        "_areas",
        "_at",
        "_first",
        "_inside",
        "_outside",
        "_x",
        "_y",
        "arrived_at",
        "departed_at",
        "route",
        "states",
    )

    def __init__(self, route: Route) -> None:
        self.route = route
        count = len(route.stops)
        self.states = [StopState.AHEAD] * count
        self.arrived_at: list[float | None] = [None] * count
        self.departed_at: list[float | None] = [None] * count
        plane = route.plane
        self._areas = {
            i: tuple(plane.xy(*corner) for corner in stop.polygon) for i, stop in enumerate(route.stops) if stop.polygon
        }
        self._inside: dict[int, float] = {}
        """since when the vehicle is within the stop's area"""
        self._outside: dict[int, float] = {}
        """since when it is beyond the wider one, after an arrival"""
        self._at, self._x, self._y = -math.inf, 0.0, 0.0
        self._first = 0
        """all stops before this one are behind for good, unless the vehicle stands at one"""

    def step(self, at: float, x: float, y: float, progress_m: float | None, standing_s: float) -> list[StopEvent]:
        """What the fix changes. A standing vehicle is looked for at every stop, a driving one at those around it.

        `progress_m` None: nobody knows how far it is, so it is looked for everywhere, and no stop lies behind it.
        """
        speed = math.dist((x, y), (self._x, self._y)) / (at - self._at) if at > self._at > -math.inf else math.inf
        self._at, self._x, self._y = at, x, y
        route, states = self.route, self.states
        first, last = 0, len(states)
        if standing_s < _DWELL_S and progress_m is not None:
            first = last = self._first
            while last < len(states) and route.stop_at[last] <= progress_m + 300.0:
                last += 1
        behind_m = -math.inf if progress_m is None else progress_m
        events: list[StopEvent] = []
        for i in {*range(first, last), *self._inside, *self._outside}:
            self._look(i, at, speed, behind_m, events)
        while self._first < len(states) and states[self._first] not in {StopState.AHEAD, StopState.ARRIVED}:
            self._first += 1
        return events

    def is_at_first_again(self, events: list[StopEvent]) -> bool:
        """Whether these say that the vehicle has come to its first stop, and it has been at none of the others."""
        return any(e.stop == 0 and e.state is StopState.ARRIVED for e in events) and self._is_nowhere_else()

    def start_over(self) -> None:
        """The other stops are ahead again."""
        for i in range(1, len(self.states)):
            self.states[i], self.arrived_at[i], self.departed_at[i] = StopState.AHEAD, None, None
        self._inside = {i: since for i, since in self._inside.items() if i == 0}
        self._first = 0

    def _is_nowhere_else(self) -> bool:
        return not any(state in {StopState.ARRIVED, StopState.SERVED} for state in self.states[1:])

    def _look(self, i: int, at: float, speed: float, progress_m: float, events: list[StopEvent]) -> None:
        stop, state = self.route.stops[i], self.states[i]
        area = self._areas.get(i)
        if area is None:
            sx, sy = self.route.stop_xy[i]
            away, reach = math.sqrt((self._x - sx) ** 2 + (self._y - sy) ** 2), stop.radius_m
        else:
            away, reach = outside_m(area, self._x, self._y), 0.0
        if away <= reach:
            since = self._inside.setdefault(i, at)
            self._outside.pop(i, None)
            if (
                state is not StopState.ARRIVED
                and (state is not StopState.SERVED or (i == 0 and self._is_nowhere_else()))
                and (speed <= _SLOW_MPS or at - since >= _DWELL_S)
            ):
                self.arrived_at[i], self.departed_at[i] = since, None
                self._enter(i, StopState.ARRIVED, since, events)
        elif away > reach + max(_WIDER * reach, _WIDER_M):
            if state is StopState.ARRIVED:
                gone = self._outside.setdefault(i, at)
                if at - gone >= _GONE_S:
                    self.departed_at[i] = gone
                    del self._outside[i]
                    self._inside.pop(i, None)
                    self._enter(i, StopState.SERVED, gone, events)
            elif state is StopState.AHEAD and i in self._inside and progress_m > self.route.stop_at[i]:
                self.arrived_at[i], self.departed_at[i] = self._inside.pop(i), at
                self._enter(i, StopState.PASSED, at, events)
            else:
                self._inside.pop(i, None)
                if state is StopState.AHEAD and progress_m > self.route.stop_at[i] + _PAST_M:
                    self._enter(i, StopState.SKIPPED, at, events)

    def _enter(self, i: int, state: StopState, at: float, events: list[StopEvent]) -> None:
        self.states[i] = state
        early = state is StopState.ARRIVED and any(s in {StopState.AHEAD, StopState.SKIPPED} for s in self.states[:i])
        late = state is StopState.ARRIVED and any(
            s in {StopState.ARRIVED, StopState.SERVED} for s in self.states[i + 1 :]
        )
        events.append(StopEvent(at, i, state, early or late))
