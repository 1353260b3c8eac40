"""AWS IoT Core as ministack emulates it, in a process of its own, on loopback."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from cli.stack.process import free_port
from core.settings import MqttSettings, ShadowSettings

REGION = "eu-central-1"
_READY_S = 90.0


@dataclass(frozen=True)
class Emulator:
    """Where it listens, and the files of a certificate it has issued and activated."""

    url: str
    mqtt: MqttSettings

    def settings(self, **more: Any) -> ShadowSettings:
        return ShadowSettings(mode="aws", aws_region=REGION, aws_endpoint_url=self.url, **more)

    def client(self, service: str = "iot-data") -> Any:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.session.Session().client(service, region_name=REGION, endpoint_url=self.url, **keys)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Emulator]:
    port, mqtt_port = free_port(), free_port()
    environment = {
        **os.environ,
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_PORT": str(mqtt_port),
        "TMPDIR": str(folder),
    }
    log = folder / "ministack.log"
    with log.open("wb") as out:
        program = [sys.executable, "-m", "tests.shadow.aws.loopback"]
        child = subprocess.Popen(program, env=environment, stdout=out, stderr=out)
    try:
        _wait(child, (port, mqtt_port), log)
        yield _prepared(folder, port, mqtt_port)
    finally:
        child.kill()
        child.wait(30)


def _wait(child: subprocess.Popen[bytes], ports: tuple[int, ...], log: Path) -> None:
    end = time.monotonic() + _READY_S
    for port in ports:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert child.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)


def _prepared(folder: Path, port: int, mqtt_port: int) -> Emulator:
    url = f"http://127.0.0.1:{port}"
    files = {name: folder / name for name in ("ca.pem", "service.crt", "service.key")}
    with urllib.request.urlopen(f"{url}/_ministack/iot/ca.pem", timeout=10) as answer:
        files["ca.pem"].write_bytes(answer.read())
    mqtt = MqttSettings(
        host="localhost",
        port=mqtt_port,
        ca_file=files["ca.pem"],
        cert_file=files["service.crt"],
        key_file=files["service.key"],
    )
    emulator = Emulator(url, mqtt)
    issued = emulator.client("iot").create_keys_and_certificate(setAsActive=True)
    files["service.crt"].write_text(issued["certificatePem"])
    files["service.key"].write_text(issued["keyPair"]["PrivateKey"])
    return emulator
