-- Each statement names the tenant in its keys, but for those of the lists over all tenants.

-- name: open_trips
SELECT tenant_id, trip_id, device_id, state, planned_start, version, updated_at
FROM trip
WHERE state = 'under_way' OR (state = 'planned' AND planned_start BETWEEN %(since)s AND %(until)s)

-- name: changed_trips
SELECT tenant_id, trip_id, device_id, state, planned_start, version, updated_at
FROM trip WHERE updated_at > %(since)s

-- name: trips_before
SELECT w.trip_id, max(t.ended_at) AS ended_at
FROM unnest(%(trips)s::text[], %(devices)s::text[], %(begins)s::timestamptz[]) AS w (trip_id, device_id, begins)
JOIN trip t ON t.tenant_id = %(tenant)s AND t.device_id = w.device_id AND t.trip_id <> w.trip_id
WHERE t.started_at IS NOT NULL AND t.ended_at IS NOT NULL AND (w.begins IS NULL OR t.started_at < w.begins)
GROUP BY w.trip_id

-- name: fixes
SELECT w.trip_id, extract(epoch FROM p.ts)::float8 AS at, p.lat, p.lon
FROM unnest(%(trips)s::text[], %(devices)s::text[], %(since)s::timestamptz[], %(until)s::timestamptz[])
     AS w (trip_id, device_id, since, until)
JOIN positions p ON p.tenant_id = %(tenant)s AND p.device_id = w.device_id AND p.ts >= w.since
                 AND p.ts <= coalesce(w.until, 'infinity')
WHERE p.ts >= %(earliest)s AND (p.acc IS NULL OR p.acc <= %(acc_m)s)
ORDER BY w.trip_id, p.ts

-- name: newest
SELECT device_id, made_at, fix_at, lat, lon, method, reason, is_on_route, progress_m, length_m, source, arrivals
FROM trip_estimate WHERE tenant_id = %(tenant)s AND trip_id = %(trip)s

-- name: kept
SELECT w.trip_id, e.device_id, e.alerts, r.stops, r.source, r.points, r.seconds, r.guessed, r.times, route.shape,
       (SELECT jsonb_agg(jsonb_build_array(a.stop_id, a.kind)) FROM trip_alert a
        WHERE a.tenant_id = %(tenant)s AND a.trip_id = w.trip_id) AS raised
FROM unnest(%(trips)s::text[], %(routes)s::text[]) AS w (trip_id, route_id)
LEFT JOIN trip_estimate e ON e.tenant_id = %(tenant)s AND e.trip_id = w.trip_id
LEFT JOIN trip_road r ON r.tenant_id = %(tenant)s AND r.trip_id = w.trip_id
LEFT JOIN route ON route.tenant_id = %(tenant)s AND route.route_id = w.route_id

-- name: depots
SELECT site_id FROM site
WHERE tenant_id = %(tenant)s AND site_id = ANY(%(sites)s) AND kind IN ('depot', 'warehouse')

-- name: save_estimates
INSERT INTO trip_estimate (tenant_id, trip_id, device_id, made_at, fix_at, lat, lon, method, reason, is_on_route,
                           progress_m, length_m, source, arrivals, alerts)
SELECT %(tenant)s, r.trip_id, r.device_id, to_timestamp(r.made_at), to_timestamp(r.fix_at), r.lat, r.lon, r.method,
       r.reason, r.is_on_route, r.progress_m, r.length_m, r.source, r.arrivals, r.alerts
FROM jsonb_to_recordset(%(rows)s) AS r (trip_id text, device_id text, made_at float8, fix_at float8, lat float8,
     lon float8, method text, reason text, is_on_route boolean, progress_m float8, length_m float8, source text,
     arrivals jsonb, alerts jsonb)
ORDER BY r.trip_id
ON CONFLICT (tenant_id, trip_id) DO UPDATE
SET device_id = excluded.device_id, made_at = excluded.made_at, fix_at = excluded.fix_at, lat = excluded.lat,
    lon = excluded.lon, method = excluded.method, reason = excluded.reason, is_on_route = excluded.is_on_route,
    progress_m = excluded.progress_m, length_m = excluded.length_m, source = excluded.source,
    arrivals = excluded.arrivals, alerts = excluded.alerts
