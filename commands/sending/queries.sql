-- Each statement works for every tenant at once, and names the tenant in its keys.

-- name: due_lanes
-- What another worker has in hand is left to it.
SELECT l.tenant_id, l.device_id, d.status, CASE WHEN p.online THEN p.since END AS online_since
FROM (SELECT tenant_id, device_id FROM command_lane WHERE due_at <= %(now)s ORDER BY due_at LIMIT %(limit)s
      FOR UPDATE SKIP LOCKED) l
JOIN device d USING (tenant_id, device_id)
LEFT JOIN presence p USING (tenant_id, device_id)
ORDER BY l.tenant_id, l.device_id

-- name: save_lanes
UPDATE command_lane l
SET waits = r.waits, seen_since = r.seen_since,
    due_at = (SELECT least(r.look_at, min(c.lapses_at)) FROM command c
              WHERE c.tenant_id = l.tenant_id AND c.device_id = l.device_id AND c.ended_at IS NULL)
FROM json_to_recordset(%(rows)s::json) AS r (tenant_id text, device_id text, look_at timestamptz, waits boolean,
     seen_since timestamptz)
WHERE l.tenant_id = r.tenant_id AND l.device_id = r.device_id

-- name: wake_lanes
UPDATE command_lane l SET due_at = least(l.due_at, %(at)s)
FROM unnest(%(tenants)s::text[], %(devices)s::text[]) AS k (tenant_id, device_id)
WHERE l.tenant_id = k.tenant_id AND l.device_id = k.device_id

-- name: settle_lanes
-- By who holds them and has seen to one of their commands: where no other is left there is nothing to look at.
UPDATE command_lane l
SET due_at = CASE WHEN i.has_more THEN least(l.due_at, %(at)s) END, waits = l.waits AND i.has_more
FROM (SELECT k.tenant_id, k.device_id,
             EXISTS (SELECT FROM command c
                     WHERE c.tenant_id = k.tenant_id AND c.device_id = k.device_id AND c.ended_at IS NULL) AS has_more
      FROM unnest(%(tenants)s::text[], %(devices)s::text[]) AS k (tenant_id, device_id)) i
WHERE l.tenant_id = i.tenant_id AND l.device_id = i.device_id
RETURNING i.has_more

-- name: wake_returned
-- Queues that wait for their device, which has connected since they were looked at.
UPDATE command_lane l SET due_at = least(l.due_at, %(at)s)
FROM presence p
WHERE l.waits AND p.tenant_id = l.tenant_id AND p.device_id = l.device_id AND p.online
  AND p.since IS DISTINCT FROM l.seen_since

-- name: next_due
SELECT min(due_at) AS due_at FROM command_lane WHERE due_at IS NOT NULL

-- name: queues
-- Of each lane the first of its queue, those that wait for nobody, and those whose time is over.
SELECT c.*
FROM unnest(%(tenants)s::text[], %(devices)s::text[]) AS k (tenant_id, device_id)
CROSS JOIN LATERAL (
    (SELECT command_id FROM command q
     WHERE q.tenant_id = k.tenant_id AND q.device_id = k.device_id AND q.ended_at IS NULL AND q.place > 0
     ORDER BY q.place LIMIT %(ahead)s)
    UNION
    (SELECT command_id FROM command q
     WHERE q.tenant_id = k.tenant_id AND q.device_id = k.device_id AND q.ended_at IS NULL AND q.place > 0
       AND q.ordering = 'any' AND q.state IN ('CREATED', 'SENT')
     ORDER BY q.due_at LIMIT %(ahead)s)
    UNION
    (SELECT command_id FROM command q
     WHERE q.tenant_id = k.tenant_id AND q.device_id = k.device_id AND q.ended_at IS NULL AND q.lapses_at <= %(now)s
     ORDER BY q.lapses_at LIMIT %(over)s)
) AS i
JOIN command c ON c.tenant_id = k.tenant_id AND c.command_id = i.command_id

-- name: gates
-- Groups with a rate, locked: each lets one through at a time.
SELECT tenant_id, batch_id, rate_per_minute, free_at, total
FROM command_batch
JOIN unnest(%(tenants)s::text[], %(batches)s::text[]) AS k (tenant_id, batch_id) USING (tenant_id, batch_id)
WHERE rate_per_minute IS NOT NULL
ORDER BY tenant_id, batch_id
FOR UPDATE OF command_batch

-- name: save_gates
UPDATE command_batch b SET free_at = r.free_at
FROM json_to_recordset(%(rows)s::json) AS r (tenant_id text, batch_id text, free_at timestamptz)
WHERE b.tenant_id = r.tenant_id AND b.batch_id = r.batch_id

-- name: forget
DELETE FROM command WHERE (tenant_id, command_id) IN (
    SELECT tenant_id, command_id FROM command WHERE ended_at < %(before)s LIMIT %(limit)s)

-- name: forget_batches
DELETE FROM command_batch b
WHERE b.created_at < %(before)s
  AND NOT EXISTS (SELECT FROM command c WHERE c.tenant_id = b.tenant_id AND c.batch_id = b.batch_id)

-- name: count_states
SELECT state, count(*) AS number FROM command WHERE ended_at IS NULL GROUP BY state
