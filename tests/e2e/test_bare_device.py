"""A device that has openssl and Mosquitto's command line clients, and nothing of ours."""

import json
import shutil
import subprocess
import time

import pytest

from core.tenancy import Thing
from tests.e2e.platform import Platform

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis, pytest.mark.mosquitto]


@pytest.fixture
def run(tmp_path):
    def call(*command: str, **options) -> str:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


@pytest.fixture
def equipped(platform: Platform, tenant: str, tmp_path, run) -> str:
    """The thing whose key `openssl` made in `tmp_path`, where its certificate lies now."""
    missing = [each for each in ("openssl", "mosquitto_pub", "mosquitto_rr") if shutil.which(each) is None]
    if missing:
        pytest.skip(f"NOT PROVEN: {', '.join(missing)} missing (Debian: apt-get install openssl mosquitto-clients)")
    thing = f"{tenant}:shell-1"
    run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "device.key")
    run("openssl", "req", "-new", "-key", "device.key", "-subj", "/CN=any", "-out", "device.csr")
    issued = platform.authority.issue_from_csr((tmp_path / "device.csr").read_bytes(), Thing.parse(thing))
    platform.register(thing)
    (tmp_path / "device.crt").write_bytes(issued.certificate_pem)
    (tmp_path / "ca.crt").write_bytes(issued.ca_pem)
    return thing


@pytest.mark.parametrize("protocol", ["mqttv5", "mqttv311"])
def test_a_position_from_the_shell_reaches_the_table_and_is_confirmed(platform, equipped, run, protocol):
    to = ("-h", "localhost", "-p", str(platform.config.device_port))
    credentials = ("--cafile", "ca.crt", "--cert", "device.crt", "--key", "device.key")
    common = (*to, *credentials, "-i", equipped, "-V", protocol, "-q", "1", "-t", f"dt/milkrun/{equipped}/telemetry")

    def sample(seq: int) -> str:
        ts = time.time_ns() // 1_000_000
        return json.dumps({"ts": ts, "boot": protocol, "seq": seq, "pos": {"lat": 47.141, "lon": 9.5215}})

    if protocol == "mqttv5":
        # Each waits for its own confirmation: a second one sent before the first is confirmed would hear that one.
        for seq in (1, 2):
            said = run("mosquitto_rr", *common, "-e", f"dt/milkrun/{equipped}/ack", "-W", "20", "-m", sample(seq))
            assert json.loads(said) == {"boot": protocol, "seq": seq, "from": 1}
    else:
        run("mosquitto_pub", *common, "-m", sample(1))
        run("mosquitto_pub", *common, "-l", input=f"{sample(2)}\n")
    deadline = time.monotonic() + 20
    while len(platform.stored(protocol)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [copies for name, copies in platform.stored(protocol).items() if name[0] == equipped] == [1, 1]
