-- == Sites, routes, trips ==
-- Written by the package eta alone: by people through its TripService, by positions through its live worker, both in one
-- transaction with the news (TripChanged, StopChanged in the outbox).
-- A tenant's own `code` names a site, route or trip in its imports and on its command line; ids are ours.

-- Where trucks are expected. Never deleted, only archived: trips of the past name it.
CREATE TABLE site (
    tenant_id   text COLLATE "C" NOT NULL REFERENCES tenant,
    site_id     text COLLATE "C" NOT NULL CHECK (site_id ~ '^site_[0-9a-z]{8,40}$'),
    code        text COLLATE "C" CHECK (code ~ '^[A-Za-z0-9_.-]{1,64}$'),
    name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    kind        text NOT NULL CHECK (kind IN ('farm', 'depot', 'warehouse', 'other')),
    lat         double precision NOT NULL CHECK (lat BETWEEN -90 AND 90),
    lon         double precision NOT NULL CHECK (lon BETWEEN -180 AND 180),
    radius_m    double precision NOT NULL CHECK (radius_m BETWEEN 5 AND 5000),
    polygon     jsonb,                       -- [[lat, lon], ...]: its area instead of the circle, which then encloses it
    windows     jsonb NOT NULL DEFAULT '[]', -- [{"days": ["mon"], "from": "HH:MM", "to": "HH:MM"}], in `timezone`
    timezone    text NOT NULL,               -- IANA
    contacts    jsonb NOT NULL DEFAULT '[]', -- [{"name", "email", "phone"}]: personal data
    labels      jsonb NOT NULL DEFAULT '{}',
    is_archived boolean NOT NULL DEFAULT false,
    version     bigint NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, site_id),
    UNIQUE (tenant_id, code)
);

-- The plan that trips are made from. Changing it changes no trip that is there already.
CREATE TABLE route (
    tenant_id   text COLLATE "C" NOT NULL REFERENCES tenant,
    route_id    text COLLATE "C" NOT NULL CHECK (route_id ~ '^route_[0-9a-z]{8,40}$'),
    code        text COLLATE "C" CHECK (code ~ '^[A-Za-z0-9_.-]{1,64}$'),
    name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    weekdays    text[] NOT NULL DEFAULT '{}', -- mon ... sun: the days it makes a trip of its own accord
    starts_at   time,                         -- on the clock of `timezone`
    timezone    text NOT NULL,
    device_id   text COLLATE "C",             -- who drives it unless a trip says otherwise
    shape       jsonb,                        -- [[lat, lon], ...]: the road where the tenant knows it
    is_archived boolean NOT NULL DEFAULT false,
    version     bigint NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, route_id),
    UNIQUE (tenant_id, code),
    FOREIGN KEY (tenant_id, device_id) REFERENCES device
);
CREATE INDEX route_recurring ON route (tenant_id, route_id) WHERE weekdays <> '{}' AND NOT is_archived;

CREATE TABLE route_stop (
    tenant_id text COLLATE "C" NOT NULL,
    route_id  text COLLATE "C" NOT NULL,
    seq       int NOT NULL CHECK (seq > 0),
    site_id   text COLLATE "C" NOT NULL,
    after_s   int CHECK (after_s >= 0),      -- planned arrival, counted from the start; NULL: worked out from the distances
    service_s double precision CHECK (service_s >= 0),
    quantity  double precision CHECK (quantity >= 0),
    PRIMARY KEY (tenant_id, route_id, seq),
    FOREIGN KEY (tenant_id, route_id) REFERENCES route ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, site_id) REFERENCES site
);
CREATE INDEX route_stop_by_site ON route_stop (tenant_id, site_id);

