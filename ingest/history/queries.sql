-- name: find_device
-- Through the tenant door a foreign device is no row, as an unknown one is.
SELECT device_id FROM device WHERE device_id = %(device)s

-- name: export_positions
-- In the order of the primary key, so that a month needs no sort.
SELECT ts, boot, seq, lat, lon, alt, speed, heading, acc, sats, hdop FROM positions
WHERE device_id = %(device)s AND ts >= %(since)s AND ts < %(until)s
ORDER BY ts, boot, seq

-- name: export_metrics
SELECT ts, boot, seq, name, value, text FROM metrics
WHERE device_id = %(device)s AND ts >= %(since)s AND ts < %(until)s
ORDER BY ts, boot, seq, name

-- name: export_metric_names
SELECT DISTINCT name FROM metrics
WHERE device_id = %(device)s AND ts >= %(since)s AND ts < %(until)s
ORDER BY name

-- name: audit_positions
-- What the store holds of some boots of a device, each name with how often it is there (once, if all is well).
SELECT boot, seq, count(*) AS copies FROM positions
WHERE device_id = %(device)s AND boot = ANY(%(boots)s) AND ts >= %(since)s
GROUP BY boot, seq

-- name: audit_letters
SELECT reason, payload FROM dead_letter WHERE thing = %(thing)s AND received_at >= %(since)s

-- name: list_letters
-- Newest first. A filter that is not given is NULL.
SELECT tenant_id, id, received_at, source, topic, thing, reason, detail, payload, replayed_at FROM dead_letter
WHERE (%(tenant)s::text IS NULL OR tenant_id = %(tenant)s)
  AND (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)
ORDER BY received_at DESC, id DESC LIMIT %(limit)s

-- name: load_letters
SELECT tenant_id, id, received_at, source, topic, thing, reason, detail, payload, replayed_at FROM dead_letter
WHERE id = ANY(%(ids)s) ORDER BY id

-- name: open_letters
-- Those not replayed yet, oldest first, a page after `after`.
SELECT tenant_id, id, received_at, source, topic, thing, reason, detail, payload, replayed_at FROM dead_letter
WHERE source = 'mqtt' AND reason = %(reason)s AND (%(tenant)s::text IS NULL OR tenant_id = %(tenant)s)
  AND replayed_at IS NULL AND id > %(after)s
ORDER BY id LIMIT %(limit)s

-- name: mark_replayed
UPDATE dead_letter SET replayed_at = %(at)s
FROM unnest(%(tenants)s::text[], %(ids)s::bigint[]) AS done(tenant_id, id)
WHERE dead_letter.tenant_id = done.tenant_id AND dead_letter.id = done.id

-- name: one_worker
SELECT set_config('max_parallel_workers_per_gather', '0', true)

-- name: count_fixes
-- Whole minutes out of the rollup; the two edges, and minutes whose rollup is behind, out of the rows.
WITH whole AS (
    SELECT least(first_minute, %(until)s::timestamptz) AS since,
           greatest(least(first_minute, %(until)s::timestamptz), date_trunc('minute', %(until)s::timestamptz, 'UTC')) AS until
    FROM (SELECT date_trunc('minute', %(since)s::timestamptz + interval '59.999999 s', 'UTC') AS first_minute) AS f
), pending AS MATERIALIZED (
    SELECT m FROM whole, pending_minutes(whole.since, whole.until) AS m
), raw AS (
    SELECT %(since)s::timestamptz AS since, whole.since AS until FROM whole
    UNION ALL SELECT whole.until, %(until)s::timestamptz FROM whole
    UNION ALL SELECT m, m + interval '1 minute' FROM pending
)
SELECT (SELECT coalesce(sum(fixes), 0) FROM positions_1m
        WHERE device_id = %(device)s AND bucket >= (SELECT since FROM whole) AND bucket < (SELECT until FROM whole)
          AND bucket NOT IN (SELECT m FROM pending))
     + (SELECT coalesce(sum(n), 0) FROM raw CROSS JOIN LATERAL (
            SELECT count(*) AS n FROM positions
            WHERE device_id = %(device)s AND ts >= raw.since AND ts < raw.until) AS rows_there
        WHERE raw.since < raw.until) AS fixes

