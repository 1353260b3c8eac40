-- Accounts of people and programs. tenant_id is '!' for operators, who belong to no tenant; so it is no foreign key, and
-- whoever inserts looks first whether the tenant is there. E-mail addresses are unique within a tenant and not beyond:
-- a key across tenants would tell one of them whom another knows.
--
-- generation counts what makes earlier credentials void: a token, session or connection of an earlier one is refused.

CREATE TABLE user_account (
    tenant_id     text COLLATE "C" NOT NULL CHECK (tenant_id ~ '^(!|[a-z0-9-]{2,32})$'),
    user_id       text COLLATE "C" NOT NULL CHECK (user_id ~ '^usr_[0-9a-z]{8,40}$'),
    email         text COLLATE "C" NOT NULL CHECK (length(email) BETWEEN 3 AND 254),
    name          text NOT NULL CHECK (length(name) <= 200),
    role          text NOT NULL CHECK (role IN ('operator', 'tenant_admin', 'dispatcher', 'viewer', 'site')),
    sites         text[] NOT NULL DEFAULT '{}',
    status        text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled')),
    password_hash text NOT NULL,  -- argon2id, with its parameters
    failed_logins int NOT NULL DEFAULT 0,
    failed_at     timestamptz,
    locked_until  timestamptz,
    last_login_at timestamptz,
    generation    int NOT NULL DEFAULT 1,
    version       bigint NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, user_id),
    UNIQUE (tenant_id, email),
    CHECK ((role = 'operator') = (tenant_id = '!'))
);
CREATE INDEX user_account_by_email ON user_account (email);

CREATE TABLE api_client (
    tenant_id    text COLLATE "C" NOT NULL CHECK (tenant_id ~ '^(!|[a-z0-9-]{2,32})$'),
    client_id    text COLLATE "C" NOT NULL CHECK (client_id ~ '^[0-9A-Za-z_-]{1,64}$'),
    name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    role         text NOT NULL CHECK (role IN ('operator', 'tenant_admin', 'dispatcher', 'viewer', 'integration', 'site')),
    scopes       text[],  -- NULL: all that the role may
    sites        text[] NOT NULL DEFAULT '{}',
    status       text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled')),
    last_used_at timestamptz,
    generation   int NOT NULL DEFAULT 1,
    version      bigint NOT NULL DEFAULT 1,
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, client_id),
    CHECK ((role = 'operator') = (tenant_id = '!'))
);
CREATE INDEX api_client_by_id ON api_client (client_id);

-- A client has one secret, or two while one takes over from the other.
CREATE TABLE api_client_secret (
    tenant_id   text COLLATE "C" NOT NULL,
    client_id   text COLLATE "C" NOT NULL,
    secret_id   text COLLATE "C" NOT NULL,
    secret_hash bytea NOT NULL,   -- SHA-256; the secret is random, 256 bits
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz,
    PRIMARY KEY (tenant_id, client_id, secret_id),
    FOREIGN KEY (tenant_id, client_id) REFERENCES api_client ON DELETE CASCADE
);

CREATE TABLE api_key (
    tenant_id    text COLLATE "C" NOT NULL CHECK (tenant_id ~ '^[a-z0-9-]{2,32}$'),
    key_id       text COLLATE "C" NOT NULL CHECK (key_id ~ '^[0-9a-z]{8,40}$'),  -- the prefix in mk_{prefix}_{secret}
    name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    secret_hash  bytea NOT NULL,  -- SHA-256; the secret is random, 256 bits
    role         text NOT NULL CHECK (role IN ('tenant_admin', 'dispatcher', 'viewer', 'integration', 'site')),
    scopes       text[],
    sites        text[] NOT NULL DEFAULT '{}',
    status       text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled')),
    expires_at   timestamptz,
    last_used_at timestamptz,
    generation   int NOT NULL DEFAULT 1,
    version      bigint NOT NULL DEFAULT 1,
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, key_id)
);
CREATE INDEX api_key_by_id ON api_key (key_id);

CREATE TABLE user_session (
    tenant_id  text COLLATE "C" NOT NULL,
    token_hash bytea NOT NULL,  -- SHA-256 of the cookie; the CSRF token is derived from the cookie and stored nowhere
    user_id    text COLLATE "C" NOT NULL,
    generation int NOT NULL,
    created_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,  -- however busy it is
    ip         text,
    PRIMARY KEY (tenant_id, token_hash),
    FOREIGN KEY (tenant_id, user_id) REFERENCES user_account ON DELETE CASCADE
);
CREATE INDEX user_session_by_hash ON user_session (token_hash);
CREATE INDEX user_session_by_user ON user_session (tenant_id, user_id);
CREATE INDEX user_session_by_end ON user_session (expires_at);

