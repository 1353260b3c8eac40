"""What a truck truly does: one round as a function of time, with the speeds, stops, milk and fuel of a real one.

Pure and exact: `Journey.at(t)` needs no stepping, so a fix at any moment of a day costs one lookup. What the device on
the truck reports of it, with noise and gaps, is `sim.truck`.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random

from sim.roads import LatLon, Leg

METRES_PER_DEGREE = 111_320.0
ACCELERATION_MPS2 = 0.8
BRAKING_MPS2 = 1.1
SIDEWAYS_MPS2 = 1.6
TOP_SPEED_MPS = 22.2
TANK_L = 26_000.0
FUEL_PCT_PER_KM = 0.11
FUEL_PCT_PER_IDLE_HOUR = 1.0
AIR_TEMP_C = 9.0
# No piece of a drive is longer than this, so that constant acceleration within a piece is true enough.
_PIECE_M = 25.0


@dataclass(frozen=True, slots=True)
class Stop:
    """A farm (or the depot) a truck goes to."""

    id: str
    name: str
    lat: float
    lon: float


@dataclass(frozen=True, slots=True)
class Round:
    """Depot, farms in driving order, depot. `legs[i]` leads to `stops[i]`; the last leg leads home."""

    id: str
    depot: Stop
    stops: tuple[Stop, ...]
    legs: tuple[Leg, ...]

    @property
    def distance_m(self) -> float:
        return sum(leg.distance_m for leg in self.legs)


@dataclass(frozen=True, slots=True)
class Visit:
    """The truth about one stop: seconds since the journey began at which the truck stood there, and what it took on."""

    stop: Stop
    arrive_s: float
    depart_s: float
    milk_l: float


@dataclass(frozen=True, slots=True)
class State:
    """The truth at one moment. Heading in degrees clockwise from north; `stop_id` is None while driving."""

    lat: float
    lon: float
    heading: float
    speed_mps: float
    odometer_m: float
    milk_l: float
    milk_temp_c: float
    fuel_pct: float
    ignition: bool
    stop_id: str | None


class Drive:
    """One leg driven: accelerates, keeps to the road's speed, slows for bends and junctions, brakes to a stand."""

    def __init__(self, leg: Leg, pace: float) -> None:
        """`pace` multiplies the road's speeds: 0.9 is a careful driver or a busy road."""
        points, limits = _pieces(leg, pace)
        self._points = points
        lengths = [distance_m(a, b) for a, b in pairwise(points)]
        self._speeds = _feasible(lengths, limits)
        times = (2 * d / (v + w) for d, (v, w) in zip(lengths, pairwise(self._speeds), strict=True))
        self._reached_s = list(accumulate(times, initial=0.0))
        self._along_m = list(accumulate(lengths, initial=0.0))
        self.duration_s = self._reached_s[-1]
        self.distance_m = self._along_m[-1]

    def at(self, t_s: float) -> tuple[LatLon, float, float, float]:
        """Place, heading (degrees), speed (m/s) and metres driven, `t_s` seconds after departure."""
        if len(self._points) < 2:
            return self._points[0], 0.0, 0.0, 0.0
        i = min(max(bisect.bisect_right(self._reached_s, t_s) - 1, 0), len(self._points) - 2)
        span = self._reached_s[i + 1] - self._reached_s[i]
        part_s = min(max(t_s - self._reached_s[i], 0.0), span)
        gain = (self._speeds[i + 1] - self._speeds[i]) / span if span else 0.0
        driven = self._speeds[i] * part_s + gain * part_s * part_s / 2
        length = self._along_m[i + 1] - self._along_m[i]
        share = min(driven / length, 1.0) if length else 0.0
        (lat, lon), (lat_b, lon_b) = self._points[i], self._points[i + 1]
        place = (lat + (lat_b - lat) * share, lon + (lon_b - lon) * share)
        heading = _heading((lat, lon), (lat_b, lon_b))
        return place, heading, self._speeds[i] + gain * part_s, self._along_m[i] + length * share


@dataclass(frozen=True, slots=True)
class _Phase:
    """A stretch of a journey: driving, or standing at a stop. Levels go evenly from the first value to the second."""

    start_s: float
    duration_s: float
    drive: Drive | None
    stop: Stop
    place: LatLon
    heading: float
    odometer_m: tuple[float, float]
    milk_l: tuple[float, float]
    milk_temp_c: tuple[float, float]
    fuel_pct: tuple[float, float]
    ignition: bool


