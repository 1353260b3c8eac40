"""`milkrun up` with trucks on its roads and people who may sign in: what the console is tried against."""

import asyncio
import concurrent.futures
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import redis

from core import topics
from core.channels.log import Channel, Channels, Position
from core.settings import LiveSettings, RedisSettings
from core.tenancy import tenant_id
from tests.broker.pki import Credentials
from tests.broker.wire import Client
from tests.e2e.console.rounds import Day, plan_day, state_of

MILKRUN = (sys.executable, "-m", "cli.main")
ROOT = Path(__file__).parents[3]
TENANT = "demo"
PASSWORD = "a truck is not a train"
_WITHIN_S = 240.0


@dataclass(frozen=True)
class User:
    id: str
    email: str


def built_console(copy: Path) -> Path:
    """The console as it is built from this tree, in a folder that no later build touches."""
    built = subprocess.run([ROOT / "scripts" / "console"], capture_output=True, text=True, check=False, timeout=900)
    assert built.returncode == 0, built.stdout + built.stderr
    subprocess.run(["cp", "-r", ROOT / "console" / "dist", copy], check=True)
    return copy


class Town:
    """A running stack in `folder`, and a fleet of `trucks`. Only its own processes are ever signalled."""

    def __init__(self, folder: Path, *, trucks: int) -> None:
        self._trucks = trucks
        self._data = folder / "data"
        self._log = folder / "up.log"
        self._fleet_log = folder / "fleet.log"
        self._console = built_console(folder / "console")
        self._numbers = itertools.count(1)

    @contextmanager
    def running(self) -> Iterator["Town"]:
        data = ("--data", str(self._data))
        up = self._start(self._log, "up", *data, "--mqtt-port", "0", "--api-port", "0")
        try:
            self._await((self._data / "stack.json").exists, up, self._log)
            self._up = psutil.Process(up.pid)
            self.stack = json.loads((self._data / "stack.json").read_text())
            self.url = self.stack["console_url"].rstrip("/")
            fleet = self._start(self._fleet_log, "sim", "fleet", "--trucks", str(self._trucks), *data)
            try:
                self._await(self._is_driving, fleet, self._fleet_log)
                yield self
            finally:
                fleet.terminate()
                fleet.wait(120)
        finally:
            up.terminate()
            up.wait(180)

    def plan_day(self) -> Day:
        """Give every truck its trip of today; done once, and when the trips have arrival times."""
        with self.rest() as rest:
            day = plan_day(rest, self._data, self._trucks)
            deadline = time.monotonic() + _WITHIN_S
            while not any(stop["eta"] for trip in day.trips.values() for stop in state_of(rest, trip)["stops"]):
                assert time.monotonic() < deadline, "no trip got an arrival time"
                time.sleep(1)
        return day

    # --- who and what there is ------------------------------------------------------------------------------------

    def rest(self) -> httpx.Client:
        """The API as the operator of the platform, looking at the tenant."""
        admin = self.stack["admin"]
        form = {"grant_type": "client_credentials"}
        who = (admin["client_id"], admin["client_secret"])
        answer = httpx.post(f"{self.url}/oauth/token", data=form, auth=who, timeout=60).raise_for_status()
        headers = {"Milkrun-Tenant": TENANT, "Authorization": f"Bearer {answer.json()['access_token']}"}
        return httpx.Client(base_url=self.url, timeout=60, headers=headers)

    def user(self, role: str) -> User:
        """Somebody new who may sign in with PASSWORD."""
        email = f"{role}-{next(self._numbers)}@demo.example"
        with self.rest() as rest:
            form = {"email": email, "role": role, "name": role.title(), "password": PASSWORD}
            made = rest.post("/v1/users", json=form).raise_for_status().json()
        return User(made["id"], email)

    def session(self, user: User) -> str:
        """The cookie of a new session."""
        answer = httpx.post(
            f"{self.url}/v1/session",
            json={"email": user.email, "password": PASSWORD},
            headers={"Origin": self.url},
            timeout=60,
        )
        return answer.raise_for_status().cookies["milkrun_session"]

    def moving(self) -> str:
        """The name of a truck that drives right now."""
        deadline = time.monotonic() + _WITHIN_S
        with self.rest() as rest:
            while time.monotonic() < deadline:
                found = rest.get("/v1/positions").raise_for_status().json()["items"]
                fast = [each["device"] for each in found if (each.get("speed") or 0) > 5]
                if fast:
                    return fast[0]
                time.sleep(1)
        raise AssertionError("no truck drives")

    def farthest(self) -> str:
        """Of the trucks that drive, the one with the most fixes while driving, which makes the best picture."""
        with self.rest() as rest:
            found = rest.get("/v1/positions").raise_for_status().json()["items"]
            names = [each["device"] for each in found if (each.get("speed") or 0) > 5]
            tracks = {name: rest.get(f"/v1/devices/{name}/track").json()["items"] for name in names}
        return max(tracks, key=lambda name: sum((fix.get("speed") or 0) > 5 for fix in tracks[name]))

    def device(self) -> "Device":
        """A device of the test's own, registered and equipped."""
        # Behind the trucks in the list.
        name = f"van-{next(self._numbers)}"
        folder = self._data.parent / name
        arguments = ("device", "add", TENANT, name, "--out", str(folder), "--data", str(self._data))
        subprocess.run((*MILKRUN, *arguments), check=True, capture_output=True, timeout=120)
        return Device(name, folder, self.stack)

    def events(self, epoch: str, after: int, upto: int) -> list[dict]:
        """What the server's log of the channel `vehicles` holds between two offsets."""

        async def read() -> list[dict]:
            channels = Channels(RedisSettings(url=self.stack["redis_url"]), LiveSettings())
            try:
                channel = Channel(tenant_id(TENANT), "vehicles")
                batches = await channels.missed(channel, Position(int(epoch, 16), after), upto, most=1_000_000)
            finally:
                await channels.close()
            assert batches is not None, "the log no longer holds what the page was sent"
            numbered = [
                {"offset": offset, **json.loads(b"{" + event)}
                for batch in batches
                for offset, event in enumerate(batch.events, batch.first)
            ]
            return [event for event in numbered if after < event["offset"] <= upto]

        # The browser's driver has this thread's event loop.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, read()).result()

    # --- what goes wrong ------------------------------------------------------------------------------------------

    def kill(self, part: str) -> None:
        """End a part at once; the supervisor starts it again."""
        records = json.loads((self._data / "run" / "processes.json").read_text())
        [pid] = [record["pid"] for record in records if record["name"] == part]
        psutil.Process(pid).kill()

    def empty_redis(self) -> None:
        with redis.Redis.from_url(self.stack["redis_url"]) as client:
            client.flushall()

    @contextmanager
    def without_supervisor(self) -> Iterator[None]:
        """What dies meanwhile stays dead until the end."""
        self._up.suspend()
        try:
            yield
        finally:
            self._up.resume()

    def _start(self, log: Path, *arguments: str) -> "subprocess.Popen[bytes]":
        with log.open("w") as out:
            return subprocess.Popen((*MILKRUN, *arguments), stdout=out, stderr=out, env=self._environment())

    def _environment(self) -> Mapping[str, str]:
        ours = {key: value for key, value in os.environ.items() if not key.startswith("MILKRUN_")}
        return ours | {"MILKRUN_CONSOLE_FOLDER": str(self._console)}

    def _is_driving(self) -> bool:
        with self.rest() as rest:
            # The tenant is made by the fleet: until then there is none. One that stands reports now and then.
            return len(rest.get("/v1/positions").json().get("items", [])) > self._trucks * 0.7

    @staticmethod
    def until(is_so: Callable[[], bool]) -> None:
        """Wait for what must come about."""
        deadline = time.monotonic() + _WITHIN_S
        while not is_so():
            assert time.monotonic() < deadline, "it did not come about"
            time.sleep(0.3)

    @staticmethod
    def _await(condition, process: "subprocess.Popen[bytes]", log: Path) -> None:
        deadline = time.monotonic() + _WITHIN_S
        while not condition():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)


class Device:
    """A device over mTLS that says what a test wants said."""

    def __init__(self, name: str, folder: Path, stack: dict) -> None:
        self.name = name
        self._folder = folder
        self._stack = stack

    def send(self, *payloads: bytes | Sequence[dict]) -> None:
        """Publish telemetry, each payload one message, and go."""
        mqtt, folder = self._stack["mqtt"], self._folder
        protocol = 5 if self._stack["broker"] == "mosquitto" else 4
        credentials = Credentials(self.name, folder / "device.crt", folder / "device.key", 0)
        thing = f"{TENANT}:{self.name}"
        with Client(mqtt["port"], Path(mqtt["ca_file"]), credentials, protocol=protocol) as client:
            client.connect(thing)
            for payload in payloads:
                message = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
                client.publish(topics.telemetry(thing), message)
