"""What the data folder remembers: secrets, which processes run, and the two files that tell others how to connect."""

import contextlib
import fcntl
import json
import os
import secrets
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import msgspec
import psutil

from cli.stack.errors import AlreadyRunning, DiskFull
from cli.stack.process import Child

_LOCK_PATIENCE_S = 1.0
# psutil derives a start time from the boot time, which moves with clock corrections.
_START_TOLERANCE_S = 2.0


class MqttAddress(msgspec.Struct, frozen=True):
    """The listener for devices; `ca_file` verifies its certificate."""

    host: str
    port: int
    ca_file: str


class Admin(msgspec.Struct, frozen=True):
    """An API client that may do everything in every tenant: for this machine's own scripts."""

    client_id: str
    client_secret: str


class StackFile(msgspec.Struct, frozen=True, kw_only=True):
    """`stack.json`: how to reach a running stack. What belongs to the API is null where it was told not to run."""

    api_url: str | None
    console_url: str | None
    mqtt: MqttAddress
    database_url: str
    redis_url: str
    broker: str
    timescale: bool
    admin: Admin | None


class ProcessRecord(msgspec.Struct, frozen=True):
    """A process of ours: its id and start time together name it for as long as the machine runs."""

    name: str
    pid: int
    started_at: float
    stop_signal: int = signal.SIGTERM

    def find(self) -> psutil.Process | None:
        """The process itself, or None when it is gone and its number may be somebody else's."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started_at) < _START_TOLERANCE_S
            if same and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


class DataFolder:
    """The folder named by --data. Everything a stack writes is below it."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.stack_file = self.path / "stack.json"
        self.logs = self.path / "logs"
        self.ca = self.path / "ca"
        self.basemap = self.path / "district" / "basemap.geojson"
        self._secrets = self.path / "secrets"
        self.keys = self._secrets / "keys"
        self.webhook_keys = self._secrets / "webhooks.key"
        self._run = self.path / "run"
        self._environment = self._secrets / "environment.json"

    def make(self) -> None:
        """Create what is missing. Raises DiskFull; OSError when the folder cannot be written."""
        with names_full_disk(self.path):
            # 0711: as root, PostgreSQL's user must pass through; what is secret below has its own mode.
            for folder, mode in ((self.path, 0o711), (self.logs, 0o700), (self._secrets, 0o700), (self._run, 0o700)):
                folder.mkdir(mode=mode, parents=True, exist_ok=True)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Be the one that runs here: the lock ends with our process, however it ends. Raises AlreadyRunning."""
        with (self._run / "lock").open("a") as lock:
            deadline = time.monotonic() + _LOCK_PATIENCE_S
            while not _locked(lock, fcntl.LOCK_EX):
                # Somebody who only looks whether a stack runs holds the lock for an instant.
                if time.monotonic() > deadline:
                    raise AlreadyRunning(
                        f"a stack already runs in {self.path}: stop it with `milkrun down --data {self.path}`, "
                        "or start another with --data ANOTHER_FOLDER"
                    )
                time.sleep(0.05)
            yield

    def is_held(self) -> bool:
        """Whether a stack runs here now."""
        try:
            with (self._run / "lock").open("r") as lock:
                return not _locked(lock, fcntl.LOCK_SH)
        except FileNotFoundError:
            return False

    def secret(self, name: str) -> str:
        """A password of this installation, made on first use and kept in a file of mode 0600."""
        path = self._secrets / name
        with contextlib.suppress(FileNotFoundError):
            if kept := path.read_text().strip():
                return kept
        value = secrets.token_urlsafe(24)
        write_private(path, value)
        return value

    def record(self, processes: Iterable[ProcessRecord]) -> None:
        """Remember our processes; the first is `milkrun up` itself."""
        write_private(self._run / "processes.json", msgspec.json.encode(list(processes)).decode())

    def recorded(self) -> list[ProcessRecord]:
        try:
            return msgspec.json.decode((self._run / "processes.json").read_bytes(), type=list[ProcessRecord])
        except (FileNotFoundError, msgspec.DecodeError):
            return []

    def remembered_port(self, name: str) -> int:
        """The port `name` had last time (0: none yet). Clients and offline sessions know a broker by its port."""
        return self._ports().get(name, 0)

    def remember_port(self, name: str, port: int) -> None:
        write_private(self._run / "ports.json", json.dumps({**self._ports(), name: port}))

    def _ports(self) -> dict[str, int]:
        try:
            return msgspec.json.decode((self._run / "ports.json").read_bytes(), type=dict[str, int])
        except (FileNotFoundError, msgspec.DecodeError):
            return {}

    def publish(self, stack: StackFile, environment: dict[str, str]) -> None:
        """Tell others how to connect; `environment` is what our own commands need besides."""
        write_private(self._environment, json.dumps(environment, indent=2) + "\n")
        write_private(self.stack_file, msgspec.json.format(msgspec.json.encode(stack), indent=2).decode() + "\n")

    def withdraw(self) -> None:
        self.stack_file.unlink(missing_ok=True)
        self._environment.unlink(missing_ok=True)

    def environment(self) -> dict[str, str]:
        """The MILKRUN_* variables of the running stack; empty when none runs."""
        if not self.is_held():
            return {}
        try:
            return msgspec.json.decode(self._environment.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}


def record_of(child: Child) -> ProcessRecord:
    return ProcessRecord(child.command.name, child.pid, child.started_at, int(child.command.stop_signal))


def stop_leftovers(records: Iterable[ProcessRecord], *, grace_s: float = 20.0) -> list[str]:
    """End what a killed `milkrun up` left running, last started first; returns the names."""
    ended = []
    for record in reversed(list(records)):
        process = record.find()
        if process is None or process.pid == os.getpid():
            continue
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(record.stop_signal)
            try:
                process.wait(grace_s)
            except psutil.TimeoutExpired:
                process.kill()
                process.wait(grace_s)
        ended.append(record.name)
    return ended


def write_private(path: Path, text: str) -> None:
    """Write a whole file of mode 0600, or leave the old one. Raises DiskFull."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with names_full_disk(path.parent):
        try:
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def names_full_disk(folder: Path) -> Iterator[None]:
    """Turn 'no space left' below `folder` into DiskFull naming it."""
    try:
        yield
    except OSError as error:
        if error.errno in {28, 122}:  # ENOSPC, EDQUOT
            raise DiskFull(f"no space left on the disk of {folder}") from error
        raise


def this_process() -> ProcessRecord:
    """`milkrun up` itself."""
    return ProcessRecord("up", os.getpid(), psutil.Process().create_time())


def _locked(lock: IO[str], how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
