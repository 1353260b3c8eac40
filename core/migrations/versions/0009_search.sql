-- What `where` in GET /v1/devices looks things up by (docs/adr/0025). Plain columns under b-trees and no jsonb under GIN:
-- beneath row level security an index serves leakproof operators only, which text's, float8's and int's are and @> is not.

-- A shadow's leaves, one row each, written with the shadow in its transaction; an array has a row for each distinct
-- element. No foreign key to the shadow: its check would cost every leaf a look-up, and the one writer writes both.
CREATE TABLE shadow_leaf (
    tenant_id text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    name      text COLLATE "C" NOT NULL,  -- of the shadow; empty: the classic one
    field     text COLLATE "C" NOT NULL,  -- section and path: reported, then each name after a character 1
    key       text COLLATE "C" NOT NULL,  -- the value: "text, #number, true, false, {} or []
    number    double precision,           -- the value where it is a number
    PRIMARY KEY (tenant_id, name, field, key, device_id),
    FOREIGN KEY (tenant_id, device_id) REFERENCES device ON DELETE CASCADE
);
CREATE INDEX shadow_leaf_number ON shadow_leaf (tenant_id, name, field, number, device_id) WHERE number IS NOT NULL;
-- A rare field is what is looked for: the planner must know that it is rare.
ALTER TABLE shadow_leaf ALTER COLUMN field SET STATISTICS 1000, ALTER COLUMN key SET STATISTICS 1000;

-- A device's labels, one row each, as the registry's column has them.
CREATE TABLE device_label (
    tenant_id text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    key       text COLLATE "C" NOT NULL,
    value     text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, key, value, device_id),
    FOREIGN KEY (tenant_id, device_id) REFERENCES device ON DELETE CASCADE
);

CREATE FUNCTION keep_device_labels() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM device_label l USING jsonb_each_text(OLD.labels) AS o
        WHERE l.tenant_id = OLD.tenant_id AND l.key = o.key AND l.value = o.value AND l.device_id = OLD.device_id;
    END IF;
    INSERT INTO device_label (tenant_id, device_id, key, value)
    SELECT NEW.tenant_id, NEW.device_id, n.key, n.value FROM jsonb_each_text(NEW.labels) AS n;
    RETURN NULL;
END $$;
CREATE TRIGGER device_labels_made AFTER INSERT ON device FOR EACH ROW WHEN (NEW.labels <> '{}')
    EXECUTE FUNCTION keep_device_labels();
CREATE TRIGGER device_labels_changed AFTER UPDATE OF labels ON device FOR EACH ROW
    WHEN (NEW.labels IS DISTINCT FROM OLD.labels) EXECUTE FUNCTION keep_device_labels();

ALTER TABLE device NO FORCE ROW LEVEL SECURITY;  -- so that the owner sees every tenant's, for this once
INSERT INTO device_label (tenant_id, device_id, key, value)
    SELECT d.tenant_id, d.device_id, l.key, l.value FROM device d, jsonb_each_text(d.labels) AS l;
ALTER TABLE device FORCE ROW LEVEL SECURITY;

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['shadow_leaf', 'device_label'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own_tenant ON %I TO milkrun_app USING (tenant_id = (SELECT current_tenant()))
                        WITH CHECK (tenant_id = (SELECT current_tenant()))', t);
        EXECUTE format('CREATE POLICY every_tenant ON %I TO milkrun_ingest, milkrun_operator USING (true)
                        WITH CHECK (true)', t);
        EXECUTE format('GRANT SELECT, INSERT, DELETE ON %I TO milkrun_app, milkrun_operator', t);
    END LOOP;
END $$;

-- A tenth of a degree, numbered row by row from the south: a fix moves on within it for kilometres, and only a new value
-- costs an index entry. An index on lat and lon would cost one with every batch of ingest.
ALTER TABLE device_state ADD COLUMN cell integer GENERATED ALWAYS AS
    ((floor((lat + 90) * 10) * 3600 + floor((lon + 180) * 10))::integer) STORED;
CREATE INDEX device_state_by_cell ON device_state (tenant_id, cell);

CREATE INDEX presence_by_state ON presence (tenant_id, online, since);
CREATE INDEX device_by_type ON device (tenant_id, type, device_id);
CREATE INDEX device_by_status ON device (tenant_id, status, device_id);
