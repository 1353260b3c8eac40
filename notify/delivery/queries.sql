-- Deliveries. Statements of the senders name the tenant in their keys: they work for all.

-- name: add
-- One for each target and event, however often the event is told.
INSERT INTO delivery (tenant_id, delivery_id, channel, target_id, event_id, alert_id, notice_id, webhook_id, kind,
                      payload, next_at, expires_at, created_at)
SELECT %(tenant)s, r.delivery_id, r.channel, r.target_id, r.event_id, r.alert_id, r.notice_id, r.webhook_id, r.kind,
       r.payload, r.created_at, r.expires_at, r.created_at
FROM json_to_recordset(%(rows)s::json) AS r (delivery_id text, channel text, target_id text, event_id text,
     alert_id text, notice_id text, webhook_id text, kind text, payload text, expires_at timestamptz,
     created_at timestamptz)
ORDER BY r.target_id, r.event_id
ON CONFLICT DO NOTHING

-- name: claim
-- The due ones that nobody else is taking at this moment, a few of each target, so that one that is slow or far behind
-- does not stand before the others. Taken until the lease is over.
WITH waiting AS (
    SELECT tenant_id, delivery_id, target_id, next_at FROM delivery
    WHERE next_at <= %(now)s AND channel = ANY(%(channels)s) AND target_id <> ALL(%(busy)s)
    ORDER BY next_at LIMIT 1000
), ranked AS (
    SELECT tenant_id, delivery_id, row_number() OVER (PARTITION BY tenant_id, target_id ORDER BY next_at) AS place
    FROM waiting
), due AS (
    SELECT d.tenant_id, d.delivery_id
    FROM delivery d JOIN ranked r ON r.tenant_id = d.tenant_id AND r.delivery_id = d.delivery_id
    WHERE r.place <= %(of_target)s AND d.next_at <= %(now)s
    ORDER BY d.next_at LIMIT %(most)s
    FOR UPDATE OF d SKIP LOCKED
), taken AS (
    UPDATE delivery d SET attempts = d.attempts + 1, next_at = %(lease)s
    FROM due WHERE d.tenant_id = due.tenant_id AND d.delivery_id = due.delivery_id
    RETURNING d.*
)
SELECT t.tenant_id, t.delivery_id, t.channel, t.target_id, t.event_id, t.kind, t.payload, t.attempts, t.expires_at,
       t.created_at, k.token, k.updated_at AS token_at, n.title, n.body, n.trip_id, n.stop_id, n.site_id, n.eta,
       n.raised_at, w.url, w.status AS webhook_status,
       (SELECT array_agg(s.sealed ORDER BY s.created_at DESC, s.secret_id) FROM webhook_secret s
        WHERE s.tenant_id = t.tenant_id AND s.webhook_id = t.webhook_id
          AND (s.expires_at IS NULL OR s.expires_at > %(now)s)) AS secrets
FROM taken t
    LEFT JOIN push_token k ON k.tenant_id = t.tenant_id AND k.token_id = t.target_id
    LEFT JOIN notice n ON n.tenant_id = t.tenant_id AND n.notice_id = t.notice_id
    LEFT JOIN webhook w ON w.tenant_id = t.tenant_id AND w.webhook_id = t.webhook_id

-- name: settle
-- Only by whoever made the attempt: one who comes back after his lease changes nothing.
UPDATE delivery
SET state = %(state)s, next_at = %(next_at)s, status = %(status)s, error = %(error)s, response = %(response)s,
    settled_at = %(settled_at)s,
    history = CASE WHEN jsonb_array_length(history) >= 10 THEN history - 0 ELSE history END || %(attempt)s::jsonb
WHERE tenant_id = %(tenant)s AND delivery_id = %(id)s AND attempts = %(attempts)s AND next_at IS NOT NULL

-- name: drop_token
-- Unless the app has said since that the token is good.
DELETE FROM push_token WHERE tenant_id = %(tenant)s AND token_id = %(target)s AND updated_at <= %(seen)s

-- name: give_up
-- What else was on its way to a target that is no more.
UPDATE delivery SET state = 'dead', next_at = NULL, error = %(error)s, settled_at = %(at)s
WHERE tenant_id = %(tenant)s AND target_id = %(target)s AND next_at IS NOT NULL

-- name: works
UPDATE webhook SET failing_since = NULL
WHERE tenant_id = %(tenant)s AND webhook_id = %(target)s AND failing_since IS NOT NULL

-- name: fails
UPDATE webhook SET failing_since = coalesce(failing_since, %(at)s)
WHERE tenant_id = %(tenant)s AND webhook_id = %(target)s AND status = 'active' RETURNING failing_since

-- name: disable
UPDATE webhook SET status = 'disabled', disabled_reason = %(reason)s, version = version + 1, updated_at = %(at)s
WHERE tenant_id = %(tenant)s AND webhook_id = %(target)s AND status = 'active'

-- name: of_webhook
SELECT * FROM delivery
WHERE tenant_id = %(tenant)s AND webhook_id = %(webhook)s
  AND (%(state)s::text IS NULL OR state = %(state)s)
  AND (%(at)s::timestamptz IS NULL OR (created_at, delivery_id) < (%(at)s, %(before)s))
ORDER BY created_at DESC, delivery_id DESC LIMIT %(limit)s

-- name: one
SELECT * FROM delivery WHERE tenant_id = %(tenant)s AND delivery_id = %(id)s

-- name: again
-- The same message once more, from the beginning of its attempts. One that is on its way right now is left alone.
UPDATE delivery SET state = 'pending', attempts = 0, next_at = %(at)s, settled_at = NULL
WHERE tenant_id = %(tenant)s AND webhook_id = %(webhook)s AND delivery_id = %(id)s AND state <> 'pending' RETURNING *

-- name: of_alert
SELECT d.*, coalesce(n.recipient_id, '') AS recipient_id
FROM delivery d LEFT JOIN notice n ON n.tenant_id = d.tenant_id AND n.notice_id = d.notice_id
WHERE d.tenant_id = %(tenant)s AND d.alert_id = %(alert)s ORDER BY d.delivery_id

-- name: waiting
SELECT channel, count(*) AS waiting FROM delivery WHERE next_at IS NOT NULL GROUP BY channel

-- name: forget
DELETE FROM delivery WHERE created_at < %(before)s AND next_at IS NULL
