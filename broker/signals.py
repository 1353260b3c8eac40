"""What the broker itself says about its clients: its log, read line by line.

The log file is complete and in order, and it is still there after this process was down; `$SYS/broker/log/#` is neither
(messages expire after 20 s). Device-chosen text appears only in topic filters, where Mosquitto refuses control
characters, so a line is always one line. The embedded broker writes the same lines.
"""

import ctypes
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Signal:
    """`at_s` is the broker's clock, whole seconds since 1970."""

    at_s: int


@dataclass(frozen=True, slots=True)
class Connected(Signal):
    client_id: str
    username: str  # the certificate's CN; differs from the client id on the service listener
    ip_address: str


@dataclass(frozen=True, slots=True)
class Disconnected(Signal):
    """`reason` is AWS IoT's word for it."""

    client_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class TakenOver(Signal):
    """The next `Connected` of this client id ends the connection it has."""

    client_id: str


@dataclass(frozen=True, slots=True)
class Subscribed(Signal):
    client_id: str
    topic_filter: str


@dataclass(frozen=True, slots=True)
class Dropping(Signal):
    """The broker discards messages for this client."""

    client_id: str


@dataclass(frozen=True, slots=True)
class Started(Signal):
    """A broker process began: every connection of the one before is gone."""


CLIENT_INITIATED = "CLIENT_INITIATED_DISCONNECT"
CONNECTION_LOST = "CONNECTION_LOST"
DUPLICATE_CLIENT_ID = "DUPLICATE_CLIENTID"
KEEP_ALIVE_TIMEOUT = "MQTT_KEEP_ALIVE_TIMEOUT"
SERVER_INITIATED = "SERVER_INITIATED_DISCONNECT"

_ENDINGS = {
    "disconnected.": CLIENT_INITIATED,
    "closed its connection.": CONNECTION_LOST,
    "has exceeded timeout, disconnecting.": KEEP_ALIVE_TIMEOUT,
    "disconnected, not authorised.": "FORBIDDEN_ACCESS",
    "disconnected due to malformed packet.": "CLIENT_ERROR",
    "disconnected due to protocol error.": "CLIENT_ERROR",
    "disconnected due to oversize packet.": "CLIENT_ERROR",
    "disconnected due to oversize payload.": "CLIENT_ERROR",
    "disconnected due to out of memory.": "SERVER_ERROR",
    "been disconnected by administrative action.": SERVER_INITIATED,
}
_OTHER_ENDINGS = ("disconnected due to ", "disconnected: ")  # not allowed features; errno texts


def _ending(at_s: int, found: re.Match[str]) -> Signal | None:
    client_id, rest = found[1], found[2]
    if rest == "already connected, closing old connection.":
        return TakenOver(at_s, client_id)
    reason = _ENDINGS.get(rest)
    if reason is None and rest.startswith(_OTHER_ENDINGS):
        reason = "CLIENT_ERROR" if rest.startswith("disconnected due") else CONNECTION_LOST
    return Disconnected(at_s, client_id, reason) if reason else None


_READERS: tuple[tuple[re.Pattern[str], Callable[[int, re.Match[str]], Signal | None]], ...] = (
    (
        re.compile(r"New client connected from (\S+):\d+ as (\S+) \(p\d, c\d, k\d+(?:, u'([^']*)')?\)\."),
        lambda at_s, found: Connected(at_s, found[2], found[3] or "", found[1]),
    ),
    (re.compile(r"(\S+) [012] (.+)"), lambda at_s, found: Subscribed(at_s, found[1], found[2])),
    (re.compile(r"Client (\S+) (.+)"), _ending),
    (
        re.compile(r"Bad socket read/write on client (\S+): .*"),
        lambda at_s, found: Disconnected(at_s, found[1], CONNECTION_LOST),
    ),
    (
        re.compile(r"Outgoing messages are being dropped for client (\S+)\."),
        lambda at_s, found: Dropping(at_s, found[1]),
    ),
    (re.compile(r"mosquitto version \S+ (?:starting|running)"), lambda at_s, _: Started(at_s)),
)


def parse(line: str) -> Signal | None:
    """The signal in one log line, or None for a line that carries none.

    >>> parse("1795282847: New client connected from 127.0.0.1:39438 as a:w (p5, c0, k60, u'a:w').")
    Connected(at_s=1795282847, client_id='a:w', username='a:w', ip_address='127.0.0.1')
    >>> parse("1795282846: acme:t1 1 $share/x/dt/#")
    Subscribed(at_s=1795282846, client_id='acme:t1', topic_filter='$share/x/dt/#')
    """
    stamp, colon, text = line.partition(": ")
    if not colon or not stamp.isdecimal():
        return None
    for pattern, build in _READERS:
        if found := pattern.fullmatch(text):
            return build(int(stamp), found)
    return None


@dataclass(frozen=True, slots=True)
class Line:
    """One complete log line. `log` (the file's inode) and `start` (its offset) together name it for good."""

    text: str
    log: int
    start: int


class LogTail:
    """Follows a log that is only ever appended to, from an offset on; a new file there is read from its start."""

    def __init__(self, file: Path, *, log: int = 0, offset: int = 0) -> None:
        self._file = file
        self._log = log
        self._offset = offset
        self._freed = 0

    def read(self, most: int = 1 << 20) -> Iterator[Line]:
        """The complete lines that were added, up to about `most` bytes of them; nothing if there is no file yet."""
        try:
            handle = self._file.open("rb")
        except FileNotFoundError:
            return
        with handle:
            status = os.fstat(handle.fileno())
            if status.st_ino != self._log or status.st_size < self._offset:
                self._log, self._offset, self._freed = status.st_ino, 0, 0
            handle.seek(self._offset)
            chunk = handle.read(most)
        complete = chunk[: chunk.rfind(b"\n") + 1]
        for raw in complete.splitlines(keepends=True):
            start, self._offset = self._offset, self._offset + len(raw)
            yield Line(raw.decode("utf-8", "replace").rstrip("\n"), self._log, start)

    @property
    def position(self) -> tuple[int, int]:
        """The log's inode and the offset after the last line given out."""
        return self._log, self._offset

    def free(self, offset: int, *, step: int = 1 << 20) -> None:
        """Give the disk space before `offset` back, in steps; the broker goes on appending and no line can be lost.

        Done by punching a hole, where the file system can (Linux); elsewhere the log keeps growing.
        """
        if not sys.platform.startswith("linux") or offset - self._freed < step:
            return
        keep_size, punch_hole = 0x01, 0x02  # linux/falloc.h
        libc = ctypes.CDLL(None, use_errno=True)
        with self._file.open("r+b") as handle:
            if os.fstat(handle.fileno()).st_ino == self._log:
                length = ctypes.c_int64(offset)
                libc.fallocate(handle.fileno(), punch_hole | keep_size, ctypes.c_int64(0), length)
        self._freed = offset
