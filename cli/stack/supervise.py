"""Watch the parts of a stack: start again what crashed, with growing pauses; stop all in order."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

from cli.stack.errors import DiskFull
from cli.stack.process import Child, free_bytes, start_failure
from cli.stack.state import DataFolder, record_of, this_process
from core.errors import MilkrunError

_POLL_S = 0.2
_ROTATE_EVERY_S = 30.0
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_STABLE_S = 60.0
_LOW_DISK_BYTES = 64 * 1024 * 1024


class Part(Protocol):
    """Something the stack runs. `start` returns when it is ready, and may be called again after a crash."""

    name: str
    child: Child | None

    def start(self) -> Child: ...


class StopRequested(BaseException):
    """SIGTERM or Ctrl-C arrived. Not an Exception, so that no handler of failures takes it for one."""


@contextlib.contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """End the body on SIGTERM, SIGINT or SIGHUP. Afterwards they change nothing: what follows is the clean-up.

    Yields what is set once that was asked, for a body in which some library has swallowed StopRequested.
    """
    asked = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        asked.set()
        raise StopRequested

    # nohup sets SIGHUP aside, and means it.
    hang_up = [] if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else [signal.SIGHUP]
    numbers = (signal.SIGTERM, signal.SIGINT, *hang_up)
    for number in numbers:
        signal.signal(number, on_signal)
    try:
        yield asked
    except StopRequested:
        pass
    except Exception:
        # A step that was interrupted may fail on its way out, as a transaction does that cannot be rolled back.
        if not asked.is_set():
            raise
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)


@dataclass(slots=True)
class _Watched:
    part: Part
    pause_s: float = _FIRST_PAUSE_S
    started_at: float = 0.0
    start_again_at: float | None = None


class Supervisor:
    """Holds the parts in the order they were started. `say` takes one line for the user."""

    def __init__(self, folder: DataFolder, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._tell = say
        self._watched: list[_Watched] = []
        self._records = [this_process()]
        folder.record(self._records)
        self._is_recorded = True
        self._last_rotation = 0.0
        self._disk_is_low = False

    def start(self, part: Part) -> Child:
        """Start a part and watch it from now on. Raises what its start raises."""
        watched = _Watched(part)
        self._watched.append(watched)
        child = self._start(watched)
        self._folder.record(self._records)
        return child

    def watch(self, stop: threading.Event) -> None:
        """Until StopRequested, or `stop` is set."""
        while not stop.is_set():
            now = time.monotonic()
            for watched in self._watched:
                self._look_at(watched, now)
            if not self._is_recorded:
                self._record()
            if now - self._last_rotation > _ROTATE_EVERY_S:
                self._last_rotation = now
                self._keep_house()
            time.sleep(_POLL_S)

    def stop(self, groups: Sequence[Sequence[str]]) -> None:
        """Stop the parts, group by group, those of one group at the same time; then any that no group names."""
        named = {name for group in groups for name in group}
        rest = [[w.part.name] for w in reversed(self._watched) if w.part.name not in named]
        for group in (*groups, *rest):
            children = [w.part.child for w in self._watched if w.part.name in group and w.part.child]
            for child in children:
                child.ask_to_stop()
            for child in children:
                child.wait_stopped()

    def _start(self, watched: _Watched) -> Child:
        child = watched.part.start()
        watched.started_at = time.monotonic()
        watched.start_again_at = None
        self._records = [*(r for r in self._records if r.name != child.command.name), record_of(child)]
        self._is_recorded = False
        return child

    def _record(self) -> None:
        with contextlib.suppress(DiskFull):  # whoever runs, runs; it is written down when there is room
            self._folder.record(self._records)
            self._is_recorded = True

    def _look_at(self, watched: _Watched, now: float) -> None:
        child = watched.part.child
        if child is None or child.exit_code is None:
            return
        if watched.start_again_at is None:
            if now - watched.started_at > _STABLE_S:
                watched.pause_s = _FIRST_PAUSE_S
            cause = start_failure(child, f"{watched.part.name} ended ({_how(child.exit_code)})")
            self._postpone(watched, cause)
        elif now >= watched.start_again_at:
            try:
                self._start(watched)
            except (MilkrunError, OSError) as error:
                # OSError: on a full disk its configuration cannot be written, and will be once there is room.
                self._postpone(watched, error)
            else:
                self._record()
                self._say(f"{watched.part.name} runs again")

    def _postpone(self, watched: _Watched, cause: Exception) -> None:
        self._say(f"{cause}\nstarting {watched.part.name} again in {watched.pause_s:g} s")
        watched.start_again_at = time.monotonic() + watched.pause_s
        watched.pause_s = min(watched.pause_s * 2, _LONGEST_PAUSE_S)

    def _say(self, line: str) -> None:
        # What is told may go to a file on the very disk that is full.
        with contextlib.suppress(OSError):
            self._tell(line)

    def _keep_house(self) -> None:
        for watched in self._watched:
            if watched.part.child:
                with contextlib.suppress(OSError):  # no room for the part that is kept: at the next turn perhaps
                    watched.part.child.keep_log_small()
        is_low = free_bytes(self._folder.path) < _LOW_DISK_BYTES
        if is_low and not self._disk_is_low:
            self._say(f"less than {_LOW_DISK_BYTES // 2**20} MiB are left on the disk of {self._folder.path}")
        self._disk_is_low = is_low


def _how(exit_code: int) -> str:
    return f"exit code {exit_code}" if exit_code >= 0 else f"killed by {signal.Signals(-exit_code).name}"
