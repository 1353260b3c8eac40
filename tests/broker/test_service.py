"""Guard, revocation and presence on the real Mosquitto (and the embedded broker) and PostgreSQL."""

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import AsyncIterator, Callable

import msgspec
import psycopg
import pytest
from cryptography.x509 import ReasonFlags

from broker import policy
from broker.handlers import handlers
from broker.mosquitto import BrokerControl
from broker.service import BrokerWatch, Cutter, Link, keep_revocations
from core import events
from core.bus import Delivery, Entry
from core.clock import utc_now
from core.db import Database
from core.events import CertificateRevoked, DeviceStatusChanged, Event
from core.settings import MqttSettings
from tests.broker.brokers import EmbeddedRunner, Fleet, MosquittoRunner
from tests.broker.wire import NEVER, Client, Closed
from tests.conftest import DatabaseUrls

pytestmark = pytest.mark.db

GRACE_S = 0.6
LONG_GRACE_S = 2.0  # where a device must be back within it, however slow the machine
THING = "acme:t1"
TELEMETRY = f"dt/milkrun/{THING}/telemetry"


class Watched:
    """A running broker service beside the broker, and what its subscribers heard."""

    def __init__(self, fleet: Fleet, mosquitto: MosquittoRunner, urls: DatabaseUrls) -> None:
        is_embedded = isinstance(mosquitto, EmbeddedRunner)
        service = fleet.credentials(policy.BROKER, fleet.services)
        self.fleet = fleet
        self._mosquitto = mosquitto
        self._urls = urls
        self._link = Link(
            MqttSettings(
                host="localhost",
                port=fleet.service_port,
                ca_file=fleet.services.ca_file,
                cert_file=service.cert_file,
                key_file=service.key_file,
                protocol=4 if is_embedded else 5,
            )
        )
        self.send = self._link.send
        self.control = BrokerControl(self._link.open, None if is_embedded else mosquitto.config.revocations)
        self.told: list[tuple[str, dict[str, object]]] = []

    @contextlib.asynccontextmanager
    async def running(self, *, grace_s: float = GRACE_S) -> AsyncIterator[None]:
        async with Database(self._urls.operator) as database:
            cutter = Cutter(self.control)
            watch = BrokerWatch(
                log_file=self._mosquitto.config.log_file,
                position_file=self._mosquitto.config.folder / "watch.json",
                grace_s=grace_s,
                cutter=cutter,
                database=database,
                tell=self._tell,
                clock=utc_now,
            )
            work = [
                asyncio.create_task(each) for each in (watch.run(), self._link.run(), keep_revocations(self.control))
            ]
            try:
                yield
            finally:
                for task in work:
                    task.cancel()
                cutter.close()
                results = await asyncio.gather(*work, return_exceptions=True)
                assert [r for r in results if not isinstance(r, asyncio.CancelledError)] == []

    async def _tell(self, topic: str, payload: bytes) -> None:
        self.told.append((topic, json.loads(payload)))
        await self._link.tell(topic, payload)

    def heard_of(self, thing: str) -> list[tuple[object, object]]:
        return [(said["eventType"], said["versionNumber"]) for _, said in self.told if said["clientId"] == thing]

    def rows(self) -> dict[str, tuple[bool, int, str | None]]:
        with psycopg.connect(self._urls.owner) as conn:
            rows = conn.execute(
                "SELECT tenant_id || ':' || device_id, online, version, disconnect_reason FROM presence"
            )
            return {row[0]: (row[1], row[2], row[3]) for row in rows}

    def timeline(self, thing: str = THING) -> list[tuple[int, bool, str | None]]:
        tenant, _, device = thing.partition(":")
        with psycopg.connect(self._urls.owner) as conn:
            return conn.execute(
                "SELECT version, online, reason FROM presence_span WHERE tenant_id = %s AND device_id = %s ORDER BY 1",
                (tenant, device),
            ).fetchall()

    def news(self) -> list[Event]:
        with psycopg.connect(self._urls.owner) as conn:
            rows = conn.execute("SELECT entries FROM outbox ORDER BY id").fetchall()
        entries = [entry for row in rows for entry in msgspec.msgpack.decode(row[0], type=list[Entry])]
        return [events.decode(entry.body) for entry in entries]