class Journey:
    """One lap of a round: made ready, driven, unloaded at the depot, rested. All it draws comes from `rng`.

    `visits` are its stops; at `home_s` the truck is back at the depot.
    """

    def __init__(self, plan: Round, rng: Random, *, pace: float, odometer_m: float, fuel_pct: float) -> None:
        """Begin at the depot with this odometer and fuel, an empty tank and the engine just started."""
        self._phases: list[_Phase] = []
        self._clock_s = 0.0
        self._odometer_m = odometer_m
        self._milk_l = 0.0
        self._milk_temp_c = AIR_TEMP_C
        self._fuel_pct = fuel_pct
        # Where the road passes a stop, which is where the truck stands, not where the map has the building.
        self._place = plan.legs[0].points[0]
        self._heading = rng.uniform(0, 360)
        visits = []
        loads = _milk_at(rng, len(plan.stops))
        self._stand(plan.depot, rng.uniform(60, 240))
        for stop, leg, load in zip(plan.stops, plan.legs, loads, strict=False):
            self._go(stop, Drive(leg, pace * _traffic(rng)))
            arrive_s = self._clock_s
            mixed = (self._milk_temp_c * self._milk_l + rng.gauss(3.8, 0.3) * load) / (self._milk_l + load)
            self._stand(stop, _service_s(rng, load), milk_l=self._milk_l + load, milk_temp_c=mixed)
            visits.append(Visit(stop, arrive_s, self._clock_s, load))
        self._go(plan.depot, Drive(plan.legs[-1], pace * _traffic(rng)))
        self.home_s = self._clock_s
        full = 100.0 if self._fuel_pct < 40.0 else self._fuel_pct
        unload_s = _lognormal(rng, 18 * 60, 0.2, 9 * 60, 40 * 60)
        self._stand(plan.depot, unload_s, milk_l=0.0, milk_temp_c=AIR_TEMP_C, fuel_pct=full)
        self._stand(plan.depot, rng.uniform(600, 1500), ignition=False)
        self.visits = tuple(visits)
        self._starts_s = [phase.start_s for phase in self._phases]

    @property
    def duration_s(self) -> float:
        return self._clock_s

    @property
    def odometer_m(self) -> float:
        """At the end of the lap."""
        return self._odometer_m

    @property
    def fuel_pct(self) -> float:
        """At the end of the lap."""
        return self._fuel_pct

    def at(self, t_s: float) -> State:
        """The truth `t_s` seconds after the lap began (clamped to the lap)."""
        phase = self._phases[max(bisect.bisect_right(self._starts_s, t_s) - 1, 0)]
        into_s = min(max(t_s - phase.start_s, 0.0), phase.duration_s)
        share = into_s / phase.duration_s if phase.duration_s else 1.0
        place, heading, speed, odometer_m = phase.place, phase.heading, 0.0, phase.odometer_m[0]
        if phase.drive is not None:
            place, heading, speed, driven_m = phase.drive.at(into_s)
            odometer_m += driven_m
        return State(
            lat=place[0],
            lon=place[1],
            heading=heading,
            speed_mps=speed,
            odometer_m=odometer_m,
            milk_l=_between(phase.milk_l, share),
            milk_temp_c=_between(phase.milk_temp_c, share),
            fuel_pct=_between(phase.fuel_pct, share),
            ignition=phase.ignition,
            stop_id=phase.stop.id if phase.drive is None else None,
        )

    def _go(self, to: Stop, drive: Drive) -> None:
        self._place, heading, _, _ = drive.at(drive.duration_s)
        self._heading = heading if drive.duration_s else self._heading
        warmer = self._milk_temp_c + 0.2 * drive.duration_s / 3600
        self._add(
            to,
            drive.duration_s,
            drive=drive,
            odometer_m=self._odometer_m + drive.distance_m,
            milk_l=self._milk_l,
            milk_temp_c=warmer if self._milk_l else self._milk_temp_c,
            fuel_pct=self._fuel_pct - FUEL_PCT_PER_KM * drive.distance_m / 1000,
            ignition=True,
        )

    def _stand(
        self,
        at: Stop,
        duration_s: float,
        *,
        milk_l: float | None = None,
        milk_temp_c: float | None = None,
        fuel_pct: float | None = None,
        ignition: bool = True,
    ) -> None:
        idle = FUEL_PCT_PER_IDLE_HOUR * duration_s / 3600 if ignition else 0.0
        self._add(
            at,
            duration_s,
            drive=None,
            odometer_m=self._odometer_m,
            milk_l=self._milk_l if milk_l is None else milk_l,
            milk_temp_c=self._milk_temp_c if milk_temp_c is None else milk_temp_c,
            fuel_pct=(self._fuel_pct if fuel_pct is None else fuel_pct) - idle,
            ignition=ignition,
        )

    def _add(
        self,
        stop: Stop,
        duration_s: float,
        *,
        drive: Drive | None,
        odometer_m: float,
        milk_l: float,
        milk_temp_c: float,
        fuel_pct: float,
        ignition: bool,
    ) -> None:
        fuel_pct = max(fuel_pct, 2.0)
        phase = _Phase(
            self._clock_s,
            duration_s,
            drive,
            stop,
            self._place,
            self._heading,
            (self._odometer_m, odometer_m),
            (self._milk_l, milk_l),
            (self._milk_temp_c, milk_temp_c),
            (self._fuel_pct, fuel_pct),
            ignition,
        )
        self._phases.append(phase)
        self._clock_s += duration_s
        self._odometer_m, self._milk_l = odometer_m, milk_l
        self._milk_temp_c, self._fuel_pct = milk_temp_c, fuel_pct


