import asyncio
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from core.db import Database, DatabaseUnavailable
from core.migrate import ROLES, grant_logins, has_timescale, migrate
from core.tenancy import tenant_id
from tests.conftest import _PASSWORDS
from tests.migrations.schema import describe

pytestmark = pytest.mark.db

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009")
OWNER = "milkrun_test_plain_owner"


@pytest.fixture
def plain_owner_url(postgres_url: str, template_url: str) -> Iterator[str]:
    """A database whose owner is no superuser, on a server where another owner made the roles and handed them on."""
    url = plain_owner(postgres_url)
    with psycopg.connect(postgres_url, autocommit=True) as conn:
        for role in ROLES:
            # Administer, not use: since PostgreSQL 16 that can be told apart; before, CREATEROLE is enough.
            if conn.info.server_version < 160_000:
                continue
            admin = sql.SQL("GRANT {} TO {} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
            conn.execute(admin.format(sql.Identifier(role), sql.Identifier(OWNER)))
    yield url
    with psycopg.connect(postgres_url, autocommit=True) as conn:
        for role in ROLES:
            conn.execute(sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(role), sql.Identifier(OWNER)))
        name = urlsplit(url).path.lstrip("/")
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(OWNER)))


def plain_owner(superuser_url: str) -> str:
    """The URL of a new database and its owner, who has what managed services give: login and CREATEROLE."""
    name, password = f"milkrun_test_{secrets.token_hex(6)}", secrets.token_hex(8)
    with psycopg.connect(superuser_url, autocommit=True) as conn:
        role = sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}")
        conn.execute(role.format(sql.Identifier(OWNER), sql.Literal(password)))
        create = sql.SQL("CREATE DATABASE {} OWNER {}")
        conn.execute(create.format(sql.Identifier(name), sql.Identifier(OWNER)))
    parts = urlsplit(superuser_url)
    at = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{OWNER}:{password}@{at}", path=f"/{name}"))


def test_a_fresh_database_equals_one_migrated_step_by_step(database, empty_database):
    for revision in REVISIONS:
        assert migrate(empty_database, to=revision) == revision
    fresh, stepwise = describe(database.owner), describe(empty_database)
    assert len(fresh) > 200
    assert fresh == stepwise


def test_a_difference_between_two_schemas_is_seen(database, empty_database):
    migrate(empty_database)
    with psycopg.connect(empty_database) as conn:
        conn.execute("ALTER TABLE device ALTER COLUMN type DROP DEFAULT")
    assert describe(database.owner) ^ describe(empty_database) != set()


def test_running_again_changes_nothing_and_keeps_the_data(database):
    before = describe(database.owner)
    with psycopg.connect(database.owner) as conn:
        conn.execute("INSERT INTO tenant (tenant_id, name) VALUES ('acme', 'Acme')")
    assert migrate(database.owner) == REVISIONS[-1]
    assert describe(database.owner) == before
    with psycopg.connect(database.owner) as conn:
        assert conn.execute("SELECT name FROM tenant").fetchall() == [("Acme",)]


