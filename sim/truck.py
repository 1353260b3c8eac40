"""A simulated truck as its device tells it: GPS noise, gaps without coverage, late batches, repeats, reboots.

`Truck.emissions` yields what leaves the device and when, over simulated time and for ever unless told to stop. The same
truck and arguments give the same emissions. Nothing here sends anything.
"""

import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from core.errors import Invalid
from sim.district import District, Place
from sim.journey import METRES_PER_DEGREE, Journey, Round, State, Stop, Visit, distance_m
from sim.roads import LatLon, Leg, Router

_BOOT_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
FARMS_PER_ROUND = 4
GOLDEN = 0.6180339887


class FleetImpossible(Invalid):
    """No fleet can be planned from these numbers."""

    code = "fleet_impossible"


@dataclass(frozen=True, slots=True)
class Emission:
    """One message leaves the device `due_s` seconds after the start: native telemetry samples, oldest first."""

    due_s: float
    samples: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class DeadZone:
    """A circle without mobile coverage."""

    lat: float
    lon: float
    radius_m: float

    def covers(self, at: LatLon) -> bool:
        return distance_m((self.lat, self.lon), at) < self.radius_m


@dataclass(frozen=True, slots=True)
class Faults:
    """How often a device and its network misbehave. Shares are of messages; with zeros the truck is a perfect one."""

    repeated_share: float = 0.01
    overtaken_share: float = 0.01
    reboot_every_s: float = 6 * 3600.0
    batch_limit: int = 100


@dataclass(frozen=True, slots=True)
class Truck:
    """A truck on its round, lap after lap. At second 0 `start_share` (0 to 1) of its first lap is behind it."""

    id: str
    round: Round
    seed: int
    pace: float = 1.0
    start_share: float = 0.0
    dead_zones: tuple[DeadZone, ...] = ()
    outages: tuple[tuple[float, float], ...] = ()
    """without coverage wherever it is, from one second to another"""
    faults: Faults = field(default_factory=Faults)

    def emissions(
        self, *, start_at_ms: int, interval_s: float = 5.0, until_s: float | None = None
    ) -> Iterator[Emission]:
        """Messages in the order they leave. Second 0 is `start_at_ms` (epoch); a parked truck reports once a minute.

        With `until_s` the truck falls silent then: what is still buffered without coverage stays on the device.
        """
        rng = Random(f"{self.seed}:{self.id}:device")
        # A device restarted at another time is a new boot; only the rest of what it does repeats.
        device = _Device(rng, Random(f"{self.seed}:{self.id}:{start_at_ms}:boot"), start_at_ms)
        network = _Network(rng, self.faults, interval_s)
        was_on = True
        for t_s, state in self._moments(rng, device, interval_s, until_s):
            if state.ignition and not was_on:
                device.boot()
            was_on = state.ignition
            has_coverage = not (
                any(zone.covers((state.lat, state.lon)) for zone in self.dead_zones)
                or any(begins_s <= t_s < ends_s for begins_s, ends_s in self.outages)
            )
            network.accept(t_s, device.sample(t_s, state), has_coverage=has_coverage)
            yield from network.leaving(t_s)
        yield from network.leaving(math.inf)

    def as_of(self, now_ms: int) -> "Truck":
        """This truck where a lap begun long ago has taken it by now, so that a fleet started again does not jump."""
        _, lap = next(self._laps())
        return replace(self, start_share=(self.start_share + now_ms / 1000 / lap.home_s) % 1.0)

    def visits(self, until_s: float) -> Iterator[Visit]:
        """The truth about every stop reached before `until_s`, on the same clock as the emissions."""
        for begins_s, lap in self._laps():
            for visit in lap.visits:
                if begins_s + visit.arrive_s >= until_s:
                    return
                if begins_s + visit.depart_s > 0:
                    yield Visit(visit.stop, begins_s + visit.arrive_s, begins_s + visit.depart_s, visit.milk_l)

    def _laps(self) -> Iterator[tuple[float, Journey]]:
        """Each lap with the second it begins at; the first began before second 0."""
        odometer_m, fuel_pct, begins_s = Random(f"{self.seed}:{self.id}:odometer").uniform(4e7, 4e8), 90.0, 0.0
        for number in itertools.count():
            rng = Random(f"{self.seed}:{self.id}:lap:{number}")
            lap = Journey(self.round, rng, pace=self.pace, odometer_m=odometer_m, fuel_pct=fuel_pct)
            if number == 0:
                begins_s = -self.start_share * lap.home_s
            yield begins_s, lap
            begins_s += lap.duration_s
            odometer_m, fuel_pct = lap.odometer_m, lap.fuel_pct

    def _moments(
        self, rng: Random, device: "_Device", interval_s: float, until_s: float | None
    ) -> Iterator[tuple[float, State]]:
        """When the device measures, and the truth then. A reboot costs it half a minute."""
        t_s = rng.uniform(0, interval_s)
        for begins_s, lap in self._laps():
            while t_s < begins_s + lap.duration_s:
                if until_s is not None and t_s >= until_s:
                    return
                state = lap.at(t_s - begins_s)
                yield t_s, state
                step_s = interval_s if state.ignition else max(interval_s, 60.0)
                if self.faults.reboot_every_s and rng.random() < step_s / self.faults.reboot_every_s:
                    device.boot()
                    step_s += rng.uniform(20, 60)
                t_s += step_s


