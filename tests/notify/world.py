"""The notify service on a real PostgreSQL: two tenants, each with a site, a truck, a running trip and its stops."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
from psycopg.rows import dict_row

from core.bus import Delivery as Delivered
from core.clock import epoch_ms
from core.db import Database
from core.events import AlertRaised, Event, NoticePosted, decode
from core.outbox import _decoder
from core.settings import NotifySettings
from core.tenancy import TenantId
from notify.handlers import FanOut
from notify.service import NotifyService, Wishes
from notify.tracking.service import LinkService
from notify.webhooks.service import WebhookService
from tests.conftest import DatabaseUrls

ACME, ZETA = TenantId("acme"), TenantId("zeta")
NOON = datetime(2026, 11, 23, 11, 0, tzinfo=UTC)
FARM, OTHER, DEPOT = "site_farm00000001", "site_other0000001", "site_depot0000001"
TRIP, STOP, BEFORE = "trip_morning00001", "stop_farm00000001", "stop_other0000001"
TRUCK = "truck-1"

_PLACES = """
INSERT INTO tenant (tenant_id, name) VALUES (%(t)s, %(t)s) ON CONFLICT DO NOTHING;
INSERT INTO device (tenant_id, device_id, status) VALUES (%(t)s, 'truck-1', 'active');
INSERT INTO device_state (tenant_id, device_id, last_seen_at, ts, lat, lon, heading, ledger)
    VALUES (%(t)s, 'truck-1', %(at)s, %(at)s, 47.1, 9.5, 90, '');
INSERT INTO site (tenant_id, site_id, name, kind, lat, lon, radius_m, timezone, created_at, updated_at)
    VALUES (%(t)s, 'site_farm00000001', 'Farm of ' || %(t)s, 'farm', 47.2, 9.5, 50, 'Europe/Vaduz', %(at)s, %(at)s),
           (%(t)s, 'site_other0000001', 'Other of ' || %(t)s, 'farm', 47.15, 9.5, 50, 'UTC', %(at)s, %(at)s);
INSERT INTO trip (tenant_id, trip_id, device_id, day, state, is_recurring, started_at, version, created_at, updated_at)
    VALUES (%(t)s, 'trip_morning00001', 'truck-1', '2026-11-23', 'under_way', false, %(at)s, 1, %(at)s, %(at)s);
INSERT INTO trip_stop (tenant_id, trip_id, stop_id, seq, site_id, name, lat, lon, radius_m, state)
    VALUES (%(t)s, 'trip_morning00001', 'stop_other0000001', 1, 'site_other0000001', 'Other of ' || %(t)s, 47.15, 9.5,
            50, 'planned'),
           (%(t)s, 'trip_morning00001', 'stop_farm00000001', 2, 'site_farm00000001', 'Farm of ' || %(t)s, 47.2, 9.5, 50,
            'planned');
