"""Two tenants with rows in every table, every partition (or chunk, one of them columnar) and every rollup."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.types.json import Jsonb

from core.migrate import has_timescale
from tests.conftest import DatabaseUrls
from tests.isolation.catalog import TENANTS

_REGISTRY = """
INSERT INTO tenant (tenant_id, name) VALUES (%(t)s, %(t)s);
INSERT INTO device (tenant_id, device_id, status) VALUES (%(t)s, 'truck-1', 'active'), (%(t)s, %(only)s, 'active');
INSERT INTO certificate (tenant_id, device_id, serial, fingerprint, status, not_before, not_after)
    VALUES (%(t)s, 'truck-1', %(serial)s, 'f', 'active', now(), now() + interval '1 day');
INSERT INTO device_state (tenant_id, device_id, last_seen_at, ledger) VALUES (%(t)s, 'truck-1', now(), '');
INSERT INTO presence (tenant_id, device_id, online, since, session, version)
    VALUES (%(t)s, 'truck-1', true, now(), 's', 1);
INSERT INTO presence_span (tenant_id, device_id, version, online, since) VALUES (%(t)s, 'truck-1', 1, true, now());
INSERT INTO device_event (tenant_id, device_id, ts, boot, seq, type, data, received_at)
    VALUES (%(t)s, 'truck-1', now(), 'b', 1, 'door', %(data)s, now());
INSERT INTO dead_letter (tenant_id, source, topic, reason, detail, payload, digest)
    VALUES (%(t)s, 'mqtt', 't', 'bad_topic', 'd', 'p', 'd');
INSERT INTO outbox (entries) VALUES ('');
INSERT INTO shadow (tenant_id, device_id, name, version, is_deleted, desired, reported, stamps, recent, updated_at)
    VALUES (%(t)s, 'truck-1', '', 1, false, '{}', '{}', '{}', '{}', now());
INSERT INTO shadow_leaf (tenant_id, device_id, name, field, key, number) VALUES (%(t)s, 'truck-1', '', 'f', '#1.0', 1);
UPDATE device SET labels = '{"depot": "north"}' WHERE tenant_id = %(t)s;
"""
_COMMANDS = """
INSERT INTO command_template (tenant_id, template_id, description, format, parameters, dangerous, needs_approval,
                              timeout_s, expires_s, retries, ordering, version, created_at, updated_at)
    VALUES (%(t)s, 'lock', '', 'json', '[]', false, false, 60, 60, 0, 'after_end', 1, now(), now());
INSERT INTO command_batch (tenant_id, batch_id, template_id, parameters, target, note, total, free_at, digest, sender,
                           created_at)
    VALUES (%(t)s, 'bat_1', 'lock', '{}', '{}', '', 1, now(), '', '{}', now());
INSERT INTO command (tenant_id, command_id, device_id, template_id, batch_id, state, ordering, place, terms, sender,
                     attempts, retried, misses, is_late, version, reason_code, reason, result, history, created_at,
                     expires_at, due_at, lapses_at, updated_at)
    VALUES (%(t)s, 'cmd_1', 'truck-1', 'lock', 'bat_1', 'CREATED', 'after_end', 1, '{}', '{}', 0, 0, 0, false, 1, '',
            '', '{}', '[]', now(), now(), now(), now(), now());
INSERT INTO command_lane (tenant_id, device_id, due_at) VALUES (%(t)s, 'truck-1', now());
"""
_ACCESS = """
INSERT INTO user_account (tenant_id, user_id, email, name, role, password_hash, created_at, updated_at)
    VALUES (%(t)s, 'usr_00000001', 'ann@example.com', 'Ann', 'tenant_admin', 'hash', now(), now());
INSERT INTO user_session (tenant_id, token_hash, user_id, generation, created_at, seen_at, expires_at)
    VALUES (%(t)s, %(serial)s::bytea, 'usr_00000001', 1, now(), now(), now() + interval '1 day');
INSERT INTO api_client (tenant_id, client_id, name, role, created_by, created_at, updated_at)
    VALUES (%(t)s, 'cli_1', 'erp', 'integration', 'usr_00000001', now(), now());
