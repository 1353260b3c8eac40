-- name: find_device
-- Through the tenant door a foreign device is no row, as an unknown one is.
SELECT device_id FROM device WHERE device_id = %(device)s

-- name: export_positions
-- In the order of the primary key, so that a month needs no sort.
SELECT ts, boot, seq, lat, lon, alt, speed, heading, acc, sats, hdop FROM positions
WHERE device_id = %(device)s AND ts >= %(since)s AND ts < %(until)s
ORDER BY ts, boot, seq

-- name: export_metrics
SELECT ts, boot, seq, name, value, text FROM metrics
WHERE device_id = %(device)s AND ts >= %(since)s AND ts < %(until)s
ORDER BY ts, boot, seq, name

-- name: export_metric_names
SELECT DISTINCT name FROM metrics
WHERE device_id = %(device)s AND ts >= %(since)s AND ts < %(until)s
ORDER BY name

-- name: audit_positions
-- What the store holds of some boots of a device, each name with how often it is there (once, if all is well).
SELECT boot, seq, count(*) AS copies FROM positions
WHERE device_id = %(device)s AND boot = ANY(%(boots)s) AND ts >= %(since)s
GROUP BY boot, seq

-- name: audit_letters
SELECT reason, payload FROM dead_letter WHERE thing = %(thing)s AND received_at >= %(since)s

-- name: list_letters
-- Newest first. A filter that is not given is NULL.
SELECT tenant_id, id, received_at, source, topic, thing, reason, detail, payload, replayed_at FROM dead_letter
WHERE (%(tenant)s::text IS NULL OR tenant_id = %(tenant)s)
  AND (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)
ORDER BY received_at DESC, id DESC LIMIT %(limit)s

-- name: load_letters
SELECT tenant_id, id, received_at, source, topic, thing, reason, detail, payload, replayed_at FROM dead_letter
WHERE id = ANY(%(ids)s) ORDER BY id

-- name: open_letters
-- Those not replayed yet, oldest first, a page after `after`.
SELECT tenant_id, id, received_at, source, topic, thing, reason, detail, payload, replayed_at FROM dead_letter
WHERE source = 'mqtt' AND reason = %(reason)s AND (%(tenant)s::text IS NULL OR tenant_id = %(tenant)s)
  AND replayed_at IS NULL AND id > %(after)s
ORDER BY id LIMIT %(limit)s

-- name: mark_replayed
UPDATE dead_letter SET replayed_at = %(at)s
FROM unnest(%(tenants)s::text[], %(ids)s::bigint[]) AS done(tenant_id, id)
WHERE dead_letter.tenant_id = done.tenant_id AND dead_letter.id = done.id