-- name: packed_track
-- Times, latitudes and longitudes as big-endian doubles: a column of numbers costs next to nothing to read.
SELECT string_agg(float8send(date_part('epoch', ts)), ''), string_agg(float8send(lat), ''),
       string_agg(float8send(lon), '')
FROM positions WHERE device_id = %(device)s AND ts >= %(since)s AND ts < %(until)s

-- name: spread_track
-- The first fix of each of so many equal spans.
SELECT f.ts, f.lat, f.lon
FROM generate_series(0, %(spans)s::int - 1) AS n CROSS JOIN LATERAL (
    SELECT ts, lat, lon FROM positions
    WHERE device_id = %(device)s AND ts >= %(since)s AND ts < %(until)s
      AND ts >= %(since)s::timestamptz + n * %(width)s::interval
      AND ts < %(since)s::timestamptz + (n + 1) * %(width)s::interval
    ORDER BY ts, boot, seq LIMIT 1) AS f
ORDER BY f.ts

-- name: last_fixes
-- The last fix of each of these spans.
SELECT f.ts, f.lat, f.lon
FROM unnest(%(since)s::timestamptz[], %(until)s::timestamptz[]) AS w(since, until) CROSS JOIN LATERAL (
    SELECT ts, lat, lon FROM positions
    WHERE device_id = %(device)s AND ts >= w.since AND ts < w.until
    ORDER BY ts DESC, boot DESC, seq DESC LIMIT 1) AS f

-- name: fixes_at
SELECT ts, lat, lon, alt, speed, heading, acc FROM positions
WHERE device_id = %(device)s AND ts >= %(since)s AND ts < %(until)s AND ts = ANY(%(ts)s)

-- name: last_metrics
SELECT name, ts, value, text FROM last_metrics(%(device)s, %(since)s::timestamptz)

-- name: raw_metrics
SELECT ts, boot, seq, value, text FROM metrics
WHERE device_id = %(device)s AND name = %(name)s AND ts >= %(since)s AND ts < %(until)s
  AND (%(is_first)s OR (ts, boot, seq) > (%(after_ts)s::timestamptz, %(after_boot)s COLLATE "C", %(after_seq)s::bigint))
ORDER BY ts, boot, seq LIMIT %(limit)s

-- name: metric_buckets_of_hours
-- Numbers are added up as parts of 2^66, so that the largest there are do not overflow.
-- Hours with a minute that the rollup lacks are made of minutes, and such minutes of rows.
WITH pending AS MATERIALIZED (
    SELECT m FROM pending_minutes(%(since)s, %(until)s) AS m
), behind AS MATERIALIZED (
    SELECT DISTINCT date_trunc('hour', m, 'UTC') AS h FROM pending
), part AS (
    SELECT bucket, samples, avg, min, max, last FROM metrics_1h
    WHERE device_id = %(device)s AND name = %(name)s AND bucket >= %(since)s AND bucket < %(until)s
      AND bucket NOT IN (SELECT h FROM behind)
    UNION ALL
    SELECT v.* FROM behind CROSS JOIN LATERAL (
        SELECT bucket, samples, avg, min, max, last FROM metrics_1m
        WHERE device_id = %(device)s AND name = %(name)s AND bucket >= h AND bucket < h + interval '1 hour'
          AND bucket NOT IN (SELECT m FROM pending)) AS v
    UNION ALL
    SELECT m, v.* FROM pending CROSS JOIN LATERAL (
        SELECT count(*) AS samples, sum(value / 73786976294838206464::float8) / count(*) * 73786976294838206464::float8 AS avg, min(value) AS min, max(value) AS max,
               (array_agg(value ORDER BY ts DESC, seq DESC))[1] AS last FROM metrics
        WHERE device_id = %(device)s AND name = %(name)s AND ts >= m AND ts < m + interval '1 minute'
          AND value IS NOT NULL) AS v
    WHERE v.samples > 0
)
SELECT date_bin(%(width)s, bucket, 'epoch') AS ts, sum(avg / 73786976294838206464::float8 * samples) / sum(samples)::float8 * 73786976294838206464::float8 AS avg, min(min) AS min,
       max(max) AS max, (array_agg(last ORDER BY bucket DESC))[1] AS last, sum(samples)::bigint AS count
FROM part GROUP BY 1 ORDER BY 1

