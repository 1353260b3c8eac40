-- What live streams read of others' tables, and the tickets that open a connection.

-- name: vehicles
-- Every device that is not decommissioned with its state; `item` is the snapshot's JSON, built here to spare the loop.
SELECT d.device_id, d.labels::text AS labels, s.lat, s.lon, row_to_json(v)::text AS item
FROM device d
    LEFT JOIN device_state s ON s.tenant_id = d.tenant_id AND s.device_id = d.device_id
    LEFT JOIN presence p ON p.tenant_id = d.tenant_id AND p.device_id = d.device_id
    CROSS JOIN LATERAL (
        SELECT floor(extract(epoch FROM s.ts) * 1000)::bigint AS ts, s.lat, s.lon, s.alt, s.speed, s.heading, s.acc
    ) f
    CROSS JOIN LATERAL (
        SELECT d.device_id AS device, d.status, d.type, d.labels, coalesce(p.online, false) AS online,
               floor(extract(epoch FROM p.since) * 1000)::bigint AS since,
               CASE WHEN s.lat IS NOT NULL THEN json_strip_nulls(row_to_json(f)) END AS position
    ) v
WHERE d.tenant_id = %(tenant)s AND d.status <> 'decommissioned'
ORDER BY d.device_id

-- name: device
SELECT device_id, status, type, labels FROM device WHERE tenant_id = %(tenant)s AND device_id = %(device)s

-- name: labels
SELECT device_id, labels FROM device WHERE tenant_id = %(tenant)s AND labels <> '{}'

-- name: tenant
SELECT 1 FROM tenant WHERE tenant_id = %(tenant)s

-- name: add_ticket
INSERT INTO live_ticket (tenant_id, ticket_hash, principal, expires_at)
VALUES (%(tenant)s, %(hash)s, %(principal)s, %(expires_at)s)

-- name: take_ticket
-- Once: of two who bring the same ticket one gets a row.
DELETE FROM live_ticket WHERE ticket_hash = %(hash)s RETURNING tenant_id, principal, expires_at

-- name: drop_tickets
DELETE FROM live_ticket WHERE expires_at < %(now)s
