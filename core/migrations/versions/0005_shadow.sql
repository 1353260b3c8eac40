-- A device's shadows: the classic one has the empty name. A deleted shadow keeps its row for its version, which goes on.
-- json and not jsonb: jsonb writes 1e300 out in full, which makes a document larger than the device sent it.
CREATE TABLE shadow (
    tenant_id  text COLLATE "C" NOT NULL,
    device_id  text COLLATE "C" NOT NULL,
    name       text COLLATE "C" NOT NULL CHECK (name ~ '^[$a-zA-Z0-9:_-]{0,64}$'),
    version    bigint NOT NULL CHECK (version > 0),
    is_deleted boolean NOT NULL,
    desired    json NOT NULL,
    reported   json NOT NULL,
    stamps     json NOT NULL,     -- when each leaf of the two was set, epoch seconds
    recent     bigint[] NOT NULL, -- marks of the last requests that changed it: one delivered again is recognised
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, device_id, name),
    FOREIGN KEY (tenant_id, device_id) REFERENCES device
) WITH (fillfactor = 50);  -- room for updates in place: it is rewritten with every change

ALTER TABLE shadow ENABLE ROW LEVEL SECURITY;
ALTER TABLE shadow FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON shadow TO milkrun_app USING (tenant_id = (SELECT current_tenant()))
    WITH CHECK (tenant_id = (SELECT current_tenant()));
CREATE POLICY every_tenant ON shadow TO milkrun_ingest, milkrun_operator USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE ON shadow TO milkrun_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON shadow TO milkrun_operator;