CREATE TABLE trip (
    tenant_id     text COLLATE "C" NOT NULL REFERENCES tenant,
    trip_id       text COLLATE "C" NOT NULL CHECK (trip_id ~ '^trip_[0-9a-z]{8,40}$'),
    code          text COLLATE "C" CHECK (code ~ '^[A-Za-z0-9_.:-]{1,80}$'),
    route_id      text COLLATE "C",
    device_id     text COLLATE "C",
    day           date NOT NULL,          -- of its start, where it starts
    planned_start timestamptz,
    state         text NOT NULL CHECK (state IN ('planned', 'under_way', 'done', 'abandoned')),
    is_recurring  boolean NOT NULL,       -- the one trip its route has on that day by plan
    started_at    timestamptz,
    handed_over_at timestamptz,           -- when its device got it, where it got it on the way
    ended_at      timestamptz,
    reason        text NOT NULL DEFAULT '',  -- why it was abandoned
    version       bigint NOT NULL,        -- counts every change of the trip or one of its stops: the ETag
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, trip_id),
    UNIQUE (tenant_id, code),
    FOREIGN KEY (tenant_id, route_id) REFERENCES route,
    FOREIGN KEY (tenant_id, device_id) REFERENCES device,
    CHECK (state <> 'under_way' OR device_id IS NOT NULL)
) WITH (fillfactor = 80);
-- The trips of a day; its id is made of the time, so the second column is also the order in which they were planned.
CREATE INDEX trip_by_day ON trip (tenant_id, day, trip_id);
-- The trip of a device now: there is at most one, whoever starts it.
CREATE UNIQUE INDEX trip_under_way ON trip (tenant_id, device_id) WHERE state = 'under_way';
CREATE INDEX trip_waiting ON trip (tenant_id, device_id, planned_start) WHERE state = 'planned';
CREATE INDEX trip_by_device ON trip (tenant_id, device_id, day);
CREATE UNIQUE INDEX trip_by_plan ON trip (tenant_id, route_id, day) WHERE is_recurring;
CREATE INDEX trip_by_route ON trip (tenant_id, route_id, day);

-- A stop keeps the name and place its site had when the trip was made.
CREATE TABLE trip_stop (
    tenant_id   text COLLATE "C" NOT NULL,
    trip_id     text COLLATE "C" NOT NULL,
    stop_id     text COLLATE "C" NOT NULL CHECK (stop_id ~ '^stop_[0-9a-z]{8,40}$'),
    seq         int NOT NULL CHECK (seq > 0),  -- the order in which they are to be driven
    site_id     text COLLATE "C" NOT NULL,
    name        text NOT NULL,
    lat         double precision NOT NULL,
    lon         double precision NOT NULL,
    radius_m    double precision NOT NULL,
    polygon     jsonb,
    planned_at  timestamptz,
    service_s   double precision,
    quantity    double precision,
    state       text NOT NULL CHECK (state IN ('planned', 'arrived', 'served', 'skipped')),
    is_settled  boolean NOT NULL DEFAULT false,  -- a person said its state: positions leave it alone
    arrived_at  timestamptz,
    departed_at timestamptz,
    PRIMARY KEY (tenant_id, trip_id, stop_id),
    FOREIGN KEY (tenant_id, trip_id) REFERENCES trip ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, site_id) REFERENCES site
) WITH (fillfactor = 80);
CREATE INDEX trip_stop_in_order ON trip_stop (tenant_id, trip_id, seq);
-- The trips that serve a site; those that still have it ahead are few.
CREATE INDEX trip_stop_by_site ON trip_stop (tenant_id, site_id, trip_id);
CREATE INDEX trip_stop_ahead ON trip_stop (tenant_id, site_id) WHERE state = 'planned';

GRANT SELECT, INSERT, UPDATE ON site, route, trip TO milkrun_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON route_stop, trip_stop TO milkrun_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON site, route, route_stop, trip, trip_stop TO milkrun_operator;

-- == State of running trips, what was learned, estimates ==
-- Written by the live worker of the package eta. A running trip's progress is kept nowhere: it follows from its fixes.

-- The newest arrival times of a trip, and how far its alerts have come: what another worker goes on with.
CREATE TABLE trip_estimate (
    tenant_id   text COLLATE "C" NOT NULL,
    trip_id     text COLLATE "C" NOT NULL,
    device_id   text COLLATE "C" NOT NULL,
    made_at     timestamptz NOT NULL,
    fix_at      timestamptz NOT NULL,     -- of the newest fix behind it
    lat         double precision NOT NULL,
    lon         double precision NOT NULL,
    method      text NOT NULL,
    reason      text NOT NULL,
    is_on_route boolean NOT NULL,
    progress_m  double precision NOT NULL,
    length_m    double precision NOT NULL,
    source      text NOT NULL,            -- of the road it is followed on: shape, learned, stops
    arrivals    jsonb NOT NULL,           -- [{"stop", "site", "eta", "p10", "p50", "p90"}], epoch ms
    alerts      jsonb NOT NULL,           -- by stop: what eta.alerts remembers of it
    PRIMARY KEY (tenant_id, trip_id),
    FOREIGN KEY (tenant_id, trip_id) REFERENCES trip ON DELETE CASCADE
) WITH (fillfactor = 50);  -- room for updates in place: it is rewritten every few seconds

