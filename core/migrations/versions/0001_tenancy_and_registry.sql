-- Roles. The owner migrates; these serve. NOLOGIN here: whoever deploys gives each a login and a password.
DO $$
DECLARE r text;
BEGIN
    FOREACH r IN ARRAY ARRAY['milkrun_app', 'milkrun_ingest', 'milkrun_operator'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE', r);
        END IF;
    END LOOP;
END $$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO milkrun_app, milkrun_ingest, milkrun_operator;

-- The tenant of this transaction, or NULL. An empty string (a pooled connection that once had one) is no tenant.
CREATE FUNCTION current_tenant() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(current_setting('app.tenant_id', true), '') $$;

CREATE TABLE tenant (
    tenant_id      text COLLATE "C" PRIMARY KEY CHECK (tenant_id ~ '^[a-z0-9-]{2,32}$'),
    name           text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    retention_days int CHECK (retention_days > 0),  -- NULL: the deployment's setting
    created_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE device (
    tenant_id  text COLLATE "C" NOT NULL REFERENCES tenant,
    device_id  text COLLATE "C" NOT NULL CHECK (device_id ~ '^[A-Za-z0-9_-]{1,64}$'),
    status     text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'active', 'suspended', 'decommissioned')),
    type       text NOT NULL DEFAULT 'tracker' CHECK (length(type) BETWEEN 1 AND 64),
    labels     jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(labels) = 'object'),
    version    bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, device_id)
);
CREATE INDEX device_labels ON device USING gin (labels jsonb_path_ops);
CREATE INDEX device_changes ON device (updated_at);  -- ingest follows changes of state by it

CREATE TABLE certificate (
    tenant_id   text COLLATE "C" NOT NULL,
    device_id   text COLLATE "C" NOT NULL,
    serial      text COLLATE "C" NOT NULL CHECK (serial ~ '^[0-9a-f]+$'),
    fingerprint text NOT NULL,  -- SHA-256 of the DER, hex: AWS IoT's certificate id
    status      text NOT NULL CHECK (status IN ('active', 'superseded', 'held', 'revoked')),
    reason      text,           -- RFC 5280 reason while held or revoked
    not_before  timestamptz NOT NULL,
    not_after   timestamptz NOT NULL,
    issued_at   timestamptz NOT NULL DEFAULT now(),
    ended_at    timestamptz,    -- since when it is superseded, held or revoked
    overlap_ends_at timestamptz, -- once superseded: it is revoked then
    PRIMARY KEY (tenant_id, serial),
    FOREIGN KEY (tenant_id, device_id) REFERENCES device
);
CREATE INDEX certificate_by_device ON certificate (tenant_id, device_id);
-- One live certificate a device; a renewal supersedes the old one, which stays valid for the overlap.
CREATE UNIQUE INDEX certificate_one_active ON certificate (tenant_id, device_id) WHERE status = 'active';
CREATE INDEX certificate_barred ON certificate (status) WHERE status IN ('held', 'revoked');
CREATE INDEX certificate_overlapping ON certificate (overlap_ends_at) WHERE status IN ('superseded', 'held');
CREATE INDEX certificate_expiring ON certificate (not_after) WHERE status = 'active';

-- What ingest knows of a device: last position, last seen, and the ledger of sequence numbers it has made durable.
CREATE TABLE device_state (
    tenant_id    text COLLATE "C" NOT NULL,
    device_id    text COLLATE "C" NOT NULL,
    version      bigint NOT NULL DEFAULT 1,
    last_seen_at timestamptz NOT NULL,
    ts           timestamptz,  -- of the position below; it never moves back
    boot         text COLLATE "C",
    seq          bigint,
    lat          double precision,
    lon          double precision,
    alt          real,
    speed        real,
    heading      real,
    acc          real,
    ledger       bytea NOT NULL,
    PRIMARY KEY (tenant_id, device_id),
    FOREIGN KEY (tenant_id, device_id) REFERENCES device
) WITH (fillfactor = 50);  -- room for updates in place: it is rewritten with every batch

