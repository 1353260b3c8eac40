-- With TimescaleDB: hypertables with columnstore, continuous aggregates and policies. The functions that maintenance
-- calls exist here too, with little left to do, so that the code above does not ask which world it is in.

SELECT create_hypertable('telemetry.position', by_range('ts', interval '1 day'));
SELECT create_hypertable('telemetry.metric', by_range('ts', interval '1 day'));

ALTER TABLE telemetry.position SET (timescaledb.enable_columnstore,
    timescaledb.segmentby = 'tenant_id, device_id', timescaledb.orderby = 'ts, boot, seq');
ALTER TABLE telemetry.metric SET (timescaledb.enable_columnstore,
    timescaledb.segmentby = 'tenant_id, device_id, name', timescaledb.orderby = 'ts, boot, seq');
-- After the window in which late data is still accepted (7 days): a late row in a columnar chunk is slow.
CALL add_columnstore_policy('telemetry.position', after => interval '8 days');
CALL add_columnstore_policy('telemetry.metric', after => interval '8 days');

CREATE MATERIALIZED VIEW telemetry.metric_1m WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket(interval '1 minute', ts) AS bucket, count(value) AS samples, sum(value) AS total, min(value) AS min,
       max(value) AS max, last(value, ts) AS last, tenant_id, device_id, name
FROM telemetry.metric WHERE value IS NOT NULL GROUP BY bucket, tenant_id, device_id, name WITH NO DATA;
CREATE MATERIALIZED VIEW telemetry.metric_1h WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket(interval '1 hour', bucket) AS bucket, sum(samples)::bigint AS samples, sum(total) AS total,
       min(min) AS min, max(max) AS max, last(last, bucket) AS last, tenant_id, device_id, name
FROM telemetry.metric_1m GROUP BY 1, tenant_id, device_id, name WITH NO DATA;

CREATE MATERIALIZED VIEW telemetry.position_1m WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket(interval '1 minute', ts) AS bucket, count(*) AS fixes, max(speed) AS max_speed,
       last(lat, ts) AS last_lat, last(lon, ts) AS last_lon, tenant_id, device_id
FROM telemetry.position GROUP BY bucket, tenant_id, device_id WITH NO DATA;
CREATE MATERIALIZED VIEW telemetry.position_1h WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket(interval '1 hour', bucket) AS bucket, sum(fixes)::bigint AS fixes, max(max_speed) AS max_speed,
       last(last_lat, bucket) AS last_lat, last(last_lon, bucket) AS last_lon, tenant_id, device_id
FROM telemetry.position_1m GROUP BY 1, tenant_id, device_id WITH NO DATA;

SELECT add_continuous_aggregate_policy('telemetry.metric_1m', interval '8 days', interval '1 minute', interval '1 minute');
SELECT add_continuous_aggregate_policy('telemetry.metric_1h', interval '8 days', interval '1 hour', interval '10 minutes');
SELECT add_continuous_aggregate_policy('telemetry.position_1m', interval '8 days', interval '1 minute', interval '1 minute');
SELECT add_continuous_aggregate_policy('telemetry.position_1h', interval '8 days', interval '1 hour', interval '10 minutes');

CREATE FUNCTION telemetry.ensure_partitions(since timestamptz, until timestamptz) RETURNS int
    LANGUAGE sql AS $$ SELECT 0 $$;  -- chunks are made on insert
CREATE FUNCTION telemetry.touch_minutes(minutes timestamptz[]) RETURNS void
    LANGUAGE sql AS $$ SELECT $$;    -- continuous aggregates keep their own invalidation log
CREATE FUNCTION telemetry.claim_rollups(most int) RETURNS int LANGUAGE sql AS $$ SELECT 0 $$;
CREATE FUNCTION telemetry.refresh_rollups() RETURNS int LANGUAGE sql AS $$ SELECT 0 $$;

CREATE FUNCTION telemetry.apply_retention(raw_days int, rollup_days int, tenants text[], days int[]) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    longest int := greatest(raw_days, (SELECT max(d) FROM unnest(days) AS d));
    dropped int := 0;
    rollup  text;
BEGIN
    SELECT (SELECT count(*) FROM public.drop_chunks('telemetry.position', make_interval(days => longest)))
         + (SELECT count(*) FROM public.drop_chunks('telemetry.metric', make_interval(days => longest))) INTO dropped;
    DELETE FROM telemetry.position p USING unnest(tenants, days) AS k(t, d)
        WHERE p.tenant_id = k.t AND d < longest AND p.ts < now() - make_interval(days => d);
    DELETE FROM telemetry.metric p USING unnest(tenants, days) AS k(t, d)
        WHERE p.tenant_id = k.t AND d < longest AND p.ts < now() - make_interval(days => d);
    IF longest > raw_days THEN  -- somebody keeps more than the deployment does; the others do not
        DELETE FROM telemetry.position WHERE tenant_id <> ALL (tenants) AND ts < now() - make_interval(days => raw_days);
        DELETE FROM telemetry.metric WHERE tenant_id <> ALL (tenants) AND ts < now() - make_interval(days => raw_days);
    END IF;
    FOREACH rollup IN ARRAY ARRAY['metric_1m', 'metric_1h', 'position_1m', 'position_1h'] LOOP
        PERFORM public.drop_chunks(format('telemetry.%I', rollup)::regclass, make_interval(days => rollup_days));
    END LOOP;
    RETURN dropped;
END $$;

-- TimescaleDB up to 2.29.0 lets every role drop any chunk by _timescaledb_functions.drop_chunk: some of its functions on
-- chunks check no permission. They are taken from everyone but the owner, whose policies call them. That takes the
-- rights of whoever installed the extension's objects, a superuser; another owner is told.
DO $$
DECLARE f regprocedure;
BEGIN
    FOR f IN SELECT p.oid FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e'
             JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'timescaledb'
             WHERE p.pronamespace IN ('_timescaledb_functions'::regnamespace, '_timescaledb_internal'::regnamespace)
               AND p.prokind IN ('f', 'p') AND 'regclass'::regtype = ANY (p.proargtypes::regtype[]) LOOP
        EXECUTE format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO CURRENT_USER', f);
    END LOOP;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'chunks of telemetry can be dropped by every role: a superuser has to revoke EXECUTE on %', f;
END $$;