-- Who waits at a stop is told each of these once: the key decides between two workers who both find it due.
CREATE TABLE trip_alert (
    tenant_id text COLLATE "C" NOT NULL,
    alert_id  text COLLATE "C" NOT NULL CHECK (alert_id ~ '^alert_[0-9a-z]{8,40}$'),
    trip_id   text COLLATE "C" NOT NULL,
    stop_id   text COLLATE "C" NOT NULL,
    site_id   text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    kind      text NOT NULL CHECK (kind IN ('10min', '5min', 'delayed', 'started', 'arrived', 'skipped', 'missed')),
    at        timestamptz NOT NULL,  -- of the fix that made it due
    eta       timestamptz,           -- what was told; NULL where there is nothing to expect
    raised_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, alert_id),
    UNIQUE (tenant_id, trip_id, stop_id, kind),
    FOREIGN KEY (tenant_id, trip_id) REFERENCES trip ON DELETE CASCADE
);
CREATE INDEX trip_alert_by_time ON trip_alert (tenant_id, raised_at DESC, alert_id DESC);
CREATE INDEX trip_alert_by_site ON trip_alert (tenant_id, site_id, raised_at DESC);

-- The road a trip is followed on, drawn once and again when the trip has left it. Gone some days after the trip.
CREATE TABLE trip_road (
    tenant_id text COLLATE "C" NOT NULL,
    trip_id   text COLLATE "C" NOT NULL,
    drawn_at  timestamptz NOT NULL,
    times     int NOT NULL,      -- how often it was drawn
    stops     text[] NOT NULL,   -- the stops it was drawn for, in order: another order needs another road
    source    text NOT NULL,     -- route: the tenant's own; else the routing engine
    points    jsonb NOT NULL,    -- [[lat, lon], ...]; empty where no engine knew a road
    seconds   jsonb NOT NULL,    -- driving seconds to each point, as the engine told; empty where none did
    guessed   int[] NOT NULL DEFAULT '{}',  -- n: from point n to the next there is no road on the map, only a straight line
    PRIMARY KEY (tenant_id, trip_id),
    FOREIGN KEY (tenant_id, trip_id) REFERENCES trip ON DELETE CASCADE
);
CREATE INDEX trip_road_by_time ON trip_road (drawn_at);

-- What each finished trip taught; a worker's knowledge of a tenant is the sum of these, in this order.
CREATE TABLE trip_lesson (
    tenant_id text COLLATE "C" NOT NULL,
    lesson_id bigint GENERATED ALWAYS AS IDENTITY,
    trip_id   text COLLATE "C" NOT NULL,
    route_id  text COLLATE "C" NOT NULL DEFAULT '',
    lesson    bytea NOT NULL,       -- MessagePack: durations of cells, start, errors of the estimates; empty once forgotten
    learned_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, lesson_id),
    UNIQUE (tenant_id, trip_id),
    FOREIGN KEY (tenant_id, trip_id) REFERENCES trip ON DELETE CASCADE
);
CREATE INDEX trip_lesson_by_route ON trip_lesson (tenant_id, route_id, lesson_id);

-- The best known road between two sites that follow each other, as a trip drove it.
CREATE TABLE leg_road (
    tenant_id text COLLATE "C" NOT NULL,
    from_site text COLLATE "C" NOT NULL,
    to_site   text COLLATE "C" NOT NULL,
    lesson_id bigint NOT NULL,      -- the lesson that showed it
    spacing_m double precision NOT NULL,
    points    jsonb NOT NULL,       -- [[lat, lon], ...]
    PRIMARY KEY (tenant_id, from_site, to_site),
    FOREIGN KEY (tenant_id, from_site) REFERENCES site,
    FOREIGN KEY (tenant_id, to_site) REFERENCES site
);
CREATE INDEX leg_road_by_lesson ON leg_road (tenant_id, lesson_id);

-- Trips that ended and did not teach yet, and those a worker follows, are found by these.
CREATE INDEX trip_ended ON trip (ended_at) WHERE state = 'done';
CREATE INDEX trip_changes ON trip (updated_at);

GRANT SELECT, INSERT, UPDATE ON trip_estimate, trip_road, leg_road TO milkrun_app;
GRANT SELECT, INSERT, UPDATE ON trip_lesson TO milkrun_app;
GRANT SELECT, INSERT ON trip_alert TO milkrun_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON trip_estimate, trip_alert, trip_road, trip_lesson, leg_road TO milkrun_operator;

-- == Map calls, snapshots, accuracy ==
-- Written by the package eta: eta/routing asks the engines, eta/accuracy judges what was said.

