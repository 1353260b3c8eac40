"""A fleet at work: trucks on the made-up district, or the vehicles of a recording, each over its own link.

A `Fleet` drives `Vehicle`s in real time: it takes what leaves each vehicle when its time has come and gives it to the
vehicle's link. What became of it is counted by the links; what reached the store is not known here.
"""

import asyncio
import contextlib
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from core.errors import Conflict
from core.tenancy import TenantId, Thing
from eta.routing.engines.graph import build
from provisioning.errors import TenantExists
from provisioning.keyfiles import Delivery
from provisioning.model import DeviceStatus, new_device
from provisioning.service import ProvisioningService
from sim import district, recording
from sim.district import District
from sim.duties.base import Duty
from sim.journey import Visit
from sim.link import Counts, Credentials, DeviceLink, LinkOptions
from sim.morning.rounds import straying
from sim.recording import Dataset, Fix, RecordingInvalid
from sim.roads import Router
from sim.truck import Emission, Truck, plan_fleet

DEVICE_TYPE = "sim-truck"
SEED = 7
_CONNECT_WITHIN_S = 3.0
_BETWEEN_TRIPS = timedelta(minutes=1)
# An overtaken message leaves later than the next ones; what was measured before a moment has left by then.
_OVERTAKEN_WITHIN_S = 60.0


class NotSimulated(Conflict):
    """A device of this name is registered and is no simulated one; we keep our hands off its certificate."""

    code = "not_simulated"


class NotInService(Conflict):
    """A simulated truck was suspended or decommissioned, and that is respected."""

    code = "not_in_service"


class Vehicle(Protocol):
    """Something that sends. `device` is its name; `emissions` are in order of `due_s`, seconds from the start."""

    @property
    def device(self) -> str: ...

    def emissions(self) -> Iterator[Emission]: ...

    def whereabouts(self, at_s: float) -> str:
        """Where it is in words, for people who watch. `at_s` never goes back."""
        ...

    def fall_silent(self, at_s: float, leaving: Iterator[Emission]) -> tuple[list[Emission], int]:
        """Measure nothing after `at_s`: what is under way then still leaves, and so many samples stay on board.

        `leaving` is what was to leave from then on.
        """
        ...


@dataclass(slots=True)
class SimulatedTruck:
    """A truck of `sim.truck`, second 0 being `start_at_ms`."""

    truck: Truck
    start_at_ms: int
    interval_s: float
    _visits: Iterator[Visit] = field(init=False)
    _visit: Visit = field(init=False)

    def __post_init__(self) -> None:
        self._visits = self.truck.visits(float("inf"))
        self._visit = next(self._visits)

    @property
    def device(self) -> str:
        return self.truck.id

    def emissions(self) -> Iterator[Emission]:
        return self.truck.emissions(start_at_ms=self.start_at_ms, interval_s=self.interval_s)

    def whereabouts(self, at_s: float) -> str:
        while self._visit.depart_s < at_s:
            self._visit = next(self._visits)
        return f"{'at' if self._visit.arrive_s <= at_s else 'to'} {self._visit.stop.name}"

    def fall_silent(self, at_s: float, leaving: Iterator[Emission]) -> tuple[list[Emission], int]:
        now_ms = self.start_at_ms + at_s * 1000
        last_words: list[Emission] = []
        staying: set[tuple[str, int]] = set()
        for emission in leaving:
            measured = [s for s in emission.samples if s["ts"] <= now_ms]
            if emission.due_s <= at_s + 2 * self.interval_s:
                last_words += [replace(emission, samples=measured)] if measured else []
            else:
                staying.update((s["boot"], s["seq"]) for s in measured)
            if emission.samples[0]["ts"] > now_ms + _OVERTAKEN_WITHIN_S * 1000:
                break
        return last_words, len(staying)


@dataclass(slots=True)
class RecordedVehicle:
    """One vehicle of a replayed recording, with its messages in order."""

    device: str
    trips: tuple[str, ...]
    messages: Sequence[Emission]

    def emissions(self) -> Iterator[Emission]:
        return iter(self.messages)

    def whereabouts(self, at_s: float) -> str:
        del at_s
        return f"trip {', '.join(self.trips)}"

    def fall_silent(self, at_s: float, leaving: Iterator[Emission]) -> tuple[list[Emission], int]:
        del at_s, leaving  # each fix leaves at the moment it was measured
        return [], 0


