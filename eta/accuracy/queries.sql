-- Statements over all tenants need the operator login; the others name the tenant in their keys.

-- name: keep_said
INSERT INTO eta_said (tenant_id, trip_id, made_at, method, stops, etas, p10s, p90s)
SELECT r.tenant_id, r.trip_id, to_timestamp(r.made_at), r.method, r.stops, r.etas, r.p10s, r.p90s
FROM jsonb_to_recordset(%(rows)s) AS r (tenant_id text, trip_id text, made_at float8, method text, stops text[],
     etas int[], p10s int[], p90s int[])
WHERE EXISTS (SELECT FROM trip t WHERE t.tenant_id = r.tenant_id AND t.trip_id = r.trip_id)
ON CONFLICT DO NOTHING

-- name: to_judge
-- Trips that have ended a while ago, oldest first: what was late has come by then.
SELECT t.tenant_id, t.trip_id, t.route_id, t.device_id, t.day, t.started_at, t.ended_at,
       coalesce(t.handed_over_at, t.started_at) AS driven_since
FROM trip t
WHERE t.state = 'done' AND t.started_at IS NOT NULL AND t.ended_at BETWEEN %(since)s AND %(until)s
  AND EXISTS (SELECT FROM eta_said s WHERE s.tenant_id = t.tenant_id AND s.trip_id = t.trip_id)
  AND NOT EXISTS (SELECT FROM eta_judged j WHERE j.tenant_id = t.tenant_id AND j.trip_id = t.trip_id)
ORDER BY t.ended_at LIMIT %(limit)s

-- name: said
SELECT extract(epoch FROM made_at)::float8 AS made_at, method, stops, etas, p10s, p90s
FROM eta_said WHERE tenant_id = %(tenant)s AND trip_id = %(trip)s ORDER BY made_at

-- name: stops
-- Not those a person spoke for: when that was true is not known to the second.
SELECT stop_id, lat, lon, extract(epoch FROM arrived_at)::float8 AS arrived_at
FROM trip_stop
WHERE tenant_id = %(tenant)s AND trip_id = %(trip)s AND NOT is_settled ORDER BY seq

-- name: fixes
SELECT extract(epoch FROM ts)::float8 AS at, lat, lon
FROM positions
WHERE tenant_id = %(tenant)s AND device_id = %(device)s AND ts BETWEEN %(since)s AND %(until)s
ORDER BY ts

-- name: told
SELECT stop_id, kind, extract(epoch FROM at)::float8 AS at
FROM trip_alert WHERE tenant_id = %(tenant)s AND trip_id = %(trip)s AND kind IN ('10min', '5min')

-- name: map_calls
SELECT coalesce(sum(calls), 0)::int AS calls
FROM map_spend WHERE tenant_id = %(tenant)s AND account = 'trip:' || %(trip)s

-- name: keep_judged
INSERT INTO eta_judged (tenant_id, trip_id, day, route_id, sums, judged_at)
VALUES (%(tenant)s, %(trip)s, %(day)s, %(route)s, %(sums)s, %(at)s)
ON CONFLICT (tenant_id, trip_id) DO UPDATE SET sums = excluded.sums, judged_at = excluded.judged_at

-- name: judged
SELECT day, sums::text AS sums FROM eta_judged
WHERE tenant_id = %(tenant)s AND day BETWEEN %(since)s AND %(until)s
  AND (%(route)s::text IS NULL OR route_id = %(route)s)
ORDER BY day, trip_id

-- name: forget_said
DELETE FROM eta_said WHERE made_at < %(before)s

-- name: forget_judged
DELETE FROM eta_judged WHERE day < %(before)s
