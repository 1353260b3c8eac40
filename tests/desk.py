"""What tests of the services with a desk at the broker share: tenants in the room, and the service as a process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg

from core.tenancy import Thing
from tests.broker.brokers import Fleet, eventually
from tests.conftest import DatabaseUrls

_READY_S = 60.0


class Process:
    """`python -m service` as `milkrun up` starts it, with these `variables`; `name` is its own at the broker."""

    def __init__(
        self, service: str, fleet: Fleet, name: str, folder: Path, *, protocol: int = 5, **variables: str
    ) -> None:
        mqtt = fleet.mqtt(name)
        self._service = service
        self._log = folder / f"{service}.log"
        self._environment = {
            **os.environ,
            "MILKRUN_MQTT_HOST": mqtt.host,
            "MILKRUN_MQTT_PORT": str(mqtt.port),
            "MILKRUN_MQTT_CA_FILE": str(mqtt.ca_file),
            "MILKRUN_MQTT_CERT_FILE": str(mqtt.cert_file),
            "MILKRUN_MQTT_KEY_FILE": str(mqtt.key_file),
            "MILKRUN_MQTT_PROTOCOL": str(protocol),
            **variables,
        }
        self._starts = 0
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._starts += 1
        with self._log.open("ab") as log:
            self._child = subprocess.Popen([sys.executable, "-m", self._service], env=self._environment, stderr=log)
        assert eventually(lambda: self.log.count("desk.connected") >= self._starts, _READY_S), self.log

    def end(self, number: int) -> int:
        assert self._child is not None
        self._child.send_signal(number)
        return self._child.wait(30)

    def stop(self) -> None:
        """Whatever became of the test."""
        if self._child is not None and self._child.poll() is None:
            self.end(signal.SIGKILL)

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""


def register(urls: DatabaseUrls, count: int = 3) -> None:
    """Tenants acme and globex with the devices t1, t2 and so on."""
    with psycopg.connect(urls.operator) as conn:
        conn.execute("INSERT INTO tenant (tenant_id, name) VALUES ('acme', 'Acme'), ('globex', 'Globex')")
        conn.execute(
            "INSERT INTO device (tenant_id, device_id, status, labels)"
            " SELECT t, 't' || n, 'active', jsonb_build_object('n', n::text, 'of', t)"
            " FROM unnest(ARRAY['acme', 'globex']) t, generate_series(1, %s) n",
            (count,),
        )


def execute(urls: DatabaseUrls, statement: str, *params: object) -> None:
    with psycopg.connect(urls.operator) as conn:
        conn.execute(statement, params)  # type: ignore[arg-type]


def thing(name: str) -> Thing:
    return Thing.parse(name)
