"""Trips to test with, and a tenant's sites, routes and devices in a real database."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import psycopg

from core import events
from core.bus import Entry
from core.db import Database
from core.tenancy import DeviceId, TenantId
from eta.sites.model import RouteFacts, RouteStop, Site, SiteFacts
from eta.sites.service import SiteService
from eta.trips.model import Trip, TripState, TripStop
from eta.trips.service import TripService
from tests.conftest import DatabaseUrls

ACME, ZETA = TenantId("acme"), TenantId("zeta")
MORNING = datetime(2026, 8, 3, 4, 30, tzinfo=UTC)  # a Monday
DAY = date(2026, 8, 3)


def at(minutes: float) -> datetime:
    return MORNING + timedelta(minutes=minutes)


def trip(stops: int = 4, *, device: str | None = "truck-1", state: TripState = TripState.PLANNED, **more: Any) -> Trip:
    """A trip of acme with stops s1, s2 ..."""
    return Trip(
        tenant=ACME,
        id="trip_00000001",
        code=None,
        route=None,
        device=None if device is None else DeviceId(device),
        day=DAY,
        planned_start=MORNING,
        stops=tuple(
            TripStop(id=f"s{n}", site=f"f{n}", name=f"Farm {n}", lat=47.0 + n / 100, lon=9.5, radius_m=50.0)
            for n in range(1, stops + 1)
        ),
        created_at=at(-60),
        updated_at=at(-60),
        state=state,
        **more,
    )


def under_way(stops: int = 4, **more: Any) -> Trip:
    return trip(stops, state=TripState.UNDER_WAY, started_at=MORNING, **more)


@dataclass
class Rounds:
    """The services over a database with tenants acme and zeta, each with truck-1 and truck-2. `now` can be moved."""

    urls: DatabaseUrls
    database: Database
    now: datetime = MORNING
    ticks: int = 0
    sites: SiteService = field(init=False)
    trips: TripService = field(init=False)

    def __post_init__(self) -> None:
        self.sites = SiteService(database=self.database, clock=self.clock)
        self.trips = TripService(database=self.database, clock=self.clock)

    def clock(self) -> datetime:
        """`now` and a millisecond more each time, so that ids tell what was made first."""
        self.ticks += 1
        return self.now + timedelta(milliseconds=self.ticks)

    async def farms(self, count: int, *, tenant: TenantId = ACME) -> list[Site]:
        """Sites farm-1, farm-2 ... two kilometres apart."""
        return [
            await self.sites.add_site(
                tenant, SiteFacts(name=f"Farm {n}", code=f"farm-{n}", lat=47.0 + 0.018 * n, lon=9.5)
            )
            for n in range(1, count + 1)
        ]

    async def route(self, sites: list[Site], **more: Any) -> Any:
        stops = tuple(RouteStop(site=site.id) for site in sites)
        facts = {"name": "North", "code": "north", "stops": stops, **more}
        return await self.sites.add_route(sites[0].tenant, RouteFacts(**facts))

    def news(self) -> list[events.AnyEvent]:
        """What the outbox holds, and then does not any more."""
        with psycopg.connect(self.urls.owner) as conn:
            conn.execute("SET ROLE milkrun_operator")
            rows = conn.execute("SELECT entries FROM outbox ORDER BY id").fetchall()
            conn.execute("DELETE FROM outbox")
        decoder = msgspec.msgpack.Decoder(list[Entry])
        return [events.decode(entry.body) for (entries,) in rows for entry in decoder.decode(entries)]


def register(urls: DatabaseUrls) -> None:
    with psycopg.connect(urls.owner) as conn:
        conn.execute("SET ROLE milkrun_operator")
        for tenant in (ACME, ZETA):
            conn.execute("INSERT INTO tenant (tenant_id, name) VALUES (%s, %s)", (tenant, tenant))
            for device in ("truck-1", "truck-2"):
                conn.execute(
                    "INSERT INTO device (tenant_id, device_id, status) VALUES (%s, %s, 'active')", (tenant, device)
                )