INSERT INTO api_client_secret (tenant_id, client_id, secret_id, secret_hash, created_at)
    VALUES (%(t)s, 'cli_1', '1', 'hash', now());
INSERT INTO api_key (tenant_id, key_id, name, secret_hash, role, created_by, created_at, updated_at)
    VALUES (%(t)s, 'aaaaaaaa', 'gate', 'hash', 'integration', 'usr_00000001', now(), now());
INSERT INTO audit_log (tenant_id, at, actor_kind, actor_id, actor_name, action, target)
    VALUES (%(t)s, now(), 'user', 'usr_00000001', 'Ann', 'user.created', 'usr_00000001');
INSERT INTO live_ticket (tenant_id, ticket_hash, principal, expires_at)
    VALUES (%(t)s, %(serial)s::bytea, %(data)s, now() + interval '1 minute');
INSERT INTO idempotency (tenant_id, actor, key, route, request_hash) VALUES (%(t)s, 'usr_00000001', 'k', 'POST /', 'h')
"""
_TRIPS = """
INSERT INTO site (tenant_id, site_id, name, kind, lat, lon, radius_m, timezone, created_at, updated_at)
    VALUES (%(t)s, 'site_00000001', 'Farm', 'farm', 47, 9, 50, 'UTC', now(), now());
INSERT INTO route (tenant_id, route_id, name, timezone, created_at, updated_at)
    VALUES (%(t)s, 'route_00000001', 'North', 'UTC', now(), now());
INSERT INTO route_stop (tenant_id, route_id, seq, site_id) VALUES (%(t)s, 'route_00000001', 1, 'site_00000001');
INSERT INTO trip (tenant_id, trip_id, device_id, day, state, is_recurring, version, created_at, updated_at)
    VALUES (%(t)s, 'trip_00000001', 'truck-1', '2026-08-03', 'planned', false, 1, now(), now());
INSERT INTO trip_stop (tenant_id, trip_id, stop_id, seq, site_id, name, lat, lon, radius_m, state)
    VALUES (%(t)s, 'trip_00000001', 'stop_00000001', 1, 'site_00000001', 'Farm', 47, 9, 50, 'planned');
INSERT INTO trip_estimate VALUES (%(t)s, 'trip_00000001', 'truck-1', now(), now(), 47, 9, 'guess', 'r', true, 1, 2,
    'stops', '[]', '{}');
INSERT INTO trip_alert VALUES (%(t)s, 'alert_00000001', 'trip_00000001', 'stop_00000001', 'site_00000001', 'truck-1',
    '10min', now(), now(), now());
INSERT INTO trip_road VALUES (%(t)s, 'trip_00000001', now(), 1, '{stop_00000001}', 'route', '[]', '[]');
INSERT INTO trip_lesson (tenant_id, trip_id, lesson, learned_at) VALUES (%(t)s, 'trip_00000001', '', now());
INSERT INTO leg_road VALUES (%(t)s, 'site_00000001', 'site_00000001', 1, 10, '[]');
"""
_MAPS = """
INSERT INTO map_leg VALUES (%(t)s, 4700000, 900000, 4700100, 900100, 'osrm-local', 'e', 'road', now());
INSERT INTO map_spend VALUES (%(t)s, 'day:2026-08-03', true, '2026-08-03', 1);
INSERT INTO map_use VALUES (%(t)s, '2026-08-03', 'google', 'traffic', 'ok', 1, 0.2);
INSERT INTO eta_said VALUES (%(t)s, 'trip_00000001', now(), 'history', '{stop_00000001}', '{60}', '{30}', '{90}');
INSERT INTO eta_judged VALUES (%(t)s, 'trip_00000001', '2026-08-03', '', %(data)s, now());
"""
_NOTIFY = """
INSERT INTO recipient (tenant_id, recipient_id, created_at, updated_at) VALUES (%(t)s, 'rcp_00000001', now(), now());
INSERT INTO subscription (tenant_id, subscription_id, recipient_id, site_id, kinds, created_at, updated_at)
    VALUES (%(t)s, 'sub_00000001', 'rcp_00000001', 'site_00000001', '{10min}', now(), now());