def test_runners_at_the_same_time_wait_for_each_other(empty_database, database):
    program = "import sys; from core.migrate import migrate; print(migrate(sys.argv[1]))"
    runners = [
        subprocess.Popen([sys.executable, "-c", program, empty_database], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [(runner.communicate()[0].strip(), runner.returncode) for runner in runners] == [(REVISIONS[-1], 0)] * 3
    assert describe(empty_database) == describe(database.owner)


def test_a_revision_that_fails_leaves_nothing_of_itself(empty_database):
    migrate(empty_database, to="0001")
    before = describe(empty_database)
    with psycopg.connect(empty_database) as conn:
        conn.execute("CREATE VIEW positions AS SELECT 1 AS in_the_way")
    with pytest.raises(psycopg.errors.DuplicateTable):
        migrate(empty_database)
    with psycopg.connect(empty_database) as conn:
        conn.execute("DROP VIEW positions")
    extension = {line for line in describe(empty_database) ^ before if "timescale" in line}
    assert describe(empty_database) ^ before == extension
    assert migrate(empty_database) == REVISIONS[-1]


def test_a_migration_that_cannot_get_its_lock_gives_up_instead_of_queueing_others(empty_database):
    with psycopg.connect(empty_database) as blocker:
        blocker.execute("LOCK TABLE pg_namespace IN SHARE MODE")  # CREATE SCHEMA has to wait for it
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailable, match="lock timeout"):
            migrate(empty_database)
        assert time.monotonic() - started < 60, "it waited for a lock nobody was going to give"
    assert migrate(empty_database) == REVISIONS[-1]


def test_a_migrated_schema_names_its_kind_of_telemetry_store(database):
    with psycopg.connect(database.owner) as conn:
        row = conn.execute("SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
    assert has_timescale(database.owner) is bool(row[0])


def test_a_server_with_timescaledb_can_be_told_to_use_native_partitions(empty_database):
    name = urlsplit(empty_database).path.lstrip("/")
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute(sql.SQL("ALTER DATABASE {} SET milkrun.timescale = 'off'").format(sql.Identifier(name)))
    migrate(empty_database)
    assert has_timescale(empty_database) is False


def test_a_server_that_is_not_there_is_named_without_its_password(free_port):
    url = f"postgresql://milkrun:hush@127.0.0.1:{free_port()}/milkrun"
    with pytest.raises(DatabaseUnavailable, match=r"milkrun:\*\*\*@127.*cannot be migrated") as caught:
        migrate(url)
    assert "hush" not in str(caught.value)


def test_an_empty_database_has_no_telemetry_store(empty_database):
    assert has_timescale(empty_database) is False


def test_an_owner_who_is_no_superuser_migrates_and_the_roles_do_their_work(plain_owner_url):
    roles_work(plain_owner_url)


def test_on_a_server_that_never_heard_of_us_such_an_owner_makes_the_roles_too(durable_postgres):
    roles_work(plain_owner(durable_postgres.url))


def roles_work(owner_url: str) -> None:
    """The three logins at their work, over tables whose owner has forced row level security on itself."""
    assert migrate(owner_url) == REVISIONS[-1]
    # The passwords of the whole test session, since roles belong to the server and other tests log in with them.
    urls = grant_logins(owner_url, _PASSWORDS)
    with psycopg.connect(urls["milkrun_operator"]) as conn:
        conn.execute("INSERT INTO tenant (tenant_id, name) VALUES ('acme', 'a'), ('globex', 'g')")
        conn.execute("INSERT INTO device (tenant_id, device_id) VALUES ('acme', 'd'), ('globex', 'd')")
    with psycopg.connect(urls["milkrun_ingest"]) as conn:
        for statement in _INGEST_WORK.split(";"):
            conn.execute(statement)
    with psycopg.connect(urls["milkrun_app"]) as conn:
        conn.execute("SELECT set_config('app.tenant_id', 'acme', true)")
        for view in ("positions", "metrics", "positions_1m", "positions_1h", "metrics_1m", "metrics_1h"):
            query = sql.SQL("SELECT DISTINCT tenant_id FROM {}").format(sql.Identifier(view))
            assert conn.execute(query).fetchall() == [("acme",)], view
    with psycopg.connect(owner_url) as conn:
        # The owner is held to row level security too: it migrates, it does not read tenants.
        assert conn.execute("SELECT count(*) FROM device").fetchone() == (0,)


_INGEST_WORK = """
SELECT telemetry.ensure_partitions(now() - interval '1 day', now() + interval '1 day');
INSERT INTO telemetry.position (ts, seq, lat, lon, received_at, tenant_id, device_id, boot)
    SELECT now() - interval '1 hour', 1, 1, 1, now(), t, 'd', 'b' FROM unnest(ARRAY['acme', 'globex']) AS t;
INSERT INTO telemetry.metric (ts, seq, value, received_at, tenant_id, device_id, boot, name)
    SELECT now() - interval '1 hour', 1, 1, now(), t, 'd', 'b', 'x' FROM unnest(ARRAY['acme', 'globex']) AS t;
SELECT telemetry.touch_minutes(ARRAY[date_trunc('minute', now() - interval '1 hour')]);
SELECT telemetry.claim_rollups(10);
SELECT telemetry.refresh_rollups();
SELECT telemetry.apply_retention(90, 730, ARRAY['acme'], ARRAY[30])
"""


def test_a_granted_login_is_a_url_that_works_even_with_signs_in_the_password(database):
    async def look(url: str) -> str:
        async with Database(url) as db, db.tenant(tenant_id("acme")) as tx:
            row = await tx.one("SELECT current_user AS me")
            return row["me"]

    role = f"milkrun_test_{secrets.token_hex(4)}"
    with psycopg.connect(database.owner, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
        urls = grant_logins(database.owner, {role: "a/b:c@d?e#f%20'\""})
        assert asyncio.run(look(urls[role])) == role
        conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
