"""Children and what the data folder remembers of them."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from cli.stack import process
from cli.stack.errors import StartFailed
from cli.stack.process import Child, Command, RunAs
from cli.stack.state import DataFolder, ProcessRecord, record_of, stop_leftovers
from cli.stack.supervise import StopRequested, Supervisor

PYTHON = sys.executable


def python(code: str) -> tuple[str, ...]:
    return (PYTHON, "-c", code)


def test_a_child_that_ends_before_it_is_ready_is_reported_with_its_last_words(tmp_path: Path) -> None:
    child = Child(Command("oven", python("print('no gas'); raise SystemExit(3)"), tmp_path / "logs" / "oven.log"))
    with pytest.raises(StartFailed, match=r"oven ended with exit code 3; its log .*oven.log ends with:\nno gas"):
        child.wait_ready(lambda: False)


def test_a_child_that_does_not_stop_in_its_grace_is_killed(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    child = Child(Command("deaf", python(deaf), tmp_path / "logs" / "deaf.log", grace_s=0.2))
    child.wait_ready(lambda: "up" in child.log_tail())
    child.stop()
    assert child.exit_code == -signal.SIGKILL


def test_a_child_gets_the_environment_of_its_command_and_nothing_else(tmp_path: Path) -> None:
    code = "import os; print(sorted(k for k in os.environ if not k.startswith('LC_')))"
    child = Child(Command("bare", python(code), tmp_path / "logs" / "bare.log", env={"ONLY": "this"}))
    child.wait_stopped()
    assert child.log_tail() == "['ONLY']"


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root on Linux gives up rights")
def test_a_child_that_gives_up_root_keeps_one_right_alone_where_it_has_to_pass_closed_folders(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    program = Path(shutil.copy("/bin/sh", closed))
    script = f"test -x {program} && id -u && grep CapEff /proc/self/status"
    nobody = RunAs(65534, 65534, bypass=True)
    child = Child(Command("guest", (str(program), "-c", script), tmp_path / "logs" / "guest.log", run_as=nobody))
    child.wait_stopped()
    uid, capabilities = child.log_tail().splitlines()
    assert uid == "65534"
    assert capabilities.split() == ["CapEff:", "0000000000000002"]


def test_a_log_over_the_limit_is_cut_and_its_newest_part_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOG_LIMIT_BYTES", 1000)
    log = tmp_path / "logs" / "talker.log"
    child = Child(Command("talker", python("print('x' * 1500 + 'end')"), log))
    child.wait_stopped()
    child.keep_log_small()
    assert log.stat().st_size == 0
    kept = log.with_name("talker.log.1").read_text()
    assert len(kept) == 1000
    assert kept.endswith("xend\n")


def test_leftovers_are_ended_only_when_they_are_provably_ours() -> None:
    sleeper = subprocess.Popen(python("import time; time.sleep(60)"))
    try:
        ours = ProcessRecord("sleeper", sleeper.pid, psutil.Process(sleeper.pid).create_time())
        somebody_elses = ProcessRecord("sleeper", sleeper.pid, ours.started_at - 60)
        assert stop_leftovers([somebody_elses]) == []
        assert sleeper.poll() is None
        assert stop_leftovers([ours]) == ["sleeper"]
        assert ours.find() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_secret_stays_the_same_and_is_closed_to_others(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    folder.make()
    first = folder.secret("redis")
    assert len(first) >= 32
    assert DataFolder(tmp_path / "data").secret("redis") == first
    assert (tmp_path / "data" / "secrets" / "redis").stat().st_mode & 0o777 == 0o600


class Flaky:
    """A part that crashes as often as it is told to, then stays."""

    def __init__(self, log: Path, crashes: int) -> None:
        self.name = "flaky"
        self.child: Child | None = None
        self.starts = 0
        self._log = log
        self._crashes = crashes

    def start(self) -> Child:
        self.starts += 1
        code = "raise SystemExit(1)" if self.starts <= self._crashes else "import time; time.sleep(60)"
        self.child = Child(Command(self.name, python(code), self._log))
        return self.child


class Crowded(Flaky):
    """A part that finds no room for its configuration at its first restart."""

    def start(self) -> Child:
        if self.starts == 1:
            self.starts += 1
            raise OSError(28, "No space left on device")
        return super().start()


def test_a_part_that_finds_no_room_on_the_disk_and_a_word_that_finds_none_end_nothing(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    folder.make()
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if "runs again" in line:
            raise StopRequested
        raise OSError(28, "No space left on device")

    supervisor = Supervisor(folder, say)
    supervisor.start(Crowded(folder.logs / "flaky.log", crashes=1))
    with pytest.raises(StopRequested):
        supervisor.watch(threading.Event())
    supervisor.stop([["flaky"]])
    assert "No space left on device" in said[1]
    assert said[-1] == "flaky runs again"


def test_a_crashing_part_is_started_again_with_growing_pauses(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    folder.make()
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if said.count("flaky runs again") == 2:
            raise StopRequested

    supervisor = Supervisor(folder, say)
    part = Flaky(folder.logs / "flaky.log", crashes=2)
    supervisor.start(part)
    with pytest.raises(StopRequested):
        supervisor.watch(threading.Event())
    supervisor.stop([["flaky"]])
    pauses = [line.splitlines()[-1] for line in said if "again in" in line]
    assert pauses == ["starting flaky again in 0.5 s", "starting flaky again in 1 s"]
    assert part.child is not None
    assert part.child.exit_code == -signal.SIGTERM
    assert record_of(part.child) in folder.recorded()
