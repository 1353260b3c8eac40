"""The embedded servers: what they keep, and what they say when they cannot start."""

import os
import socket
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cli.stack.errors import DataVersion, PortTaken
from cli.stack.process import LOOPBACK, claim_port
from cli.stack.servers.postgres import Postgres
from cli.stack.servers.redis import Redis
from tests.conftest import DatabaseUrls

pytestmark = pytest.mark.db


def test_a_database_killed_hard_keeps_what_it_committed(durable_postgres: Postgres) -> None:
    with psycopg.connect(durable_postgres.url) as conn:
        assert conn.execute("SHOW fsync").fetchone() == ("on",)
        conn.execute("CREATE TABLE kept (n int)")
        conn.execute("INSERT INTO kept VALUES (42)")
    durable_postgres.child.kill()
    durable_postgres.start()
    with psycopg.connect(durable_postgres.url) as conn:
        assert conn.execute("SELECT n FROM kept").fetchone() == (42,)


def test_the_owner_logs_in_with_the_password_and_with_no_other(durable_postgres: Postgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(durable_postgres.url.replace("milkrun:", "milkrun:x", 1))


def test_the_server_does_not_run_as_root(durable_postgres: Postgres) -> None:
    status = Path(f"/proc/{durable_postgres.child.pid}/status")
    if not status.exists():
        pytest.skip("no /proc here")
    uid = int(status.read_text().split("Uid:")[1].split()[1])
    assert uid != 0
    assert os.geteuid() in {0, uid}


def test_a_data_folder_of_another_version_is_refused_with_the_way_out(durable_postgres: Postgres) -> None:
    durable_postgres.stop()
    (durable_postgres._folder / "PG_VERSION").write_text("17\n")
    with pytest.raises(DataVersion, match=r"written by PostgreSQL 17.*MILKRUN_DATABASE_URL"):
        durable_postgres.start()


def test_a_data_folder_behind_a_closed_folder_works(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = Postgres(closed / "postgres", password="p", log=closed / "pg.log", durable=False)
    server.start()
    server.stop()
    assert closed.stat().st_mode & 0o777 == 0o700


def test_redis_keeps_its_data_over_a_stop_and_asks_for_the_password(durable_redis: Redis) -> None:
    with redis.Redis.from_url(durable_redis.url) as client:
        client.set("kept", "yes")
    durable_redis.stop()
    durable_redis.start()
    with redis.Redis.from_url(durable_redis.url) as client:
        assert client.get("kept") == b"yes"
    no_retry = Retry(NoBackoff(), 0)
    with redis.Redis(port=durable_redis.port, retry=no_retry) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.get("kept")


def test_a_taken_port_is_named_with_the_option_that_changes_it() -> None:
    with socket.socket() as holder:
        holder.bind((LOOPBACK, 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"port {port} for the broker.*--mqtt-port"):
            claim_port(port, "the broker", "--mqtt-port")


def test_each_test_gets_a_migrated_database_of_its_own(database: DatabaseUrls) -> None:
    for url in (database.owner, database.app, database.ingest, database.operator):
        with psycopg.connect(url) as conn:
            assert conn.execute("SELECT to_regclass('tenant') IS NOT NULL").fetchone() == (True,)
