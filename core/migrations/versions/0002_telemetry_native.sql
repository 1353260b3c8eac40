-- Without TimescaleDB: daily range partitions, rollup tables, and the functions that maintenance calls. They run as the
-- owner (SECURITY DEFINER), so that the ingest role need not own tables.

CREATE FUNCTION telemetry.ensure_partitions(since timestamptz, until timestamptz) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
    parent text;
    day    date;
    made   int := 0;
BEGIN
    IF until - since > interval '60 days' THEN
        RAISE EXCEPTION 'refusing to make more than 60 daily partitions at once';
    END IF;
    FOREACH parent IN ARRAY ARRAY['position', 'metric'] LOOP
        day := since::date;
        WHILE day <= until::date LOOP
            IF to_regclass(format('telemetry.%I', parent || '_' || to_char(day, 'YYYYMMDD'))) IS NULL THEN
                PERFORM pg_advisory_xact_lock(hashtext('telemetry.ensure_partitions'));
                EXECUTE format('CREATE TABLE IF NOT EXISTS telemetry.%I PARTITION OF telemetry.%I FOR VALUES FROM (%L) TO (%L)',
                               parent || '_' || to_char(day, 'YYYYMMDD'), parent, day::timestamptz, (day + 1)::timestamptz);
                made := made + 1;
            END IF;
            day := day + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;

CREATE TABLE telemetry.metric_1m (
    bucket    timestamptz NOT NULL,
    samples   bigint NOT NULL,
    total     double precision NOT NULL,
    min       double precision NOT NULL,
    max       double precision NOT NULL,
    last      double precision NOT NULL,
    tenant_id text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    name      text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, device_id, name, bucket)
);
CREATE TABLE telemetry.metric_1h (LIKE telemetry.metric_1m INCLUDING ALL);
CREATE INDEX metric_1m_by_bucket ON telemetry.metric_1m USING brin (bucket);
CREATE INDEX metric_1h_by_bucket ON telemetry.metric_1h USING brin (bucket);

CREATE TABLE telemetry.position_1m (
    bucket    timestamptz NOT NULL,
    fixes     bigint NOT NULL,
    max_speed real,
    last_lat  double precision NOT NULL,
    last_lon  double precision NOT NULL,
    tenant_id text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, device_id, bucket)
);
CREATE TABLE telemetry.position_1h (LIKE telemetry.position_1m INCLUDING ALL);
CREATE INDEX position_1m_by_bucket ON telemetry.position_1m USING brin (bucket);
CREATE INDEX position_1h_by_bucket ON telemetry.position_1h USING brin (bucket);

