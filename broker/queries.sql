-- Presence of every tenant's devices, as the broker tells it; written by the broker service alone.

-- name: load_presence
SELECT tenant_id || ':' || device_id AS thing, online, session, version, since, ip_address, disconnect_reason
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

-- name: barred
-- Of these things, those that may not be connected: out of service, or with no certificate left that counts.
SELECT d.tenant_id || ':' || d.device_id AS thing
FROM device d
JOIN unnest(%(tenant)s::text[], %(device)s::text[]) AS n (tenant_id, device_id) USING (tenant_id, device_id)
WHERE d.status IN ('suspended', 'decommissioned')
   OR EXISTS (SELECT FROM certificate c WHERE c.tenant_id = d.tenant_id AND c.device_id = d.device_id)
      AND NOT EXISTS (SELECT FROM certificate c WHERE c.tenant_id = d.tenant_id AND c.device_id = d.device_id
                      AND c.status IN ('active', 'superseded'))