@pytest.fixture
def watched(fleet: Fleet, mosquitto: MosquittoRunner, database: DatabaseUrls) -> Watched:
    return _watched(fleet, mosquitto, database)


@pytest.fixture
def watched_embedded(fleet: Fleet, embedded: EmbeddedRunner, database: DatabaseUrls) -> Watched:
    return _watched(fleet, embedded, database)


def _watched(fleet: Fleet, runner: MosquittoRunner, database: DatabaseUrls) -> Watched:
    with psycopg.connect(database.owner) as conn:
        conn.execute("INSERT INTO tenant (tenant_id, name) VALUES ('acme', 'Acme')")
        conn.execute(
            "INSERT INTO device (tenant_id, device_id, status) "
            "SELECT 'acme', 't' || n, 'active' FROM generate_series(1, 5) n"
        )
    return Watched(fleet, runner, database)


async def until(is_so: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come about"
        await asyncio.sleep(0.01)


async def _connected(fleet: Fleet, thing: str = THING, **options: object) -> Client:
    def connect() -> Client:
        client = fleet.device(thing)
        client.connect(thing, **options)
        return client

    return await asyncio.to_thread(connect)


async def _is_barred_within(seconds: float, fleet: Fleet) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            (await _connected(fleet)).drop()
        except Closed:
            return True
    return False


@pytest.mark.mosquitto
class TestGuard:
    async def test_a_thing_that_is_out_of_service_is_cut_even_where_tls_let_it_in(
        self, watched: Watched, database: DatabaseUrls
    ) -> None:
        with psycopg.connect(database.owner) as conn:
            conn.execute("UPDATE device SET status = 'suspended' WHERE device_id = 't1'")
            conn.execute(
                "INSERT INTO certificate (tenant_id, device_id, serial, fingerprint, status, not_before, not_after) "
                "VALUES ('acme', 't2', 'aa', 'aa', 'revoked', now(), now()), "
                "('acme', 't3', 'bb', 'bb', 'revoked', now(), now()), "
                "('acme', 't3', 'cc', 'cc', 'active', now(), now())"
            )
        async with watched.running():
            clients = {name: await _connected(watched.fleet, f"acme:{name}") for name in ("t1", "t2", "t3")}
            for name in ("t1", "t2"):
                assert await asyncio.to_thread(clients[name].is_cut_within, 5.0)
            await until(lambda: watched.heard_of("acme:t3") == [("connected", 1)])
            clients["t3"].ping()
            for client in clients.values():
                client.drop()

    @pytest.mark.parametrize(
        "topic_filter", ["#", "dt/milkrun/+/telemetry", "$SYS/#", "$share/ingest/dt/milkrun/+/telemetry", "$share/g/#"]
    )
    async def test_a_device_subscribing_outside_its_space_is_cut(self, watched: Watched, topic_filter: str) -> None:
        async with watched.running():
            client = await _connected(watched.fleet)
            client.subscribe(topic_filter)
            assert await asyncio.to_thread(client.is_cut_within, 5.0)
            client.drop()

    async def test_a_device_in_its_own_space_and_our_services_are_left_alone(self, watched: Watched) -> None:
        async with watched.running():
            client = await _connected(watched.fleet)
            client.subscribe(f"dt/milkrun/{THING}/ack", f"$aws/things/{THING}/shadow/#", f"$aws/things/{THING}/jobs/#")
            with watched.fleet.service(policy.INGEST) as ingest:
                ingest.connect("ingest-1")
                ingest.subscribe("dt/milkrun/+/telemetry", "$share/g/dt/milkrun/+/event")
                await until(lambda: watched.heard_of(THING) == [("connected", 1)])
                assert not await asyncio.to_thread(client.is_cut_within, 0.5)
                ingest.ping()
            client.drop()

    async def test_a_name_that_is_no_thing_is_cut(self, watched: Watched) -> None:
        async with watched.running():
            client = await _connected(watched.fleet, "no-tenant")
            assert await asyncio.to_thread(client.is_cut_within, 5.0)
            client.drop()


@pytest.mark.mosquitto
class TestKick:
    async def test_it_ends_session_and_connection_and_leaves_nothing_behind(self, watched: Watched) -> None:
        client = await _connected(watched.fleet, clean=False, expiry_s=NEVER)
        client.subscribe(f"dt/milkrun/{THING}/ack")
        await watched.control.kick(THING)
        assert await asyncio.to_thread(client.is_cut_within, 5.0)
        client.drop()
        with watched.fleet.service(policy.INGEST) as ingest:
            ingest.connect("ingest")
            assert ingest.publish(f"dt/milkrun/{THING}/ack", b"old") == 0x10  # no subscriber is left
        with watched.fleet.device(THING) as again:
            assert not again.connect(THING, clean=False, expiry_s=NEVER)
            assert again.payloads(0.2) == []

    async def test_it_is_harmless_for_a_thing_that_is_not_connected(self, watched: Watched) -> None:
        await watched.control.kick("acme:nobody")


@pytest.mark.mosquitto
class TestRevocation:
    @pytest.mark.parametrize(
        ("event", "reason"),
        [
            (CertificateRevoked(thing=THING, serial="1", reason="key_compromise"), ReasonFlags.key_compromise),
            (DeviceStatusChanged(thing=THING, status="suspended"), ReasonFlags.certificate_hold),
            (DeviceStatusChanged(thing=THING, status="decommissioned"), ReasonFlags.cessation_of_operation),
        ],
        ids=["revoked", "suspended", "decommissioned"],
    )
    async def test_the_live_session_ends_and_no_other_begins_within_5_s(
        self, watched: Watched, event: Event, reason: ReasonFlags
    ) -> None:
        client = await _connected(watched.fleet)
        sibling = await _connected(watched.fleet, "acme:t2")
        stubborn = asyncio.create_task(asyncio.to_thread(_publish_until_barred, watched.fleet, client))
        await asyncio.sleep(0.2)
        revoked_at = time.monotonic()
        watched.fleet.devices.bar(watched.fleet.credentials(THING, watched.fleet.devices), reason)
        handle = handlers(watched.control, watched.send)[type(event)]
        await handle(event, Delivery("device", "1-1", b"", 1))
        last_accepted_at = await stubborn
        assert last_accepted_at - revoked_at < 5.0
        sibling.ping()
        sibling.drop()

    async def test_a_suspended_device_comes_back_when_it_is_active_again(self, watched: Watched) -> None:
        credentials = watched.fleet.credentials(THING, watched.fleet.devices)
        on_status = handlers(watched.control, watched.send)[DeviceStatusChanged]
        watched.fleet.devices.bar(credentials, ReasonFlags.certificate_hold)
        await on_status(DeviceStatusChanged(thing=THING, status="suspended"), Delivery("device", "1-1", b"", 1))
        with pytest.raises(Closed):
            await _connected(watched.fleet)
        watched.fleet.devices.free(credentials)
        await on_status(DeviceStatusChanged(thing=THING, status="active"), Delivery("device", "1-2", b"", 1))
        (await _connected(watched.fleet)).drop()

    async def test_it_does_not_harm_a_broker_that_keeps_sessions_with_an_expiry(
        self, watched: Watched, mosquitto: MosquittoRunner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Mosquitto 2.0 told to reload by SIGHUP ends here with a segmentation fault (docs/adr/0003).
        monkeypatch.setenv("MALLOC_PERTURB_", "165")
        mosquitto.stop()
        mosquitto.start()
        names = [f"acme:s{number}" for number in range(20)]
        for name in names:
            (await _connected(watched.fleet, name, clean=False, expiry_s=1)).disconnect()
        event = CertificateRevoked(thing=THING, serial="1", reason="key_compromise")
        for _ in range(2):
            watched.fleet.devices.write_list()
            await handlers(watched.control, watched.send)[CertificateRevoked](event, Delivery("device", "1-1", b"", 1))
        back = [await _connected(watched.fleet, name, clean=False, expiry_s=600) for name in names]
        await asyncio.sleep(3.0)
        for client in back:
            client.ping()
            client.drop()

    async def test_a_new_list_counts_without_any_event(self, watched: Watched) -> None:
        async with watched.running():
            watched.fleet.devices.bar(watched.fleet.credentials(THING, watched.fleet.devices))
            assert await _is_barred_within(5.0, watched.fleet)


@pytest.mark.mosquitto
class TestPresence:
    async def test_coming_and_going_is_told_stored_and_announced(self, watched: Watched) -> None:
        async with watched.running():
            client = await _connected(watched.fleet)
            await until(lambda: watched.heard_of(THING) == [("connected", 1)])
            client.disconnect()
            await until(lambda: watched.heard_of(THING) == [("connected", 1), ("disconnected", 2)])
            await until(lambda: watched.rows() == {THING: (False, 2, "CLIENT_INITIATED_DISCONNECT")})
        topic, said = watched.told[-1]
        assert topic == f"$aws/events/presence/disconnected/{THING}"
        assert said["clientInitiatedDisconnect"] is True
        assert said["ipAddress"] == "127.0.0.1"
        assert said["sessionIdentifier"] == watched.told[0][1]["sessionIdentifier"]
        assert [type(event).__name__ for event in watched.news()] == ["DeviceConnected", "DeviceDisconnected"]
        assert watched.timeline() == [(1, True, None), (2, False, "CLIENT_INITIATED_DISCONNECT")]

    async def test_subscribers_hear_it_over_mqtt(self, watched: Watched) -> None:
        async with watched.running():
            with watched.fleet.service(policy.BROKER) as ear:
                ear.connect("ear")
                ear.subscribe("$aws/events/presence/+/+")
                client = await _connected(watched.fleet)
                heard = await asyncio.to_thread(ear.collect, 5.0, until=1)
                assert heard[0].topic == f"$aws/events/presence/connected/{THING}"
                client.drop()

    async def test_a_lost_link_is_told_as_such(self, watched: Watched) -> None:
        async with watched.running():
            client = await _connected(watched.fleet)
            client.drop()
            await until(lambda: len(watched.heard_of(THING)) == 2)
        assert watched.told[-1][1]["disconnectReason"] == "CONNECTION_LOST"

    async def test_a_silent_device_is_told_as_a_keep_alive_timeout(self, watched: Watched) -> None:
        async with watched.running():
            client = await _connected(watched.fleet, keepalive_s=1)
            await until(lambda: len(watched.heard_of(THING)) == 2, 15.0)
            client.drop()
        assert watched.told[-1][1]["disconnectReason"] == "MQTT_KEEP_ALIVE_TIMEOUT"

    async def test_flapping_and_takeover_by_itself_tell_nobody_anything(self, watched: Watched) -> None:
        async with watched.running(grace_s=LONG_GRACE_S):
            for _ in range(5):
                client = await _connected(watched.fleet)
                client.drop()
            await _connected(watched.fleet)
            last = await _connected(watched.fleet)
            await until(lambda: watched.heard_of(THING) != [])
            await asyncio.sleep(LONG_GRACE_S * 1.5)
            assert watched.heard_of(THING) == [("connected", 1)]
            assert watched.timeline() == [(1, True, None)]
            last.drop()

    async def test_our_own_restart_takes_nobody_offline_and_misses_nothing(self, watched: Watched) -> None:
        async with watched.running():
            stays = await _connected(watched.fleet)
            leaves = await _connected(watched.fleet, "acme:t2")
            await until(lambda: len(watched.rows()) == 2)
        leaves.disconnect()
        comes = await _connected(watched.fleet, "acme:t3")
        await asyncio.sleep(GRACE_S)
        async with watched.running():
            await until(lambda: len(watched.told) == 4)
            await asyncio.sleep(GRACE_S * 2)
        assert watched.heard_of(THING) == [("connected", 1)]
        assert watched.heard_of("acme:t2") == [("connected", 1), ("disconnected", 2)]
        assert watched.heard_of("acme:t3") == [("connected", 1)]
        stays.drop()
        comes.drop()

    async def test_a_disconnect_in_its_grace_is_not_forgotten_over_our_restart(self, watched: Watched) -> None:
        async with watched.running():
            client = await _connected(watched.fleet)
            await until(lambda: len(watched.rows()) == 1)
            client.drop()
            await asyncio.sleep(GRACE_S / 3)
        async with watched.running():
            await until(lambda: ("disconnected", 2) in watched.heard_of(THING))

    async def test_a_broker_restart_marks_who_did_not_come_back_and_nobody_else(
        self, watched: Watched, mosquitto: MosquittoRunner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("broker.service.RESTART_GRACE_S", 4.0)
        async with watched.running():
            first = [await _connected(watched.fleet, thing) for thing in (THING, "acme:t2")]
            await until(lambda: len(watched.told) == 2)
            mosquitto.stop(signal.SIGKILL)
            await asyncio.to_thread(mosquitto.start)
            back = await _connected(watched.fleet)
            await until(lambda: len(watched.told) == 3, 20.0)
            await asyncio.sleep(0.5)
            assert watched.heard_of(THING) == [("connected", 1)]
            assert watched.heard_of("acme:t2") == [("connected", 1), ("disconnected", 2)]
        assert watched.told[-1][1]["disconnectReason"] == "SERVER_INITIATED_DISCONNECT"
        for client in (*first, back):
            client.drop()

    async def test_versions_go_on_after_everything_was_restarted(
        self, watched: Watched, mosquitto: MosquittoRunner
    ) -> None:
        for version in (1, 3):
            async with watched.running():
                client = await _connected(watched.fleet)
                await until(lambda version=version: watched.rows().get(THING) == (True, version, None))
                client.disconnect()
                gone = (False, version + 1, "CLIENT_INITIATED_DISCONNECT")
                await until(lambda gone=gone: watched.rows().get(THING) == gone)
            mosquitto.stop()
            await asyncio.to_thread(mosquitto.start)

    async def test_a_kick_is_told_as_the_servers_doing(self, watched: Watched) -> None:
        async with watched.running():
            client = await _connected(watched.fleet)
            await until(lambda: len(watched.told) == 1)
            await watched.control.kick(THING)
            await until(lambda: len(watched.told) == 2)
            client.drop()
        assert watched.told[-1][1]["disconnectReason"] == "SERVER_INITIATED_DISCONNECT"


class TestTheSameOnTheEmbeddedBroker:
    async def test_a_revoked_device_is_cut_and_stays_out(self, watched_embedded: Watched) -> None:
        fleet = watched_embedded.fleet
        client = await asyncio.to_thread(fleet.device, THING, protocol=4)
        client.connect(THING)
        fleet.devices.bar(fleet.credentials(THING, fleet.devices))
        event = CertificateRevoked(thing=THING, serial="1", reason="key_compromise")
        await handlers(watched_embedded.control, watched_embedded.send)[CertificateRevoked](
            event, Delivery("device", "1-1", b"", 1)
        )
        assert await asyncio.to_thread(client.is_cut_within, 5.0)
        with pytest.raises(Closed), fleet.device(THING, protocol=4) as again:
            again.connect(THING)

    async def test_presence_is_told_and_flapping_is_not(self, watched_embedded: Watched) -> None:
        fleet = watched_embedded.fleet
        async with watched_embedded.running(grace_s=LONG_GRACE_S):
            for _ in range(3):
                client = await asyncio.to_thread(fleet.device, THING, protocol=4)
                client.connect(THING)
                client.drop()
            await until(lambda: len(watched_embedded.told) == 2)
            await asyncio.sleep(LONG_GRACE_S)
        assert watched_embedded.heard_of(THING) == [("connected", 1), ("disconnected", 2)]

    async def test_a_device_that_tries_a_foreign_subscription_is_cut(self, watched_embedded: Watched) -> None:
        async with watched_embedded.running():
            client = await asyncio.to_thread(watched_embedded.fleet.device, THING, protocol=4)
            client.connect(THING)
            assert client.subscribe("#") == [0x80]
            assert await asyncio.to_thread(client.is_cut_within, 5.0)
            client.drop()


def _publish_until_barred(fleet: Fleet, client: Client) -> float:
    """Publish without pause, reconnecting at once when cut; when a publish was accepted last."""
    accepted_at = time.monotonic()
    while True:
        try:
            client.publish(TELEMETRY)
            accepted_at = time.monotonic()
        except Closed:
            client.drop()
            try:
                client = fleet.device(THING)
                client.connect(THING)
            except Closed:
                return accepted_at