class _Device:
    """Names its samples (boot, seq from 1), and sees the truth through a receiver whose error wanders."""

    def __init__(self, rng: Random, boots: Random, start_at_ms: int) -> None:
        self._rng = rng
        self._boots = boots
        self._start_at_ms = start_at_ms
        self._sky = 0.0
        self._error_m = (rng.gauss(0, 2), rng.gauss(0, 2))
        self._last_s = 0.0
        self._heading = 0.0
        self.boot()

    def boot(self) -> None:
        self._boot = "".join(self._boots.choices(_BOOT_LETTERS, k=6))
        self._seq = 0

    def sample(self, t_s: float, state: State) -> dict[str, Any]:
        """One native telemetry sample (docs: the wire format)."""
        self._seq += 1
        return {
            "ts": self._start_at_ms + round(t_s * 1000),
            "boot": self._boot,
            "seq": self._seq,
            "pos": self._fix(t_s, state),
            "m": {
                "ignition": state.ignition,
                "fuel_pct": round(state.fuel_pct, 1),
                "odometer_m": int(state.odometer_m),
                "milk_temp_c": round(state.milk_temp_c, 1),
                "milk_l": round(state.milk_l),
            },
        }

    def _fix(self, t_s: float, state: State) -> dict[str, float | int]:
        """First-order autoregression: neighbouring fixes err alike (half a minute), the sky changes slower (two)."""
        rng, step_s = self._rng, max(t_s - self._last_s, 0.0)
        self._last_s = t_s
        keep = math.exp(-step_s / 120)
        self._sky = self._sky * keep + rng.gauss(0, 0.25) * math.sqrt(1 - keep * keep)
        hdop = min(max(0.9 * math.exp(self._sky), 0.5), 4.0)
        keep = math.exp(-step_s / 30)
        fresh = 2.4 * hdop * math.sqrt(1 - keep * keep)
        north, east = (error * keep + rng.gauss(0, fresh) for error in self._error_m)
        self._error_m = (north, east)
        if state.speed_mps > 0.5:
            self._heading = (state.heading + rng.gauss(0, 1.5)) % 360
        lat = state.lat + north / METRES_PER_DEGREE
        lon = state.lon + east / (METRES_PER_DEGREE * math.cos(math.radians(state.lat)))
        return {
            "lat": round(lat, 6),
            "lon": round(lon, 6),
            "alt": round(_altitude_m(lat, lon) + north * 1.5, 1),
            "speed": round(max(0.0, state.speed_mps + rng.gauss(0, 0.15)), 2) if state.speed_mps else 0.0,
            "heading": round(self._heading, 1) % 360,
            "acc": round(4.2 * hdop, 1),
            "sats": min(max(round(14 - 4 * hdop + rng.gauss(0, 0.5)), 4), 18),
            "hdop": round(hdop, 1),
        }


class _Network:
    """Between device and broker: holds fixes while there is no coverage, then sends them; repeats some, delays some."""

    def __init__(self, rng: Random, faults: Faults, interval_s: float) -> None:
        self._rng = rng
        self._faults = faults
        self._interval_s = interval_s
        self._held: list[dict[str, Any]] = []
        self._under_way: list[tuple[float, int, list[dict[str, Any]]]] = []
        self._count = itertools.count()

    def accept(self, t_s: float, sample: dict[str, Any], *, has_coverage: bool) -> None:
        self._held.append(sample)
        if not has_coverage:
            return
        due_s = t_s + self._rng.uniform(0.05, 0.3)
        for batch in itertools.batched(self._held, self._faults.batch_limit):
            self._send(due_s, list(batch))
        self._held = []

    def leaving(self, now_s: float) -> Iterator[Emission]:
        """What has left by now, in order."""
        while self._under_way and self._under_way[0][0] <= now_s:
            due_s, _, samples = heapq.heappop(self._under_way)
            yield Emission(due_s, samples)

    def _send(self, due_s: float, samples: list[dict[str, Any]]) -> None:
        if self._rng.random() < self._faults.overtaken_share:
            due_s += 1.5 * self._interval_s
        heapq.heappush(self._under_way, (due_s, next(self._count), samples))
        if self._rng.random() < self._faults.repeated_share:
            heapq.heappush(self._under_way, (due_s + self._rng.uniform(0.5, 3.0), next(self._count), samples))


