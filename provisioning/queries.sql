-- name: add_tenant
INSERT INTO tenant (tenant_id, name, retention_days, created_at) VALUES (%(tenant)s, %(name)s, %(days)s, %(at)s)
ON CONFLICT DO NOTHING RETURNING tenant_id

-- name: tenants
SELECT t.tenant_id, t.name, t.retention_days, t.version, t.created_at, count(d.device_id) AS devices
FROM (SELECT * FROM tenant WHERE tenant_id > %(after)s ORDER BY tenant_id LIMIT %(limit)s) AS t
    LEFT JOIN device d USING (tenant_id)
GROUP BY t.tenant_id, t.name, t.retention_days, t.version, t.created_at ORDER BY t.tenant_id

-- name: tenant
SELECT t.tenant_id, t.name, t.retention_days, t.version, t.created_at,
       (SELECT count(*) FROM device d WHERE d.tenant_id = t.tenant_id) AS devices
FROM tenant t WHERE t.tenant_id = %(tenant)s

-- name: lock_tenant
SELECT 1 FROM tenant WHERE tenant_id = %(tenant)s FOR UPDATE

-- name: save_tenant
UPDATE tenant SET name = %(name)s, retention_days = %(days)s, version = %(version)s WHERE tenant_id = %(tenant)s

-- name: existing_devices
SELECT device_id FROM device WHERE tenant_id = %(tenant)s AND device_id = ANY(%(devices)s) ORDER BY device_id

-- name: tenant_exists
SELECT 1 FROM tenant WHERE tenant_id = %(tenant)s

-- name: add_devices
-- Those that were not there yet come back.
INSERT INTO device (tenant_id, device_id, status, type, labels, version, created_at, updated_at)
SELECT %(tenant)s, d.*
FROM unnest(%(devices)s::text[], %(statuses)s::text[], %(types)s::text[], %(labels)s::jsonb[], %(versions)s::bigint[],
            %(created)s::timestamptz[], %(updated)s::timestamptz[]) AS d (device_id)
ORDER BY d.device_id  -- two bulk additions at once wait for each other in one order
ON CONFLICT DO NOTHING RETURNING device_id

-- name: devices
SELECT * FROM device_seen
WHERE tenant_id = %(tenant)s
  AND device_id > %(after)s
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND labels @> %(labels)s
ORDER BY device_id
LIMIT %(limit)s

-- name: device
SELECT * FROM device_seen WHERE tenant_id = %(tenant)s AND device_id = %(device)s

-- name: lock_device
-- One change of a device at a time: whoever comes second sees what the first one did.
SELECT 1 FROM device WHERE tenant_id = %(tenant)s AND device_id = %(device)s FOR UPDATE

-- name: certificates
SELECT * FROM certificate WHERE tenant_id = %(tenant)s AND device_id = %(device)s
ORDER BY issued_at DESC, serial

-- name: save_device
UPDATE device SET status = %(status)s, type = %(type)s, labels = %(labels)s, version = %(version)s, updated_at = %(updated_at)s
WHERE tenant_id = %(tenant)s AND device_id = %(device)s

-- name: save_certificate
UPDATE certificate SET status = %(status)s, reason = %(reason)s, ended_at = %(ended_at)s,
    overlap_ends_at = %(overlap_ends_at)s
WHERE tenant_id = %(tenant)s AND serial = %(serial)s

-- name: add_certificates
INSERT INTO certificate (tenant_id, device_id, serial, fingerprint, status, not_before, not_after, issued_at)
SELECT %(tenant)s, c.*
FROM unnest(%(devices)s::text[], %(serials)s::text[], %(fingerprints)s::text[], %(statuses)s::text[],
            %(not_before)s::timestamptz[], %(not_after)s::timestamptz[], %(issued_at)s::timestamptz[]) AS c

-- name: lock_revocation_list
-- The revocation list is one file for all tenants; whoever writes it holds this until commit.
SELECT pg_advisory_xact_lock(hashtext('milkrun.revocation_list'))

-- name: barred
-- An expired certificate needs no entry, but RFC 5280 3.3 wants it on one list after its end.
SELECT serial, ended_at, reason FROM certificate
WHERE status IN ('held', 'revoked') AND not_after > %(at)s - interval '2 days'
ORDER BY serial

-- name: overlaps_over
SELECT DISTINCT tenant_id, device_id FROM certificate
WHERE status IN ('superseded', 'held') AND overlap_ends_at <= %(at)s
ORDER BY tenant_id, device_id LIMIT %(limit)s

-- name: expiring
SELECT count(*) AS expiring FROM certificate
WHERE status = 'active' AND not_after BETWEEN %(at)s AND %(until)s
