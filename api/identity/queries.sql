-- The tenant's door (milkrun_app) may not read hashes, so queries name their columns.

-- name: tenant_exists
SELECT 1 FROM tenant WHERE tenant_id = %(owner)s

-- name: add_user
INSERT INTO user_account (tenant_id, user_id, email, name, role, sites, password_hash, created_at, updated_at)
VALUES (%(owner)s, %(id)s, %(email)s, %(name)s, %(role)s, %(sites)s, %(password_hash)s, %(at)s, %(at)s)
ON CONFLICT (tenant_id, email) DO NOTHING RETURNING user_id

-- name: users
SELECT tenant_id, user_id AS id, email, name, role, sites, status, locked_until, last_login_at, generation, version,
       created_at, updated_at
FROM user_account
WHERE tenant_id = %(owner)s AND user_id > %(after)s
  AND (%(id)s::text IS NULL OR user_id = %(id)s)
  AND (%(email)s::text IS NULL OR email = %(email)s)
  AND (%(role)s::text IS NULL OR role = %(role)s)
  AND (%(status)s::text IS NULL OR status = %(status)s)
ORDER BY user_id LIMIT %(limit)s

-- name: lock_user
SELECT 1 FROM user_account WHERE tenant_id = %(owner)s AND user_id = %(id)s FOR UPDATE

-- name: lock_admins
-- Locked, so that of two admins who put each other out of office at once the second waits and sees the first.
SELECT user_id FROM user_account
WHERE tenant_id = %(owner)s AND role = 'tenant_admin' AND status = 'active' ORDER BY user_id FOR UPDATE

-- name: save_user
UPDATE user_account SET name = %(name)s, role = %(role)s, sites = %(sites)s, status = %(status)s,
    generation = %(generation)s, version = %(version)s, updated_at = %(updated_at)s
WHERE tenant_id = %(owner)s AND user_id = %(id)s

-- name: set_password
UPDATE user_account SET password_hash = %(password_hash)s, failed_logins = 0, failed_at = NULL, locked_until = NULL
WHERE tenant_id = %(owner)s AND user_id = %(id)s

-- name: end_sessions
DELETE FROM user_session WHERE tenant_id = %(owner)s AND user_id = %(id)s

-- name: add_client
INSERT INTO api_client (tenant_id, client_id, name, role, scopes, sites, created_by, created_at, updated_at)
VALUES (%(owner)s, %(id)s, %(name)s, %(role)s, %(scopes)s, %(sites)s, %(created_by)s, %(at)s, %(at)s)
ON CONFLICT DO NOTHING RETURNING client_id

-- name: clients
SELECT tenant_id, client_id AS id, name, role, scopes, sites, status, last_used_at, generation, version, created_by,
       created_at, updated_at
FROM api_client
WHERE tenant_id = %(owner)s AND client_id > %(after)s
  AND (%(id)s::text IS NULL OR client_id = %(id)s)
  AND (%(role)s::text IS NULL OR role = %(role)s)
  AND (%(status)s::text IS NULL OR status = %(status)s)
ORDER BY client_id LIMIT %(limit)s

-- name: lock_client
SELECT 1 FROM api_client WHERE tenant_id = %(owner)s AND client_id = %(id)s FOR UPDATE

-- name: save_client
UPDATE api_client SET name = %(name)s, role = %(role)s, scopes = %(scopes)s, sites = %(sites)s, status = %(status)s,
    generation = %(generation)s, version = %(version)s, updated_at = %(updated_at)s
WHERE tenant_id = %(owner)s AND client_id = %(id)s

-- name: add_client_secret
INSERT INTO api_client_secret (tenant_id, client_id, secret_id, secret_hash, created_at)
VALUES (%(owner)s, %(id)s, %(secret_id)s, %(secret_hash)s, %(at)s)

-- name: client_secrets
SELECT client_id, secret_id, created_at, expires_at FROM api_client_secret
WHERE tenant_id = %(owner)s AND client_id = ANY(%(ids)s) ORDER BY created_at, secret_id

