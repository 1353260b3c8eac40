-- Telemetry lives in its own schema, where the app role has no rights at all: TimescaleDB refuses row level security
-- beside columnstore and continuous aggregates, and neither RLS nor grants on a parent guard a partition read directly.
CREATE SCHEMA telemetry;
GRANT USAGE ON SCHEMA telemetry TO milkrun_ingest;

-- Eight-byte columns first: no padding, 20 % less heap than the order a reader would choose.
CREATE TABLE telemetry.position (
    ts          timestamptz NOT NULL,
    seq         bigint NOT NULL,  -- the device's own count, or a negative digest of the content where it gave none
    lat         double precision NOT NULL,
    lon         double precision NOT NULL,
    received_at timestamptz NOT NULL,
    alt         real,
    speed       real,
    heading     real,
    acc         real,
    hdop        real,
    sats        smallint,
    tenant_id   text COLLATE "C" NOT NULL,
    device_id   text COLLATE "C" NOT NULL,
    boot        text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, device_id, ts, boot, seq)
) {partition};

CREATE TABLE telemetry.metric (
    ts          timestamptz NOT NULL,
    seq         bigint NOT NULL,
    received_at timestamptz NOT NULL,
    value       double precision,  -- numbers; booleans as 0 and 1
    text        text,              -- strings
    tenant_id   text COLLATE "C" NOT NULL,
    device_id   text COLLATE "C" NOT NULL,
    boot        text COLLATE "C" NOT NULL,
    name        text COLLATE "C" NOT NULL,
    CHECK ((value IS NULL) <> (text IS NULL)),
    PRIMARY KEY (tenant_id, device_id, name, ts, boot, seq)
) {partition};

GRANT SELECT, INSERT ON telemetry.position, telemetry.metric TO milkrun_ingest;