-- name: metric_buckets_of_minutes
WITH pending AS MATERIALIZED (
    SELECT m FROM pending_minutes(%(since)s, %(until)s) AS m
), part AS (
    SELECT bucket, samples, avg, min, max, last FROM metrics_1m
    WHERE device_id = %(device)s AND name = %(name)s AND bucket >= %(since)s AND bucket < %(until)s
      AND bucket NOT IN (SELECT m FROM pending)
    UNION ALL
    SELECT m, v.* FROM pending CROSS JOIN LATERAL (
        SELECT count(*) AS samples, sum(value / 73786976294838206464::float8) / count(*) * 73786976294838206464::float8 AS avg, min(value) AS min, max(value) AS max,
               (array_agg(value ORDER BY ts DESC, seq DESC))[1] AS last FROM metrics
        WHERE device_id = %(device)s AND name = %(name)s AND ts >= m AND ts < m + interval '1 minute'
          AND value IS NOT NULL) AS v
    WHERE v.samples > 0
)
SELECT date_bin(%(width)s, bucket, 'epoch') AS ts, sum(avg / 73786976294838206464::float8 * samples) / sum(samples)::float8 * 73786976294838206464::float8 AS avg, min(min) AS min,
       max(max) AS max, (array_agg(last ORDER BY bucket DESC))[1] AS last, sum(samples)::bigint AS count
FROM part GROUP BY 1 ORDER BY 1

-- name: metric_buckets_of_rows
SELECT date_bin(%(width)s, ts, 'epoch') AS ts, sum(value / 73786976294838206464::float8) / count(*) * 73786976294838206464::float8 AS avg, min(value) AS min, max(value) AS max,
       (array_agg(value ORDER BY ts DESC, seq DESC))[1] AS last, count(*) AS count
FROM metrics
WHERE device_id = %(device)s AND name = %(name)s AND ts >= %(since)s AND ts < %(until)s AND value IS NOT NULL
GROUP BY 1 ORDER BY 1

-- name: events_of_tenant
SELECT device_id AS device, ts, boot, seq, type, data, received_at FROM device_event
WHERE (%(only)s::text[] IS NULL OR device_id = ANY(%(only)s))
  AND (%(type)s::text IS NULL OR type = %(type)s)
  AND (%(since)s::timestamptz IS NULL OR ts >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR ts < %(until)s)
  AND (%(after_ts)s::timestamptz IS NULL
       OR (ts, device_id, boot, seq) < (%(after_ts)s, %(after_device)s, %(after_boot)s, %(after_seq)s::bigint))
ORDER BY ts DESC, device_id DESC, boot DESC, seq DESC LIMIT %(limit)s

-- name: events_of_device
SELECT device_id AS device, ts, boot, seq, type, data, received_at FROM device_event
WHERE device_id = %(device)s
  AND (%(type)s::text IS NULL OR type = %(type)s)
  AND (%(since)s::timestamptz IS NULL OR ts >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR ts < %(until)s)
  AND (%(after_ts)s::timestamptz IS NULL
       OR (ts, device_id, boot, seq) < (%(after_ts)s, %(after_device)s, %(after_boot)s, %(after_seq)s::bigint))
ORDER BY ts DESC, boot DESC, seq DESC LIMIT %(limit)s

-- name: page_of_letters
-- Newest first, without payloads. Through a tenant's door these are its own; through the operator's those of `tenant`,
-- or all.
SELECT tenant_id, id, received_at, source, topic, thing, reason, detail, octet_length(payload) AS size, replayed_at
FROM dead_letter
WHERE (%(tenant)s::text IS NULL OR tenant_id = %(tenant)s)
  AND (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(thing)s::text IS NULL OR thing = %(thing)s)
  AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR received_at < %(until)s)
  AND (%(replayed)s::boolean IS NULL OR (replayed_at IS NOT NULL) = %(replayed)s)
  AND (%(after_at)s::timestamptz IS NULL OR (received_at, id) < (%(after_at)s, %(after_id)s::bigint))
ORDER BY received_at DESC, id DESC LIMIT %(limit)s

-- name: open_letter_ids
-- Those not replayed yet, oldest first.
SELECT id FROM dead_letter
WHERE source = 'mqtt' AND reason = %(reason)s AND replayed_at IS NULL
  AND (%(tenant)s::text IS NULL OR tenant_id = %(tenant)s)
ORDER BY id LIMIT %(limit)s
