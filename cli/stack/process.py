"""A child process that logs to a file and cannot outlive its parent."""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import psutil

from cli.stack.errors import DiskFull, PortTaken, StartFailed

LOOPBACK = "127.0.0.1"
LOG_LIMIT_BYTES = 16 * 1024 * 1024
_TAIL_BYTES = 16 * 1024
_PORT_TRIES = 3
_given: deque[int] = deque(maxlen=256)
_LAUNCHER = str(Path(__file__).with_name("launch.py"))


class RunAs(NamedTuple):
    """The unprivileged user a child becomes when we are root. `bypass` lets it pass folders closed to it."""

    uid: int
    gid: int
    bypass: bool


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. `stop_signal` asks it to finish, SIGKILL follows `grace_s` later; the kernel sends it if we die.

    `env` is its whole environment; None = ours. `rotates`: a log over the limit is cut, its newest part kept beside it.
    """

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] | None = None
    run_as: RunAs | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 15.0
    rotates: bool = True


class Child:
    """A started command. Must be started from the main thread: the kernel ties a child to the thread that made it."""

    def __init__(self, command: Command) -> None:
        self.command = command
        command.log.parent.mkdir(parents=True, exist_ok=True)
        self.keep_log_small()
        user = command.run_as or RunAs(0, 0, bypass=False)
        launch = (os.getpid(), int(command.stop_signal), user.uid, user.gid, int(user.bypass))
        with command.log.open("ab") as log:
            self._log_start = log.tell()
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", _LAUNCHER, *map(str, launch), *command.argv],
                env=command.env,
                cwd="/" if command.run_as else None,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches the whole terminal group; the order in which parts stop is ours.
                start_new_session=True,
            )
        self.pid = self._popen.pid
        self.started_at = psutil.Process(self.pid).create_time()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; the negative signal number when a signal ended it."""
        return self._popen.poll()

    def stop(self) -> None:
        """Ask it to finish, wait for its grace, then kill what is left."""
        if self.exit_code is None:
            self._popen.send_signal(self.command.stop_signal)
        self.wait_stopped()

    def ask_to_stop(self) -> None:
        """Send the stop signal without waiting."""
        if self.exit_code is None:
            self._popen.send_signal(self.command.stop_signal)

    def wait_stopped(self) -> None:
        try:
            self._popen.wait(self.command.grace_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it with SIGKILL, and reap it."""
        if self.exit_code is None:
            self._popen.kill()
        self._popen.wait()

    def keep_log_small(self) -> None:
        """Rotate the log when it is over the limit; safe while the child writes, since it appends."""
        log = self.command.log
        if self.command.rotates and log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
            old = log.with_name(log.name + ".1")
            with log.open("rb") as source, old.open("wb") as target:
                source.seek(-LOG_LIMIT_BYTES, os.SEEK_END)
                shutil.copyfileobj(source, target)
            os.truncate(log, 0)

    def log_tail(self, lines: int = 8) -> str:
        """The last lines this start has written."""
        with contextlib.suppress(OSError), self.command.log.open("rb") as log:
            size = self.command.log.stat().st_size
            log.seek(max(min(self._log_start, size), size - _TAIL_BYTES))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
        return ""

    def wait_ready(self, probe: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
        """Return when `probe()` holds. Raises StartFailed or DiskFull when the child ends first or takes too long."""
        deadline = time.monotonic() + timeout_s
        while not probe():
            if self.exit_code is not None:
                raise start_failure(self, f"{self.command.name} ended with exit code {self.exit_code}")
            if time.monotonic() > deadline:
                raise start_failure(self, f"{self.command.name} was not ready after {timeout_s:.0f} s")
            time.sleep(0.02)


class Server(Protocol):
    """What listens on one port; `command` and `is_ready` speak of the port and the child it was given last."""

    name: str
    port: int
    child: Child | None

    def command(self) -> Command: ...

    def is_ready(self) -> bool: ...


def serve(server: Server, *, wanted_port: int) -> Child:
    """Start `server` on `wanted_port` (0 = any free one) and return when it is ready. Raises StartFailed, DiskFull."""
    for attempt in range(_PORT_TRIES):
        server.port = wanted_port or free_port()
        child = server.child = Child(server.command())
        try:
            child.wait_ready(server.is_ready, timeout_s=120)
        except StartFailed as error:
            # Another program may take a free port between our look and the server's bind.
            if "Address already in use" in str(error) and not wanted_port and attempt + 1 < _PORT_TRIES:
                continue
            raise
        except BaseException:
            child.kill()
            raise
        return child
    raise StartFailed(f"no free port was found for {server.name}")


def start_failure(child: Child, what: str) -> StartFailed | DiskFull:
    """The error for a part that did not start, naming a full disk where that is the cause."""
    tail = child.log_tail()
    if "No space left on device" in tail or free_bytes(child.command.log.parent) == 0:
        return DiskFull(f"no space left on the disk of {child.command.log.parent.parent}: {what}")
    return StartFailed(f"{what}; its log {child.command.log} ends with:\n{tail}")


def wheel_folder(package: str) -> Path:
    """Where an installed package lies, without importing it: those that carry a server do much at import."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise StartFailed(f"package {package} is not installed: run `make setup`")
    return Path(spec.submodule_search_locations[0])


def free_port() -> int:
    """A TCP port on loopback that nobody holds now, and none of the last ones given, whose takers may be to come."""
    while True:
        with socket.socket() as sock:
            sock.bind((LOOPBACK, 0))
            port = int(sock.getsockname()[1])
        if port not in _given:
            _given.append(port)
            return port


def claim_port(port: int, what: str, option: str, *, preferred: int = 0) -> int:
    """`port` when it is free; for 0 `preferred` when that is free, else any.

    Raises PortTaken naming the port and the option that sets it.
    """
    if port == 0:
        return preferred if preferred and _refusal(preferred) is None else free_port()
    if refusal := _refusal(port):
        raise PortTaken(
            f"port {port} for {what} cannot be used ({refusal}): "
            f"stop the program that holds it, or choose another with {option} (0 = any free port)"
        )
    return port


def _refusal(port: int) -> str | None:
    """Why nobody can listen on `port` now; None when one can."""
    with socket.socket() as sock:
        # As servers do: a port in TIME_WAIT is free.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((LOOPBACK, port))
        except OSError as error:
            return error.strerror or str(error)
    return None


def is_listening(port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(0.5)
        return sock.connect_ex((LOOPBACK, port)) == 0


def free_bytes(folder: Path) -> int:
    """What a normal user may still write to the disk of `folder`."""
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize


def require_space(folder: Path, needed_bytes: int) -> None:
    """Raises DiskFull naming the folder when less than `needed_bytes` is free."""
    free = free_bytes(folder)
    if free < needed_bytes:
        mib = 1024 * 1024
        raise DiskFull(
            f"{folder} needs {needed_bytes // mib} MiB of free disk space to start and has {free // mib} MiB"
        )
