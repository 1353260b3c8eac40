"""What is asked of a routing engine and what it answers: the Protocol `Router` and its values, pure.

Places are (latitude, longitude) in degrees, distances metres, durations seconds, moments epoch seconds.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple, Protocol

from core.tenancy import TenantId

type LatLon = tuple[float, float]


class Engine(enum.StrEnum):
    """Where an answer came from, best known road first."""

    OSRM_LOCAL = "osrm-local"  # OSRM in this process, on a map file of our own
    OSRM_HTTP = "osrm-http"  # an OSRM server
    GOOGLE = "google"  # Google Routes, for traffic alone
    STRAIGHT = "straight"  # no map: the straight line and a guess


class Purpose(enum.StrEnum):
    """What a call was made for."""

    SNAPSHOT = "snapshot"  # the road of a trip, once
    REROUTE = "reroute"  # the road again, after the trip left it
    TRAFFIC = "traffic"  # the durations of now, for a trip that drifts from its plan
    NEAREST = "nearest"  # the road beside a point


class Asker(NamedTuple):
    """On whose account a call goes."""

    tenant: TenantId
    trip_id: str


@dataclass(frozen=True, slots=True)
class Leg:
    """The road from one stop to the next. n points, and at each of them what lies behind it on this leg."""

    points: tuple[LatLon, ...]
    along_m: tuple[float, ...]
    along_s: tuple[float, ...]

    @property
    def distance_m(self) -> float:
        return self.along_m[-1]

    @property
    def duration_s(self) -> float:
        return self.along_s[-1]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The road through all the stops of a trip, one leg for each pair of neighbours, and what it rests on."""

    legs: tuple[Leg, ...]
    engines: tuple[Engine, ...]
    """of each leg"""
    made_at: float
    calls: int
    """engine calls it took; a leg from the cache takes none"""
    reason: str
    """why a better engine did not answer, empty where the first one did"""
    roadless: frozenset[int] = frozenset()
    """legs that are straight because an engine has no road there: asking again would not draw them"""

    @property
    def engine(self) -> Engine:
        """The weakest of its legs: what the whole may claim to rest on."""
        order = list(Engine)
        return max(self.engines, key=order.index)

    @property
    def shape(self) -> tuple[LatLon, ...]:
        """The whole road as one polyline, straight where there is no road (`guessed`).

        Empty where a leg is straight for want of an answer, or all of them are: that is no road.
        """
        straight = {i for i, engine in enumerate(self.engines) if engine is Engine.STRAIGHT}
        if straight - self.roadless or len(straight) == len(self.legs):
            return ()
        first = self.legs[0].points[:1]
        return first + tuple(point for leg in self.legs for point in leg.points[1:])

    @property
    def guessed(self) -> tuple[int, ...]:
        """Where `shape` is no road: n stands for the straight line from its point n to the next."""
        if not self.shape:
            return ()
        ends = list(accumulate((len(leg.points) - 1 for leg in self.legs), initial=0))
        return tuple(n for n, engine in zip(ends, self.engines, strict=False) if engine is Engine.STRAIGHT)

    @property
    def drawn_by(self) -> Engine:
        """The weakest of the engines that know a road of it."""
        order = list(Engine)
        known = [engine for engine in self.engines if engine is not Engine.STRAIGHT]
        return max(known, key=order.index, default=Engine.STRAIGHT)

    @property
    def shape_s(self) -> tuple[float, ...]:
        """Driving seconds from the beginning to each point of `shape`, without any stop."""
        if not self.shape:
            return ()
        found, before = [0.0], 0.0
        for leg in self.legs:
            found += [before + seconds for seconds in leg.along_s[1:]]
            before += leg.duration_s
        return tuple(found)

    @property
    def leg_s(self) -> tuple[float, ...]:
        """Driving seconds of each leg, without any stop."""
        return tuple(leg.duration_s for leg in self.legs)

    @property
    def at_stops_m(self) -> tuple[float, ...]:
        """Distance along the road at each stop."""
        return tuple(accumulate((leg.distance_m for leg in self.legs), initial=0.0))


@dataclass(frozen=True, slots=True)
class Traffic:
    """Driving seconds of each leg in the traffic of now. To be forgotten with the trip: the terms allow no keeping."""

    leg_s: tuple[float, ...]
    engine: Engine
    made_at: float


class Nearest(NamedTuple):
    """The place on a road next to a point."""

    place: LatLon
    away_m: float
    engine: Engine


@dataclass(frozen=True, slots=True)
class Terms:
    """What an engine's owner allows, and who pays."""

    may_keep: bool
    """answers may be stored and used again"""
    is_paid: bool
    """each call is billed, so it is taken from the small budgets"""


class Router(Protocol):
    """One engine. Every method raises an error of `eta.routing.errors`; none answers with what it does not know."""

    engine: Engine
    terms: Terms
    edition: str
    """which map and version answer: what is kept of one edition is not used with another"""
    unready: str
    """why it cannot be asked yet, or never; empty when it can"""

    async def route(self, points: Sequence[LatLon]) -> tuple[Leg, ...]:
        """One leg for each pair of neighbouring points, in order. Raises NotOffered where the engine gives no roads."""
        ...

    async def nearest(self, point: LatLon) -> Nearest:
        """The place on a road next to the point. Raises NotOffered where the engine does not tell."""
        ...

    async def traffic_s(self, points: Sequence[LatLon]) -> tuple[float, ...]:
        """Seconds of each leg in the traffic of now. Raises NotOffered where the engine knows no traffic."""
        ...
