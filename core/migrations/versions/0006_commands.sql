-- Templates: what may be sent to devices, with typed parameters.
CREATE TABLE command_template (
    tenant_id      text COLLATE "C" NOT NULL REFERENCES tenant,
    template_id    text COLLATE "C" NOT NULL CHECK (template_id ~ '^[A-Za-z0-9_-]{1,64}$'),
    description    text NOT NULL,
    format         text NOT NULL CHECK (format IN ('json', 'cbor')),
    parameters     json NOT NULL,
    dangerous      boolean NOT NULL,
    needs_approval boolean NOT NULL,
    timeout_s      int NOT NULL,
    expires_s      int NOT NULL,
    retries        int NOT NULL,
    ordering       text NOT NULL CHECK (ordering IN ('after_end', 'after_delivery', 'any')),
    is_deprecated  boolean NOT NULL DEFAULT false,
    version        bigint NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, template_id)
);

-- One template to many devices, at a rate.
CREATE TABLE command_batch (
    tenant_id       text COLLATE "C" NOT NULL REFERENCES tenant,
    batch_id        text COLLATE "C" NOT NULL,
    template_id     text COLLATE "C" NOT NULL,
    parameters      json NOT NULL,
    target          json NOT NULL,  -- devices, labels or filter, as it was asked for
    note            text NOT NULL,
    rate_per_minute double precision,
    total           int NOT NULL,
    free_at         timestamptz NOT NULL,  -- the next of them may be sent then
    token           text COLLATE "C",
    digest          text COLLATE "C" NOT NULL,
    sender          json NOT NULL,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, batch_id),
    FOREIGN KEY (tenant_id, template_id) REFERENCES command_template
);
CREATE UNIQUE INDEX command_batch_token ON command_batch (tenant_id, token) WHERE token IS NOT NULL;

-- The order in which a device gets its commands.
CREATE SEQUENCE command_place;

-- One command on one device.
CREATE TABLE command (
    tenant_id    text COLLATE "C" NOT NULL,
    command_id   text COLLATE "C" NOT NULL,
    device_id    text COLLATE "C" NOT NULL,
    template_id  text COLLATE "C" NOT NULL,
    batch_id     text COLLATE "C",
    state        text COLLATE "C" NOT NULL,
    ordering     text NOT NULL,
    place        bigint NOT NULL,  -- 0 while it awaits approval
    terms        json NOT NULL,
    sender       json NOT NULL,
    approver     json,
    token        text COLLATE "C",
    digest       text COLLATE "C",
    attempts     int NOT NULL,
    retried      int NOT NULL,
    misses       int NOT NULL,
    is_late      boolean NOT NULL,
    version      bigint NOT NULL,
    reason_code  text NOT NULL,
    reason       text NOT NULL,
    result       json NOT NULL,
    history      json NOT NULL,
    created_at   timestamptz NOT NULL,
    approved_at  timestamptz,
    expires_at   timestamptz NOT NULL,
    due_at       timestamptz NOT NULL,  -- not sent before
    lapses_at    timestamptz NOT NULL,  -- its present state ends then by itself
    tried_at     timestamptz,
    sent_at      timestamptz,
    delivered_at timestamptz,
    ended_at     timestamptz,
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, command_id),
    FOREIGN KEY (tenant_id, device_id) REFERENCES device,
    FOREIGN KEY (tenant_id, template_id) REFERENCES command_template,
    FOREIGN KEY (tenant_id, batch_id) REFERENCES command_batch
) WITH (fillfactor = 60);
CREATE UNIQUE INDEX command_token ON command (tenant_id, token) WHERE token IS NOT NULL;
CREATE INDEX command_by_device ON command (tenant_id, device_id, command_id DESC);
CREATE INDEX command_by_batch ON command (tenant_id, batch_id, state) WHERE batch_id IS NOT NULL;
CREATE INDEX command_by_state ON command (tenant_id, state, command_id DESC);
CREATE INDEX command_queue ON command (tenant_id, device_id, place) WHERE ended_at IS NULL;
CREATE INDEX command_timers ON command (tenant_id, device_id, lapses_at) WHERE ended_at IS NULL;
CREATE INDEX command_kept ON command (ended_at) WHERE ended_at IS NOT NULL;

-- A device's queue. Whoever changes one of its open commands holds this row, so that order holds over any number of
-- workers; `due_at` is the queue's next timer, and so timers outlive every process.
CREATE TABLE command_lane (
    tenant_id  text COLLATE "C" NOT NULL,
    device_id  text COLLATE "C" NOT NULL,
    due_at     timestamptz,  -- NULL: nothing is open
    waits      boolean NOT NULL DEFAULT false,  -- for the device to connect
    seen_since timestamptz,  -- since when it was connected when the queue was last looked at
    PRIMARY KEY (tenant_id, device_id),
    FOREIGN KEY (tenant_id, device_id) REFERENCES device
) WITH (fillfactor = 60);
CREATE INDEX command_lane_due ON command_lane (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX command_lane_waits ON command_lane (tenant_id, device_id) WHERE waits;

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['command_template', 'command_batch', 'command', 'command_lane'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own_tenant ON %I TO milkrun_app USING (tenant_id = (SELECT current_tenant()))
                        WITH CHECK (tenant_id = (SELECT current_tenant()))', t);
        EXECUTE format('CREATE POLICY every_tenant ON %I TO milkrun_ingest, milkrun_operator USING (true)
                        WITH CHECK (true)', t);
    END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE ON command_template, command_batch, command, command_lane TO milkrun_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON command_template, command_batch, command, command_lane TO milkrun_operator;
GRANT USAGE ON SEQUENCE command_place TO milkrun_app, milkrun_operator;

-- --- presence over time ------------------------------------------------------------------------------------------
-- One row a turn: from `since` on the device was online, or not, for `reason`, until the next version. What ends a span
-- is read off the next row, so that rows may come in any order.
CREATE TABLE presence_span (
    tenant_id text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    version   bigint NOT NULL,
    online    boolean NOT NULL,
    since     timestamptz NOT NULL,
    reason    text,  -- why it went; null while online
    PRIMARY KEY (tenant_id, device_id, version),
    FOREIGN KEY (tenant_id, device_id) REFERENCES device
);
CREATE INDEX presence_span_by_time ON presence_span (tenant_id, device_id, since);

-- With AWS IoT Core as the broker: the newest event taken in, and whose grace runs. A local broker's log can be read
-- again; events cannot.
ALTER TABLE presence ADD COLUMN source_version bigint, ADD COLUMN source_at timestamptz,
    ADD COLUMN leaving_at timestamptz, ADD COLUMN leaving_due timestamptz, ADD COLUMN leaving_reason text;

ALTER TABLE presence_span ENABLE ROW LEVEL SECURITY;
ALTER TABLE presence_span FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON presence_span TO milkrun_app USING (tenant_id = (SELECT current_tenant()))
    WITH CHECK (tenant_id = (SELECT current_tenant()));
CREATE POLICY every_tenant ON presence_span TO milkrun_ingest, milkrun_operator USING (true) WITH CHECK (true);

GRANT SELECT ON presence_span TO milkrun_app;
GRANT SELECT, INSERT, DELETE ON presence_span TO milkrun_operator;
