"""Bring a database to the newest schema, and give the serving roles their logins."""

from importlib import resources
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
import sqlalchemy.exc
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from psycopg import sql
from sqlalchemy import Engine, NullPool, create_engine

from core.db import DatabaseUnavailable, redact

ROLES = ("milkrun_app", "milkrun_ingest", "milkrun_operator")


def migrate(owner_url: str, *, to: str = "head") -> str:
    """Run every missing migration up to `to` and return the revision reached.

    Safe to start twice at once: the second waits for the first. `owner_url` is a postgresql:// URL of the owner, who
    needs CREATEROLE the first time. Raises DatabaseUnavailable when the server does not answer or a table stays locked.
    """
    engine = _engine(owner_url)
    config = Config()
    config.set_main_option("script_location", str(resources.files("core") / "migrations"))
    config.set_main_option("path_separator", "os")
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, to)
            revision = MigrationContext.configure(connection).get_current_revision()
    except (sqlalchemy.exc.OperationalError, psycopg.OperationalError) as error:
        cause = error.orig if isinstance(error, sqlalchemy.exc.OperationalError) else error
        raise DatabaseUnavailable(f"{redact(owner_url)} cannot be migrated: {cause}") from error
    finally:
        engine.dispose()
    return revision or "base"


def has_timescale(owner_url: str) -> bool:
    """Whether telemetry lives in hypertables here."""
    with psycopg.connect(owner_url) as conn:
        # Without it the parent is a partitioned table.
        kind = "SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass('telemetry.position')"
        row = conn.execute(kind).fetchone()
    return bool(row and row[0])


def grant_logins(owner_url: str, passwords: dict[str, str]) -> dict[str, str]:
    """Give each role of `passwords` its login and return the connection URL of each."""
    with psycopg.connect(owner_url) as conn:
        for role, password in passwords.items():
            statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}")
            conn.execute(statement.format(sql.Identifier(role), sql.Literal(password)))
    return {role: _login(owner_url, role, password) for role, password in passwords.items()}


def _login(owner_url: str, role: str, password: str) -> str:
    parts = urlsplit(owner_url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(role)}:{quote(password, safe='')}@{host}"))


def _engine(owner_url: str) -> Engine:
    driver_url = owner_url.replace("postgresql://", "postgresql+psycopg://", 1)
    return create_engine(driver_url.replace("postgres://", "postgresql+psycopg://", 1), poolclass=NullPool)
