-- Who is told what, what was told, and how it went on each way there. Written by the package notify alone.

-- People who are told. A user's id is his account's; who has no account is a recipient by himself, with push tokens.
-- Quiet hours are on the clock of `timezone`; NULL: that of the site a notice is about.
CREATE TABLE recipient (
    tenant_id    text COLLATE "C" NOT NULL REFERENCES tenant,
    recipient_id text COLLATE "C" NOT NULL CHECK (recipient_id ~ '^(usr|rcp)_[0-9a-z]{8,40}$'),
    name         text NOT NULL DEFAULT '' CHECK (length(name) <= 200),
    language     text NOT NULL DEFAULT 'en' CHECK (language IN ('en', 'de')),
    timezone     text,  -- IANA
    quiet_from   time,
    quiet_to     time,
    daily_cap    int CHECK (daily_cap BETWEEN 0 AND 1000),  -- pushes a day; NULL: the deployment's
    channels     text[] NOT NULL DEFAULT '{in_app,push}' CHECK (channels <@ '{in_app,push}'),
    version      bigint NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, recipient_id),
    CHECK ((quiet_from IS NULL) = (quiet_to IS NULL))
);

CREATE TABLE subscription (
    tenant_id       text COLLATE "C" NOT NULL,
    subscription_id text COLLATE "C" NOT NULL CHECK (subscription_id ~ '^sub_[0-9a-z]{8,40}$'),
    recipient_id    text COLLATE "C" NOT NULL,
    site_id         text COLLATE "C" NOT NULL,
    kinds           text[] NOT NULL,
    version         bigint NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, subscription_id),
    UNIQUE (tenant_id, recipient_id, site_id),
    FOREIGN KEY (tenant_id, recipient_id) REFERENCES recipient ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, site_id) REFERENCES site
);
CREATE INDEX subscription_by_site ON subscription (tenant_id, site_id);

-- An app's installation. Gone as soon as its push service says so.
CREATE TABLE push_token (
    tenant_id    text COLLATE "C" NOT NULL,
    token_id     text COLLATE "C" NOT NULL CHECK (token_id ~ '^ptk_[0-9a-z]{8,40}$'),
    recipient_id text COLLATE "C" NOT NULL,
    platform     text NOT NULL CHECK (platform IN ('fcm', 'apns')),
    token        text COLLATE "C" NOT NULL CHECK (length(token) BETWEEN 8 AND 4096),
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,  -- when the app last said it is there
    PRIMARY KEY (tenant_id, token_id),
    UNIQUE (tenant_id, platform, token),
    FOREIGN KEY (tenant_id, recipient_id) REFERENCES recipient ON DELETE CASCADE
);
CREATE INDEX push_token_by_recipient ON push_token (tenant_id, recipient_id);

-- What stands in an inbox. `notice_once` is the promise that an alert comes once, however often it is raised. What a
-- tenant's admins are told of its webhooks is about no trip: trip, stop, alert, site and device are empty.
CREATE TABLE notice (
    tenant_id    text COLLATE "C" NOT NULL,
    notice_id    text COLLATE "C" NOT NULL CHECK (notice_id ~ '^ntc_[0-9a-z]{8,40}$'),
    recipient_id text COLLATE "C" NOT NULL,
    trip_id      text COLLATE "C" NOT NULL,
    stop_id      text COLLATE "C" NOT NULL,
    kind         text NOT NULL,
    alert_id     text COLLATE "C" NOT NULL,
    site_id      text COLLATE "C" NOT NULL,
    device_id    text COLLATE "C" NOT NULL,
    title        text NOT NULL,
    body         text NOT NULL,
    eta          timestamptz,
    raised_at    timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,  -- afterwards it is no use to anybody, and is not sent
    held         text CHECK (held IN ('quiet', 'cap')),  -- why it was not pushed
    created_at   timestamptz NOT NULL,
    read_at      timestamptz,
    PRIMARY KEY (tenant_id, notice_id),
    FOREIGN KEY (tenant_id, recipient_id) REFERENCES recipient ON DELETE CASCADE
);
CREATE UNIQUE INDEX notice_once ON notice (tenant_id, trip_id, stop_id, recipient_id, kind) WHERE trip_id <> '';
CREATE INDEX notice_inbox ON notice (tenant_id, recipient_id, created_at DESC, notice_id DESC);
CREATE INDEX notice_unread ON notice (tenant_id, recipient_id) WHERE read_at IS NULL;
CREATE INDEX notice_by_alert ON notice (tenant_id, alert_id);
CREATE INDEX notice_by_age ON notice (created_at);

