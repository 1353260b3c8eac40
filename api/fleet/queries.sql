-- The registry's lines with what others know of them. The state of a certificate is that of the one the device lives by:
-- the active one, else one whose overlap lasts, else one on hold, else the last revoked one.

-- name: devices
-- The page first: certificates are looked up for all devices only where they are asked for.
WITH page AS (
    SELECT d.* FROM device d
        LEFT JOIN presence p ON p.tenant_id = d.tenant_id AND p.device_id = d.device_id
        LEFT JOIN LATERAL (
            SELECT CASE WHEN status IN ('held', 'revoked') THEN status WHEN not_after <= %(at)s THEN 'expired'
                        WHEN not_after <= %(soon)s::timestamptz THEN 'expiring' ELSE 'valid' END AS state
            FROM certificate WHERE tenant_id = d.tenant_id AND device_id = d.device_id
            ORDER BY array_position('{active,superseded,held,revoked}'::text[], status), issued_at DESC, serial LIMIT 1
        ) AS c ON %(certificate)s::text IS NOT NULL
    WHERE d.tenant_id = %(tenant)s
      AND d.device_id > %(after)s
      AND (%(only)s::text[] IS NULL OR d.device_id = ANY(%(only)s))
      AND (%(status)s::text IS NULL OR d.status = %(status)s)
      AND (%(type)s::text IS NULL OR d.type = %(type)s)
      AND (%(labels)s::jsonb IS NULL OR d.labels @> %(labels)s)
      AND (%(online)s::boolean IS NULL OR coalesce(p.online, false) = %(online)s)
      AND (%(search)s::text IS NULL OR strpos(lower(d.device_id), lower(%(search)s)) > 0
           OR EXISTS (SELECT FROM jsonb_each_text(d.labels) AS l WHERE strpos(lower(l.value), lower(%(search)s)) > 0))
      AND (%(certificate)s::text IS NULL OR coalesce(c.state, 'none') = %(certificate)s)
      AND /* where */ true
    ORDER BY d.device_id
    LIMIT %(limit)s
)
SELECT d.device_id, d.type, d.status, d.labels, d.version, d.created_at, d.updated_at,
       s.last_seen_at, s.ts, s.lat, s.lon, s.alt, s.speed, s.heading, s.acc,
       coalesce(p.online, false) AS online, p.since, CASE WHEN NOT p.online THEN p.disconnect_reason END AS reason,
       c.serial, c.not_after,
       CASE WHEN c.serial IS NULL THEN 'none' WHEN c.status IN ('held', 'revoked') THEN c.status
            WHEN c.not_after <= %(at)s THEN 'expired' WHEN c.not_after <= %(soon)s::timestamptz THEN 'expiring'
            ELSE 'valid' END AS certificate
FROM page d
    LEFT JOIN device_state s ON s.tenant_id = d.tenant_id AND s.device_id = d.device_id
    LEFT JOIN presence p ON p.tenant_id = d.tenant_id AND p.device_id = d.device_id
    LEFT JOIN LATERAL (
        SELECT serial, status, not_after FROM certificate WHERE tenant_id = d.tenant_id AND device_id = d.device_id
        ORDER BY array_position('{active,superseded,held,revoked}'::text[], status), issued_at DESC, serial LIMIT 1
    ) AS c ON true
ORDER BY d.device_id

-- name: positions
-- A page of last positions as JSON text, made here because it is three times what rows would cost: a page has up to
-- 10,000. `next` is the last name of a page that another one follows.
WITH found AS (
    SELECT d.device_id AS device, d.status, coalesce(p.online, false) AS online,
           to_char(s.ts AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS ts,
           s.lat, s.lon, s.alt, s.speed, s.heading, s.acc
    FROM device d
        JOIN device_state s ON s.tenant_id = d.tenant_id AND s.device_id = d.device_id
        LEFT JOIN presence p ON p.tenant_id = d.tenant_id AND p.device_id = d.device_id
    WHERE d.tenant_id = %(tenant)s
      AND d.device_id > %(after)s
      AND s.ts IS NOT NULL
      AND (%(only)s::text[] IS NULL OR d.device_id = ANY(%(only)s))
      AND CASE WHEN %(status)s::text IS NULL THEN d.status <> 'decommissioned' ELSE d.status = %(status)s END
      AND (%(labels)s::jsonb IS NULL OR d.labels @> %(labels)s)
      AND (%(online)s::boolean IS NULL OR coalesce(p.online, false) = %(online)s)
      AND (%(newer_than)s::timestamptz IS NULL OR s.ts >= %(newer_than)s)
      AND (%(south)s::float8 IS NULL OR s.lat BETWEEN %(south)s AND %(north)s::float8
           AND CASE WHEN %(west)s::float8 <= %(east)s::float8 THEN s.lon BETWEEN %(west)s AND %(east)s
                    ELSE s.lon >= %(west)s OR s.lon <= %(east)s END)
    ORDER BY d.device_id
    LIMIT %(limit)s + 1
), shown AS (
    SELECT * FROM found ORDER BY device LIMIT %(limit)s
)
SELECT coalesce(string_agg(row_to_json(shown)::text, ',' ORDER BY device), '') AS items,
       CASE WHEN (SELECT count(*) FROM found) > %(limit)s THEN max(device) END AS next
FROM shown