-- Password attempts of one network address, as the time at which its allowance is whole again (GCRA).
CREATE TABLE login_throttle (
    source   text COLLATE "C" PRIMARY KEY,
    whole_at timestamptz NOT NULL
);
CREATE INDEX login_throttle_by_time ON login_throttle (whole_at);

-- Who changed what. No serving role can change or remove a row.
CREATE TABLE audit_log (
    tenant_id  text COLLATE "C" NOT NULL,
    id         bigint GENERATED ALWAYS AS IDENTITY,
    at         timestamptz NOT NULL,
    actor_kind text NOT NULL,  -- user, client, key, or cli
    actor_id   text COLLATE "C" NOT NULL,
    actor_name text NOT NULL,
    action     text COLLATE "C" NOT NULL,  -- user.created, device.suspended ...
    target     text COLLATE "C" NOT NULL,
    before     jsonb,
    after      jsonb,
    request_id text,
    ip         text,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX audit_log_by_time ON audit_log (tenant_id, at DESC, id DESC);
CREATE INDEX audit_log_by_actor ON audit_log (tenant_id, actor_id, id DESC);
CREATE INDEX audit_log_by_target ON audit_log (tenant_id, target, id DESC);

-- A short-lived right to open one live connection; used once, by DELETE ... RETURNING.
CREATE TABLE live_ticket (
    tenant_id   text COLLATE "C" NOT NULL,
    ticket_hash bytea NOT NULL,
    principal   jsonb NOT NULL,
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, ticket_hash)
);
CREATE INDEX live_ticket_by_hash ON live_ticket (ticket_hash);
CREATE INDEX live_ticket_by_end ON live_ticket (expires_at);

-- Requests that carried an Idempotency-Key, with their answers. status is NULL while the first of them is at work.
CREATE TABLE idempotency (
    tenant_id    text COLLATE "C" NOT NULL,
    actor        text COLLATE "C" NOT NULL,
    key          text COLLATE "C" NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    route        text NOT NULL,  -- POST /v1/devices
    request_hash bytea NOT NULL,
    status       smallint,
    headers      jsonb,
    response     bytea,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, actor, key)
);
CREATE INDEX idempotency_by_time ON idempotency (created_at);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['user_account', 'api_client', 'api_client_secret', 'api_key', 'user_session', 'audit_log',
                             'live_ticket', 'idempotency'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own_tenant ON %I TO milkrun_app USING (tenant_id = (SELECT current_tenant()))
                        WITH CHECK (tenant_id = (SELECT current_tenant()))', t);
        EXECUTE format('CREATE POLICY every_tenant ON %I TO milkrun_ingest, milkrun_operator USING (true)
                        WITH CHECK (true)', t);
    END LOOP;
END $$;

-- The tenant's door manages accounts and cannot read what proves them: hashes are written through it and never read.
GRANT SELECT (tenant_id, user_id, email, name, role, sites, status, failed_logins, locked_until, last_login_at,
              generation, version, created_at, updated_at) ON user_account TO milkrun_app;
GRANT INSERT (tenant_id, user_id, email, name, role, sites, status, password_hash, created_at, updated_at)
    ON user_account TO milkrun_app;
GRANT UPDATE (name, role, sites, status, password_hash, failed_logins, failed_at, locked_until, generation, version,
              updated_at) ON user_account TO milkrun_app;

GRANT SELECT ON api_client TO milkrun_app;
GRANT INSERT (tenant_id, client_id, name, role, scopes, sites, status, created_by, created_at, updated_at)
    ON api_client TO milkrun_app;
GRANT UPDATE (name, role, scopes, sites, status, generation, version, updated_at) ON api_client TO milkrun_app;
GRANT SELECT (tenant_id, client_id, secret_id, created_at, expires_at) ON api_client_secret TO milkrun_app;
GRANT INSERT, DELETE, UPDATE (expires_at) ON api_client_secret TO milkrun_app;

GRANT SELECT (tenant_id, key_id, name, role, scopes, sites, status, expires_at, last_used_at, generation, version,
              created_by, created_at, updated_at) ON api_key TO milkrun_app;
GRANT INSERT (tenant_id, key_id, name, secret_hash, role, scopes, sites, status, expires_at, created_by, created_at,
              updated_at) ON api_key TO milkrun_app;
GRANT UPDATE (name, role, scopes, sites, status, expires_at, generation, version, updated_at) ON api_key TO milkrun_app;

GRANT SELECT (tenant_id, user_id, generation, created_at, seen_at, expires_at, ip), DELETE ON user_session TO milkrun_app;
GRANT SELECT, INSERT ON audit_log TO milkrun_app;
GRANT INSERT ON live_ticket TO milkrun_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency TO milkrun_app;

GRANT SELECT, INSERT, UPDATE, DELETE ON user_account, api_client, api_client_secret, api_key, user_session,
    login_throttle, live_ticket, idempotency TO milkrun_operator;
GRANT SELECT, INSERT ON audit_log TO milkrun_operator;