@dataclass(slots=True)
class Member:
    """A vehicle with its link. `last` is the newest sample that left it, `held` how many were measured and did not.

    `measured_since_ms` is the time of the oldest that left (epoch).
    """

    vehicle: Vehicle
    link: DeviceLink
    last: Mapping[str, Any] | None = None
    held: int = 0
    measured_since_ms: int | None = None

    def take(self, emission: Emission) -> None:
        self.link.submit(emission.samples)
        self.last = emission.samples[-1]
        oldest = emission.samples[0]["ts"]
        self.measured_since_ms = min(oldest, self.measured_since_ms or oldest)

    def sent(self) -> set[tuple[str, int]]:
        """The names (boot, seq) the platform answers for: taken by the broker, or said to be durable."""
        return {*self.link.taken} - {*self.link.held_back()} - {*self.link.given_up()}


class Fleet:
    """Vehicles that drive until told to stop. `duties` gives what each thing does beside telemetry."""

    def __init__(
        self,
        vehicles: Sequence[Vehicle],
        credentials: Mapping[str, Credentials],
        options: LinkOptions,
        duties: Callable[[Thing], Sequence[Duty]] = lambda _thing: (),
    ) -> None:
        links = [DeviceLink(known := credentials[each.device], options, duties(known.thing)) for each in vehicles]
        self.members = [Member(vehicle, link) for vehicle, link in zip(vehicles, links, strict=True)]
        self._started_at = time.monotonic()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Let every vehicle fall silent; `drive` then settles what was sent."""
        self._stop.set()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started_at

    def counts(self) -> Counts:
        """What all links did together."""
        total = Counts()
        for member in self.members:
            total.add(member.link.counts)
        return total

    async def drive(self, *, seconds: float | None, settle_s: float) -> bool:
        """Drive until `seconds` are over, the vehicles have nothing left or `stop` is called; then wait for the acks.

        True when everything sent is durable within `settle_s`. The links are closed when it returns.
        """
        # A fleet that connects in one instant is a load test; a real one wakes up one by one.
        spread_s = min(_CONNECT_WITHIN_S, len(self.members) * 0.05)
        started = self._started_at = time.monotonic()
        links: list[asyncio.Future[None]] = [
            asyncio.create_task(self._link(member.link, started + spread_s * number / len(self.members)))
            for number, member in enumerate(self.members)
        ]
        driving: asyncio.Future[Any] = asyncio.gather(*(self._drive(member) for member in self.members))
        try:
            # A link ends by an error only, such as a key file that is gone; it ends the drive.
            await asyncio.wait({driving, *links}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            self._stop.set()
            await driving
            for link in links:
                if link.done():
                    link.result()
            return await self._settle(settle_s)
        finally:
            for task in (driving, *links):
                task.cancel()
            await asyncio.gather(driving, *links, return_exceptions=True)

    async def _settle(self, settle_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(settle_s):
                await asyncio.gather(*(member.link.settled() for member in self.members))
        return not any(member.link.waiting for member in self.members)

    @staticmethod
    async def _link(link: DeviceLink, begin_at: float) -> None:
        await asyncio.sleep(max(0.0, begin_at - time.monotonic()))
        await link.run()

    async def _drive(self, member: Member) -> None:
        emissions = member.vehicle.emissions()
        for emission in emissions:
            # Also without a pause others get their turn, or a fleet that fell behind would never see the stop.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), max(0.0, emission.due_s - self.elapsed_s))
            if self._stop.is_set():
                leaving = itertools.chain([emission], emissions)
                last_words, member.held = member.vehicle.fall_silent(self.elapsed_s, leaving)
                for last in last_words:
                    member.take(last)
                return
            member.take(emission)


async def enrol(
    service: ProvisioningService, tenant: TenantId, devices: Sequence[str], folder: Path
) -> dict[str, Credentials]:
    """Credentials for `devices`, a folder each in `folder`; tenant and devices are registered where they are not yet.

    Raises NotSimulated where a device of another type has such a name, and NotInService.
    """
    with contextlib.suppress(TenantExists):
        await service.add_tenant(tenant)
    delivery = Delivery(folder, each_its_own=True, durable=False)
    wanted = [new_device(name, DEVICE_TYPE) for name in devices]
    for each in wanted:
        delivery.check(Thing(tenant, each.device))
    added = await service.add_devices(tenant, wanted, keep=delivery.write, skip_existing=True)
    for name in added.existing:
        thing = Thing(tenant, name)
        known = await service.device(thing)
        if known.device.type != DEVICE_TYPE:
            kind = known.device.type
            raise NotSimulated(f"{thing} is registered as a {kind}: choose another tenant for simulated trucks")
        if known.device.status not in {DeviceStatus.PENDING, DeviceStatus.ACTIVE}:
            raise NotInService(f"{thing} is {known.device.status} and may not connect: choose another tenant")
        if known.active is None or not (delivery.folder(thing) / "device.key").exists():
            await service.renew(thing, keep=delivery.write)
    return {each.device: Credentials(thing := Thing(tenant, each.device), delivery.folder(thing)) for each in wanted}


def draw_district(folder: Path, *, seed: int = SEED) -> tuple[District, Path]:
    """The made-up district and its OSM file below `folder`."""
    drawn = district.generate(seed)
    folder.mkdir(parents=True, exist_ok=True)
    return drawn, district.write_osm(drawn, folder / f"district-{seed}.osm")


def plan_trucks(drawn: District, osm_file: Path, count: int, *, seed: int = SEED, strays: int = 0) -> list[Truck]:
    """Rounds for `count` trucks; the road graph is built beside the OSM file on first use.

    The first `strays` of them do not keep to the shortest way.
    """
    router = Router(build(osm_file, osm_file.parent / "roads"))
    trucks = plan_fleet(drawn, router, trucks=count, seed=seed)
    return [straying(truck, router) if n < strays else truck for n, truck in enumerate(trucks)]


def recorded_vehicles(dataset: Dataset, *, now_ms: int, speed: float) -> list[RecordedVehicle]:
    """The vehicles of a recording played at `speed`, the last fix carrying the wall's time."""
    messages: dict[str, list[Emission]] = defaultdict(list)
    start_at_ms = recording.start_at_ms_for(dataset, now_ms=now_ms, speed=speed)
    for device, emission in recording.replay(dataset, start_at_ms=start_at_ms, speed=speed):
        messages[device].append(emission)
    trips: dict[str, list[str]] = defaultdict(list)
    for trip_id, device in dataset.devices().items():
        trips[device].append(trip_id)
    return [RecordedVehicle(device, tuple(trips[device]), sent) for device, sent in messages.items()]


def side_by_side(dataset: Dataset, trips: int) -> Dataset:
    """The first `trips` trips of each vehicle, all vehicles beginning at once and each without its breaks.

    A recording of a day has hours in which nobody drives; this leaves what is worth watching.
    """
    if trips < 1:
        raise RecordingInvalid(f"at least one trip of each vehicle is played, not {trips}")
    clock: dict[str, datetime] = {}
    seen: dict[str, int] = defaultdict(int)
    positions: dict[str, tuple[Fix, ...]] = {}
    for trip_id in sorted(dataset.positions, key=lambda trip_id: (dataset.positions[trip_id][0].at, trip_id)):
        fixes = dataset.positions[trip_id]
        vehicle = fixes[0].vehicle_id
        seen[vehicle] += 1
        if seen[vehicle] <= trips:
            shift = clock.get(vehicle, dataset.begins_at) - fixes[0].at
            positions[trip_id] = tuple(replace(fix, at=fix.at + shift) for fix in fixes)
            clock[vehicle] = positions[trip_id][-1].at + _BETWEEN_TRIPS
    return replace(dataset, positions=positions, trips={trip_id: dataset.trips[trip_id] for trip_id in positions})
