-- Tracking links, and the little they show.

-- name: stop
SELECT t.state AS trip_state, s.state AS stop_state
FROM trip t JOIN trip_stop s ON s.tenant_id = t.tenant_id AND s.trip_id = t.trip_id
WHERE t.tenant_id = %(tenant)s AND t.trip_id = %(trip)s AND s.stop_id = %(stop)s

-- name: add
INSERT INTO tracking_link (tenant_id, link_id, trip_id, stop_id, note, expires_at, created_by, created_at)
VALUES (%(tenant)s, %(id)s, %(trip)s, %(stop)s, %(note)s, %(expires_at)s, %(by)s, %(at)s)

-- name: links
SELECT * FROM tracking_link
WHERE tenant_id = %(tenant)s AND trip_id = %(trip)s AND link_id > %(after)s ORDER BY link_id LIMIT %(limit)s

-- name: has_trip
SELECT 1 FROM trip WHERE tenant_id = %(tenant)s AND trip_id = %(trip)s

-- name: revoke
UPDATE tracking_link SET revoked_at = coalesce(revoked_at, %(at)s)
WHERE tenant_id = %(tenant)s AND trip_id = %(trip)s AND link_id = %(id)s RETURNING *

-- name: sight
-- Where the truck is only while it is on its way to this stop or stands there; of other stops their number alone.
SELECT l.expires_at, t.state AS trip_state, s.stop_id, s.state AS stop_state, s.name, s.lat AS stop_lat,
       s.lon AS stop_lon, s.planned_at, i.timezone, e.arrivals, e.made_at, e.fix_at, e.method,
       d.ts, d.lat, d.lon, d.heading,
       (SELECT count(*) FROM trip_stop b
        WHERE b.tenant_id = s.tenant_id AND b.trip_id = s.trip_id AND b.seq < s.seq AND b.state IN ('planned', 'arrived')
       ) AS stops_before
FROM tracking_link l
    JOIN trip t ON t.tenant_id = l.tenant_id AND t.trip_id = l.trip_id
    JOIN trip_stop s ON s.tenant_id = l.tenant_id AND s.trip_id = l.trip_id AND s.stop_id = l.stop_id
    JOIN site i ON i.tenant_id = s.tenant_id AND i.site_id = s.site_id
    LEFT JOIN trip_estimate e ON e.tenant_id = t.tenant_id AND e.trip_id = t.trip_id
                                 AND t.state = 'under_way' AND e.device_id = t.device_id
    LEFT JOIN device_state d ON d.tenant_id = t.tenant_id AND d.device_id = t.device_id
                                AND t.state = 'under_way' AND s.state IN ('planned', 'arrived')
                                AND d.ts >= coalesce(t.started_at, d.ts) - interval '10 minutes'
WHERE l.tenant_id = %(tenant)s AND l.link_id = %(id)s AND l.revoked_at IS NULL AND l.expires_at > %(at)s

-- name: forget
DELETE FROM tracking_link WHERE expires_at < %(before)s