-- name: end_client_secrets
-- The secrets so far work on until `until` at the latest; what is over already goes.
UPDATE api_client_secret SET expires_at = least(expires_at, %(until)s)
WHERE tenant_id = %(owner)s AND client_id = %(id)s

-- name: drop_client_secrets
DELETE FROM api_client_secret WHERE tenant_id = %(owner)s AND client_id = %(id)s AND expires_at <= %(at)s

-- name: add_key
INSERT INTO api_key (tenant_id, key_id, name, secret_hash, role, scopes, sites, expires_at, created_by, created_at,
                     updated_at)
VALUES (%(owner)s, %(id)s, %(name)s, %(secret_hash)s, %(role)s, %(scopes)s, %(sites)s, %(expires_at)s, %(created_by)s,
        %(at)s, %(at)s)

-- name: keys
SELECT tenant_id, key_id AS id, name, role, scopes, sites, status, expires_at, last_used_at, generation, version,
       created_by, created_at, updated_at
FROM api_key
WHERE tenant_id = %(owner)s AND key_id > %(after)s
  AND (%(id)s::text IS NULL OR key_id = %(id)s)
  AND (%(role)s::text IS NULL OR role = %(role)s)
  AND (%(status)s::text IS NULL OR status = %(status)s)
ORDER BY key_id LIMIT %(limit)s

-- name: lock_key
SELECT 1 FROM api_key WHERE tenant_id = %(owner)s AND key_id = %(id)s FOR UPDATE

-- name: save_key
UPDATE api_key SET name = %(name)s, role = %(role)s, scopes = %(scopes)s, sites = %(sites)s, status = %(status)s,
    generation = %(generation)s, version = %(version)s, updated_at = %(updated_at)s
WHERE tenant_id = %(owner)s AND key_id = %(id)s

-- name: client_to_prove
-- Of all tenants: a client says who it is, not whose.
SELECT tenant_id, client_id AS id, name, role, scopes, sites, status, last_used_at, generation, version, created_by,
       created_at, updated_at
FROM api_client WHERE client_id = %(id)s ORDER BY tenant_id

-- name: secrets_to_prove
SELECT secret_hash FROM api_client_secret
WHERE tenant_id = %(owner)s AND client_id = %(id)s AND (expires_at IS NULL OR expires_at > %(at)s)

-- name: key_to_prove
SELECT tenant_id, key_id AS id, name, role, scopes, sites, status, expires_at, last_used_at, generation, version,
       created_by, created_at, updated_at, secret_hash
FROM api_key WHERE key_id = %(id)s ORDER BY tenant_id

-- name: client_used
UPDATE api_client SET last_used_at = %(at)s WHERE tenant_id = %(owner)s AND client_id = %(id)s

-- name: key_used
UPDATE api_key SET last_used_at = %(at)s WHERE tenant_id = %(owner)s AND key_id = %(id)s

-- name: living_users
SELECT tenant_id, user_id AS id, generation FROM user_account WHERE user_id = ANY(%(ids)s) AND status = 'active'

-- name: living_clients
SELECT tenant_id, client_id AS id, generation FROM api_client WHERE client_id = ANY(%(ids)s) AND status = 'active'

-- name: living_keys
SELECT tenant_id, key_id AS id, generation FROM api_key
WHERE key_id = ANY(%(ids)s) AND status = 'active' AND (expires_at IS NULL OR expires_at > %(at)s)

-- name: living_sessions
SELECT token_hash FROM user_session WHERE token_hash = ANY(%(hashes)s) AND expires_at > %(at)s

-- name: take_attempt
-- One password attempt of a network address, if its allowance is not used up (GCRA). No row: it is.
INSERT INTO login_throttle (source, whole_at) VALUES (%(source)s, %(at)s + %(cost)s::interval)
ON CONFLICT (source) DO UPDATE SET whole_at = greatest(login_throttle.whole_at, %(at)s) + %(cost)s::interval
WHERE greatest(login_throttle.whole_at, %(at)s) + %(cost)s::interval <= %(at)s + %(window)s::interval
RETURNING whole_at

-- name: attempt_wait
SELECT whole_at FROM login_throttle WHERE source = %(source)s

