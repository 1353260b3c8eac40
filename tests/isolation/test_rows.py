"""The app role against every table, view, partition and chunk: with no tenant, with its own, and with a foreign one."""

import contextlib

import psycopg
import pytest
from psycopg import sql

from core.migrate import has_timescale
from tests.conftest import DatabaseUrls
from tests.isolation import catalog
from tests.isolation.conftest import fill

pytestmark = pytest.mark.db

ACME, GLOBEX = catalog.TENANTS
READABLE = {
    *("tenant", "device", "certificate", "device_state", "presence", "device_event", "dead_letter", "device_seen"),
    *("presence_span", "shadow", "shadow_leaf", "device_label"),
    *("command_template", "command_batch", "command", "command_lane"),
    *("recipient", "subscription", "push_token", "notice", "webhook", "webhook_secret", "delivery", "tracking_link"),
    *("site", "route", "route_stop", "trip", "trip_stop"),
    *("trip_estimate", "trip_alert", "trip_road", "trip_lesson", "leg_road"),
    *("map_use", "eta_judged"),
    *("user_account", "user_session", "api_client", "api_client_secret", "api_key", "audit_log", "idempotency"),
    *("positions", "metrics", "positions_1m", "positions_1h", "metrics_1m", "metrics_1h"),
}


@pytest.mark.parametrize("nobody", [None, "", " ", "%", "acme' OR 'a'='a", "ACME", "acme\n"])
def test_without_a_tenant_of_ours_every_relation_is_empty_or_denied(app, owner, nobody):
    if nobody is not None:
        be(app, nobody)
    seen = {name: tenants_in(app, name) for name in names(owner)}
    assert {name: rows for name, rows in seen.items() if rows} == {}


@pytest.mark.parametrize("tenant", [ACME, GLOBEX])
def test_a_tenant_sees_its_own_rows_in_every_readable_relation_and_nobody_elses_in_any(app, owner, tenant):
    be(app, tenant)
    seen = {name: tenants_in(app, name) for name in names(owner)}
    readable = {name.removeprefix("public."): rows for name, rows in seen.items() if rows is not None}
    assert readable == {name: {tenant} for name in READABLE}
    assert len(seen) > len(readable) + 6, "no partitions or chunks were tried"


def test_asking_for_a_foreign_tenant_by_name_gives_nothing(app):
    be(app, ACME)
    for name in READABLE:
        query = sql.SQL("SELECT count(*) FROM {} WHERE tenant_id = %s").format(sql.Identifier(name))
        assert app.execute(query, (GLOBEX,)).fetchone() == (0,)


def test_the_function_that_reads_metrics_with_the_owners_rights_gives_a_tenant_its_own_alone(app, owner):
    whose = dict(
        owner.execute("SELECT device_id, string_agg(DISTINCT tenant_id, ' ') FROM telemetry.metric GROUP BY 1")
    )
    assert set(" ".join(whose.values()).split()) == {ACME, GLOBEX}
    query = "SELECT count(*) FROM last_metrics(%s, '-infinity')"
    for tenant in (ACME, GLOBEX, "", "nobody"):
        be(app, tenant)
        for device, tenants in whose.items():
            assert (app.execute(query, (device,)).fetchone()[0] > 0) == (tenant in tenants.split()), (tenant, device)


def test_no_statement_of_a_tenant_inserts_changes_or_deletes_a_foreign_row(app, owner):
    before = fingerprints(owner)
    be(app, ACME)
    for name in names(owner):
        table = identifier(name)
        record = owner.execute(
            sql.SQL("SELECT to_json(t)::text FROM {} AS t WHERE tenant_id = {}").format(table, sql.Literal(GLOBEX))
        ).fetchone()
        statements = {
            "take over": sql.SQL("UPDATE {} SET tenant_id = {}").format(table, sql.Literal(GLOBEX)),
            "take in": sql.SQL("UPDATE {} SET tenant_id = {} WHERE tenant_id = {}").format(
                table, sql.Literal(ACME), sql.Literal(GLOBEX)
            ),
            "delete": sql.SQL("DELETE FROM {} WHERE tenant_id = {}").format(table, sql.Literal(GLOBEX)),
            "empty": sql.SQL("TRUNCATE {} CASCADE").format(table),
        }
        if record:
            columns = sql.SQL(", ").join(map(sql.Identifier, given_columns(owner, name)))
            statements["insert"] = sql.SQL(
                "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM json_populate_record(NULL::{}, {})"
            ).format(table, columns, columns, table, sql.Literal(record[0]))
        for what, statement in statements.items():
            assert changed(app, statement) in {None, 0}, f"{what} {name} went through"
    app.commit()
    assert fingerprints(owner) == before


