import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg

from tests.conftest import DatabaseUrls

type Milkrun = Callable[..., subprocess.CompletedProcess[str]]
"""`milkrun("user", "list", code=1, typed="")`: it has to end with that code and without a traceback."""


def environment_on(database: DatabaseUrls, data: Path, **variables: str) -> dict[str, str]:
    """For commands and services on this database, without what this machine's environment names beside it."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MILKRUN_")}
    return {
        **clean,
        "MILKRUN_DATABASE_URL": database.owner,
        "MILKRUN_DATABASE_APP_URL": database.app,
        "MILKRUN_DATABASE_INGEST_URL": database.ingest,
        "MILKRUN_DATABASE_OPERATOR_URL": database.operator,
        "MILKRUN_DATA": str(data),
        "USER": "jo",
        **variables,
    }


def milkrun_in(environment: Mapping[str, str]) -> Milkrun:
    """The command as a person and as a script run it, in a process of its own."""

    def run(*args: str, code: int = 0, typed: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *args],
            env=environment,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
            input=typed,
            timeout=120,
        )
        assert done.returncode == code, (args, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    return run


def milkrun_of_acme(database: DatabaseUrls, data: Path) -> Milkrun:
    """The command, where tenant acme is there."""
    with psycopg.connect(database.owner) as conn:
        conn.execute("INSERT INTO tenant (tenant_id, name) VALUES ('acme', 'Acme')")
    return milkrun_in(environment_on(database, data))