def plan_fleet(district: District, router: Router, *, trucks: int, seed: int) -> list[Truck]:
    """Share out the farms among this many trucks (`truck-1` ...), which at second 0 are spread along their rounds.

    A round has at least four farms; trucks beyond that drive the same rounds, every other one backwards.
    """
    if trucks < 1:
        raise FleetImpossible(f"a fleet has at least one truck, not {trucks}")
    rng = Random(f"{seed}:fleet")
    count = min(trucks, max(1, len(district.farms) // FARMS_PER_ROUND))
    orders = _share_out(district, router, count)
    orders += [order[::-1] for order in orders] if trucks > count else []
    rounds = _rounds(district.depot, orders, router)
    zones = dead_zones(rounds[:count], seed)
    return [
        Truck(
            id=f"truck-{i + 1}",
            round=rounds[i % len(rounds)],
            seed=seed,
            pace=min(max(rng.gauss(0.95, 0.06), 0.75), 1.1),
            start_share=(0.1 + i * GOLDEN) % 1.0,
            dead_zones=zones,
        )
        for i in range(trucks)
    ]


def dead_zones(rounds: Sequence[Round], seed: int) -> tuple[DeadZone, ...]:
    """Circles of 0.4 to 1 km on the way of every second round; none of them near the depot."""
    rng = Random(f"{seed}:coverage")
    zones = []
    for plan in rounds[::2]:
        depot = (plan.depot.lat, plan.depot.lon)
        centre = rng.choice(rng.choice(plan.legs).points)
        radius_m = rng.uniform(400, 1000)
        if distance_m(depot, centre) > radius_m + 300:
            zones.append(DeadZone(*centre, radius_m))
    return tuple(zones)


def _share_out(district: District, router: Router, count: int) -> list[list[Place]]:
    """Sweep: farms by their direction from the depot, cut into equal shares, each put into a short driving order."""
    depot = district.depot
    swept = sorted(district.farms, key=lambda farm: math.atan2(farm.lat - depot.lat, farm.lon - depot.lon))
    duration_s = router.durations_s([(place.lat, place.lon) for place in (depot, *swept)])
    size, extra = divmod(len(swept), count)
    cuts = list(itertools.accumulate((size + (i < extra) for i in range(count)), initial=1))
    return [
        [swept[i - 1] for i in _short_order(list(range(start, end)), duration_s)]
        for start, end in itertools.pairwise(cuts)
    ]


def _short_order(stops: list[int], duration_s: Sequence[Sequence[float]]) -> list[int]:
    """Nearest neighbour from the depot (0), then turn stretches round while that makes the round shorter."""
    order, left = [0], list(stops)
    while left:
        nearest = min(left, key=lambda stop: duration_s[order[-1]][stop])
        left.remove(nearest)
        order.append(nearest)
    order.append(0)
    is_better = True
    while is_better:
        is_better = False
        for i, j in itertools.combinations(range(1, len(order) - 1), 2):
            a, b, c, d = order[i - 1], order[i], order[j], order[j + 1]
            if duration_s[a][c] + duration_s[b][d] < duration_s[a][b] + duration_s[c][d] - 1.0:
                order[i : j + 1] = order[i : j + 1][::-1]
                is_better = True
    return order[1:-1]


def _rounds(depot: Place, orders: Sequence[Sequence[Place]], router: Router) -> list[Round]:
    legs: dict[tuple[str, str], Leg] = {}
    rounds = []
    for number, order in enumerate(orders, 1):
        pairs = list(itertools.pairwise((depot, *order, depot)))
        for a, b in pairs:
            if (a.id, b.id) not in legs:
                legs[a.id, b.id] = router.route([(a.lat, a.lon), (b.lat, b.lon)])[0]
        stops = tuple(_stop(place) for place in order)
        rounds.append(Round(f"round-{number}", _stop(depot), stops, tuple(legs[a.id, b.id] for a, b in pairs)))
    return rounds


def _stop(place: Place) -> Stop:
    return Stop(place.id, place.name, place.lat, place.lon)


def _altitude_m(lat: float, lon: float) -> float:
    """Rolling hills between 560 and 720 m, the same for everybody."""
    return 640 + 50 * math.sin(lat * 97.0) * math.cos(lon * 61.0) + 30 * math.sin(lat * 211.0 + lon * 173.0)