INSERT INTO push_token (tenant_id, token_id, recipient_id, platform, token, created_at, updated_at)
    VALUES (%(t)s, 'ptk_00000001', 'rcp_00000001', 'fcm', 'the-same-phone', now(), now());
INSERT INTO notice (tenant_id, notice_id, recipient_id, trip_id, stop_id, kind, alert_id, site_id, device_id, title,
    body, raised_at, expires_at, created_at) VALUES (%(t)s, 'ntc_00000001', 'rcp_00000001', 'trip_00000001',
    'stop_00000001', '10min', 'alert_00000001', 'site_00000001', 'truck-1', 'Farm', 'Soon', now(), now(), now());
INSERT INTO webhook (tenant_id, webhook_id, url, kinds, created_at, updated_at)
    VALUES (%(t)s, 'whk_00000001', 'https://erp.example', '{alert.10min}', now(), now());
INSERT INTO webhook_secret (tenant_id, webhook_id, secret_id, sealed, created_at)
    VALUES (%(t)s, 'whk_00000001', '1', convert_to(repeat('0', 64), 'UTF8'), now());
INSERT INTO delivery (tenant_id, delivery_id, channel, target_id, event_id, webhook_id, kind, payload, next_at,
    created_at) VALUES (%(t)s, 'dlv_00000001', 'webhook', 'whk_00000001', 'msg_1', 'whk_00000001', 'webhook.test', '',
    now(), now());
INSERT INTO tracking_link (tenant_id, link_id, trip_id, stop_id, expires_at, created_by, created_at)
    VALUES (%(t)s, 'lnk_00000001', 'trip_00000001', 'stop_00000001', now() + interval '1 hour', 'usr_00000001', now());
"""
_TELEMETRY = """
INSERT INTO telemetry.position (ts, seq, lat, lon, received_at, tenant_id, device_id, boot)
SELECT now() - make_interval(hours => n * 12), n, 47, 9, now(), %(t)s, 'truck-1', 'b' FROM generate_series(0, 14) AS n;
INSERT INTO telemetry.metric (ts, seq, value, received_at, tenant_id, device_id, boot, name)
SELECT now() - make_interval(hours => n * 12), n, n, now(), %(t)s, 'truck-1', 'b', 'fuel_pct'
FROM generate_series(0, 14) AS n;
SELECT telemetry.touch_minutes(array_agg(DISTINCT date_trunc('minute', ts))) FROM telemetry.position
"""


@pytest.fixture(scope="module")
def filled(module_database: DatabaseUrls) -> DatabaseUrls:
    fill(module_database.owner)
    return module_database


@pytest.fixture
def app(filled: DatabaseUrls) -> Iterator[psycopg.Connection]:
    """The serving role's own connection, in one transaction that the test may spoil."""
    with psycopg.connect(filled.app) as conn:
        yield conn
        conn.rollback()


@pytest.fixture
def owner(filled: DatabaseUrls) -> Iterator[psycopg.Connection]:
    with psycopg.connect(filled.owner, autocommit=True) as conn:
        yield conn


def fill(owner_url: str) -> None:
    with psycopg.connect(owner_url, autocommit=True) as conn:
        for number, tenant in enumerate(TENANTS):
            parts = {"t": tenant, "only": f"only-{tenant}", "serial": f"{number + 1:02x}", "data": Jsonb({})}
            for statement in (_REGISTRY + _COMMANDS + _ACCESS + ";" + _TRIPS + _MAPS + _NOTIFY + _TELEMETRY).split(";"):
                conn.execute(statement, parts)
        conn.execute("SELECT telemetry.claim_rollups(1000)")
        conn.execute("SELECT telemetry.refresh_rollups()")
        if has_timescale(owner_url):
            for rollup in ("metric_1m", "metric_1h", "position_1m", "position_1h"):
                conn.execute(f"CALL refresh_continuous_aggregate('telemetry.{rollup}', NULL, NULL)")
            for table in ("position", "metric"):
                conn.execute(
                    "SELECT compress_chunk(c) FROM show_chunks(%s, older_than => interval '5 days') AS c",
                    (f"telemetry.{table}",),
                )
        conn.execute("ANALYZE")
