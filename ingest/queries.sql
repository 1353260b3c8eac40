-- name: lookup_things
-- Who these names are: a row for each tenant that exists, with the device's state where the device does.
SELECT t.tenant_id, w.device_id, d.status
FROM unnest(%(tenants)s::text[], %(devices)s::text[]) AS w(tenant_id, device_id)
JOIN tenant t ON t.tenant_id = w.tenant_id
LEFT JOIN device d ON d.tenant_id = w.tenant_id AND d.device_id = w.device_id

-- name: changed_things
-- Devices whose registry row changed lately; the overlap with the last look bears clocks and slow commits.
SELECT tenant_id, device_id, status, clock_timestamp() AS now FROM device WHERE updated_at > %(since)s

-- name: load_states
-- Locked in key order, so that two workers with overlapping batches queue instead of deadlocking.
SELECT tenant_id, device_id, version, last_seen_at, ts, boot, seq, lat, lon, alt, speed, heading, acc, ledger
FROM device_state
WHERE (tenant_id, device_id) IN (SELECT * FROM unnest(%(tenants)s::text[], %(devices)s::text[]))
ORDER BY tenant_id, device_id FOR UPDATE

-- name: staging
-- Session-local, unlogged, emptied by every commit.
CREATE TEMP TABLE IF NOT EXISTS staged_position (LIKE telemetry.position) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS staged_metric (LIKE telemetry.metric) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS staged_state (
    tenant_id text COLLATE "C", device_id text COLLATE "C", version bigint, last_seen_at timestamptz, ts timestamptz,
    boot text COLLATE "C", seq bigint, lat float8, lon float8, alt real, speed real, heading real, acc real,
    ledger bytea) ON COMMIT DELETE ROWS

-- name: merge_positions
INSERT INTO telemetry.position SELECT * FROM staged_position ON CONFLICT DO NOTHING

-- name: merge_metrics
INSERT INTO telemetry.metric SELECT * FROM staged_metric ON CONFLICT DO NOTHING

-- name: write_states
-- The version guard: nobody else wrote this device's state since it was read; fewer rows than staged means somebody did.
INSERT INTO device_state AS s (tenant_id, device_id, version, last_seen_at, ts, boot, seq, lat, lon, alt, speed, heading,
                               acc, ledger)
SELECT * FROM staged_state ORDER BY tenant_id, device_id
ON CONFLICT (tenant_id, device_id) DO UPDATE SET
    version = excluded.version, last_seen_at = excluded.last_seen_at, ts = excluded.ts, boot = excluded.boot,
    seq = excluded.seq, lat = excluded.lat, lon = excluded.lon, alt = excluded.alt, speed = excluded.speed,
    heading = excluded.heading, acc = excluded.acc, ledger = excluded.ledger
WHERE s.version = excluded.version - 1

-- name: write_event
INSERT INTO device_event (tenant_id, device_id, ts, boot, seq, type, data, received_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING

-- name: stored_names
-- Which samples of these instants are stored, under which name, and where: tells a repeat from a reuse and a replay.
SELECT w.n, p.boot, p.seq, p.lat, p.lon
FROM unnest(%(n)s::int[], %(tenants)s::text[], %(devices)s::text[], %(ts)s::timestamptz[])
     AS w(n, tenant_id, device_id, ts)
JOIN telemetry.position p USING (tenant_id, device_id, ts)
UNION ALL
SELECT DISTINCT w.n, m.boot, m.seq, NULL::float8, NULL::float8
FROM unnest(%(n)s::int[], %(tenants)s::text[], %(devices)s::text[], %(ts)s::timestamptz[], %(names)s::text[])
     AS w(n, tenant_id, device_id, ts, name)
JOIN telemetry.metric m USING (tenant_id, device_id, name, ts)
UNION ALL
SELECT w.n, e.boot, e.seq, NULL::float8, NULL::float8
FROM unnest(%(n)s::int[], %(tenants)s::text[], %(devices)s::text[], %(ts)s::timestamptz[])
     AS w(n, tenant_id, device_id, ts)
JOIN device_event e USING (tenant_id, device_id, ts)

-- name: ensure_partitions
SELECT telemetry.ensure_partitions(%(since)s, %(until)s)

-- name: touch_minutes
SELECT telemetry.touch_minutes(%s::timestamptz[])

-- name: add_outbox
-- Due later: the writer announces it right after the commit, and the relay is for when it cannot.
INSERT INTO outbox (entries, due_at) VALUES (%s, clock_timestamp() + interval '10 seconds') RETURNING id

-- name: drop_outbox
DELETE FROM outbox WHERE id = ANY(%s)

-- name: claim_rollups
SELECT telemetry.claim_rollups(%s) AS minutes

-- name: refresh_rollups
SELECT telemetry.refresh_rollups() AS minutes

-- name: tenant_retention
SELECT tenant_id, retention_days FROM tenant WHERE retention_days IS NOT NULL

-- name: apply_retention
SELECT telemetry.apply_retention(%(raw_days)s, %(rollup_days)s, %(tenants)s::text[], %(days)s::int[]) AS dropped

-- name: expire_letters
DELETE FROM dead_letter WHERE received_at < now() - make_interval(days => %(days)s)

-- name: expire_events
DELETE FROM device_event WHERE ts < now() - make_interval(days => %(days)s)