def test_an_update_of_everything_touches_the_tenants_own_rows_alone(app, owner):
    be(app, ACME)
    assert changed(app, sql.SQL("UPDATE device SET type = 'van'")) == 2
    assert changed(app, sql.SQL("UPDATE certificate SET reason = 'x'")) == 1
    assert changed(app, sql.SQL("UPDATE dead_letter SET replayed_at = now()")) == 1


def test_a_leaking_predicate_learns_nothing_through_a_view_or_a_policy(app, filled):
    be(app, ACME)
    assert leaked(app, READABLE) == {ACME}


def test_the_leaking_predicate_does_leak_through_a_view_without_a_barrier(database: DatabaseUrls):
    with psycopg.connect(database.owner, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO telemetry.position SELECT now(), 1, 1, 1, now(), NULL, NULL, NULL, NULL, NULL, NULL,"
            " t, 'd', 'b' FROM unnest(ARRAY['acme', 'globex']) AS t"
        )
        conn.execute(
            "CREATE VIEW planted AS SELECT * FROM telemetry.position WHERE tenant_id = (SELECT current_tenant())"
        )
        conn.execute("GRANT SELECT ON planted TO milkrun_app")
    with psycopg.connect(database.app) as app:
        be(app, ACME)
        assert leaked(app, ["planted"]) == {ACME, GLOBEX}


@pytest.mark.parametrize(
    "trick",
    [
        "SET ROLE milkrun_ingest",
        "SET ROLE milkrun_operator",
        "SET ROLE pg_read_all_data",
        "SET SESSION AUTHORIZATION milkrun_ingest",
        "SET LOCAL row_security = off; SELECT * FROM device",
        "ALTER TABLE device DISABLE ROW LEVEL SECURITY",
        "ALTER ROLE milkrun_app BYPASSRLS",
        "GRANT milkrun_ingest TO milkrun_app",
        "ALTER VIEW positions RESET (security_barrier)",
        "CREATE OR REPLACE FUNCTION current_tenant() RETURNS text LANGUAGE sql AS $$ SELECT 'globex' $$",
        "CREATE POLICY p ON device USING (true)",
        "CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS $$ SELECT 'globex' $$",
        "CREATE TEMP TABLE mine (LIKE telemetry.position)",
        "CREATE TABLE mine () INHERITS (device)",
        "COPY telemetry.position TO STDOUT",
        "COPY device FROM STDIN",
        "COPY device TO PROGRAM 'cat'",
        "COPY device TO '/tmp/device'",
        "SELECT * FROM pg_statistic",
        "SELECT telemetry.apply_retention(1, 1, '{}', '{}')",
        "SELECT * FROM outbox",
        "SELECT password_hash FROM user_account",
        "SELECT secret_hash FROM api_client_secret",
        "SELECT secret_hash FROM api_key",
        "SELECT token_hash FROM user_session",
        "SELECT principal FROM live_ticket",
        "SELECT * FROM login_throttle",
        "UPDATE user_account SET email = 'eve@example.com'",
        "UPDATE api_key SET secret_hash = 'x'",
        "UPDATE audit_log SET actor_id = 'eve'",
        "DELETE FROM audit_log",
        "LOCK TABLE telemetry.position",
    ],
)
def test_tricks_to_become_more_are_refused(app, trick):
    be(app, ACME)
    with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.FeatureNotSupported)):
        app.execute(trick)


def test_a_function_of_the_same_name_in_front_of_the_search_path_does_not_replace_the_policys(app):
    be(app, ACME)
    app.execute("CREATE FUNCTION pg_temp.current_tenant() RETURNS text LANGUAGE sql AS $$ SELECT 'globex' $$")
    app.execute("SET LOCAL search_path = pg_temp, public")
    for name in READABLE:
        assert tenants_in(app, f"public.{name}") == {ACME}


def test_copy_out_gives_the_tenants_own_rows(app):
    be(app, ACME)
    with app.cursor().copy("COPY device (tenant_id) TO STDOUT") as copy:
        assert {row[0] for row in copy.rows()} == {ACME}


