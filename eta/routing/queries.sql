-- Every statement names the tenant in its keys: the worker serves all of them.

-- name: legs
SELECT m.start_lat, m.start_lon, m.end_lat, m.end_lon, m.engine, m.edition, m.road, m.made_at
FROM map_leg m
JOIN unnest(%(start_lats)s::int[], %(start_lons)s::int[], %(end_lats)s::int[], %(end_lons)s::int[])
     AS k (start_lat, start_lon, end_lat, end_lon) USING (start_lat, start_lon, end_lat, end_lon)
WHERE m.tenant_id = %(tenant)s

-- name: keep_leg
-- A newer answer takes the place of the older: one for each engine.
INSERT INTO map_leg (tenant_id, start_lat, start_lon, end_lat, end_lon, engine, edition, road, made_at)
VALUES (%(tenant)s, %(start_lat)s, %(start_lon)s, %(end_lat)s, %(end_lon)s, %(engine)s, %(edition)s, %(road)s, %(at)s)
ON CONFLICT (tenant_id, start_lat, start_lon, end_lat, end_lon, engine)
DO UPDATE SET edition = excluded.edition, road = excluded.road, made_at = excluded.made_at

-- name: spend
-- No row comes back when the account is empty.
INSERT INTO map_spend (tenant_id, account, is_paid, day, calls)
VALUES (%(tenant)s, %(account)s, %(is_paid)s, %(day)s, 1)
ON CONFLICT (tenant_id, account, is_paid) DO UPDATE SET calls = map_spend.calls + 1 WHERE map_spend.calls < %(most)s
RETURNING calls

-- name: spend_total
INSERT INTO map_total (day, calls) VALUES (%(day)s, 1)
ON CONFLICT (day) DO UPDATE SET calls = map_total.calls + 1 WHERE map_total.calls < %(most)s
RETURNING calls

-- name: count
INSERT INTO map_use (tenant_id, day, engine, purpose, outcome, calls, seconds)
VALUES (%(tenant)s, %(day)s, %(engine)s, %(purpose)s, %(outcome)s, 1, %(seconds)s)
ON CONFLICT (tenant_id, day, engine, purpose, outcome)
DO UPDATE SET calls = map_use.calls + 1, seconds = map_use.seconds + excluded.seconds

-- name: used
SELECT to_char(day, 'YYYY-MM') AS month, engine, purpose, outcome, sum(calls)::bigint AS calls, sum(seconds) AS seconds
FROM map_use
WHERE tenant_id = %(tenant)s AND day BETWEEN %(since)s AND %(until)s
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4

-- name: driven
-- Of trips that have ended: how many, their legs, and the time they were under way.
SELECT to_char(t.day, 'YYYY-MM') AS month, count(*) AS trips,
       coalesce(sum(greatest(s.stops - 1, 0)), 0)::bigint AS legs,
       coalesce(sum(ceil(greatest(s.stops - 1, 1) / 26.0)), 0)::bigint AS tours,
       coalesce(sum(extract(epoch FROM t.ended_at - t.started_at)), 0)::float8 AS seconds
FROM trip t
CROSS JOIN LATERAL (SELECT count(*) AS stops FROM trip_stop s
                    WHERE s.tenant_id = t.tenant_id AND s.trip_id = t.trip_id) s
WHERE t.tenant_id = %(tenant)s AND t.day BETWEEN %(since)s AND %(until)s
  AND t.started_at IS NOT NULL AND t.ended_at IS NOT NULL
GROUP BY 1 ORDER BY 1

-- name: forget_legs
DELETE FROM map_leg WHERE made_at < %(before)s

-- name: forget_spends
DELETE FROM map_spend WHERE day < %(before)s

-- name: forget_totals
DELETE FROM map_total WHERE day < %(before)s

-- name: forget_uses
DELETE FROM map_use WHERE day < %(before)s