-- Minutes whose rollup is behind. A writer touches the row in its own transaction, so a refresh that takes the row away
-- has waited for that writer and sees what it wrote.
CREATE TABLE telemetry.rollup_pending (
    minute     timestamptz PRIMARY KEY,
    touched_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
CREATE TABLE telemetry.rollup_running (minute timestamptz PRIMARY KEY);

CREATE FUNCTION telemetry.touch_minutes(minutes timestamptz[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO telemetry.rollup_pending (minute) SELECT DISTINCT m FROM unnest(minutes) AS m ORDER BY m
    ON CONFLICT (minute) DO UPDATE SET touched_at = now()
$$;

-- Step one of a refresh, in a transaction of its own: the writers must not wait for the recomputation. Refreshes go one
-- at a time: of two that overlap one would claim what the other has read already, or sum up an hour without its minutes.
CREATE FUNCTION telemetry.claim_rollups(most int) RETURNS int
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT pg_advisory_xact_lock(hashtext('telemetry.refresh_rollups'));
    WITH taken AS (
        DELETE FROM telemetry.rollup_pending
        WHERE minute IN (SELECT minute FROM telemetry.rollup_pending ORDER BY minute LIMIT most) RETURNING minute
    ), kept AS (
        INSERT INTO telemetry.rollup_running SELECT minute FROM taken ON CONFLICT DO NOTHING RETURNING 1
    )
    SELECT count(*)::int FROM taken
$$;

-- Step two: recompute what was claimed, now or by a run that died before it finished.
CREATE FUNCTION telemetry.refresh_rollups() RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    claimed timestamptz[];
    m       timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('telemetry.refresh_rollups'));
    SELECT coalesce(array_agg(minute ORDER BY minute), '{}') INTO claimed FROM telemetry.rollup_running;
    FOREACH m IN ARRAY claimed LOOP
        INSERT INTO telemetry.metric_1m AS r (bucket, samples, total, min, max, last, tenant_id, device_id, name)
        SELECT m, count(*), sum(value), min(value), max(value), (array_agg(value ORDER BY ts DESC, seq DESC))[1],
               tenant_id, device_id, name
        FROM telemetry.metric WHERE ts >= m AND ts < m + interval '1 minute' AND value IS NOT NULL
        GROUP BY tenant_id, device_id, name
        ON CONFLICT (tenant_id, device_id, name, bucket) DO UPDATE
            SET samples = excluded.samples, total = excluded.total, min = excluded.min, max = excluded.max,
                last = excluded.last;
        INSERT INTO telemetry.position_1m AS r (bucket, fixes, max_speed, last_lat, last_lon, tenant_id, device_id)
        SELECT m, count(*), max(speed), (array_agg(lat ORDER BY ts DESC, seq DESC))[1],
               (array_agg(lon ORDER BY ts DESC, seq DESC))[1], tenant_id, device_id
        FROM telemetry.position WHERE ts >= m AND ts < m + interval '1 minute'
        GROUP BY tenant_id, device_id
        ON CONFLICT (tenant_id, device_id, bucket) DO UPDATE
            SET fixes = excluded.fixes, max_speed = excluded.max_speed, last_lat = excluded.last_lat,
                last_lon = excluded.last_lon;
    END LOOP;
    FOR m IN SELECT DISTINCT date_trunc('hour', c, 'UTC') FROM unnest(claimed) AS c LOOP
        INSERT INTO telemetry.metric_1h AS r (bucket, samples, total, min, max, last, tenant_id, device_id, name)
        SELECT m, sum(samples), sum(total), min(min), max(max), (array_agg(last ORDER BY bucket DESC))[1],
               tenant_id, device_id, name
        FROM telemetry.metric_1m WHERE bucket >= m AND bucket < m + interval '1 hour'
        GROUP BY tenant_id, device_id, name
        ON CONFLICT (tenant_id, device_id, name, bucket) DO UPDATE
            SET samples = excluded.samples, total = excluded.total, min = excluded.min, max = excluded.max,
                last = excluded.last;
        INSERT INTO telemetry.position_1h AS r (bucket, fixes, max_speed, last_lat, last_lon, tenant_id, device_id)
        SELECT m, sum(fixes), max(max_speed), (array_agg(last_lat ORDER BY bucket DESC))[1],
               (array_agg(last_lon ORDER BY bucket DESC))[1], tenant_id, device_id
        FROM telemetry.position_1m WHERE bucket >= m AND bucket < m + interval '1 hour'
        GROUP BY tenant_id, device_id
        ON CONFLICT (tenant_id, device_id, bucket) DO UPDATE
            SET fixes = excluded.fixes, max_speed = excluded.max_speed, last_lat = excluded.last_lat,
                last_lon = excluded.last_lon;
    END LOOP;
    DELETE FROM telemetry.rollup_running WHERE minute = ANY (claimed);
    RETURN cardinality(claimed);
END $$;

-- Whole partitions go when no tenant wants them any more; a tenant that keeps less loses its rows one by one.
CREATE FUNCTION telemetry.apply_retention(raw_days int, rollup_days int, tenants text[], days int[]) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
    longest int := greatest(raw_days, (SELECT max(d) FROM unnest(days) AS d));
    part    record;
    dropped int := 0;
BEGIN
    FOR part IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
        JOIN pg_namespace n ON n.oid = p.relnamespace
        WHERE n.nspname = 'telemetry' AND p.relname IN ('position', 'metric')
          AND to_date(right(c.relname, 8), 'YYYYMMDD') + 1 < now()::date - longest
    LOOP
        EXECUTE format('DROP TABLE telemetry.%I', part.relname);
        dropped := dropped + 1;
    END LOOP;
    DELETE FROM telemetry.position p USING unnest(tenants, days) AS k(t, d)
        WHERE p.tenant_id = k.t AND d < longest AND p.ts < now() - make_interval(days => d);
    DELETE FROM telemetry.metric p USING unnest(tenants, days) AS k(t, d)
        WHERE p.tenant_id = k.t AND d < longest AND p.ts < now() - make_interval(days => d);
    IF longest > raw_days THEN  -- somebody keeps more than the deployment does; the others do not
        DELETE FROM telemetry.position WHERE tenant_id <> ALL (tenants) AND ts < now() - make_interval(days => raw_days);
        DELETE FROM telemetry.metric WHERE tenant_id <> ALL (tenants) AND ts < now() - make_interval(days => raw_days);
    END IF;
    DELETE FROM telemetry.metric_1m WHERE bucket < now() - make_interval(days => rollup_days);
    DELETE FROM telemetry.metric_1h WHERE bucket < now() - make_interval(days => rollup_days);
    DELETE FROM telemetry.position_1m WHERE bucket < now() - make_interval(days => rollup_days);
    DELETE FROM telemetry.position_1h WHERE bucket < now() - make_interval(days => rollup_days);
    RETURN dropped;
END $$;

SELECT telemetry.ensure_partitions(now() - interval '8 days', now() + interval '3 days');
