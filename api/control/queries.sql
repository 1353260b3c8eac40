-- name: matching
SELECT d.device_id FROM device d
WHERE d.tenant_id = %(tenant)s AND d.status = 'active' AND /* where */ true
ORDER BY d.device_id LIMIT %(limit)s