def test_statistics_show_no_foreign_values(app):
    be(app, ACME)
    found = app.execute("SELECT tablename, most_common_vals::text, histogram_bounds::text FROM pg_stats").fetchall()
    assert not [row for row in found if GLOBEX in str(row)]


def test_whoever_writes_sql_text_chooses_the_tenant_until_the_transaction_ends(app):
    """The limit of the design, stated: the role may set `app.tenant_id`, so no outside text becomes SQL, ever."""
    be(app, ACME)
    be(app, GLOBEX)
    assert tenants_in(app, "public.device") == {GLOBEX}
    app.commit()
    assert tenants_in(app, "public.device") == set()
    be(app, ACME)
    app.execute("RESET app.tenant_id")
    assert tenants_in(app, "public.device") == set()
    be(app, ACME)
    app.execute("RESET ROLE")
    assert app.execute("SELECT current_user").fetchone() == ("milkrun_app",)
    assert tenants_in(app, "public.device") == {ACME}


def test_keys_do_not_tell_whether_a_foreign_row_exists(app):
    insert = (
        "INSERT INTO certificate (tenant_id, device_id, serial, fingerprint, status, not_before, not_after)"
        " VALUES (%s, %s, %s, 'f', 'held', now(), now())"
    )
    device = "INSERT INTO device (tenant_id, device_id) VALUES (%s, %s)"
    be(app, ACME)
    assert refusal(app, device, (GLOBEX, "truck-1")) == refusal(app, device, (GLOBEX, "nobody"))
    assert refusal(app, insert, (GLOBEX, "truck-1", "02")) == refusal(app, insert, (GLOBEX, "truck-1", "ff"))
    # A foreign device is as unknown as one that does not exist, and a foreign serial is free.
    theirs = refusal(app, insert, (ACME, "only-globex", "aa"))
    assert theirs == refusal(app, insert, (ACME, "nowhere", "aa"))
    assert theirs is psycopg.errors.ForeignKeyViolation
    assert refusal(app, insert, (ACME, "truck-1", "02")) is None
    assert refusal(app, device, (ACME, "only-globex")) is None


def test_no_function_of_timescaledb_moves_a_row_for_the_app_role(app, owner, filled):
    if not has_timescale(filled.owner):
        pytest.skip("this server has no TimescaleDB; its functions are not there to be called")
    before, parts = (fingerprints(owner), all_chunks(owner)), chunks(owner)
    app.commit()
    app.autocommit = True
    app.execute("SET app.tenant_id = 'acme'")
    call_all(app, timescale_functions(owner), parts)
    assert (fingerprints(owner), all_chunks(owner)) == before


def test_for_their_owner_the_same_calls_do_move_rows(database: DatabaseUrls):
    if not has_timescale(database.owner):
        pytest.skip("this server has no TimescaleDB; its functions are not there to be called")
    fill(database.owner)
    with psycopg.connect(database.owner, autocommit=True) as conn:
        before = fingerprints(conn), all_chunks(conn)
        call_all(conn, timescale_functions(conn), chunks(conn))
        assert (fingerprints(conn), all_chunks(conn)) != before


# An argument of each kind, since a strict function does nothing when one is NULL.
ARGUMENTS = {
    **dict.fromkeys(("boolean",), "true"),
    **dict.fromkeys(("integer", "bigint", "smallint"), "1"),
    **dict.fromkeys(("text", "name"), "'ts'"),
    "interval": "interval '1 second'",
    '"any"': "interval '1 second'",
    "anyelement": "interval '1 second'",
    "timestamp with time zone": "now()",
    "jsonb": "'{}'::jsonb",
}


def timescale_functions(owner: psycopg.Connection) -> list[tuple[str, str, list[str], int]]:
    found = owner.execute(
        "SELECT p.oid::regproc::text, p.prokind::text, p.proargtypes::regtype[]::text[], p.pronargdefaults"
        " FROM pg_proc p"
        " JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e'"
        " JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'timescaledb'"
        " WHERE p.prokind IN ('f', 'p') AND 'regclass' = ANY (p.proargtypes::regtype[]::text[]) ORDER BY 1"
    ).fetchall()
    assert len(found) > 30
    return found


