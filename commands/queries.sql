-- Statements of the desk and the dispatcher name the tenant in their keys: they work for every tenant at once.

-- name: add_template
INSERT INTO command_template (tenant_id, template_id, description, format, parameters, dangerous, needs_approval,
                              timeout_s, expires_s, retries, ordering, is_deprecated, version, created_at, updated_at)
VALUES (%(tenant)s, %(id)s, %(description)s, %(format)s, %(parameters)s, %(dangerous)s, %(needs_approval)s,
        %(timeout_s)s, %(expires_s)s, %(retries)s, %(order)s, %(is_deprecated)s, %(version)s, %(created_at)s,
        %(updated_at)s)
ON CONFLICT DO NOTHING

-- name: save_template
UPDATE command_template
SET description = %(description)s, format = %(format)s, parameters = %(parameters)s, dangerous = %(dangerous)s,
    needs_approval = %(needs_approval)s, timeout_s = %(timeout_s)s, expires_s = %(expires_s)s, retries = %(retries)s,
    ordering = %(order)s, is_deprecated = %(is_deprecated)s, version = %(version)s, updated_at = %(updated_at)s
WHERE tenant_id = %(tenant)s AND template_id = %(id)s

-- name: template
SELECT * FROM command_template WHERE tenant_id = %(tenant)s AND template_id = %(id)s

-- name: briefing
-- All that sending to one device asks first, its queue taken as by take_lanes; a row in any case.
WITH taken AS (
    INSERT INTO command_lane (tenant_id, device_id, due_at)
    SELECT d.tenant_id, d.device_id, %(at)s FROM device d WHERE d.tenant_id = %(tenant)s AND d.device_id = %(device)s
    ON CONFLICT (tenant_id, device_id) DO UPDATE SET due_at = least(command_lane.due_at, excluded.due_at))
SELECT pg_notify('milkrun_commands', ''), t.*, (SELECT status FROM device d WHERE d.tenant_id = %(tenant)s AND d.device_id = %(device)s) AS device_status,
       EXISTS (SELECT FROM command c WHERE c.tenant_id = %(tenant)s AND c.token = %(token)s) AS is_known
FROM (VALUES (%(tenant)s::text, %(id)s::text)) AS k (tenant_id, template_id)
LEFT JOIN command_template t USING (tenant_id, template_id)

-- name: lock_template
SELECT * FROM command_template WHERE tenant_id = %(tenant)s AND template_id = %(id)s FOR UPDATE

-- name: templates
SELECT * FROM command_template
WHERE tenant_id = %(tenant)s AND template_id > %(after)s
  AND (%(deprecated)s::boolean IS NULL OR is_deprecated = %(deprecated)s)
ORDER BY template_id LIMIT %(limit)s

-- name: targets
-- The devices of a group that are in service.
SELECT device_id FROM device
WHERE tenant_id = %(tenant)s AND status = 'active'
  AND (%(devices)s::text[] IS NULL OR device_id = ANY(%(devices)s))
  AND (%(labels)s::jsonb IS NULL OR labels @> %(labels)s)
ORDER BY device_id LIMIT %(limit)s

-- name: statuses
SELECT device_id, status FROM device WHERE tenant_id = %(tenant)s AND device_id = ANY(%(devices)s)

-- name: take_lanes
-- By the order of the key, so that two who take several wait for each other and do not embrace. The commit calls.
WITH taken AS (
    INSERT INTO command_lane (tenant_id, device_id, due_at)
    SELECT %(tenant)s, d, %(at)s FROM unnest(%(devices)s::text[]) AS d ORDER BY d
    ON CONFLICT (tenant_id, device_id) DO UPDATE SET due_at = least(command_lane.due_at, excluded.due_at))
SELECT pg_notify('milkrun_commands', '')

-- name: lock_lanes
SELECT l.tenant_id, l.device_id
FROM command_lane l
JOIN unnest(%(tenants)s::text[], %(devices)s::text[]) AS k (tenant_id, device_id) USING (tenant_id, device_id)
ORDER BY l.tenant_id, l.device_id
FOR UPDATE OF l

-- name: by_ids
SELECT c.* FROM command c
JOIN unnest(%(tenants)s::text[], %(ids)s::text[]) AS k (tenant_id, command_id) USING (tenant_id, command_id)

-- name: add
INSERT INTO command (tenant_id, command_id, device_id, template_id, batch_id, state, ordering, place, terms, sender, approver,
                     token, digest, attempts, retried, misses, is_late, version, reason_code, reason, result, history,
                     created_at, approved_at, expires_at, due_at, lapses_at, tried_at, sent_at, delivered_at, ended_at,
                     updated_at)
SELECT r.tenant_id, r.command_id, r.device_id, r.template_id, r.batch_id, r.state, r.ordering,
       CASE WHEN r.state = 'AWAITING_APPROVAL' THEN 0 ELSE nextval('command_place') END,
       r.terms, r.sender, r.approver, r.token, r.digest, r.attempts, r.retried, r.misses, r.is_late, r.version,
       r.reason_code, r.reason, r.result, r.history, r.created_at, r.approved_at, r.expires_at, r.due_at, r.lapses_at,
       r.tried_at, r.sent_at, r.delivered_at, r.ended_at, r.updated_at
