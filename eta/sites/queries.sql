-- Sites and routes of one tenant. A reference is an id or the tenant's own code; no code has the form of an id.

-- name: site
SELECT * FROM site
WHERE tenant_id = %(tenant)s AND (site_id = %(ref)s OR code = %(ref)s)

-- name: lock_site
SELECT * FROM site
WHERE tenant_id = %(tenant)s AND (site_id = %(ref)s OR code = %(ref)s)
FOR UPDATE

-- name: named_sites
SELECT * FROM site
WHERE tenant_id = %(tenant)s AND (site_id = ANY(%(refs)s) OR code = ANY(%(refs)s))

-- name: sites
SELECT * FROM site
WHERE tenant_id = %(tenant)s
  AND site_id > %(after)s
  AND (%(kind)s::text IS NULL OR kind = %(kind)s)
  AND (%(labels)s::jsonb IS NULL OR labels @> %(labels)s)
  AND (%(archived)s::boolean IS NULL OR is_archived = %(archived)s)
  AND (%(search)s::text IS NULL OR strpos(lower(name), lower(%(search)s)) > 0
       OR strpos(lower(coalesce(code, '')), lower(%(search)s)) > 0)
ORDER BY site_id
LIMIT %(limit)s

-- name: add_sites
INSERT INTO site (tenant_id, site_id, code, name, kind, lat, lon, radius_m, polygon, windows, timezone, contacts, labels,
                  is_archived, version, created_at, updated_at)
SELECT %(tenant)s, r.site_id, r.code, r.name, r.kind, r.lat, r.lon, r.radius_m, r.polygon, r.windows, r.timezone,
       r.contacts, r.labels, r.is_archived, r.version, %(at)s, %(at)s
FROM jsonb_to_recordset(%(rows)s) AS r (site_id text, code text, name text, kind text, lat float8, lon float8,
     radius_m float8, polygon jsonb, windows jsonb, timezone text, contacts jsonb, labels jsonb, is_archived boolean,
     version bigint)
ORDER BY r.code, r.site_id

-- name: save_sites
UPDATE site s
SET code = r.code, name = r.name, kind = r.kind, lat = r.lat, lon = r.lon, radius_m = r.radius_m, polygon = r.polygon,
    windows = r.windows, timezone = r.timezone, contacts = r.contacts, labels = r.labels,
    is_archived = r.is_archived, version = r.version, updated_at = %(at)s
FROM jsonb_to_recordset(%(rows)s) AS r (site_id text, code text, name text, kind text, lat float8, lon float8,
     radius_m float8, polygon jsonb, windows jsonb, timezone text, contacts jsonb, labels jsonb, is_archived boolean,
     version bigint)
WHERE s.tenant_id = %(tenant)s AND s.site_id = r.site_id

-- name: routes_with_site
SELECT coalesce(r.code, r.route_id) AS name
FROM route_stop s JOIN route r USING (tenant_id, route_id)
WHERE s.tenant_id = %(tenant)s AND s.site_id = %(site)s AND NOT r.is_archived
ORDER BY 1 LIMIT 3

-- name: lock_codes
-- Imports of one tenant come one after the other, so that two that bring the same codes both find them.
SELECT pg_advisory_xact_lock(hashtextextended('places ' || %(tenant)s, 0))

-- name: route
SELECT r.*, (SELECT jsonb_agg(jsonb_build_object('site', s.site_id, 'after_s', s.after_s, 'service_s', s.service_s,
                                                 'quantity', s.quantity) ORDER BY s.seq)
             FROM route_stop s WHERE s.tenant_id = r.tenant_id AND s.route_id = r.route_id) AS stops
FROM route r
WHERE r.tenant_id = %(tenant)s AND (r.route_id = %(ref)s OR r.code = %(ref)s)

-- name: lock_route
SELECT 1 FROM route WHERE tenant_id = %(tenant)s AND (route_id = %(ref)s OR code = %(ref)s) FOR UPDATE

-- name: named_routes
SELECT r.*, (SELECT jsonb_agg(jsonb_build_object('site', s.site_id, 'after_s', s.after_s, 'service_s', s.service_s,
                                                 'quantity', s.quantity) ORDER BY s.seq)
             FROM route_stop s WHERE s.tenant_id = r.tenant_id AND s.route_id = r.route_id) AS stops
FROM route r
WHERE r.tenant_id = %(tenant)s AND (r.route_id = ANY(%(refs)s) OR r.code = ANY(%(refs)s))

-- name: routes
SELECT r.*, (SELECT jsonb_agg(jsonb_build_object('site', s.site_id, 'after_s', s.after_s, 'service_s', s.service_s,
                                                 'quantity', s.quantity) ORDER BY s.seq)
             FROM route_stop s WHERE s.tenant_id = r.tenant_id AND s.route_id = r.route_id) AS stops
FROM route r
WHERE r.tenant_id = %(tenant)s
  AND r.route_id > %(after)s
  AND (%(weekday)s::text IS NULL OR %(weekday)s = ANY(r.weekdays))
  AND (%(site)s::text IS NULL OR EXISTS (
       SELECT FROM route_stop s JOIN site p USING (tenant_id, site_id)
       WHERE s.tenant_id = r.tenant_id AND s.route_id = r.route_id AND (p.site_id = %(site)s OR p.code = %(site)s)))
  AND (%(archived)s::boolean IS NULL OR r.is_archived = %(archived)s)
ORDER BY r.route_id
LIMIT %(limit)s

-- name: recurring_routes
-- Of every tenant: those that are driven of their own accord..
SELECT r.tenant_id, r.route_id, r.weekdays, r.starts_at, r.timezone
FROM route r
WHERE r.weekdays <> '{}' AND NOT r.is_archived AND (r.tenant_id, r.route_id) > (%(tenant)s, %(route)s)
ORDER BY r.tenant_id, r.route_id
LIMIT %(limit)s

-- name: save_route
INSERT INTO route (tenant_id, route_id, code, name, weekdays, starts_at, timezone, device_id, shape, is_archived, version,
                   created_at, updated_at)
VALUES (%(tenant)s, %(route)s, %(code)s, %(name)s, %(weekdays)s, %(starts_at)s, %(timezone)s, %(device)s, %(shape)s,
        %(archived)s, %(version)s, %(created_at)s, %(updated_at)s)
ON CONFLICT (tenant_id, route_id) DO UPDATE
SET code = excluded.code, name = excluded.name, weekdays = excluded.weekdays, starts_at = excluded.starts_at,
    timezone = excluded.timezone, device_id = excluded.device_id, shape = excluded.shape,
    is_archived = excluded.is_archived, version = excluded.version, updated_at = excluded.updated_at

-- name: drop_route_stops
DELETE FROM route_stop WHERE tenant_id = %(tenant)s AND route_id = %(route)s

-- name: add_route_stops
INSERT INTO route_stop (tenant_id, route_id, seq, site_id, after_s, service_s, quantity)
SELECT %(tenant)s, %(route)s, r.seq, r.site, r.after_s, r.service_s, r.quantity
FROM jsonb_to_recordset(%(rows)s) AS r (seq int, site text, after_s int, service_s float8, quantity float8)

-- name: existing_devices
SELECT device_id FROM device
WHERE tenant_id = %(tenant)s AND device_id = ANY(%(devices)s) AND status <> 'decommissioned'
