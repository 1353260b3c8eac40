"""`milkrun demo` as a user runs it: everything started from nothing, driven, counted and stopped."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis]

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("MILKRUN_")}


class Milkrun:
    """One `milkrun` command in a process of its own."""

    def __init__(self, *arguments: str, **variables: str) -> None:
        self.process = subprocess.Popen(
            (sys.executable, "-m", "cli.main", *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=ENVIRONMENT | variables,
        )

    def wait(self, exit_code: int = 0) -> str:
        output, _ = self.process.communicate(timeout=240)
        assert self.process.returncode == exit_code, output
        return output


def counted(output: str, what: str) -> int:
    """The number behind `what` in the last table."""
    found = re.findall(rf"^{what} +([\d,]+)", output, re.MULTILINE)
    assert found, output
    return int(found[-1].replace(",", ""))


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def data(work_dir: Path) -> Iterator[Path]:
    """One folder for all: the district and the road graph are made once, and each start keeps what is there."""
    with tempfile.TemporaryDirectory(dir=work_dir) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "data"


@pytest.mark.parametrize("kind", [pytest.param("mosquitto", marks=pytest.mark.mosquitto), "amqtt"])
def test_the_demo_ends_by_itself_with_everything_counted(data: Path, kind: str) -> None:
    command = ("demo", "--seconds", "6", "--trucks", "4", "--data", str(data))
    output = Milkrun(*command, MILKRUN_BROKER_KIND=kind).wait()
    assert "4 with certificates in tenant demo" in output
    assert re.search(
        r"Watch them +http://127\.0\.0\.1:\d+/\n +sign in as demo@milkrun\.example\n +password +\S{20,}", output
    )
    assert counted(output, "samples sent") >= counted(output, "committed") > 8
    assert counted(output, "lost") == 0
    assert counted(output, "duplicates") == 0
    assert re.search(r"publish to durable +p50 \d+ ms, p99 [\d,]+ ms", output)
    assert re.search(r"Trips +4 to \d+ places", output)
    told = output[output.index("What those who wait are told") :]
    assert re.search(r"^truck-1 +(planned|under way) +", told, re.MULTILINE)
    assert re.search(r"^Alerts  ", told, re.MULTILINE)
    assert not (data / "stack.json").exists()
    assert "nothing runs" in Milkrun("down", "--data", str(data)).wait()


def test_what_is_gone_from_the_database_is_counted_as_lost(data: Path, tmp_path: Path) -> None:
    recording(tmp_path)
    demo = Milkrun("demo", "--replay", str(tmp_path), "--speed", "10", "--data", str(data))
    wait_for((data / "stack.json").exists, demo.process)
    url = json.loads((data / "stack.json").read_text())["database_url"]
    with psycopg.connect(url, autocommit=True) as conn:
        gone = 0

        def delete() -> bool:
            nonlocal gone
            statement = "DELETE FROM telemetry.position WHERE device_id = 'van' AND seq IN (2, 3)"
            gone += conn.execute(statement).rowcount
            return gone == 2

        wait_for(delete, demo.process)
    output = demo.wait(exit_code=1)
    assert "2 of 2 trips, 162 fixes" in output
    assert "2 to 1 places" in output
    assert re.search(r"^van +(planned|under way|done) +", output, re.MULTILINE)
    assert counted(output, "samples sent") == 162
    assert counted(output, "lost") == 2
    assert counted(output, "committed") == 160


def test_ctrl_c_ends_a_fleet_that_leaves_the_running_stack_alone(data: Path) -> None:
    up = Milkrun("up", "--mqtt-port", "0", "--data", str(data))
    try:
        wait_for((data / "stack.json").exists, up.process)
        url = json.loads((data / "stack.json").read_text())["database_url"]
        demo = Milkrun("demo", "--trucks", "2", "--tenant", "acme", "--data", str(data))
        with psycopg.connect(url, autocommit=True) as conn:
            statement = "SELECT count(*) > 4 FROM telemetry.position WHERE tenant_id = 'acme'"
            wait_for(lambda: conn.execute(statement).fetchone() == (True,), demo.process)
        demo.process.send_signal(signal.SIGINT)
        output = demo.wait()
        assert "uses the stack that runs in" in output
        assert counted(output, "lost") == 0
        assert (data / "stack.json").exists()
        fleet = Milkrun(
            "sim", "fleet", "--trucks", "2", "--tenant", "acme", "--seconds", "3", "--data", str(data)
        ).wait()
        assert counted(fleet, "samples confirmed durable") > 0
    finally:
        up.process.send_signal(signal.SIGTERM)
        up.wait()


def test_without_a_stack_a_fleet_says_how_to_start_one(tmp_path: Path) -> None:
    output = Milkrun("sim", "fleet", "--data", str(tmp_path)).wait(exit_code=1)
    assert f"start it with `milkrun up --data {tmp_path}`" in output


def recording(folder: Path) -> None:
    """Two vehicles, one trip each of 81 fixes a second apart, in the format of datasets."""
    begin = datetime(2020, 9, 23, 4, tzinfo=UTC)
    (folder / "trips.csv").write_text(
        f"trip_id,route_id,vehicle_id,start\na,north,van,{begin.isoformat()}\nb,north,bus,{begin.isoformat()}\n"
    )
    (folder / "stops.csv").write_text("route_id,seq,stop_id,name,lat,lon\nnorth,1,s,Stop,47.1,9.5\n")
    lines = ["trip_id,vehicle_id,ts,lat,lon"]
    for trip, vehicle, hours in (("a", "van", 0), ("b", "bus", 9)):
        for n in range(81):
            at = begin + timedelta(hours=hours, seconds=n)
            lines.append(f"{trip},{vehicle},{at.isoformat()},{47.1 + n * 0.0001:.4f},9.5")
    (folder / "positions.csv").write_text("\n".join(lines) + "\n")