FROM json_to_recordset(%(rows)s::json) AS r (tenant_id text, command_id text, device_id text,
     template_id text, batch_id text, state text, ordering text, terms json, sender json, approver json, token text, digest text,
     attempts int, retried int, misses int, is_late boolean, version bigint, reason_code text, reason text, result json,
     history json, created_at timestamptz, approved_at timestamptz, expires_at timestamptz, due_at timestamptz,
     lapses_at timestamptz, tried_at timestamptz, sent_at timestamptz, delivered_at timestamptz, ended_at timestamptz,
     updated_at timestamptz)
WHERE %(room)s::int IS NULL
   OR (SELECT count(*) FROM command o
       WHERE o.tenant_id = r.tenant_id AND o.device_id = r.device_id AND o.ended_at IS NULL) < %(room)s
ON CONFLICT DO NOTHING

-- name: save
-- The lane is held by whoever writes, so nobody else has written since. A place is given once, with leave to be sent.
UPDATE command c
SET state = r.state, approver = r.approver, attempts = r.attempts, retried = r.retried, misses = r.misses,
    is_late = r.is_late, version = r.version, reason_code = r.reason_code, reason = r.reason, result = r.result,
    history = r.history, approved_at = r.approved_at, expires_at = r.expires_at, due_at = r.due_at,
    lapses_at = r.lapses_at, tried_at = r.tried_at, sent_at = r.sent_at, delivered_at = r.delivered_at,
    ended_at = r.ended_at, updated_at = r.updated_at,
    place = CASE WHEN c.place = 0 AND r.state = 'CREATED' THEN nextval('command_place') ELSE c.place END
FROM json_to_recordset(%(rows)s::json) AS r (tenant_id text, command_id text, state text, approver json, attempts int,
     retried int, misses int, is_late boolean, version bigint, reason_code text, reason text, result json, history json,
     approved_at timestamptz, expires_at timestamptz, due_at timestamptz, lapses_at timestamptz, tried_at timestamptz,
     sent_at timestamptz, delivered_at timestamptz, ended_at timestamptz, updated_at timestamptz)
WHERE c.tenant_id = r.tenant_id AND c.command_id = r.command_id

-- name: by_token
SELECT * FROM command WHERE tenant_id = %(tenant)s AND token = %(token)s

-- name: count_open
SELECT device_id, count(*) AS open FROM command
WHERE tenant_id = %(tenant)s AND device_id = ANY(%(devices)s) AND ended_at IS NULL
GROUP BY device_id ORDER BY open DESC LIMIT 1

-- name: one
SELECT * FROM command WHERE tenant_id = %(tenant)s AND command_id = %(id)s

-- name: list
SELECT * FROM command
WHERE tenant_id = %(tenant)s
  AND (%(device)s::text IS NULL OR device_id = %(device)s)
  AND (%(template)s::text IS NULL OR template_id = %(template)s)
  AND (%(batch)s::text IS NULL OR batch_id = %(batch)s)
  AND (%(states)s::text[] IS NULL OR state = ANY(%(states)s))
  AND (%(open)s::boolean IS NULL OR (ended_at IS NULL) = %(open)s)
  AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR created_at < %(until)s)
  AND (%(after)s::text IS NULL OR command_id < %(after)s)
ORDER BY command_id DESC LIMIT %(limit)s

-- name: add_batch
INSERT INTO command_batch (tenant_id, batch_id, template_id, parameters, target, note, rate_per_minute, total, free_at,
                           token, digest, sender, created_at)
VALUES (%(tenant)s, %(id)s, %(template)s, %(parameters)s, %(target)s, %(note)s, %(rate)s, %(total)s, %(at)s, %(token)s,
        %(digest)s, %(sender)s, %(at)s)
ON CONFLICT DO NOTHING

-- name: batch_by_token
SELECT b.*, '{}'::jsonb AS states FROM command_batch b WHERE tenant_id = %(tenant)s AND token = %(token)s

-- name: batches
SELECT b.*, (SELECT coalesce(jsonb_object_agg(s.state, s.number), '{}')
             FROM (SELECT c.state, count(*) AS number FROM command c
                   WHERE c.tenant_id = b.tenant_id AND c.batch_id = b.batch_id GROUP BY c.state) AS s) AS states
FROM command_batch b
WHERE tenant_id = %(tenant)s AND (%(id)s::text IS NULL OR batch_id = %(id)s)
  AND (%(after)s::text IS NULL OR batch_id < %(after)s)
ORDER BY batch_id DESC LIMIT %(limit)s

-- name: open_of_batch
SELECT command_id, device_id FROM command
WHERE tenant_id = %(tenant)s AND batch_id = %(batch)s AND ended_at IS NULL
ORDER BY device_id
