-- The tenant's door to telemetry: security_barrier keeps a cleverly leaking predicate from running before the filter.
CREATE VIEW positions WITH (security_barrier) AS
    SELECT tenant_id, device_id, ts, boot, seq, lat, lon, alt, speed, heading, acc, sats, hdop, received_at
    FROM telemetry.position WHERE tenant_id = (SELECT current_tenant());
CREATE VIEW metrics WITH (security_barrier) AS
    SELECT tenant_id, device_id, name, ts, boot, seq, value, text, received_at
    FROM telemetry.metric WHERE tenant_id = (SELECT current_tenant());
CREATE VIEW metrics_1m WITH (security_barrier) AS
    SELECT tenant_id, device_id, name, bucket, samples, total / samples AS avg, min, max, last
    FROM telemetry.metric_1m WHERE tenant_id = (SELECT current_tenant());
CREATE VIEW metrics_1h WITH (security_barrier) AS
    SELECT tenant_id, device_id, name, bucket, samples, total / samples AS avg, min, max, last
    FROM telemetry.metric_1h WHERE tenant_id = (SELECT current_tenant());
CREATE VIEW positions_1m WITH (security_barrier) AS
    SELECT tenant_id, device_id, bucket, fixes, max_speed, last_lat, last_lon
    FROM telemetry.position_1m WHERE tenant_id = (SELECT current_tenant());
CREATE VIEW positions_1h WITH (security_barrier) AS
    SELECT tenant_id, device_id, bucket, fixes, max_speed, last_lat, last_lon
    FROM telemetry.position_1h WHERE tenant_id = (SELECT current_tenant());
GRANT SELECT ON positions, metrics, metrics_1m, metrics_1h, positions_1m, positions_1h TO milkrun_app;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA telemetry FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA telemetry TO milkrun_ingest;

-- For people at a prompt: `position` and `metric` without their schema. Our own SQL always names it.
DO $$
BEGIN
    EXECUTE format('ALTER DATABASE %I SET search_path = "$user", public, telemetry', current_database());
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'not the owner of this database: its search_path stays as it is';
END $$;