def call_all(conn: psycopg.Connection, functions, parts: tuple[str, str]) -> None:
    """Call each with all its arguments, and with none that has a default, on the table and on both kinds of chunk."""
    conn.execute("SET statement_timeout = '3s'")
    for name, kind, types, defaults in functions:
        for target in ("telemetry.position", *parts):
            values = [f"'{target}'::regclass" if t == "regclass" else ARGUMENTS.get(t, f"NULL::{t}") for t in types]
            for given in {len(values), len(values) - defaults}:
                verb = "CALL" if kind == "p" else "SELECT"
                with contextlib.suppress(psycopg.Error):
                    conn.execute(f"{verb} {name}({', '.join(values[:given])})")


def names(owner: psycopg.Connection) -> list[str]:
    return [str(relation["name"]) for relation in catalog.relations(owner)]


def identifier(name: str) -> sql.Identifier:
    return sql.Identifier(*name.split("."))


def be(conn: psycopg.Connection, tenant: str) -> None:
    conn.execute("SELECT set_config('app.tenant_id', %s, true)", (tenant,))


def tenants_in(conn: psycopg.Connection, name: str) -> set[str] | None:
    """Whose rows `conn` sees in a relation; None = denied."""
    try:
        with conn.transaction():
            rows = conn.execute(sql.SQL("SELECT DISTINCT tenant_id FROM {}").format(identifier(name)))
            return {row[0] for row in rows}
    except psycopg.errors.InsufficientPrivilege:
        return None


def given_columns(owner, name: str) -> list[str]:
    """Those that are not generated from others."""
    rows = owner.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
        " AND attgenerated = '' ORDER BY attnum",
        (name,),
    )
    return [row[0] for row in rows]


def changed(conn: psycopg.Connection, statement: sql.Composable) -> int | None:
    """Rows a statement touched; None = not allowed, or no such thing for a view. What it did is undone.

    Any other error is raised: a refusal by a key would not be one by the tenant's door.
    """
    try:
        with conn.transaction(force_rollback=True):
            return conn.execute(statement).rowcount
    except (
        psycopg.errors.InsufficientPrivilege,
        psycopg.errors.ObjectNotInPrerequisiteState,
        psycopg.errors.WrongObjectType,
        psycopg.errors.FeatureNotSupported,
    ):
        return None


def refusal(conn: psycopg.Connection, statement: str, params: tuple[object, ...]) -> type[Exception] | None:
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(statement, params)
    except psycopg.Error as error:
        return type(error)
    return None


def leaked(app: psycopg.Connection, relations) -> set[str]:
    """Tenants that a cheap predicate with a side effect got to see while it read `relations`."""
    heard: list[str] = []
    app.add_notice_handler(lambda notice: heard.append(notice.message_primary or ""))
    app.execute(
        "CREATE FUNCTION pg_temp.leak(v text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001"
        " AS $$ BEGIN RAISE NOTICE 'saw %', v; RETURN true; END $$"
    )
    for way in ("indexscan", "bitmapscan", "indexonlyscan"):
        app.execute(f"SET LOCAL enable_{way} = off")  # an index would filter by tenant before the predicate runs
    for name in relations:
        app.execute(sql.SQL("SELECT count(*) FROM {} WHERE pg_temp.leak(tenant_id)").format(sql.Identifier(name)))
    return {message.removeprefix("saw ") for message in heard}


def fingerprints(owner: psycopg.Connection) -> dict[str, object]:
    """Count and digest of all rows by tables that hold them (a chunk's rows are its hypertable's)."""
    found = {}
    for relation in catalog.relations(owner):
        if relation["kind"] in {"r", "p"} and not str(relation["schema"]).startswith("_timescaledb"):
            query = sql.SQL("SELECT count(*), sum(hashtext(t::text)) FROM {} AS t")
            name = str(relation["name"])
            found[name] = owner.execute(query.format(identifier(name))).fetchone()
    return found


def chunks(owner: psycopg.Connection) -> tuple[str, str]:
    """A chunk as rows and one as columns."""
    rows = all_chunks(owner)
    return next(n for n, columnar in rows if not columnar), next(n for n, columnar in rows if columnar)


def all_chunks(owner: psycopg.Connection) -> list[tuple[str, bool]]:
    return owner.execute(
        "SELECT chunk_schema || '.' || chunk_name, is_compressed FROM timescaledb_information.chunks"
        " WHERE hypertable_name = 'position' ORDER BY range_start"
    ).fetchall()