WHERE trip_estimate.made_at <= excluded.made_at

-- name: add_alert
-- Of two who find it due one gets a row.
INSERT INTO trip_alert (tenant_id, alert_id, trip_id, stop_id, site_id, device_id, kind, at, eta, raised_at)
VALUES (%(tenant)s, %(alert)s, %(trip)s, %(stop)s, %(site)s, %(device)s, %(kind)s, %(at)s, %(eta)s, %(raised_at)s)
ON CONFLICT DO NOTHING
RETURNING alert_id

-- name: save_road
INSERT INTO trip_road (tenant_id, trip_id, drawn_at, times, stops, source, points, seconds, guessed)
VALUES (%(tenant)s, %(trip)s, %(at)s, %(times)s, %(stops)s, %(source)s, %(points)s, %(seconds)s, %(guessed)s::int[])
ON CONFLICT (tenant_id, trip_id) DO UPDATE
SET drawn_at = excluded.drawn_at, times = excluded.times, stops = excluded.stops, source = excluded.source,
    points = excluded.points, seconds = excluded.seconds, guessed = excluded.guessed
WHERE trip_road.times < excluded.times

-- name: forget_roads
DELETE FROM trip_road r USING trip t
WHERE r.drawn_at < %(before)s AND t.tenant_id = r.tenant_id AND t.trip_id = r.trip_id
  AND t.state IN ('done', 'abandoned')

-- name: to_learn
SELECT t.tenant_id, t.trip_id
FROM trip t
WHERE t.state = 'done' AND t.ended_at > %(since)s
  AND NOT EXISTS (SELECT FROM trip_lesson l WHERE l.tenant_id = t.tenant_id AND l.trip_id = t.trip_id)
ORDER BY t.ended_at LIMIT %(limit)s

-- name: take_turn
SELECT pg_advisory_xact_lock(hashtextextended('milkrun trip_lesson ' || %(tenant)s, 0))

-- name: lessons
SELECT lesson_id, trip_id, route_id, lesson FROM trip_lesson
WHERE tenant_id = %(tenant)s AND lesson_id > %(after)s ORDER BY lesson_id

-- name: has_lesson
SELECT 1 FROM trip_lesson WHERE tenant_id = %(tenant)s AND trip_id = %(trip)s

-- name: leg_roads
SELECT from_site, to_site, spacing_m, points FROM leg_road
WHERE tenant_id = %(tenant)s AND lesson_id > %(after)s ORDER BY from_site, to_site

-- name: add_lesson
INSERT INTO trip_lesson (tenant_id, trip_id, route_id, lesson, learned_at)
VALUES (%(tenant)s, %(trip)s, %(route)s, %(lesson)s, %(at)s)
ON CONFLICT DO NOTHING
RETURNING lesson_id

-- name: save_leg_road
INSERT INTO leg_road (tenant_id, from_site, to_site, lesson_id, spacing_m, points)
VALUES (%(tenant)s, %(start)s, %(end)s, %(lesson)s, %(spacing_m)s, %(points)s)
ON CONFLICT (tenant_id, from_site, to_site) DO UPDATE
SET lesson_id = excluded.lesson_id, spacing_m = excluded.spacing_m, points = excluded.points

-- name: forget_lessons
-- The emptied lesson stays: it says that the trip has taught.
UPDATE trip_lesson l SET lesson = ''
WHERE l.tenant_id = %(tenant)s AND l.lesson <> '' AND (
    l.lesson_id <= (SELECT o.lesson_id FROM trip_lesson o WHERE o.tenant_id = %(tenant)s AND o.lesson <> ''
                    ORDER BY o.lesson_id DESC OFFSET %(of_tenant)s LIMIT 1)
    OR (l.route_id = %(route)s AND l.lesson_id <= (
        SELECT o.lesson_id FROM trip_lesson o
        WHERE o.tenant_id = %(tenant)s AND o.route_id = %(route)s AND o.lesson <> ''
        ORDER BY o.lesson_id DESC OFFSET %(of_route)s LIMIT 1)))
