-- Webhooks and the secrets that sign for them. The tenants' door reads no secret: the senders do
-- (notify.delivery), and whoever seals them anew.

-- name: webhooks
SELECT * FROM webhook WHERE tenant_id = %(tenant)s AND webhook_id > %(after)s ORDER BY webhook_id LIMIT %(limit)s

-- name: webhook
SELECT * FROM webhook WHERE tenant_id = %(tenant)s AND webhook_id = %(id)s

-- name: lock
SELECT * FROM webhook WHERE tenant_id = %(tenant)s AND webhook_id = %(id)s FOR NO KEY UPDATE

-- name: count
SELECT count(*) AS webhooks FROM webhook WHERE tenant_id = %(tenant)s

-- name: add
INSERT INTO webhook (tenant_id, webhook_id, url, description, kinds, created_at, updated_at)
VALUES (%(tenant)s, %(id)s, %(url)s, %(description)s, %(kinds)s, %(at)s, %(at)s)

-- name: save
UPDATE webhook
SET url = %(url)s, description = %(description)s, kinds = %(kinds)s, status = %(status)s,
    disabled_reason = %(disabled_reason)s, failing_since = %(failing_since)s, version = %(version)s, updated_at = %(at)s
WHERE tenant_id = %(tenant)s AND webhook_id = %(id)s

-- name: remove
DELETE FROM webhook WHERE tenant_id = %(tenant)s AND webhook_id = %(id)s

-- name: secrets
SELECT secret_id, created_at, expires_at FROM webhook_secret
WHERE tenant_id = %(tenant)s AND webhook_id = %(id)s AND (expires_at IS NULL OR expires_at > %(at)s)
ORDER BY created_at DESC, secret_id

-- name: add_secret
INSERT INTO webhook_secret (tenant_id, webhook_id, secret_id, sealed, created_at)
VALUES (%(tenant)s, %(id)s, %(secret_id)s, %(sealed)s, %(at)s)

-- name: end_secrets
-- Those so far sign along until then; one that ends sooner anyway does so.
UPDATE webhook_secret SET expires_at = least(expires_at, %(until)s)
WHERE tenant_id = %(tenant)s AND webhook_id = %(id)s

-- name: drop_secrets
DELETE FROM webhook_secret WHERE tenant_id = %(tenant)s AND webhook_id = %(id)s AND expires_at <= %(at)s

-- name: sealed_before
-- Of all tenants: what is sealed with another key than the one in use. Locked, for one process to seal it anew.
SELECT tenant_id, webhook_id, secret_id, sealed FROM webhook_secret
WHERE substring(sealed FOR length(%(name)s::bytea)) <> %(name)s
ORDER BY tenant_id, webhook_id, secret_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED

-- name: seal
UPDATE webhook_secret SET sealed = %(sealed)s
WHERE tenant_id = %(tenant)s AND webhook_id = %(id)s AND secret_id = %(secret_id)s

-- name: listening
SELECT webhook_id FROM webhook
WHERE tenant_id = %(tenant)s AND status = 'active' AND %(kind)s = ANY(kinds) ORDER BY webhook_id
