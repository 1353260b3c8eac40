"""`python -m broker` as a process: from an event on the bus to a cut session."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from broker import policy
from core import events
from core.bus import Bus, Entry
from core.events import CertificateRevoked
from core.settings import BusSettings, RedisSettings
from tests.broker.brokers import Fleet, MosquittoRunner, eventually
from tests.broker.wire import Closed
from tests.conftest import DatabaseUrls

pytestmark = [pytest.mark.mosquitto, pytest.mark.db, pytest.mark.redis]

THING = "acme:t1"


def _environment(fleet: Fleet, mosquitto: MosquittoRunner, database: DatabaseUrls, redis_url: str) -> dict[str, str]:
    service = fleet.credentials(policy.BROKER, fleet.services)
    return {
        "MILKRUN_DATABASE_OPERATOR_URL": database.operator,
        "MILKRUN_REDIS_URL": redis_url,
        "MILKRUN_MQTT_HOST": "localhost",
        "MILKRUN_MQTT_PORT": str(fleet.service_port),
        "MILKRUN_MQTT_CA_FILE": str(fleet.services.ca_file),
        "MILKRUN_MQTT_CERT_FILE": str(service.cert_file),
        "MILKRUN_MQTT_KEY_FILE": str(service.key_file),
        "MILKRUN_BROKER_FOLDER": str(mosquitto.config.folder),
        "MILKRUN_BROKER_CRL_FILE": str(fleet.devices.crl_file),
    }


async def _announce(redis_url: str, event: CertificateRevoked) -> None:
    bus = Bus(RedisSettings(url=redis_url), BusSettings())
    await bus.publish([Entry(event.stream, event.key, events.encode(event))])
    await bus.close()


def test_a_revocation_on_the_bus_cuts_the_live_session_and_the_process_ends_when_told(
    fleet: Fleet, mosquitto: MosquittoRunner, database: DatabaseUrls, redis_url: str, tmp_path: Path
) -> None:
    with psycopg.connect(database.owner) as conn:
        conn.execute("INSERT INTO tenant (tenant_id, name) VALUES ('acme', 'Acme')")
        conn.execute("INSERT INTO device (tenant_id, device_id, status) VALUES ('acme', 't1', 'active')")
    environment = {**os.environ, **_environment(fleet, mosquitto, database, redis_url)}
    with (tmp_path / "service.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "broker"], env=environment, stderr=log)
    try:
        with fleet.device(THING) as device:
            device.connect(THING)
            assert eventually(lambda: _is_online(database), 20.0)
            fleet.devices.bar(fleet.credentials(THING, fleet.devices))
            began = time.monotonic()
            asyncio.run(_announce(redis_url, CertificateRevoked(thing=THING, serial="1", reason="key_compromise")))
            assert device.is_cut_within(5.0), (tmp_path / "service.log").read_text()
            assert time.monotonic() - began < 5.0
        with pytest.raises(Closed), fleet.device(THING) as again:
            again.connect(THING)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0, (tmp_path / "service.log").read_text()
    finally:
        process.kill()
        process.wait()


def _is_online(database: DatabaseUrls) -> bool:
    with psycopg.connect(database.owner) as conn:
        return conn.execute("SELECT online FROM presence").fetchall() == [(True,)]
