"""What the catalog says about tenant data. Each function returns violations as sentences; none is the good answer."""

import psycopg

TENANTS = ("acme", "globex")

_RELATIONS = """
SELECT n.nspname || '.' || c.relname AS name, n.nspname AS schema, c.relkind::text AS kind, c.oid,
       c.relrowsecurity AND c.relforcerowsecurity AS is_guarded,
       coalesce('security_barrier=true' = ANY (c.reloptions), false) AS is_barrier,
       coalesce('security_invoker=true' = ANY (c.reloptions), false) AS is_invoker
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'
  AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
ORDER BY 1
"""
_PRIVILEGES = "SELECT, INSERT, UPDATE, REFERENCES"
_POLICY = "(tenant_id = ( SELECT current_tenant() AS current_tenant))"


def relations(conn: psycopg.Connection) -> list[dict[str, object]]:
    """Every table, partition, chunk and view with a tenant_id, in every schema."""
    with conn.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        return cursor.execute(_RELATIONS).fetchall()


def unprotected(conn: psycopg.Connection) -> list[str]:
    """Relations with a tenant_id that the app role can touch though nothing holds it to its tenant."""
    found = []
    for relation in relations(conn):
        name = relation["name"]
        touches = conn.execute(
            "SELECT has_any_column_privilege('milkrun_app', %(oid)s::oid, %(any)s)"
            " OR has_table_privilege('milkrun_app', %(oid)s::oid, 'DELETE, TRUNCATE, TRIGGER')",
            {"oid": relation["oid"], "any": _PRIVILEGES},
        ).fetchone()
        is_view = relation["kind"] in {"v", "m"}
        if not touches[0]:
            if relation["schema"] == "public" and not is_view and not relation["is_guarded"]:
                found.append(f"{name} stands in public without forced row level security")
        elif is_view and not (relation["is_barrier"] or relation["is_invoker"]):
            found.append(f"{name} is a view without security_barrier or security_invoker")
        elif not is_view and not relation["is_guarded"]:
            found.append(f"{name} is open to milkrun_app without forced row level security")
    return found


def unpoliced(conn: psycopg.Connection) -> list[str]:
    """Tables under row level security whose policy for the app role is not the tenant comparison, or lacks one."""
    found = []
    for relation in relations(conn):
        if not relation["is_guarded"]:
            continue
        policies = conn.execute(
            "SELECT polname, ARRAY(SELECT rolname FROM pg_roles WHERE oid = ANY (polroles)) AS roles, polcmd::text,"
            " pg_get_expr(polqual, polrelid) AS using, pg_get_expr(polwithcheck, polrelid) AS check, polpermissive,"
            " 0 = ANY (polroles) FROM pg_policy WHERE polrelid = %s",
            (relation["oid"],),
        ).fetchall()
        for name, roles, command, using, check, _, is_public in policies:
            if is_public:
                found.append(f"{relation['name']}: policy {name} is for everyone")
            if "milkrun_app" in roles and (command, using, check) != ("*", _POLICY, _POLICY):
                found.append(f"{relation['name']}: policy {name} lets milkrun_app see {using}, write {check}")
        covered = {role for policy in policies for role in policy[1]}
        missing = {"milkrun_app", "milkrun_ingest", "milkrun_operator"} - covered
        if missing:
            found.append(f"{relation['name']} has no policy for {', '.join(sorted(missing))}")
    return found


def keys_not_starting_with_the_tenant(conn: psycopg.Connection) -> list[str]:
    """Unique keys that tell one tenant of another's rows: they hold across tenants."""
    rows = conn.execute(
        "SELECT i.indexrelid::regclass::text FROM pg_index i"
        " JOIN pg_attribute t ON t.attrelid = i.indrelid AND t.attname = 'tenant_id' AND NOT t.attisdropped"
        " WHERE (i.indisunique OR i.indisexclusion) AND i.indkey[0] <> t.attnum ORDER BY 1"
    )
    return [row[0] for row in rows]


def foreign_keys_without_the_tenant(conn: psycopg.Connection) -> list[str]:
    """Foreign keys, which row level security does not filter, that could point into another tenant."""
    rows = conn.execute(
        "SELECT k.conname FROM pg_constraint k"
        " JOIN pg_attribute t ON t.attrelid = k.confrelid AND t.attname = 'tenant_id' AND NOT t.attisdropped"
        " LEFT JOIN pg_attribute s ON s.attrelid = k.conrelid AND s.attname = 'tenant_id' AND NOT s.attisdropped"
        " WHERE k.contype = 'f' AND (s.attnum IS NULL OR k.conkey[1] <> s.attnum OR k.confkey[1] <> t.attnum)"
    )
    return [row[0] for row in rows]