CREATE TABLE webhook (
    tenant_id       text COLLATE "C" NOT NULL REFERENCES tenant,
    webhook_id      text COLLATE "C" NOT NULL CHECK (webhook_id ~ '^whk_[0-9a-z]{8,40}$'),
    url             text NOT NULL CHECK (length(url) <= 2048),
    description     text NOT NULL DEFAULT '' CHECK (length(description) <= 200),
    kinds           text[] NOT NULL,
    status          text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled')),
    disabled_reason text NOT NULL DEFAULT '',
    failing_since   timestamptz,  -- of the first failure after the last success
    version         bigint NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, webhook_id)
);

-- What signs: one secret, or two while one takes over from the other. Sealed with a key that is in no database
-- (notify/webhooks/seal.py); the tenants' door writes and never reads it.
CREATE TABLE webhook_secret (
    tenant_id  text COLLATE "C" NOT NULL,
    webhook_id text COLLATE "C" NOT NULL,
    secret_id  text COLLATE "C" NOT NULL,
    sealed     bytea NOT NULL CHECK (length(sealed) BETWEEN 56 AND 96),
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (tenant_id, webhook_id, secret_id),
    FOREIGN KEY (tenant_id, webhook_id) REFERENCES webhook ON DELETE CASCADE
);

-- One message on its way to one target: a push token, or a webhook. next_at NULL: settled. A sender that takes it moves
-- next_at to the end of its lease, so that what a dead one held is due again by itself.
CREATE TABLE delivery (
    tenant_id   text COLLATE "C" NOT NULL,
    delivery_id text COLLATE "C" NOT NULL CHECK (delivery_id ~ '^dlv_[0-9a-z]{8,40}$'),
    channel     text NOT NULL CHECK (channel IN ('fcm', 'apns', 'webhook')),
    target_id   text COLLATE "C" NOT NULL,
    event_id    text COLLATE "C" NOT NULL,  -- what is told: the notice, or the message of a webhook
    alert_id    text COLLATE "C",           -- of what is told of an alert
    notice_id   text COLLATE "C",
    webhook_id  text COLLATE "C",
    kind        text NOT NULL,
    payload     text,                       -- of a webhook; a push is made of its notice
    state       text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'failed', 'sent', 'expired', 'dead')),
    attempts    int NOT NULL DEFAULT 0,
    next_at     timestamptz,
    expires_at  timestamptz,
    status      int,   -- HTTP, of the last attempt
    error       text,
    response    text,  -- its beginning
    history     jsonb NOT NULL DEFAULT '[]',
    created_at  timestamptz NOT NULL,
    settled_at  timestamptz,
    PRIMARY KEY (tenant_id, delivery_id),
    UNIQUE (tenant_id, target_id, event_id),
    FOREIGN KEY (tenant_id, notice_id) REFERENCES notice ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, webhook_id) REFERENCES webhook ON DELETE CASCADE,
    CHECK ((next_at IS NULL) = (state IN ('sent', 'expired', 'dead')))
) WITH (fillfactor = 70);
CREATE INDEX delivery_due ON delivery (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX delivery_of_webhook ON delivery (tenant_id, webhook_id, created_at DESC, delivery_id DESC);
CREATE INDEX delivery_of_alert ON delivery (tenant_id, alert_id);
CREATE INDEX delivery_of_notice ON delivery (tenant_id, notice_id);
CREATE INDEX delivery_by_age ON delivery (created_at);

-- A way for whoever has the link to see one stop of one trip. The token is signed and nowhere here.
CREATE TABLE tracking_link (
    tenant_id  text COLLATE "C" NOT NULL,
    link_id    text COLLATE "C" NOT NULL CHECK (link_id ~ '^lnk_[0-9a-z]{8,40}$'),
    trip_id    text COLLATE "C" NOT NULL,
    stop_id    text COLLATE "C" NOT NULL,
    note       text NOT NULL DEFAULT '' CHECK (length(note) <= 200),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, link_id),
    FOREIGN KEY (tenant_id, trip_id) REFERENCES trip ON DELETE CASCADE
);
CREATE INDEX tracking_link_by_trip ON tracking_link (tenant_id, trip_id, link_id);
CREATE INDEX tracking_link_by_end ON tracking_link (expires_at);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['recipient', 'subscription', 'push_token', 'notice', 'webhook', 'webhook_secret',
                             'delivery', 'tracking_link'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own_tenant ON %I TO milkrun_app USING (tenant_id = (SELECT current_tenant()))
                        WITH CHECK (tenant_id = (SELECT current_tenant()))', t);
        -- The senders work for every tenant.
        EXECUTE format('CREATE POLICY every_tenant ON %I TO milkrun_ingest, milkrun_operator USING (true)
                        WITH CHECK (true)', t);
    END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON recipient, subscription, push_token, notice, webhook, delivery, tracking_link
    TO milkrun_app;
GRANT SELECT (tenant_id, webhook_id, secret_id, created_at, expires_at), INSERT, DELETE, UPDATE (expires_at)
    ON webhook_secret TO milkrun_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON recipient, subscription, push_token, notice, webhook, webhook_secret, delivery,
    tracking_link TO milkrun_operator;
