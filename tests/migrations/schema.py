"""A schema as a set of lines, one a fact of the catalog, so that two of them can be compared."""

import psycopg

# Names of daily partitions hold the day they were made for; both databases are of the same day but for midnight.
_OURS = """
n.nspname IN ('public', 'telemetry')
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = {oid} AND d.deptype = 'e')
"""
_FACTS = (
    "SELECT 'schema', nspname, nspacl::text FROM pg_namespace n WHERE nspname IN ('public', 'telemetry')",
    "SELECT 'relation', c.oid::regclass::text, relkind::text, relrowsecurity, relforcerowsecurity, reloptions::text,"
    " relacl::text, pg_get_partkeydef(c.oid), pg_get_expr(relpartbound, c.oid)"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE " + _OURS.format(oid="c.oid"),
    "SELECT 'column', c.oid::regclass::text, attnum, attname, format_type(atttypid, atttypmod), attnotnull,"
    " attidentity, attstorage, collname, attacl::text, pg_get_expr(adbin, adrelid) FROM pg_attribute a"
    " JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace"
    " LEFT JOIN pg_attrdef f ON f.adrelid = attrelid AND f.adnum = attnum"
    " LEFT JOIN pg_collation l ON l.oid = attcollation WHERE attnum > 0 AND relkind <> 'i' AND "
    + _OURS.format(oid="c.oid"),
    "SELECT 'index', pg_get_indexdef(indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = indrelid"
    " JOIN pg_namespace n ON n.oid = relnamespace WHERE " + _OURS.format(oid="c.oid"),
    "SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(k.oid) FROM pg_constraint k"
    " JOIN pg_namespace n ON n.oid = connamespace WHERE " + _OURS.format(oid="k.oid"),
    (
        "SELECT 'policy', polrelid::regclass::text, polname, polcmd, polpermissive,"
        " ARRAY(SELECT rolname FROM pg_roles WHERE oid = ANY (polroles) ORDER BY 1)::text,"
        " pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid) FROM pg_policy"
    ),
    "SELECT 'function', pg_get_functiondef(p.oid), proacl::text FROM pg_proc p"
    " JOIN pg_namespace n ON n.oid = pronamespace WHERE " + _OURS.format(oid="p.oid"),
    "SELECT 'view', c.oid::regclass::text, pg_get_viewdef(c.oid) FROM pg_class c"
    " JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('v', 'm') AND " + _OURS.format(oid="c.oid"),
    "SELECT 'trigger', pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid"
    " JOIN pg_namespace n ON n.oid = relnamespace WHERE NOT tgisinternal AND " + _OURS.format(oid="c.oid"),
    "SELECT 'extension', extname, extversion FROM pg_extension",
)
_POLICIES = (
    (
        "SELECT 'job', proc_name, schedule_interval, config::text, hypertable_name FROM timescaledb_information.jobs"
        " WHERE hypertable_name IS NOT NULL"
    ),
    (
        "SELECT 'aggregate', view_name, view_definition, materialized_only"
        " FROM timescaledb_information.continuous_aggregates"
    ),
    (
        "SELECT 'columnstore', hypertable::text, segmentby, orderby"
        " FROM timescaledb_information.hypertable_columnstore_settings"
    ),
)


def describe(url: str) -> set[str]:
    """Everything a migration decides: tables, columns, keys, policies, rights, functions, views, jobs."""
    with psycopg.connect(url) as conn:
        conn.execute("SET search_path = ''")  # the database has one of its own, which shortens names
        facts = list(_FACTS)
        if conn.execute("SELECT FROM pg_extension WHERE extname = 'timescaledb'").fetchone() is not None:
            facts += _POLICIES
        return {" | ".join(str(part) for part in row) for fact in facts for row in conn.execute(fact)}
