"""`milkrun up` and `milkrun down`, run as a user runs them: real processes, real servers."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import httpx
import psutil
import psycopg
import pytest

from api.access import Scope
from cli import context
from cli.stack.process import LOOPBACK
from cli.stack.servers.postgres import Postgres
from cli.stack.servers.redis import Redis
from cli.stack.services import SERVICES
from cli.stack.state import DataFolder, stop_leftovers

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis]

MILKRUN = (sys.executable, "-m", "cli.main")
PARTS = {"postgres", "redis", "mosquitto", *(service.name for service in SERVICES)}


class Up:
    """A `milkrun up` in a process of its own, stopped at the end whatever the test did."""

    def __init__(self, data: Path, *options: str, **variables: str) -> None:
        self.data = data
        self.output = data.parent / f"{data.name}.out"
        command = (*MILKRUN, "up", "--data", str(data), "--mqtt-port", "0", *options)
        with self.output.open("w") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, env={**clean_environment(), **variables}
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(120)

    def wait_ready(self) -> dict:
        deadline = time.monotonic() + 120
        while not (self.data / "stack.json").exists():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.05)
        return json.loads((self.data / "stack.json").read_text())

    def parts(self) -> dict[str, psutil.Process]:
        records = json.loads((self.data / "run" / "processes.json").read_text())
        return {record["name"]: psutil.Process(record["pid"]) for record in records}

    def wait_for_output(self, text: str) -> None:
        deadline = time.monotonic() + 120
        while text not in self.output.read_text():
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.05)


def clean_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("MILKRUN_")}


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (*MILKRUN, *arguments), capture_output=True, text=True, env=clean_environment(), check=False, timeout=180
    )


def wait_gone(processes: dict[str, psutil.Process]) -> None:
    gone, alive = psutil.wait_procs(list(processes.values()), timeout=60)
    assert alive == []
    assert len(gone) == len(processes)


@pytest.fixture
def data(work_dir: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=work_dir) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "data"


@pytest.fixture(scope="module")
def running(work_dir: Path) -> Iterator[Up]:
    """A stack that tests look at and leave as it is."""
    with tempfile.TemporaryDirectory(dir=work_dir) as folder:
        Path(folder).chmod(0o711)
        with Up(Path(folder) / "data") as up:
            up.wait_ready()
            yield up


@pytest.mark.mosquitto
def test_stack_json_says_how_to_connect_and_only_the_owner_may_read_it(running: Up) -> None:
    stack = running.wait_ready()
    assert set(stack) == {
        *("api_url", "console_url", "mqtt", "database_url", "redis_url", "broker", "timescale", "admin"),
    }
    assert set(stack["mqtt"]) == {"host", "port", "ca_file"}
    assert stack["broker"] == "mosquitto"
    assert stack["timescale"] is False
    assert (running.data / "stack.json").stat().st_mode & 0o777 == 0o600
    with psycopg.connect(stack["database_url"]) as conn:
        assert conn.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
    assert stack["console_url"] == f"{stack['api_url']}/"
    assert set(stack["admin"]) == {"client_id", "client_secret"}
    with socket.create_connection((stack["mqtt"]["host"], stack["mqtt"]["port"])):
        assert Path(stack["mqtt"]["ca_file"]).read_text().startswith("-----BEGIN CERTIFICATE")


def test_the_admin_of_stack_json_may_do_everything(running: Up) -> None:
    stack = running.wait_ready()
    admin = stack["admin"]
    with httpx.Client(base_url=stack["api_url"]) as client:
        assert client.get("/readyz").json() == {"status": "ok"}
        form = {"grant_type": "client_credentials"}
        token = client.post("/oauth/token", data=form, auth=(admin["client_id"], admin["client_secret"])).json()
        me = client.get("/v1/me", headers={"Authorization": f"Bearer {token['access_token']}"}).json()
    assert (me["role"], me["tenant"]) == ("operator", None)
    assert me["scopes"] == sorted(Scope)


def test_without_the_api_the_rest_runs_all_the_same(data: Path) -> None:
    with Up(data, "--no-api") as up:
        stack = up.wait_ready()
        assert (stack["api_url"], stack["console_url"], stack["admin"]) == (None, None, None)
        assert set(up.parts()) == {"up", *PARTS} - {"api"}


def test_every_secret_of_the_stack_is_closed_to_other_users(running: Up) -> None:
    folder = running.data / "secrets"
    assert folder.stat().st_mode & 0o077 == 0
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file() and path.stat().st_size} == {
        0o600
    }
    assert (folder / "keys").stat().st_mode & 0o777 == 0o700


def test_commands_find_the_running_stack_and_the_environment_wins(running: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = running.wait_ready()
    found = context.load(running.data)
    assert found.settings.database.url == stack["database_url"]
    assert found.settings.database.operator_url.startswith("postgresql://milkrun_operator:")
    assert found.settings.redis.url == stack["redis_url"]
    assert (found.ca_dir / "device-ca.crt").is_file()
    monkeypatch.setenv("MILKRUN_REDIS_URL", "redis://elsewhere:6379/0")
    assert context.load(running.data).settings.redis.url == "redis://elsewhere:6379/0"
    assert "MILKRUN_DATABASE_URL" not in os.environ


def test_a_service_is_given_no_login_but_its_own(running: Up) -> None:
    for service in SERVICES:
        environ = running.parts()[service.name].environ()
        logins = {key for key in environ if key.startswith("MILKRUN_DATABASE_") and key.endswith("URL")}
        assert logins == {f"MILKRUN_DATABASE_{r.removeprefix('milkrun_').upper()}_URL" for r in service.roles}


def test_a_second_start_on_a_running_folder_is_refused(running: Up) -> None:
    second = run("up", "--data", str(running.data), "--mqtt-port", "0")
    assert second.returncode == 1
    assert second.stderr.startswith("milkrun: a stack already runs in ")
    assert "milkrun down --data" in second.stderr
    assert running.process.poll() is None


@pytest.mark.mosquitto
def test_a_part_killed_hard_is_started_again_at_the_same_address(running: Up) -> None:
    stack = running.wait_ready()
    for name in ("redis", "ingest", "api", "postgres"):
        running.parts()[name].kill()
        running.wait_for_output(f"{name} runs again")
    with psycopg.connect(stack["database_url"]) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
    assert httpx.get(f"{stack['api_url']}/healthz").status_code == 200
    assert set(running.parts()) == {"up", *PARTS}


@pytest.mark.mosquitto
def test_down_stops_everything_and_a_second_start_keeps_all_data(data: Path) -> None:
    with Up(data) as first:
        before = first.wait_ready()
        parts = first.parts()
        assert set(parts) == {"up", *PARTS}
        assert run("tenant", "add", "acme", "--data", str(data)).returncode == 0
        stopped = run("down", "--data", str(data))
        assert stopped.returncode == 0, stopped.stderr
        assert first.process.wait(10) == 0
        wait_gone({name: process for name, process in parts.items() if name != "up"})
        assert not (data / "stack.json").exists()
    with Up(data) as second:
        after = second.wait_ready()
        assert after == before
        with psycopg.connect(after["database_url"]) as conn:
            assert conn.execute("SELECT tenant_id FROM tenant").fetchall() == [("acme",)]


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("postgres.new", signal.SIGINT),
        ("postgres", signal.SIGTERM),
        ("redis", signal.SIGINT),
        ("ca", signal.SIGTERM),
    ],
)
def test_a_signal_in_the_middle_of_starting_stops_it_cleanly_and_the_next_start_works(
    data: Path, moment: str, number: signal.Signals
) -> None:
    with Up(data) as up:
        wait_for((data / moment).exists)
        up.process.send_signal(number)
        assert up.process.wait(60) == 0, up.output.read_text()
    assert stop_leftovers(DataFolder(data).recorded()) == []
    with Up(data) as up:
        up.wait_ready()


def test_nothing_survives_a_kill_of_up_and_the_next_start_works(data: Path) -> None:
    with Up(data) as first:
        first.wait_ready()
        parts = first.parts()
        first.process.kill()
        first.process.wait(10)
        if sys.platform == "linux":
            wait_gone({name: process for name, process in parts.items() if name != "up"})
    with Up(data) as second:
        second.wait_for_output("Milkrun is ready")
        wait_gone({name: process for name, process in parts.items() if name != "up"})


@pytest.mark.mosquitto
def test_servers_the_environment_names_are_used_and_none_is_started_beside_them(
    data: Path, durable_postgres: Postgres, durable_redis: Redis
) -> None:
    given = {"MILKRUN_DATABASE_URL": durable_postgres.url, "MILKRUN_REDIS_URL": durable_redis.url}
    with Up(data, **given) as up:
        stack = up.wait_ready()
        assert (stack["database_url"], stack["redis_url"]) == (durable_postgres.url, durable_redis.url)
        assert set(up.parts()) == {"up", *PARTS} - {"postgres", "redis"}
        for service in SERVICES:
            assert "MILKRUN_DATABASE_URL" not in up.parts()[service.name].environ()
    assert durable_postgres.child.exit_code is None


def test_without_mosquitto_the_embedded_broker_runs_and_says_what_it_lacks(data: Path) -> None:
    with Up(data, MILKRUN_BROKER_KIND="amqtt") as up:
        stack = up.wait_ready()
        assert stack["broker"] == "amqtt"
        assert set(up.parts()) == {"up", "amqtt", *PARTS} - {"mosquitto"}
        assert "The embedded broker (amqtt) runs in place of Mosquitto. It lacks: MQTT 5" in up.output.read_text()
        with socket.create_connection((stack["mqtt"]["host"], stack["mqtt"]["port"])):
            pass


def test_a_database_that_does_not_answer_is_named_without_its_password(data: Path, free_port) -> None:
    url = f"postgresql://owner:s3cret@127.0.0.1:{free_port()}/db"
    with Up(data, MILKRUN_DATABASE_URL=url) as up:
        assert up.process.wait(60) == 1
    said = up.output.read_text()
    assert "milkrun: database postgresql://owner:***@127.0.0.1:" in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("option", "other", "what"),
    [("--mqtt-port", "--api-port", "devices (MQTT)"), ("--api-port", "--mqtt-port", "the API")],
)
def test_a_taken_port_is_named_and_nothing_is_started(data: Path, option: str, other: str, what: str) -> None:
    with socket.socket() as holder:
        holder.bind((LOOPBACK, 0))
        holder.listen()
        port = holder.getsockname()[1]
        refused = run("up", "--data", str(data), other, "0", option, str(port))
    assert refused.returncode == 1
    assert f"milkrun: port {port} for {what} cannot be used (Address already in use)" in refused.stderr
    assert f"choose another with {option} (0 = any free port)" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (data / "postgres").exists()


@pytest.fixture
def small_disk(work_dir: Path) -> Iterator[Path]:
    """A disk of 40 MiB."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("a small disk (tmpfs) can only be mounted by root on Linux")
    folder = Path(tempfile.mkdtemp(dir=work_dir))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", folder], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine does not let root mount a tmpfs")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_too_small_to_start_on_is_named(small_disk: Path) -> None:
    refused = run("up", "--data", str(small_disk / "data"), "--mqtt-port", "0")
    assert refused.returncode == 1
    assert f"milkrun: {small_disk}/data needs 256 MiB of free disk space to start" in refused.stderr


def test_a_full_disk_is_named(small_disk: Path) -> None:
    (small_disk / "data").mkdir()
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "filler").write_bytes(bytes(64 * 1024 * 1024))
    refused = run("up", "--data", str(small_disk / "data"), "--mqtt-port", "0")
    assert refused.returncode == 1
    assert "milkrun: " in refused.stderr
    assert str(small_disk / "data") in refused.stderr
    assert "space" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_commands_say_how_to_start_a_stack_when_none_runs(data: Path) -> None:
    refused = run("tenant", "list", "--data", str(data))
    assert refused.returncode == 1
    assert refused.stderr.strip() == (
        f"milkrun: no stack runs in {data}: start it with `milkrun up --data {data}`, "
        "or name a database with MILKRUN_DATABASE_URL"
    )


def test_down_where_nothing_runs_says_so(data: Path) -> None:
    nothing = run("down", "--data", str(data))
    assert (nothing.returncode, nothing.stdout.strip()) == (0, f"nothing runs in {data}")
