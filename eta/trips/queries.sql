-- Every statement names the tenant in its keys: the live worker saves trips of many tenants. A reference is an id or the
-- tenant's own code; no code has the form of an id.

-- name: trips_by_id
SELECT * FROM trip WHERE tenant_id = %(tenant)s AND trip_id = ANY(%(trips)s) ORDER BY trip_id

-- name: trip_id
SELECT trip_id FROM trip WHERE tenant_id = %(tenant)s AND (trip_id = %(ref)s OR code = %(ref)s)

-- name: lock_trips
-- In the order of the key, so that two who change several trips wait for each other and do not embrace.
SELECT * FROM trip WHERE tenant_id = %(tenant)s AND trip_id = ANY(%(trips)s) ORDER BY trip_id FOR UPDATE

-- name: stops
SELECT * FROM trip_stop WHERE tenant_id = %(tenant)s AND trip_id = ANY(%(trips)s) ORDER BY trip_id, seq

-- name: page
-- `only`: trips that a site may see; everybody else sees all of the tenant.
SELECT t.trip_id
FROM trip t
WHERE t.tenant_id = %(tenant)s
  AND t.trip_id > %(after)s
  AND (%(day)s::date IS NULL OR t.day = %(day)s)
  AND (%(since)s::date IS NULL OR t.day >= %(since)s)
  AND (%(until)s::date IS NULL OR t.day <= %(until)s)
  AND (%(states)s::text[] IS NULL OR t.state = ANY(%(states)s))
  AND (%(device)s::text IS NULL OR t.device_id = %(device)s)
  AND (%(route)s::text IS NULL OR t.route_id = (
       SELECT r.route_id FROM route r
       WHERE r.tenant_id = %(tenant)s AND (r.route_id = %(route)s OR r.code = %(route)s)))
  AND (%(site)s::text IS NULL OR EXISTS (
       SELECT FROM trip_stop s JOIN site p USING (tenant_id, site_id)
       WHERE s.tenant_id = t.tenant_id AND s.trip_id = t.trip_id AND (p.site_id = %(site)s OR p.code = %(site)s)))
  AND (%(only)s::text[] IS NULL OR t.trip_id = ANY(%(only)s))
ORDER BY t.trip_id
LIMIT %(limit)s

-- name: on_their_way
-- Trips under way that have one of these sites (ids or codes) still ahead.
SELECT DISTINCT t.trip_id, t.device_id
FROM site p
    JOIN trip_stop s USING (tenant_id, site_id)
    JOIN trip t USING (tenant_id, trip_id)
WHERE p.tenant_id = %(tenant)s AND (p.site_id = ANY(%(sites)s) OR p.code = ANY(%(sites)s))
  AND s.state = 'planned' AND t.state = 'under_way'
ORDER BY t.trip_id

-- name: add_trip
INSERT INTO trip (tenant_id, trip_id, code, route_id, device_id, day, planned_start, state, is_recurring, started_at,
                  handed_over_at, ended_at, reason, version, created_at, updated_at)
VALUES (%(tenant)s, %(trip)s, %(code)s, %(route)s, %(device)s, %(day)s, %(planned_start)s, %(state)s, %(is_recurring)s,
        %(started_at)s, %(handed_over_at)s, %(ended_at)s, %(reason)s, %(version)s, %(created_at)s, %(updated_at)s)

-- name: save_trip
-- Only over the version that was read.
UPDATE trip
SET device_id = %(device)s, day = %(day)s, planned_start = %(planned_start)s, state = %(state)s,
    started_at = %(started_at)s, handed_over_at = %(handed_over_at)s, ended_at = %(ended_at)s, reason = %(reason)s,
    version = %(version)s, updated_at = %(updated_at)s
WHERE tenant_id = %(tenant)s AND trip_id = %(trip)s AND version = %(was)s
RETURNING trip_id

-- name: save_stops
INSERT INTO trip_stop (tenant_id, trip_id, stop_id, seq, site_id, name, lat, lon, radius_m, polygon, planned_at, service_s,
                       quantity, state, is_settled, arrived_at, departed_at)
SELECT %(tenant)s, %(trip)s, r.*
FROM jsonb_to_recordset(%(rows)s) AS r (stop_id text, seq int, site_id text, name text, lat float8, lon float8,
     radius_m float8, polygon jsonb, planned_at timestamptz, service_s float8, quantity float8, state text,
     is_settled boolean, arrived_at timestamptz, departed_at timestamptz)
ON CONFLICT (tenant_id, trip_id, stop_id) DO UPDATE
SET seq = excluded.seq, planned_at = excluded.planned_at, service_s = excluded.service_s, quantity = excluded.quantity,
    state = excluded.state, is_settled = excluded.is_settled, arrived_at = excluded.arrived_at,
    departed_at = excluded.departed_at

-- name: by_plan
SELECT trip_id FROM trip
WHERE tenant_id = %(tenant)s AND route_id = %(route)s AND day = %(day)s AND is_recurring

-- name: estimates
SELECT trip_id, made_at, method, arrivals FROM trip_estimate
WHERE tenant_id = %(tenant)s AND trip_id = ANY(%(trips)s)
