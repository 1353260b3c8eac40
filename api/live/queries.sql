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

-- name: trip
SELECT t.device_id, row_to_json(v)::text AS item
FROM trip t
    LEFT JOIN trip_estimate e ON e.tenant_id = t.tenant_id AND e.trip_id = t.trip_id
    CROSS JOIN LATERAL (
        SELECT e.device_id AS device, floor(extract(epoch FROM e.made_at) * 1000)::bigint AS made_at,
               floor(extract(epoch FROM e.fix_at) * 1000)::bigint AS fix_at, e.method, e.reason,
               round(extract(epoch FROM e.made_at - e.fix_at), 1) AS age_s, e.is_on_route AS on_route,
               round(e.progress_m) AS progress_m, round(e.length_m) AS length_m, e.source, e.arrivals
    ) a
    CROSS JOIN LATERAL (
        SELECT coalesce(json_agg(json_build_object(
            'stop', s.stop_id, 'site', s.site_id, 'name', s.name, 'lat', s.lat, 'lon', s.lon, 'radius_m', s.radius_m,
            'state', s.state, 'service_s', s.service_s,
            'planned_at', floor(extract(epoch FROM s.planned_at) * 1000)::bigint,
            'arrived_at', floor(extract(epoch FROM s.arrived_at) * 1000)::bigint,
            'departed_at', floor(extract(epoch FROM s.departed_at) * 1000)::bigint) ORDER BY s.seq), '[]') AS stops
        FROM trip_stop s WHERE s.tenant_id = t.tenant_id AND s.trip_id = t.trip_id
    ) s
    CROSS JOIN LATERAL (
        SELECT t.trip_id AS trip, t.code, t.route_id AS route, t.device_id AS device, t.day, t.state, t.version,
               floor(extract(epoch FROM t.planned_start) * 1000)::bigint AS planned_start,
               floor(extract(epoch FROM t.started_at) * 1000)::bigint AS started_at,
               floor(extract(epoch FROM t.ended_at) * 1000)::bigint AS ended_at, s.stops,
               CASE WHEN e.trip_id IS NOT NULL THEN row_to_json(a) END AS estimate
    ) v
WHERE t.tenant_id = %(tenant)s AND t.trip_id = %(trip)s

-- name: has_trip
SELECT 1 FROM trip WHERE tenant_id = %(tenant)s AND trip_id = %(trip)s

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
