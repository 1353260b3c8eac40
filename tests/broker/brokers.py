"""A real Mosquitto with our configuration, in a folder of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from broker.embedded import launch
from broker.mosquitto import MosquittoConfig, command, prepare
from cli.stack.process import free_port
from core.settings import MqttSettings
from tests.broker.pki import Authority, Credentials
from tests.broker.wire import Client


@dataclass
class Fleet:
    """Two authorities, certificates by name (made when first asked for), and where the broker listens."""

    folder: Path
    device_port: int
    service_port: int
    _issued: dict[tuple[str, str], Credentials] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.devices = Authority("devices", self.folder)
        self.services = Authority("services", self.folder)
        self.strangers = Authority("strangers", self.folder)
        self.server = self.services.issue("localhost", server=True, file="server")

    def credentials(self, name: str, authority: Authority) -> Credentials:
        key = (authority.name, name)
        if key not in self._issued:
            self._issued[key] = authority.issue(name)
        return self._issued[key]

    def device(self, thing: str, *, protocol: int = 5, port: int | None = None) -> Client:
        credentials = self.credentials(thing, self.devices)
        return Client(port or self.device_port, self.services.ca_file, credentials, protocol=protocol)

    def service(self, name: str, *, protocol: int = 5, port: int | None = None) -> Client:
        credentials = self.credentials(name, self.services)
        return Client(port or self.service_port, self.services.ca_file, credentials, protocol=protocol)

    def mqtt(self, service: str) -> MqttSettings:
        """How a service of ours reaches the broker."""
        credentials = self.credentials(service, self.services)
        return MqttSettings(
            host="localhost",
            port=self.service_port,
            ca_file=self.services.ca_file,
            cert_file=credentials.cert_file,
            key_file=credentials.key_file,
        )


class MosquittoRunner:
    """Start, kill, start again; `config` is ours."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self.fleet = fleet
        self.config = MosquittoConfig(
            folder=folder,
            device_port=fleet.device_port,
            service_port=fleet.service_port,
            device_ca_file=fleet.devices.ca_file,
            service_ca_file=fleet.services.ca_file,
            server_cert_file=fleet.server.cert_file,
            server_key_file=fleet.server.key_file,
            crl_file=fleet.devices.crl_file,
            device_address="127.0.0.1",
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        prepare(self.config)
        argv, environment = command(self.config)
        output = (self.config.folder / "output").open("ab")
        with output:
            self.process = subprocess.Popen(
                argv, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
            )
        wait_for(self.process, (self.config.device_port, self.config.service_port))

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def clear(self) -> None:
        """Forget sessions and log, for the next test."""
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.config.folder, ignore_errors=True)

    @property
    def log(self) -> str:
        return self.config.log_file.read_text()


class EmbeddedRunner(MosquittoRunner):
    """The embedded broker in a process of its own."""

    def start(self) -> None:
        launch.prepare(self.config)
        with (self.config.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(launch.command(self.config), stdout=output, stderr=subprocess.STDOUT)
        wait_for(self.process, (self.config.device_port, self.config.service_port))


@contextmanager
def serving(kind: type[MosquittoRunner] = MosquittoRunner) -> Iterator[tuple[Fleet, MosquittoRunner]]:
    """A broker with nothing in it, for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="milkrun-broker-") as folder:
        fleet = Fleet(Path(folder), free_port(), free_port())
        runner = kind(fleet, Path(folder) / "broker")
        runner.start()
        try:
            yield fleet, runner
        finally:
            runner.stop()


def wait_for(process: subprocess.Popen[bytes], ports: tuple[int, ...], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    for port in ports:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise AssertionError(f"the broker does not listen on {port}; exit code {process.poll()}") from None
                time.sleep(0.02)


def eventually(is_so: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if is_so():
            return True
        time.sleep(0.01)
    return is_so()
