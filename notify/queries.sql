-- Recipients, subscriptions, push tokens, inboxes; and the fan-out of one alert.

-- name: recipient
SELECT * FROM recipient WHERE tenant_id = %(tenant)s AND recipient_id = %(id)s

-- name: lock_recipient
SELECT * FROM recipient WHERE tenant_id = %(tenant)s AND recipient_id = %(id)s FOR NO KEY UPDATE

-- name: recipients
SELECT * FROM recipient WHERE tenant_id = %(tenant)s AND recipient_id > %(after)s ORDER BY recipient_id LIMIT %(limit)s

-- name: add_recipient
INSERT INTO recipient (tenant_id, recipient_id, name, language, timezone, quiet_from, quiet_to, daily_cap, channels,
                       created_at, updated_at)
VALUES (%(tenant)s, %(id)s, %(name)s, %(language)s, %(timezone)s, %(quiet_from)s, %(quiet_to)s, %(daily_cap)s,
        %(channels)s, %(at)s, %(at)s)
ON CONFLICT DO NOTHING

-- name: save_recipient
UPDATE recipient
SET name = %(name)s, language = %(language)s, timezone = %(timezone)s, quiet_from = %(quiet_from)s,
    quiet_to = %(quiet_to)s, daily_cap = %(daily_cap)s, channels = %(channels)s, version = %(version)s,
    updated_at = %(at)s
WHERE tenant_id = %(tenant)s AND recipient_id = %(id)s

-- name: remove_recipient
DELETE FROM recipient WHERE tenant_id = %(tenant)s AND recipient_id = %(id)s

-- name: user
-- Whether an account may be told anything, and of which sites. The tenant's door shows no other tenant's.
SELECT role, sites, status, name FROM user_account WHERE tenant_id = %(tenant)s AND user_id = %(id)s

-- name: site
SELECT name, code, timezone FROM site WHERE tenant_id = %(tenant)s AND site_id = %(site)s

-- name: subscriptions
SELECT * FROM subscription
WHERE tenant_id = %(tenant)s AND subscription_id > %(after)s
  AND (%(recipient)s::text IS NULL OR recipient_id = %(recipient)s)
  AND (%(site)s::text IS NULL OR site_id = %(site)s)
ORDER BY subscription_id LIMIT %(limit)s

-- name: subscription
SELECT * FROM subscription WHERE tenant_id = %(tenant)s AND subscription_id = %(id)s FOR NO KEY UPDATE

-- name: add_subscription
INSERT INTO subscription (tenant_id, subscription_id, recipient_id, site_id, kinds, created_at, updated_at)
VALUES (%(tenant)s, %(id)s, %(recipient)s, %(site)s, %(kinds)s, %(at)s, %(at)s)
ON CONFLICT DO NOTHING RETURNING *

-- name: save_subscription
UPDATE subscription SET kinds = %(kinds)s, version = version + 1, updated_at = %(at)s
WHERE tenant_id = %(tenant)s AND subscription_id = %(id)s RETURNING *

-- name: remove_subscription
DELETE FROM subscription WHERE tenant_id = %(tenant)s AND subscription_id = %(id)s

-- name: tokens
SELECT * FROM push_token
WHERE tenant_id = %(tenant)s AND token_id > %(after)s AND (%(recipient)s::text IS NULL OR recipient_id = %(recipient)s)
ORDER BY token_id LIMIT %(limit)s

-- name: token
SELECT * FROM push_token WHERE tenant_id = %(tenant)s AND token_id = %(id)s

-- name: add_token
-- An installation that signs in as somebody else is his from then on.
INSERT INTO push_token (tenant_id, token_id, recipient_id, platform, token, created_at, updated_at)
VALUES (%(tenant)s, %(id)s, %(recipient)s, %(platform)s, %(token)s, %(at)s, %(at)s)
ON CONFLICT (tenant_id, platform, token) DO UPDATE
SET recipient_id = excluded.recipient_id, updated_at = excluded.updated_at
RETURNING *

-- name: remove_token
DELETE FROM push_token WHERE tenant_id = %(tenant)s AND token_id = %(id)s

-- name: count_tokens
SELECT count(*) AS tokens FROM push_token WHERE tenant_id = %(tenant)s AND recipient_id = %(recipient)s