-- name: return_attempt
UPDATE login_throttle SET whole_at = whole_at - %(cost)s::interval WHERE source = %(source)s

-- name: begin_login
-- The attempt counts before the password is looked at, so that a thousand at once are no more than one after another.
UPDATE user_account SET
    failed_logins = CASE WHEN failed_at > %(at)s - %(memory)s::interval AND locked_until IS NULL
                         THEN failed_logins + 1 ELSE 1 END,
    failed_at = %(at)s,
    locked_until = CASE WHEN failed_at > %(at)s - %(memory)s::interval AND locked_until IS NULL
                             AND failed_logins + 1 >= %(most)s
                        THEN %(at)s + %(lock)s::interval END
WHERE email = %(email)s AND status = 'active' AND (%(owner)s::text IS NULL OR tenant_id = %(owner)s)
  AND (locked_until IS NULL OR locked_until <= %(at)s)
RETURNING tenant_id, user_id AS id, email, name, role, sites, status, locked_until, last_login_at, generation, version,
          created_at, updated_at, password_hash

-- name: finish_login
UPDATE user_account SET failed_logins = 0, failed_at = NULL, locked_until = NULL, last_login_at = %(at)s
WHERE tenant_id = %(owner)s AND user_id = %(id)s AND generation = %(generation)s
RETURNING user_id

-- name: rehash
UPDATE user_account SET password_hash = %(password_hash)s
WHERE tenant_id = %(owner)s AND user_id = %(id)s AND password_hash = %(old)s

-- name: add_session
INSERT INTO user_session (tenant_id, token_hash, user_id, generation, created_at, seen_at, expires_at, ip)
VALUES (%(owner)s, %(token_hash)s, %(id)s, %(generation)s, %(at)s, %(at)s, %(expires_at)s, %(ip)s)

-- name: session
SELECT u.tenant_id, u.user_id AS id, u.email, u.name, u.role, u.sites, u.status, u.locked_until, u.last_login_at,
       u.generation, u.version, u.created_at, u.updated_at, s.seen_at, s.expires_at
FROM user_session s JOIN user_account u ON u.tenant_id = s.tenant_id AND u.user_id = s.user_id
WHERE s.token_hash = %(token_hash)s AND s.generation = u.generation AND u.status = 'active'
  AND s.expires_at > %(at)s AND s.seen_at > %(at)s - %(idle)s::interval

-- name: touch_session
UPDATE user_session SET seen_at = %(at)s WHERE token_hash = %(token_hash)s AND seen_at < %(at)s

-- name: end_session
DELETE FROM user_session WHERE token_hash = %(token_hash)s RETURNING tenant_id, user_id AS id

-- name: add_audit
INSERT INTO audit_log (tenant_id, at, actor_kind, actor_id, actor_name, action, target, before, after, request_id, ip)
VALUES (%(owner)s, %(at)s, %(actor_kind)s, %(actor_id)s, %(actor_name)s, %(action)s, %(target)s, %(before)s, %(after)s,
        %(request_id)s, %(ip)s)

-- name: audit
SELECT id, at, actor_kind, actor_id, actor_name, action, target, before, after, request_id, ip FROM audit_log
WHERE tenant_id = %(owner)s
  AND (%(below)s::bigint IS NULL OR id < %(below)s)
  AND (%(actor)s::text IS NULL OR actor_id = %(actor)s)
  AND (%(action)s::text IS NULL OR action = %(action)s)
  AND (%(target)s::text IS NULL OR target = %(target)s)
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR at < %(until)s)
ORDER BY id DESC LIMIT %(limit)s

-- name: sweep_sessions
DELETE FROM user_session WHERE expires_at <= %(at)s OR seen_at <= %(at)s - %(idle)s::interval

-- name: sweep_attempts
DELETE FROM login_throttle WHERE whole_at <= %(at)s

-- name: sweep_secrets
DELETE FROM api_client_secret WHERE expires_at <= %(at)s

-- name: sweep_tickets
DELETE FROM live_ticket WHERE expires_at <= %(at)s