CREATE TABLE presence (
    tenant_id         text COLLATE "C" NOT NULL,
    device_id         text COLLATE "C" NOT NULL,
    online            boolean NOT NULL,
    since             timestamptz NOT NULL,
    session           text NOT NULL,
    ip_address        text,
    disconnect_reason text,
    version           bigint NOT NULL,
    PRIMARY KEY (tenant_id, device_id),
    FOREIGN KEY (tenant_id, device_id) REFERENCES device
) WITH (fillfactor = 70);

-- Discrete events a device reported on its event topic: a panic button, a door alarm.
CREATE TABLE device_event (
    tenant_id   text COLLATE "C" NOT NULL,
    device_id   text COLLATE "C" NOT NULL,
    ts          timestamptz NOT NULL,
    boot        text COLLATE "C" NOT NULL,
    seq         bigint NOT NULL,
    type        text NOT NULL,
    data        jsonb NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, device_id, ts, boot, seq),
    FOREIGN KEY (tenant_id, device_id) REFERENCES device
);

-- The registry's line with what others know of the device: when it was last heard of, and whether it is connected.
CREATE VIEW device_seen WITH (security_invoker = true) AS
    SELECT d.tenant_id, d.device_id, d.status, d.type, d.labels, d.version, d.created_at, d.updated_at,
           s.last_seen_at, coalesce(p.online, false) AS online
    FROM device d
        LEFT JOIN device_state s ON s.tenant_id = d.tenant_id AND s.device_id = d.device_id
        LEFT JOIN presence p ON p.tenant_id = d.tenant_id AND p.device_id = d.device_id;

-- Messages that were refused, kept whole. tenant_id is '!' where the topic named no tenant we know.
CREATE TABLE dead_letter (
    tenant_id   text COLLATE "C" NOT NULL,
    id          bigint GENERATED ALWAYS AS IDENTITY,
    received_at timestamptz NOT NULL DEFAULT now(),
    source      text NOT NULL,  -- mqtt, or the stream whose handler gave up
    topic       text NOT NULL,
    thing       text,
    reason      text NOT NULL,
    detail      text NOT NULL,
    payload     bytea NOT NULL,
    digest      bytea NOT NULL,  -- of topic and payload: a redelivered message is not kept twice
    replayed_at timestamptz,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX dead_letter_by_digest ON dead_letter (tenant_id, digest);
CREATE INDEX dead_letter_by_time ON dead_letter (tenant_id, received_at DESC, id DESC);

-- State and news share a transaction: entries is a MessagePack array of [stream, partition, event].
CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    due_at     timestamptz NOT NULL DEFAULT clock_timestamp(),  -- later where the writer announces its own first
    entries    bytea NOT NULL
);
ALTER TABLE outbox ALTER COLUMN entries SET STORAGE EXTERNAL;  -- compressing 25,000 events a second costs more than it saves

-- Row level security: tenant rows for the app role; every tenant for the two roles that need every tenant.
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['tenant', 'device', 'certificate', 'device_state', 'presence', 'device_event',
                             'dead_letter'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own_tenant ON %I TO milkrun_app USING (tenant_id = (SELECT current_tenant()))
                        WITH CHECK (tenant_id = (SELECT current_tenant()))', t);
        EXECUTE format('CREATE POLICY every_tenant ON %I TO milkrun_ingest, milkrun_operator USING (true)
                        WITH CHECK (true)', t);
    END LOOP;
END $$;

GRANT SELECT ON tenant, device_state, presence, device_seen, device_event, dead_letter TO milkrun_app;
GRANT SELECT ON device_seen TO milkrun_operator;
GRANT SELECT, INSERT, UPDATE ON device, certificate TO milkrun_app;
GRANT UPDATE (replayed_at) ON dead_letter TO milkrun_app;
GRANT INSERT ON outbox TO milkrun_app;

GRANT SELECT ON tenant, device, certificate, presence TO milkrun_ingest;
GRANT SELECT, INSERT, UPDATE ON device_state, presence TO milkrun_ingest;
GRANT SELECT, INSERT, DELETE ON device_event, dead_letter TO milkrun_ingest;
GRANT SELECT, INSERT, DELETE, UPDATE ON outbox TO milkrun_ingest;

GRANT SELECT, INSERT, UPDATE, DELETE ON tenant, device, certificate, device_state, presence, device_event,
    dead_letter, outbox TO milkrun_operator;
