-- The log of alerts.

-- name: alerts
-- Newest first. `sites` NULL: of every site.
SELECT a.alert_id, a.trip_id, a.stop_id, a.site_id, s.name AS site_name, a.device_id, a.kind, a.at, a.eta, a.raised_at
FROM trip_alert a JOIN site s ON s.tenant_id = a.tenant_id AND s.site_id = a.site_id
WHERE a.tenant_id = %(tenant)s
  AND (%(sites)s::text[] IS NULL OR a.site_id = ANY(%(sites)s))
  AND (%(trip)s::text IS NULL OR a.trip_id = %(trip)s)
  AND (%(kind)s::text IS NULL OR a.kind = %(kind)s)
  AND (%(since)s::timestamptz IS NULL OR a.raised_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR a.raised_at < %(until)s)
  AND (%(before_at)s::timestamptz IS NULL OR (a.raised_at, a.alert_id) < (%(before_at)s, %(before)s))
ORDER BY a.raised_at DESC, a.alert_id DESC LIMIT %(limit)s

-- name: alert
SELECT a.alert_id, a.trip_id, a.stop_id, a.site_id, s.name AS site_name, a.device_id, a.kind, a.at, a.eta, a.raised_at
FROM trip_alert a JOIN site s ON s.tenant_id = a.tenant_id AND s.site_id = a.site_id
WHERE a.tenant_id = %(tenant)s AND a.alert_id = %(alert)s
  AND (%(sites)s::text[] IS NULL OR a.site_id = ANY(%(sites)s))