-- name: inbox
-- Newest first.
SELECT * FROM notice
WHERE tenant_id = %(tenant)s AND recipient_id = %(recipient)s
  AND (NOT %(unread)s OR read_at IS NULL)
  AND (%(at)s::timestamptz IS NULL OR (created_at, notice_id) < (%(at)s, %(before)s))
ORDER BY created_at DESC, notice_id DESC LIMIT %(limit)s

-- name: unread
SELECT count(*) AS unread FROM notice
WHERE tenant_id = %(tenant)s AND recipient_id = %(recipient)s AND read_at IS NULL

-- name: notice
SELECT * FROM notice WHERE tenant_id = %(tenant)s AND notice_id = %(id)s

-- name: mark_read
UPDATE notice SET read_at = coalesce(read_at, %(at)s)
WHERE tenant_id = %(tenant)s AND recipient_id = %(recipient)s AND notice_id = %(id)s RETURNING *

-- name: mark_all_read
UPDATE notice SET read_at = %(at)s
WHERE tenant_id = %(tenant)s AND recipient_id = %(recipient)s AND read_at IS NULL AND created_at <= %(until)s

-- name: who_is_told
-- Locked in order, so that two alerts at once count a recipient's day one after the other. A disabled user, or one the
-- site is not his any more, is told nothing.
SELECT r.*
FROM subscription s
    JOIN recipient r ON r.tenant_id = s.tenant_id AND r.recipient_id = s.recipient_id
    JOIN site i ON i.tenant_id = s.tenant_id AND i.site_id = s.site_id
    LEFT JOIN user_account u ON u.tenant_id = r.tenant_id AND u.user_id = r.recipient_id
WHERE s.tenant_id = %(tenant)s AND s.site_id = %(site)s AND %(kind)s = ANY(s.kinds)
  AND (r.recipient_id LIKE 'rcp@_%%' ESCAPE '@'
       OR (u.status = 'active' AND (u.role <> 'site' OR s.site_id = ANY(u.sites) OR i.code = ANY(u.sites))))
ORDER BY r.recipient_id
FOR NO KEY UPDATE OF r

-- name: pushed_since
SELECT k.recipient_id, count(n.notice_id) AS pushed
FROM unnest(%(recipients)s::text[], %(since)s::timestamptz[]) AS k (recipient_id, since)
    LEFT JOIN notice n ON n.tenant_id = %(tenant)s AND n.recipient_id = k.recipient_id AND n.created_at >= k.since
                          AND n.held IS NULL AND n.trip_id <> ''
GROUP BY k.recipient_id

-- name: add_notices
-- Those that were there already were told before, by whomever.
INSERT INTO notice (tenant_id, notice_id, recipient_id, trip_id, stop_id, kind, alert_id, site_id, device_id, title,
                    body, eta, raised_at, expires_at, held, created_at, read_at)
SELECT %(tenant)s, r.notice_id, r.recipient_id, r.trip_id, r.stop_id, r.kind, r.alert_id, r.site_id, r.device_id,
       r.title, r.body, r.eta, r.raised_at, r.expires_at, r.held, r.created_at, r.read_at
FROM json_to_recordset(%(rows)s::json) AS r (notice_id text, recipient_id text, trip_id text, stop_id text, kind text,
     alert_id text, site_id text, device_id text, title text, body text, eta timestamptz, raised_at timestamptz,
     expires_at timestamptz, held text, created_at timestamptz, read_at timestamptz)
ORDER BY r.recipient_id
ON CONFLICT DO NOTHING
RETURNING notice_id

-- name: admit_admins
-- Who looks after a tenant has an inbox, whether or not he has looked into it.
INSERT INTO recipient (tenant_id, recipient_id, created_at, updated_at)
SELECT tenant_id, user_id, %(at)s, %(at)s FROM user_account
WHERE tenant_id = %(tenant)s AND role = 'tenant_admin' AND status = 'active'
ON CONFLICT DO NOTHING

-- name: admins
SELECT r.*
FROM user_account u JOIN recipient r ON r.tenant_id = u.tenant_id AND r.recipient_id = u.user_id
WHERE u.tenant_id = %(tenant)s AND u.role = 'tenant_admin' AND u.status = 'active'
ORDER BY r.recipient_id

-- name: tokens_of
SELECT token_id, recipient_id, platform FROM push_token
WHERE tenant_id = %(tenant)s AND recipient_id = ANY(%(recipients)s) ORDER BY token_id

-- name: forget_notices
DELETE FROM notice WHERE created_at < %(before)s