def distance_m(a: LatLon, b: LatLon) -> float:
    """Metres between two points a few kilometres apart at most (flat earth, error below 0.1 %)."""
    north = (b[0] - a[0]) * METRES_PER_DEGREE
    east = (b[1] - a[1]) * METRES_PER_DEGREE * math.cos(math.radians((a[0] + b[0]) / 2))
    return math.hypot(north, east)


def _heading(a: LatLon, b: LatLon) -> float:
    east = (b[1] - a[1]) * math.cos(math.radians((a[0] + b[0]) / 2))
    return math.degrees(math.atan2(east, b[0] - a[0])) % 360


def _pieces(leg: Leg, pace: float) -> tuple[list[LatLon], list[float]]:
    """The leg in short pieces: points, and the speed allowed at each of them (0 at both ends)."""
    corners = [leg.points[0], *(b for a, b in pairwise(leg.points) if distance_m(a, b) > 0.05)]
    if len(corners) < 2:
        return corners, [0.0]
    limits = _road_speeds(leg, pace)
    points, allowed = [corners[0]], [0.0]
    for i, (a, b) in enumerate(pairwise(corners)):
        length = distance_m(a, b)
        limit = limits[min(i, len(limits) - 1)]
        count = max(math.ceil(length / _PIECE_M), 2 if len(corners) == 2 else 1)
        for k in range(1, count):
            points.append((a[0] + (b[0] - a[0]) * k / count, a[1] + (b[1] - a[1]) * k / count))
            allowed.append(limit)
        points.append(b)
        ahead = corners[i + 2] if i + 2 < len(corners) else None
        allowed.append(
            0.0 if ahead is None else min(limit, limits[min(i + 1, len(limits) - 1)], _bend_speed(a, b, ahead))
        )
    return points, allowed


def _road_speeds(leg: Leg, pace: float) -> list[float]:
    """Speed on each segment that has a length, smoothed over its neighbours: engines round times to 0.1 s."""
    parts = [
        (metres, seconds)
        for (a, b), metres, seconds in zip(pairwise(leg.points), leg.distances_m, leg.durations_s, strict=True)
        if distance_m(a, b) > 0.05
    ]
    speeds = []
    for i in range(len(parts)):
        window = parts[max(0, i - 2) : i + 3]
        seconds = sum(part[1] for part in window)
        road = sum(part[0] for part in window) / seconds if seconds else TOP_SPEED_MPS
        speeds.append(min(max(min(road, TOP_SPEED_MPS) * pace, 2.0), TOP_SPEED_MPS * 1.1))
    return speeds


def _bend_speed(a: LatLon, b: LatLon, c: LatLon) -> float:
    """What a laden tanker does round the corner at b: as much sideways pull as it bears, a crawl where it turns off."""
    turn = abs((_heading(b, c) - _heading(a, b) + 180) % 360 - 180)
    if turn < 1:
        return math.inf
    radius_m = min(distance_m(a, b), distance_m(b, c)) / math.radians(turn)
    return max(min(math.sqrt(SIDEWAYS_MPS2 * radius_m), 9.0 - turn / 15 if turn > 35 else math.inf), 2.5)


def _feasible(lengths: Sequence[float], limits: Sequence[float]) -> list[float]:
    """The fastest speeds at each point within the limits that a truck can reach by accelerating and braking."""
    speeds = list(limits)
    for i, length in enumerate(lengths):
        speeds[i + 1] = min(speeds[i + 1], math.sqrt(speeds[i] ** 2 + 2 * ACCELERATION_MPS2 * length))
    for i in range(len(lengths) - 1, -1, -1):
        speeds[i] = min(speeds[i], math.sqrt(speeds[i + 1] ** 2 + 2 * BRAKING_MPS2 * lengths[i]))
    return speeds


def _between(levels: tuple[float, float], share: float) -> float:
    return levels[0] + (levels[1] - levels[0]) * share


def _lognormal(rng: Random, median: float, sigma: float, low: float, high: float) -> float:
    return min(max(median * math.exp(rng.gauss(0, sigma)), low), high)


def _traffic(rng: Random) -> float:
    return _lognormal(rng, 1.0, 0.05, 0.8, 1.1)


def _service_s(rng: Random, load_l: float) -> float:
    """Hose on, sample taken, pumped at about 900 l/min, hose off."""
    return _lognormal(rng, 240 + load_l / 900 * 60, 0.35, 150, 2400)


def _milk_at(rng: Random, farms: int) -> list[float]:
    """Litres waiting at each farm; scaled down where the tank would not hold them all."""
    loads = [_lognormal(rng, 1400, 0.5, 200, 6000) for _ in range(farms)]
    scale = min(1.0, TANK_L / sum(loads)) if loads else 1.0
    return [load * scale for load in loads]
