-- Presence of every tenant's devices, as the broker tells it; written by the broker service alone.

-- name: load_presence
SELECT tenant_id || ':' || device_id AS thing, online, session, version, since, ip_address, disconnect_reason,
       source_version, source_at, leaving_at, leaving_due, leaving_reason
FROM presence

-- name: save_presence
-- A thing without a registry row (its certificate is real, its registration gone) has no presence to tell of.
INSERT INTO presence (tenant_id, device_id, online, since, session, ip_address, disconnect_reason, version)
SELECT d.tenant_id, d.device_id, n.online, n.since, n.session, n.ip_address, n.reason, n.version
FROM unnest(%(tenant)s::text[], %(device)s::text[], %(online)s::boolean[], %(since)s::timestamptz[],
            %(session)s::text[], %(ip_address)s::text[], %(reason)s::text[], %(version)s::bigint[])
     AS n (tenant_id, device_id, online, since, session, ip_address, reason, version)
JOIN device d ON d.tenant_id = n.tenant_id AND d.device_id = n.device_id
ON CONFLICT (tenant_id, device_id) DO UPDATE
SET online = excluded.online, since = excluded.since, session = excluded.session, ip_address = excluded.ip_address,
    disconnect_reason = excluded.disconnect_reason, version = excluded.version
WHERE presence.version < excluded.version
RETURNING tenant_id || ':' || device_id AS thing

-- name: remember_turns
INSERT INTO presence_span (tenant_id, device_id, version, online, since, reason)
SELECT * FROM unnest(%(tenant)s::text[], %(device)s::text[], %(version)s::bigint[], %(online)s::boolean[],
                     %(since)s::timestamptz[], %(reason)s::text[])
ON CONFLICT (tenant_id, device_id, version) DO NOTHING

-- name: note_source
UPDATE presence p
SET source_version = n.version, source_at = n.told_at, leaving_at = n.at, leaving_due = n.due, leaving_reason = n.reason
FROM unnest(%(tenant)s::text[], %(device)s::text[], %(source_version)s::bigint[], %(source_at)s::timestamptz[],
            %(leaving_at)s::timestamptz[], %(leaving_due)s::timestamptz[], %(reason)s::text[])
     AS n (tenant_id, device_id, version, told_at, at, due, reason)
WHERE p.tenant_id = n.tenant_id AND p.device_id = n.device_id

-- name: forget_turns
-- A turn that ended before the oldest day to be kept goes; the one that lasted then stays, and says how the day began.
DELETE FROM presence_span s
USING tenant t, presence p
WHERE t.tenant_id = s.tenant_id AND p.tenant_id = s.tenant_id AND p.device_id = s.device_id
  AND (s.version <= p.version - %(turns)s
       OR s.since < now() - make_interval(days => least(t.retention_days, %(days)s))
          AND EXISTS (SELECT FROM presence_span l
                      WHERE l.tenant_id = s.tenant_id AND l.device_id = s.device_id AND l.version > s.version
                        AND l.since < now() - make_interval(days => least(t.retention_days, %(days)s))))

-- name: presence_of_device
SELECT coalesce(p.online, false) AS online, p.since,
       CASE WHEN NOT p.online THEN p.disconnect_reason END AS disconnect_reason
FROM device d LEFT JOIN presence p ON p.tenant_id = d.tenant_id AND p.device_id = d.device_id
WHERE d.tenant_id = %(tenant)s AND d.device_id = %(device)s

-- name: turns_of_device
SELECT version, online, since, reason
FROM presence_span
WHERE tenant_id = %(tenant)s AND device_id = %(device)s
  AND version > %(after)s
  AND version >= coalesce((SELECT max(version) FROM presence_span
                           WHERE tenant_id = %(tenant)s AND device_id = %(device)s AND since <= %(since)s), 0)
ORDER BY version
LIMIT %(limit)s

-- name: barred
-- Of these things, those that may not be connected: out of service, or with no certificate left that counts.
SELECT d.tenant_id || ':' || d.device_id AS thing
FROM device d
JOIN unnest(%(tenant)s::text[], %(device)s::text[]) AS n (tenant_id, device_id) USING (tenant_id, device_id)
WHERE d.status IN ('suspended', 'decommissioned')
   OR EXISTS (SELECT FROM certificate c WHERE c.tenant_id = d.tenant_id AND c.device_id = d.device_id)
      AND NOT EXISTS (SELECT FROM certificate c WHERE c.tenant_id = d.tenant_id AND c.device_id = d.device_id
                      AND c.status IN ('active', 'superseded'))
