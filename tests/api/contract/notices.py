"""What a tenant of the matrix has of notices: each thing once, the tenant's marker in all that people read."""

import secrets

import httpx
import psycopg

from core.bus import Delivery
from core.clock import utc_now
from core.db import Database
from core.settings import NotifySettings
from core.tenancy import TenantId
from notify.handlers import FanOut
from tests.conftest import DatabaseUrls
from tests.notify.world import alert

BODIES = {
    "set_preferences": {},
    "read_notices": {},
    "add_recipient": {"name": "Ed"},
    "set_recipient": {"name": "Ed"},
    "subscribe": {"site": "site_00000000"},
    "change_subscription": {"kinds": ["5min"]},
    "add_push_token": {"platform": "fcm", "token": "a-phone-token"},
    "add_webhook": {"url": "https://erp.example/hook", "kinds": ["alert.10min"]},
    "change_webhook": {"description": "changed"},
    "rotate_webhook_secret": {},
    "make_link": {"stop": "stop_00000000"},
}
UNKNOWN = {
    "recipient": "rcp_nobody0000000",
    "subscription": "sub_nothing000000",
    "push_token": "ptk_nothing000000",
    "notice": "ntc_nothing000000",
    "webhook": "whk_nowhere000000",
    "delivery": "dlv_nothing000000",
    "alert": "alert_nothing000000",
    "link": "lnk_nothing000000",
    "trip": "trip_nowhere00000",
}
OTHERWISE = {"show_preferences": 409}  # for people with an inbox
SEEN = {
    "list_recipients", "show_recipient", "list_alerts", "show_alert", "list_webhooks", "show_webhook", "show_delivery",
}  # fmt: skip


async def add(http: httpx.AsyncClient, urls: DatabaseUrls, tenant: TenantId, marker: str) -> dict[str, str]:
    """Ids of what was made, the trip it is about among them."""
    key = secrets.token_hex(6)
    site, trip, stop, raised = f"site_{key}", f"trip_{key}", f"stop_{key}", f"alert_{key}"
    with psycopg.connect(urls.owner) as conn:
        named = {"t": tenant, "m": marker, "site": site, "trip": trip, "stop": stop, "alert": raised}
        conn.execute(
            "INSERT INTO site (tenant_id, site_id, name, kind, lat, lon, radius_m, timezone, created_at, updated_at)"
            " VALUES (%(t)s, %(site)s, %(m)s, 'farm', 47, 9, 50, 'UTC', now(), now())",
            named,
        )
        conn.execute(
            "INSERT INTO trip (tenant_id, trip_id, day, state, is_recurring, version, created_at, updated_at)"
            " VALUES (%(t)s, %(trip)s, '2026-08-03', 'planned', false, 1, now(), now())",
            named,
        )
        conn.execute(
            "INSERT INTO trip_stop (tenant_id, trip_id, stop_id, seq, site_id, name, lat, lon, radius_m, state)"
            " VALUES (%(t)s, %(trip)s, %(stop)s, 1, %(site)s, %(m)s, 47, 9, 50, 'planned')",
            named,
        )
        conn.execute(
            "INSERT INTO trip_alert (tenant_id, alert_id, trip_id, stop_id, site_id, device_id, kind, at, raised_at)"
            " VALUES (%(t)s, %(alert)s, %(trip)s, %(stop)s, %(site)s, 'd', '10min', now(), now())",
            named,
        )
    person = await _made(http, "/v1/recipients", {"name": marker})
    subscription = await _made(http, "/v1/subscriptions", {"site": site, "recipient": person})
    phone = await _made(http, "/v1/push-tokens", {"platform": "fcm", "token": f"{marker}-phone", "recipient": person})
    hook = {"url": f"https://{marker}.example/hook", "kinds": ["alert.10min"]}
    webhook = await _made(http, "/v1/webhooks", hook)
    link = await _made(http, f"/v1/trips/{trip}/links", {"stop": stop, "note": marker})
    event = alert(tenant=tenant, site=site, stop=stop, trip=trip, at=utc_now())
    async with Database(urls.app, pool_size=1) as app:
        fan_out = FanOut(database=app, settings=NotifySettings(), clock=utc_now, wake=lambda: None)
        await fan_out.handlers()[type(event)](event, Delivery("trip", "1-1", b"", 1))
    [sent] = (await http.get(f"/v1/webhooks/{webhook}/deliveries")).json()["items"]
    with psycopg.connect(urls.owner) as conn:
        conn.execute("SET ROLE milkrun_operator")
        row = conn.execute("SELECT notice_id FROM notice WHERE tenant_id = %s", (tenant,)).fetchone()
    assert row is not None
    return {
        "recipient": person,
        "subscription": subscription,
        "push_token": phone,
        "notice": row[0],
        "webhook": webhook,
        "delivery": sent["id"],
        "alert": raised,
        "link": link,
        "trip": trip,
    }


async def _made(http: httpx.AsyncClient, path: str, body: dict[str, object]) -> str:
    answer = await http.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])
