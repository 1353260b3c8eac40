-- Every statement names the tenant in its keys: the desk settles requests of many tenants in one transaction.

-- name: load
SELECT s.tenant_id, s.device_id, s.name, s.version, s.is_deleted, s.desired::text AS desired,
       s.reported::text AS reported, s.stamps::text AS stamps, s.recent
FROM shadow s
JOIN unnest(%(tenants)s::text[], %(devices)s::text[], %(names)s::text[]) AS k (tenant_id, device_id, name)
     USING (tenant_id, device_id, name)

-- name: lock
-- In the order of the key, so that two who change several shadows wait for each other and do not embrace.
SELECT s.tenant_id, s.device_id, s.name, s.version, s.is_deleted, s.desired::text AS desired,
       s.reported::text AS reported, s.stamps::text AS stamps, s.recent
FROM shadow s
JOIN unnest(%(tenants)s::text[], %(devices)s::text[], %(names)s::text[]) AS k (tenant_id, device_id, name)
     USING (tenant_id, device_id, name)
ORDER BY s.tenant_id, s.device_id, s.name
FOR NO KEY UPDATE OF s

-- name: add
-- A row that is there already was made by somebody else meanwhile.
INSERT INTO shadow (tenant_id, device_id, name, version, is_deleted, desired, reported, stamps, recent, updated_at)
SELECT r.tenant_id, r.device_id, r.name, r.version, r.is_deleted, r.desired, r.reported, r.stamps, r.recent, %(at)s
FROM json_to_recordset(%(rows)s::json) AS r (tenant_id text, device_id text, name text, version bigint,
     is_deleted boolean, desired json, reported json, stamps json, recent bigint[])
ORDER BY r.tenant_id, r.device_id, r.name
ON CONFLICT DO NOTHING

-- name: save
-- Only over the version that was read.
UPDATE shadow s
SET version = r.version, is_deleted = r.is_deleted, desired = r.desired, reported = r.reported, stamps = r.stamps,
    recent = r.recent, updated_at = %(at)s
FROM json_to_recordset(%(rows)s::json) AS r (tenant_id text, device_id text, name text, was bigint, version bigint,
     is_deleted boolean, desired json, reported json, stamps json, recent bigint[])
WHERE s.tenant_id = r.tenant_id AND s.device_id = r.device_id AND s.name = r.name AND s.version = r.was

-- name: drop_leaves
DELETE FROM shadow_leaf l
USING json_to_recordset(%(rows)s::json) AS r (tenant_id text, device_id text, name text, field text, key text)
WHERE l.tenant_id = r.tenant_id AND l.name = r.name AND l.field = r.field AND l.key = r.key
  AND l.device_id = r.device_id

-- name: add_leaves
-- In the order of the key, as shadows are locked.
INSERT INTO shadow_leaf (tenant_id, device_id, name, field, key, number)
SELECT r.tenant_id, r.device_id, r.name, r.field, r.key, r.number
FROM json_to_recordset(%(rows)s::json) AS r (tenant_id text, device_id text, name text, field text, key text,
     number double precision)
ORDER BY r.tenant_id, r.device_id, r.name
ON CONFLICT DO NOTHING

-- name: names
SELECT name FROM shadow
WHERE tenant_id = %(tenant)s AND device_id = %(device)s AND name > %(after)s AND NOT is_deleted
ORDER BY name LIMIT %(limit)s

-- name: statuses
SELECT d.tenant_id, d.device_id, d.status
FROM device d
JOIN unnest(%(tenants)s::text[], %(devices)s::text[]) AS k (tenant_id, device_id) USING (tenant_id, device_id)

-- name: things
-- Everybody's devices in the order of their names, those after one.
SELECT tenant_id, device_id FROM device
WHERE (tenant_id, device_id) > (%(tenant)s, %(device)s) AND status <> 'decommissioned'
ORDER BY tenant_id, device_id LIMIT %(limit)s

-- name: drop_told
DELETE FROM outbox WHERE id = ANY(%(ids)s)

-- name: add_news
-- Due later: the desk publishes it first, and the relay only what that has left behind.
INSERT INTO outbox (entries, due_at) VALUES (%(entries)s, clock_timestamp() + make_interval(secs => %(due_in_s)s))
RETURNING id

-- name: last_position
SELECT s.version, s.last_seen_at, s.ts, s.lat, s.lon, s.alt, s.speed, s.heading, s.acc,
       p.online, p.since, p.disconnect_reason
FROM device d
    LEFT JOIN device_state s ON s.tenant_id = d.tenant_id AND s.device_id = d.device_id
    LEFT JOIN presence p ON p.tenant_id = d.tenant_id AND p.device_id = d.device_id
WHERE d.tenant_id = %(tenant)s AND d.device_id = %(device)s

-- name: last_metrics
SELECT name, ts, value, text FROM last_metrics(%(device)s, '-infinity')