-- Legs of road that may be kept, by their ends in hundred-thousandths of a degree (a metre). Never of an engine whose
-- terms forbid keeping.
CREATE TABLE map_leg (
    tenant_id text COLLATE "C" NOT NULL REFERENCES tenant,
    start_lat int NOT NULL,
    start_lon int NOT NULL,
    end_lat   int NOT NULL,
    end_lon   int NOT NULL,
    engine    text COLLATE "C" NOT NULL CHECK (engine IN ('osrm-local', 'osrm-http')),
    edition   text COLLATE "C" NOT NULL,  -- which map and version answered
    road      bytea NOT NULL,             -- MessagePack: points, and length and time at each of them
    made_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, start_lat, start_lon, end_lat, end_lon, engine)
);
CREATE INDEX map_leg_by_age ON map_leg (made_at);

-- Calls taken from the budgets, before they are made: a crash may lose a call, never spend one twice.
CREATE TABLE map_spend (
    tenant_id text COLLATE "C" NOT NULL REFERENCES tenant,
    account   text COLLATE "C" NOT NULL,  -- "trip:<id>" or "day:<date>"
    is_paid   boolean NOT NULL,
    day       date NOT NULL,              -- of the first call
    calls     int NOT NULL,
    PRIMARY KEY (tenant_id, account, is_paid)
) WITH (fillfactor = 70);
CREATE INDEX map_spend_by_day ON map_spend (day);

-- The paid calls of all tenants together: what the operator's own account is charged.
CREATE TABLE map_total (
    day   date PRIMARY KEY,
    calls int NOT NULL
) WITH (fillfactor = 70);

-- What was asked and what came of it, counted for the report.
CREATE TABLE map_use (
    tenant_id text COLLATE "C" NOT NULL REFERENCES tenant,
    day       date NOT NULL,
    engine    text COLLATE "C" NOT NULL,
    purpose   text COLLATE "C" NOT NULL CHECK (purpose IN ('snapshot', 'reroute', 'traffic', 'nearest')),
    outcome   text COLLATE "C" NOT NULL,  -- ok, or the code of what went wrong
    calls     bigint NOT NULL,
    seconds   double precision NOT NULL,  -- all calls together
    PRIMARY KEY (tenant_id, day, engine, purpose, outcome)
) WITH (fillfactor = 70);

-- What was said of trips: a sample each half minute, of the stops expected within 45 minutes. Deleted some days on.
CREATE TABLE eta_said (
    tenant_id text COLLATE "C" NOT NULL,
    trip_id   text COLLATE "C" NOT NULL,
    made_at   timestamptz NOT NULL,
    method    text NOT NULL,
    stops     text[] NOT NULL,
    etas      int[] NOT NULL,  -- per stop, seconds after made_at
    p10s      int[] NOT NULL,
    p90s      int[] NOT NULL,
    PRIMARY KEY (tenant_id, trip_id, made_at),
    FOREIGN KEY (tenant_id, trip_id) REFERENCES trip ON DELETE CASCADE
);
CREATE INDEX eta_said_by_time ON eta_said (made_at);

-- How right it was, one row for each finished trip, in sums that add up over trips and days.
CREATE TABLE eta_judged (
    tenant_id text COLLATE "C" NOT NULL,
    trip_id   text COLLATE "C" NOT NULL,
    day       date NOT NULL,
    route_id  text COLLATE "C" NOT NULL,  -- empty for a trip without one
    sums      jsonb NOT NULL,             -- eta.accuracy.tally.Tally
    judged_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, trip_id),
    FOREIGN KEY (tenant_id, trip_id) REFERENCES trip ON DELETE CASCADE
);
CREATE INDEX eta_judged_by_day ON eta_judged (tenant_id, day, route_id);

GRANT SELECT ON map_use, eta_judged TO milkrun_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON map_leg, map_spend, map_total, map_use, eta_said, eta_judged TO milkrun_operator;

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['site', 'route', 'route_stop', 'trip', 'trip_stop',
                             'trip_estimate', 'trip_alert', 'trip_road', 'trip_lesson', 'leg_road',
                             'map_leg', 'map_spend', 'map_use', 'eta_said', 'eta_judged'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own_tenant ON %I TO milkrun_app USING (tenant_id = (SELECT current_tenant()))
                        WITH CHECK (tenant_id = (SELECT current_tenant()))', t);
        -- The live worker follows every tenant's trips, and each day's trips are made for all of them.
        EXECUTE format('CREATE POLICY every_tenant ON %I TO milkrun_ingest, milkrun_operator USING (true)
                        WITH CHECK (true)', t);
    END LOOP;
END $$;
