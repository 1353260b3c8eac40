import psycopg
import pytest

from tests.conftest import DatabaseUrls
from tests.isolation import catalog

pytestmark = pytest.mark.db


def test_nothing_with_a_tenant_id_is_open_to_the_app_role_unless_it_is_held_to_the_tenant(owner):
    assert catalog.unprotected(owner) == []


def test_every_policy_of_the_app_role_is_the_tenant_comparison(owner):
    assert catalog.unpoliced(owner) == []


def test_every_unique_key_starts_with_the_tenant(owner):
    assert catalog.keys_not_starting_with_the_tenant(owner) == []


def test_every_foreign_key_carries_the_tenant(owner):
    assert catalog.foreign_keys_without_the_tenant(owner) == []


def test_the_catalog_holds_what_these_tests_are_about(owner):
    found = {relation["name"]: relation["kind"] for relation in catalog.relations(owner)}
    guarded = {"tenant", "device", "certificate", "device_state", "presence", "device_event", "dead_letter"}
    guarded |= {"user_account", "api_client", "api_client_secret", "api_key", "user_session", "audit_log"}
    guarded |= {"live_ticket", "idempotency", "shadow", "shadow_leaf", "device_label"}
    guarded |= {"recipient", "subscription", "push_token", "notice", "webhook", "webhook_secret", "delivery"}
    guarded |= {"tracking_link"}
    guarded |= {"site", "route", "route_stop", "trip", "trip_stop"}
    guarded |= {"trip_estimate", "trip_alert", "trip_road", "trip_lesson", "leg_road"}
    guarded |= {"map_leg", "map_spend", "map_use", "eta_said", "eta_judged"}
    guarded |= {"command_template", "command_batch", "command", "command_lane", "presence_span"}
    assert {f"public.{name}" for name in guarded} <= found.keys()
    parts = [name for name, kind in found.items() if kind == "r" and ("position_2" in name or "_chunk" in name)]
    assert len(parts) >= 6, "no partitions or chunks were made, so nothing about them is proven"


def test_the_app_role_has_no_right_at_all_in_the_telemetry_schema(owner):
    schema, functions = owner.execute(
        "SELECT has_schema_privilege('milkrun_app', 'telemetry', 'USAGE, CREATE'),"
        " (SELECT count(*) FROM pg_proc WHERE pronamespace = 'telemetry'::regnamespace"
        "  AND has_function_privilege('milkrun_app', oid, 'EXECUTE'))"
    ).fetchone()
    assert (schema, functions) == (False, 0)


def test_tables_without_a_tenant_give_the_app_role_nothing_but_the_outbox_to_write_to(owner):
    rows = owner.execute(
        "SELECT c.relname, p FROM pg_class c,"
        " unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS p"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"
        " AND has_table_privilege('milkrun_app', c.oid, p)"
        " AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id')"
    ).fetchall()
    assert rows == [("outbox", "INSERT")]


def test_the_serving_roles_are_nobody_special_and_own_nothing(owner):
    rows = owner.execute(
        "SELECT rolname, rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication,"
        " (SELECT count(*) FROM pg_auth_members m WHERE m.member = r.oid),"
        " (SELECT count(*) FROM pg_class c WHERE c.relowner = r.oid)"
        " FROM pg_roles r WHERE rolname IN ('milkrun_app', 'milkrun_ingest', 'milkrun_operator') ORDER BY 1"
    ).fetchall()
    assert rows == [(name, False, 0, 0) for name in ("milkrun_app", "milkrun_ingest", "milkrun_operator")]


# What the app role may run with the owner's rights, each for a reason and proven beside the views in test_rows.
DEFINERS = {
    "last_metrics": "steps through the key of telemetry.metric, which a view cannot be made to do; one tenant alone",
    "pending_minutes": "which minutes' rollups are behind: that somebody sent something then, never who or what",
}


def test_the_app_role_may_create_nothing_in_public_and_call_no_definer_function_but_those_named(owner):
    (create,) = owner.execute("SELECT has_schema_privilege('milkrun_app', 'public', 'CREATE')").fetchone()
    definers = owner.execute(
        "SELECT proname, proconfig FROM pg_proc WHERE prosecdef"
        " AND has_function_privilege('milkrun_app', oid, 'EXECUTE') AND pronamespace"
        " IN ('public'::regnamespace, 'telemetry'::regnamespace)"
    ).fetchall()
    assert not create
    assert {name for name, _ in definers} <= set(DEFINERS)
    assert "last_metrics" in {name for name, _ in definers}
    assert all(config == ["search_path=pg_catalog, pg_temp"] for _, config in definers)


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        ("CREATE TABLE planted (tenant_id text PRIMARY KEY)", catalog.unprotected),
        (
            "CREATE TABLE planted (tenant_id text PRIMARY KEY); ALTER TABLE planted ENABLE ROW LEVEL SECURITY",
            catalog.unprotected,
        ),
        ("GRANT SELECT ON telemetry.position TO milkrun_app", catalog.unprotected),
        (
            (
                "CREATE TABLE telemetry.planted (tenant_id text PRIMARY KEY);"
                "GRANT SELECT (tenant_id) ON telemetry.planted TO milkrun_app"
            ),
            catalog.unprotected,
        ),
        (
            "CREATE VIEW planted AS SELECT * FROM telemetry.position; GRANT SELECT ON planted TO milkrun_app",
            catalog.unprotected,
        ),
        ("DROP POLICY own_tenant ON device", catalog.unpoliced),
        ("ALTER POLICY own_tenant ON device USING (true)", catalog.unpoliced),
        ("CREATE POLICY planted ON device USING (true)", catalog.unpoliced),
        ("CREATE UNIQUE INDEX planted ON certificate (serial)", catalog.keys_not_starting_with_the_tenant),
        (
            (
                "CREATE UNIQUE INDEX once ON certificate (serial);"
                "CREATE TABLE planted (tenant_id text, serial text REFERENCES certificate (serial))"
            ),
            catalog.foreign_keys_without_the_tenant,
        ),
    ],
)
def test_a_planted_hole_is_found(database: DatabaseUrls, statement, check):
    with psycopg.connect(database.owner, autocommit=True) as conn:
        assert check(conn) == []
        conn.execute(statement)
        assert check(conn) != []