"""


@dataclass
class Now:
    """A clock that stands where it is put."""

    at: datetime = NOON

    def __call__(self) -> datetime:
        return self.at

    def pass_(self, **parts: float) -> None:
        self.at += timedelta(**parts)


@dataclass
class World:
    """Both logins, a clock, and the services on them."""

    urls: DatabaseUrls
    app: Database
    operator: Database
    settings: NotifySettings = field(default_factory=NotifySettings)
    now: Now = field(default_factory=Now)

    def __post_init__(self) -> None:
        named = {"settings": self.settings, "clock": self.now}
        self.people = NotifyService(database=self.app, **named)
        self.webhooks = WebhookService(database=self.app, **named)
        self.links = LinkService(database=self.app, **named)

    async def raise_(self, event: Event) -> None:
        """Deliver an event to the fan-out as the bus would."""
        fan_out = FanOut(database=self.app, settings=self.settings, clock=self.now, wake=lambda: None)
        await fan_out.handlers()[type(event)](event, Delivered("trip", "1-1", b"", 1))

    async def farmer(self, *, tokens: Sequence[tuple[str, str]] = (), tenant: TenantId = ACME, **wishes: Any) -> str:
        """Somebody without an account who waits at the farm, and is told of everything there."""
        person = await self.people.add_recipient(tenant, Wishes(**wishes))
        kinds = ("10min", "5min", "delayed", "started", "arrived", "skipped", "missed")
        await self.people.subscribe(tenant, recipient=person.id, site=FARM, kinds=kinds)
        for platform, token in tokens:
            await self.people.add_token(tenant, recipient=person.id, platform=platform, token=token)
        return person.id

    def rows(self, query: str, **params: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.urls.owner, row_factory=dict_row, autocommit=True) as conn:
            conn.execute("SET ROLE milkrun_operator")
            return conn.execute(query, params).fetchall()

    def change(self, statement: str, **params: Any) -> None:
        with psycopg.connect(self.urls.operator, autocommit=True) as conn:
            conn.execute(statement, params)

    def deliveries(self) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM delivery ORDER BY created_at, delivery_id")

    def posted(self) -> list[NoticePosted]:
        """The news of inboxes that waits in the outbox."""
        with psycopg.connect(self.urls.owner) as conn:
            rows = conn.execute("SELECT entries FROM outbox ORDER BY id").fetchall()
        found = [decode(entry.body) for (packed,) in rows for entry in _decoder.decode(packed)]
        return [event for event in found if isinstance(event, NoticePosted)]

    def estimate(self, *, minutes: float, tenant: TenantId = ACME) -> None:
        """What the live worker writes of the trip: the farm is reached in so many minutes."""
        ms = epoch_ms(self.now() + timedelta(minutes=minutes))
        arrivals = [
            {"stop": BEFORE, "site": OTHER, "eta": ms - 300_000, "p10": ms - 310_000, "p50": ms, "p90": ms - 290_000},
            {"stop": STOP, "site": FARM, "eta": ms, "p10": ms - 60_000, "p50": ms, "p90": ms + 120_000},
        ]
        self.change(
            "INSERT INTO trip_estimate (tenant_id, trip_id, device_id, made_at, fix_at, lat, lon, method, reason,"
            " is_on_route, progress_m, length_m, source, arrivals, alerts)"
            " VALUES (%(t)s, %(trip)s, 'truck-1', %(at)s, %(at)s, 47.1, 9.5, 'learned', '', true, 1, 2, 'stops',"
            " %(arrivals)s, '{}') ON CONFLICT (tenant_id, trip_id) DO UPDATE SET arrivals = excluded.arrivals",
            t=tenant,
            trip=TRIP,
            at=self.now(),
            arrivals=json.dumps(arrivals),
        )


def place(urls: DatabaseUrls, at: datetime = NOON) -> None:
    """Both tenants with the same ids: what one has must never be found by the other."""
    with psycopg.connect(urls.owner, autocommit=True) as conn:
        for tenant in (ACME, ZETA):
            for statement in filter(str.strip, _PLACES.split(";")):
                conn.execute(statement, {"t": tenant, "at": at})


def alert(
    kind: str = "10min",
    *,
    tenant: TenantId = ACME,
    stop: str = STOP,
    site: str = FARM,
    at: datetime = NOON,
    minutes: float | None = 10,
    trip: str = TRIP,
) -> AlertRaised:
    """As the live worker raises it; the truck is there in so many minutes."""
    return AlertRaised(
        tenant=tenant,
        trip=trip,
        alert=f"alert_{kind}0000{stop[-4:]}{trip[-4:]}",
        stop=stop,
        site=site,
        kind=kind,
        device=TRUCK,
        at=epoch_ms(at),
        eta=None if minutes is None else epoch_ms(at + timedelta(minutes=minutes)),
    )


def read(payload: str | bytes) -> Any:
    return msgspec.json.decode(payload)
