-- Requests that carried an Idempotency-Key. A row is its first request's alone until that is answered or given up.

-- name: reserve
-- Ours when nobody has it, when it is to be forgotten, or when whoever had it never came back.
INSERT INTO idempotency (tenant_id, actor, key, route, request_hash, created_at)
VALUES (%(owner)s, %(actor)s, %(key)s, %(route)s, %(request_hash)s, %(at)s)
ON CONFLICT (tenant_id, actor, key) DO UPDATE
SET route = excluded.route, request_hash = excluded.request_hash, created_at = excluded.created_at,
    status = NULL, headers = NULL, response = NULL
WHERE idempotency.created_at < %(forgotten)s::timestamptz
   OR (idempotency.status IS NULL AND idempotency.created_at < %(abandoned)s::timestamptz)
RETURNING true AS reserved

-- name: remembered
SELECT request_hash, status, headers, response FROM idempotency
WHERE tenant_id = %(owner)s AND actor = %(actor)s AND key = %(key)s

-- name: remember
UPDATE idempotency SET status = %(status)s, headers = %(headers)s, response = %(response)s
WHERE tenant_id = %(owner)s AND actor = %(actor)s AND key = %(key)s AND created_at = %(at)s

-- name: release
DELETE FROM idempotency
WHERE tenant_id = %(owner)s AND actor = %(actor)s AND key = %(key)s AND created_at = %(at)s AND status IS NULL

-- name: forget
DELETE FROM idempotency WHERE created_at < %(at)s
