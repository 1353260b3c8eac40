"""Shared fixtures: real PostgreSQL, Redis and Mosquitto, each started once a session and handed out clean."""

import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import redis
import structlog
from psycopg import sql
from xdist.scheduler import LoadScopeScheduling

from cli.stack.process import free_port as any_free_port
from cli.stack.servers.postgres import Postgres
from cli.stack.servers.redis import Redis
from core.migrate import ROLES, grant_logins, has_timescale, migrate

# Each of pytest's processes has one of its own, also where they share a server.
_TEMPLATE = f"milkrun_test_template_{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
# Roles belong to the whole server, so every test database shares these passwords.
_PASSWORDS = {role: secrets.token_hex(8) for role in ROLES}


@dataclass(frozen=True)
class DatabaseUrls:
    """A migrated database of one test, by login."""

    owner: str
    app: str
    ingest: str
    operator: str


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A test that runs a command in this process must not leave its log level to the next."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture(scope="session")
def work_dir() -> Iterator[Path]:
    """A folder of this session with a short path that another user may enter (pytest's own are closed to others)."""
    folder = Path(tempfile.mkdtemp(prefix="milkrun-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_url(work_dir: Path) -> Iterator[str]:
    """The owner's URL of one server for the session: MILKRUN_TEST_DATABASE_URL, or an embedded one without fsync."""
    if given := os.environ.get("MILKRUN_TEST_DATABASE_URL"):
        yield given
        return
    server = Postgres(
        work_dir / "postgres", password=secrets.token_hex(8), log=work_dir / "postgres.log", durable=False
    )
    server.start()
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def template_url(postgres_url: str) -> Iterator[str]:
    """A migrated database that no test connects to; `database` copies it."""
    _drop(postgres_url, _TEMPLATE)
    _execute(postgres_url, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_TEMPLATE)))
    url = _named(postgres_url, _TEMPLATE)
    migrate(url)
    grant_logins(url, _PASSWORDS)
    if has_timescale(url):
        # Tests run the policies themselves; TimescaleDB's scheduler would do so beside them, when it likes.
        statement = "SELECT public.alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs "
        _execute(url, sql.SQL(statement + "WHERE hypertable_name IS NOT NULL"))
    _seal(postgres_url, _TEMPLATE)
    yield url
    _drop(postgres_url, _TEMPLATE)


@pytest.fixture
def database(postgres_url: str, template_url: str) -> Iterator[DatabaseUrls]:
    """A fresh migrated database for one test."""
    yield from _copy(postgres_url, template_url)


@pytest.fixture(scope="module")
def module_database(postgres_url: str, template_url: str) -> Iterator[DatabaseUrls]:
    """A fresh migrated database that the tests of one module share."""
    yield from _copy(postgres_url, template_url)


@pytest.fixture
def empty_database(postgres_url: str) -> Iterator[str]:
    """The owner's URL of a database without any migration."""
    name = f"milkrun_test_{secrets.token_hex(6)}"
    _execute(postgres_url, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield _named(postgres_url, name)
    _drop(postgres_url, name)


@pytest.fixture
def durable_postgres(work_dir: Path) -> Iterator[Postgres]:
    """A started server of the test's own, with fsync on and an empty database: to be killed and started again."""
    folder = work_dir / f"durable-{secrets.token_hex(4)}"
    folder.mkdir()
    server = Postgres(folder / "postgres", password=secrets.token_hex(8), port=any_free_port(), log=folder / "pg.log")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def _redis_server(work_dir: Path) -> Iterator[Redis]:
    server = Redis(work_dir / "redis", password=secrets.token_hex(8), log=work_dir / "redis.log")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(_redis_server: Redis) -> str:
    """An empty Redis for one test."""
    with redis.Redis.from_url(_redis_server.url) as client:
        client.flushall()
    return _redis_server.url


@pytest.fixture
def durable_redis(work_dir: Path) -> Iterator[Redis]:
    """A started server of the test's own: to be killed, started again or flushed."""
    folder = work_dir / f"redis-{secrets.token_hex(4)}"
    server = Redis(folder, password=secrets.token_hex(8), port=any_free_port(), log=folder / "redis.log")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Gives a TCP port that is free at this moment, another at each call."""
    return any_free_port


@pytest.fixture(scope="session")
def mosquitto_path() -> Path:
    """The Mosquitto program; a test that asks for it is skipped, and the summary says so, where there is none."""
    found = _find_mosquitto()
    if found is None:
        pytest.skip(_NO_MOSQUITTO)
    return found


_SHARING = ("tests/e2e/console/", "tests/api/contract/")
_NO_MOSQUITTO = "Mosquitto is not installed (Debian: apt-get install mosquitto; macOS: brew install mosquitto)"


def _find_mosquitto() -> Path | None:
    places = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin", "/usr/local/opt/mosquitto/sbin")
    found = shutil.which("mosquitto", path=os.pathsep.join((os.environ.get("PATH", os.defpath), *places)))
    return Path(found) if found else None


class _Together(LoadScopeScheduling):
    """One process runs a file, or the folder whose tests share a running stack."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((folder for folder in _SHARING if file.startswith(folder)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log) -> LoadScopeScheduling:
    return _Together(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if _find_mosquitto() is None:
        for item in items:
            if item.get_closest_marker("mosquitto"):
                item.add_marker(pytest.mark.skip(reason=_NO_MOSQUITTO))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    without_broker = sum(_NO_MOSQUITTO in reason for reason in reasons)
    others = sorted({found.group(1) for reason in reasons if (found := re.search(r"NOT PROVEN: ([^'\n]*)", reason))})
    if without_broker or others:
        terminalreporter.section("NOT PROVEN ON THIS MACHINE", sep="!", red=True, bold=True)
    if without_broker:
        terminalreporter.line(f"{without_broker} tests need the real broker and were skipped: {_NO_MOSQUITTO}")
    for reason in others:
        terminalreporter.line(reason)


def _copy(postgres_url: str, template_url: str) -> Iterator[DatabaseUrls]:
    name = f"milkrun_test_{secrets.token_hex(6)}"
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(_TEMPLATE))
    _execute(postgres_url, statement)
    owner = _named(postgres_url, name)
    at = owner.rpartition("@")[2]
    logins = {role: f"postgresql://{role}:{password}@{at}" for role, password in _PASSWORDS.items()}
    yield DatabaseUrls(owner, logins["milkrun_app"], logins["milkrun_ingest"], logins["milkrun_operator"])
    _drop(postgres_url, name)


def _execute(url: str, statement: sql.Composable) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(statement)


def _seal(url: str, name: str) -> None:
    """Let nobody in any more: a database that TimescaleDB's scheduler is connected to cannot be copied."""
    _execute(url, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
    everyone = sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}")
    _execute(url, everyone.format(sql.Literal(name)))
    with psycopg.connect(url, autocommit=True) as conn:
        while conn.execute("SELECT FROM pg_stat_activity WHERE datname = %s", (name,)).fetchone() is not None:
            time.sleep(0.01)


def _drop(url: str, name: str) -> None:
    _execute(url, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _named(url: str, database: str) -> str:
    base, question, options = url.partition("?")
    return base.rpartition("/")[0] + f"/{database}" + question + options
