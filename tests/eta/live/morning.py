"""A tenant with a round to drive, its telemetry store, and a worker that follows: all of it real but the clock."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg

from core import events
from core.bus import Bus, Delivery, Entry
from core.db import Database
from core.events import EstimatesMade, Received, TelemetryReceived
from core.settings import EtaSettings
from core.telemetry import Position, Sample
from core.tenancy import TenantId
from eta.engine.route import Stop
from eta.engine.track import Fix
from eta.live.announce import Announcer
from eta.live.handlers import Follower
from eta.live.learner import Learner
from eta.sites.model import RouteFacts, RouteStop, SiteFacts
from eta.sites.service import SiteService
from eta.trips import store as trips
from eta.trips.errors import RouteNotFound
from eta.trips.model import Trip
from eta.trips.service import NewTrip, TripService
from tests.conftest import DatabaseUrls
from tests.eta.roads import STARTS_AT, STOPS

ACME = TenantId("acme")
_POSITION = """
INSERT INTO telemetry.position (ts, seq, lat, lon, received_at, tenant_id, device_id, boot)
VALUES (to_timestamp(%s / 1000.0), %s, %s, %s, now(), 'acme', %s, 'b') ON CONFLICT DO NOTHING
"""
FARMS = STOPS[::2]
"""A depot and five farms, two kilometres of road apart."""


class Telling(Bus):
    """The bus, which remembers what was published by it."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.told: list[EstimatesMade] = []

    async def publish(self, entries: Sequence[Entry]) -> None:
        self.told += [events.decode(entry.body) for entry in entries]


def moment(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)


@dataclass
class Morning:
    """`now` is the clock of everything. `worker()` is a process that has just started."""

    urls: DatabaseUrls
    app: Database
    operator: Database
    bus: Telling
    settings: EtaSettings = field(default_factory=EtaSettings)
    drawer: object = None
    now: datetime = field(default_factory=lambda: moment(STARTS_AT - 600.0))
    seq: Iterable[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.sites = SiteService(database=self.app, clock=self.clock)
        self.trips = TripService(database=self.app, clock=self.clock)
        self.announcer = Announcer(database=self.app, clock=self.clock)
        self.follower = self.worker()
        self.conn = conn = psycopg.connect(self.urls.owner, autocommit=True)
        with conn.transaction():
            conn.execute("INSERT INTO tenant (tenant_id, name) VALUES ('acme', 'acme')")
            for device in ("truck-1", "truck-2"):
                conn.execute(
                    "INSERT INTO device (tenant_id, device_id, status) VALUES ('acme', %s, 'active')", (device,)
                )
            conn.execute(
                "SELECT telemetry.ensure_partitions(%s, %s)",
                (moment(STARTS_AT - 86_400), moment(STARTS_AT + 5 * 86_400)),
            )

    def clock(self) -> datetime:
        return self.now

    def worker(self) -> Follower:
        return Follower(
            database=self.app,
            everyone=self.operator,
            bus=self.bus,
            drawer=self.drawer,
            settings=self.settings,
            clock=self.clock,
        )

    def learner(self) -> Learner:
        return Learner(database=self.app, everyone=self.operator, settings=self.settings, clock=self.clock)

    async def round(
        self, *, start: float = STARTS_AT, device: str | None = "truck-1", farms: Sequence[Stop] = FARMS, shape=()
    ) -> Trip:
        """A trip of the route north, which begins at a depot; made with its sites at the first call."""
        try:
            route = await self.sites.route(ACME, "north")
        except RouteNotFound:
            stops = []
            for n, farm in enumerate(farms):
                facts = SiteFacts(
                    name=farm.stop_id, code=farm.stop_id, lat=farm.lat, lon=farm.lon, kind="depot" if n == 0 else "farm"
                )
                site = await self.sites.add_site(ACME, facts)
                stops.append(RouteStop(site=site.id))
            route = await self.sites.add_route(
                ACME, RouteFacts(name="North", code="north", stops=tuple(stops), shape=tuple(shape))
            )
        wanted = NewTrip(route=route.id, device=device, day=moment(start).date(), planned_start=moment(start))
        return await self.trips.add(ACME, wanted)

    def store(self, fixes: Iterable[Fix], device: str = "truck-1") -> None:
        with self.conn.cursor() as cursor:
            cursor.executemany(_POSITION, [(round(f.at * 1000), next(self.seq), f.lat, f.lon, device) for f in fixes])

    async def hear(
        self,
        fixes: Sequence[Fix],
        *,
        by: Follower | None = None,
        live: bool = True,
        device: str = "truck-1",
        late_s: float = 1.0,
    ) -> None:
        """Fixes come in as one batch: stored, then told, `late_s` after the newest was made."""
        self.store(fixes, device)
        self.now = max(self.now, moment(max(fix.at for fix in fixes) + late_s))
        samples = [
            Received(f"acme:{device}", Sample(ts=round(f.at * 1000), pos=Position(lat=f.lat, lon=f.lon)), live)
            for f in fixes
        ]
        partition = self.bus.partition(f"acme:{device}")
        event = TelemetryReceived(partition=partition, received_ms=0, samples=samples)
        worker = by or self.follower
        await worker.watch.look()
        await worker.on_telemetry([(event, Delivery(self.bus.keys("telemetry")[partition], "1-1", b"", 1))])

    async def drive(self, fixes: Sequence[Fix], *, by: Follower | None = None, device: str = "truck-1") -> None:
        """One fix after the other."""
        for fix in fixes:
            await self.hear([fix], by=by, device=device)

    async def trip(self, trip: Trip) -> Trip:
        async with self.app.tenant(ACME) as tx:
            return (await trips.load(tx, ACME, [trip.id]))[trip.id]

    async def announce(self) -> list[events.AnyEvent]:
        """What the outbox holds, each told to the announcer, until nothing is left."""
        found = []
        while news := self.news():
            found += news
            for each in news:
                handler = self.announcer.handlers().get(type(each))
                if handler is not None:
                    await handler(each, Delivery("k", "1-1", b"", 1))
        return found

    def news(self) -> list[events.AnyEvent]:
        """What the outbox holds, and then does not any more."""
        with psycopg.connect(self.urls.owner) as conn:
            conn.execute("SET ROLE milkrun_operator")
            rows = conn.execute("SELECT entries FROM outbox ORDER BY id").fetchall()
            conn.execute("DELETE FROM outbox")
        decoder = msgspec.msgpack.Decoder(list[Entry])
        return [events.decode(entry.body) for (entries,) in rows for entry in decoder.decode(entries)]

    def rows(self, query: str) -> list[tuple]:
        with psycopg.connect(self.urls.owner) as conn:
            conn.execute("SET ROLE milkrun_operator")
            return conn.execute(query).fetchall()

    def alerts(self) -> list[tuple[str, str]]:
        """(name of the stop, kind) of every alert, in the order of their fixes."""
        return self.rows(
            "SELECT s.name, a.kind FROM trip_alert a JOIN trip_stop s USING (tenant_id, trip_id, stop_id) "
            "ORDER BY a.at, s.seq"
        )

    @property
    def estimates(self):
        """All arrival times told so far, in order."""
        return [each for news in self.bus.told for each in news.estimates]

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def states(trip: Trip) -> list[tuple]:
    """What became of each stop."""
    return [(stop.name, stop.state.value, stop.arrived_at, stop.departed_at) for stop in trip.stops]
