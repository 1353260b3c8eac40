"""The ingest side of a machine, of parts that a test may kill one by one; nobody but the test starts them again."""

import asyncio
import http.client
import json
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

import psycopg
import redis
from psycopg import sql

from broker.mosquitto import MosquittoConfig
from cli.stack.process import LOOPBACK, Child, free_port
from cli.stack.servers.broker import BrokerPart
from cli.stack.servers.postgres import Postgres
from cli.stack.servers.redis import Redis
from cli.stack.services import SERVICES, Facts, ServicePart, environment
from core import events
from core.bus import stream_key
from core.migrate import ROLES, grant_logins, migrate
from core.settings import BusSettings, ProvisioningSettings
from core.tenancy import Thing
from provisioning.ca import CertificateAuthority
from sim.link import Credentials
from tests.faults import until

type Name = tuple[str, str, int]
"""Thing, boot and seq."""

_READER = "a-test"
_INGEST = next(service for service in SERVICES if service.name == "ingest")


class Observed:
    """A running platform as a test looks at it; whoever starts one says where its parts are."""

    database_url: str
    device_port: int
    metrics_port: int
    """Of the ingest process."""

    def rows(self, query: str, *params: object) -> list[tuple]:
        with psycopg.connect(self.database_url) as conn:
            conn.execute("SET ROLE milkrun_operator" if "dead_letter" in query else "RESET ROLE")
            return conn.execute(sql.SQL(query), params).fetchall()

    def stored(self, boot: str) -> dict[Name, int]:
        """How often each name of this boot is in the store."""
        found = self.rows(
            "SELECT tenant_id || ':' || device_id, boot, seq, count(*) FROM telemetry.position WHERE boot = %s "
            "GROUP BY 1, 2, 3",
            boot,
        )
        return {(thing, name, seq): copies for thing, name, seq, copies in found}

    def metric(self, name: str) -> float:
        """A value of the ingest process, labels included (`name{label="value"}`); 0 if unheard of."""
        connection = http.client.HTTPConnection(LOOPBACK, self.metrics_port, timeout=5)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found.group(1)) if found else 0.0

    def letters(self, tenant: str) -> list[tuple[str, str, bytes]]:
        """Topic, reason and payload of each dead letter."""
        found = self.rows("SELECT topic, reason, payload FROM dead_letter WHERE tenant_id = %s ORDER BY id", tenant)
        return [(topic, reason, bytes(payload)) for topic, reason, payload in found]

    def outbox_rows(self) -> int:
        return self.rows("SELECT count(*) FROM outbox")[0][0]


class Platform(Observed):
    """PostgreSQL with fsync, Redis, Mosquitto with our configuration, and the ingest process."""

    def __init__(self, folder: Path) -> None:
        logs = folder / "logs"
        logs.mkdir()
        self._folder = folder
        self.postgres = Postgres(
            folder / "postgres", password=secrets.token_hex(8), log=logs / "postgres.log", port=free_port()
        )
        self.redis = Redis(folder / "redis", password=secrets.token_hex(8), log=logs / "redis.log", port=free_port())
        self.authority = CertificateAuthority.open(folder / "ca", settings=ProvisioningSettings())
        self.authority.ensure_server([])
        paths = self.authority.paths
        self.config = MosquittoConfig(
            folder=folder / "mosquitto",
            device_port=free_port(),
            service_port=free_port(),
            device_ca_file=paths.device_ca,
            service_ca_file=paths.service_ca,
            server_cert_file=paths.server_cert,
            server_key_file=paths.server_key,
            crl_file=paths.crl,
            device_address=LOOPBACK,
        )
        self.broker = BrokerPart("mosquitto", self.config, logs=logs)
        self.device_port = self.config.device_port
        self.metrics_port = free_port()
        self.environment: dict[str, str] = {}
        self.configure({})

    def start(self) -> None:
        self.postgres.start()
        self.database_url = self.postgres.url
        self.redis.start()
        migrate(self.postgres.url)
        roles = grant_logins(self.postgres.url, {role: secrets.token_hex(8) for role in ROLES})
        self.broker.start()
        paths = self.authority.paths
        facts = Facts(
            owner_url=self.postgres.url,
            role_urls=roles,
            redis_url=self.redis.url,
            broker_kind="mosquitto",
            service_port=self.config.service_port,
            mqtt_ca_file=paths.ca_cert,
            broker_folder=self.config.folder,
            crl_file=paths.crl,
            ca_dir=paths.root,
        )
        certificate = self.authority.ensure_service("svc-ingest")
        self.environment = environment(facts, roles=_INGEST.roles, certificate=certificate)
        self.configure({})
        self.ingest.start()

    def configure(self, variables: dict[str, str]) -> None:
        """What the ingest process is told from its next start on. Small batches, so that there are many moments."""
        settings = {"MILKRUN_INGEST_BATCH_WAIT_MS": "5", "MILKRUN_INGEST_BATCH_ROWS": "200", **variables}
        self.ingest = ServicePart(
            _INGEST,
            self.environment | settings,
            log=self._folder / "logs" / "ingest.log",
            metrics_port=self.metrics_port,
        )

    def stop(self) -> None:
        for part in (self.ingest, self.broker, self.redis, self.postgres):
            if part.child is not None:
                part.child.stop()

    # --- what a test kills and starts again, while its devices go on in the same event loop -----------------------

    async def start_ingest(self) -> None:
        self.ingest.child = Child(self.ingest._command())
        await self._ready(self.ingest.child, self.ingest._is_ready)

    async def stop_ingest(self) -> int:
        """Ask it to end; its exit code."""
        child = self.ingest.child
        assert child is not None
        child.ask_to_stop()
        await until(lambda: child.exit_code is not None)
        assert child.exit_code is not None
        return child.exit_code

    async def start_broker(self) -> None:
        self.broker.child = Child(self.broker._mosquitto())
        await self._ready(self.broker.child, self.broker._is_ready)

    async def start_redis(self) -> None:
        self.redis.child = Child(self.redis.command())
        await self._ready(self.redis.child, self.redis.is_ready)

    async def start_postgres(self) -> None:
        while True:
            child = self.postgres.child = Child(self.postgres.command())
            await until(lambda child=child: child.exit_code is not None or self.postgres.is_ready())
            if child.exit_code is None:
                return
            # The last backend of a postmaster that was killed still holds the shared memory.
            assert "shared memory" in child.log_tail(20), child.log_tail(20)
            await asyncio.sleep(0.2)

    async def _ready(self, child: Child, probe) -> None:
        while not await asyncio.to_thread(probe):
            assert child.exit_code is None, child.log_tail(30)
            await asyncio.sleep(0.02)

    # --- what a test looks at -------------------------------------------------------------------------------------

    def device(self, thing: str) -> Credentials:
        """Register and equip a device, as `milkrun device add --out` does."""
        issued = self.authority.issue(Thing.parse(thing))
        self.register(thing)
        folder = self._folder / "devices" / thing.replace(":", "-")
        folder.mkdir(parents=True)
        (folder / "device.crt").write_bytes(issued.certificate_pem)
        (folder / "device.key").write_bytes(issued.key_pem or b"")
        (folder / "ca.crt").write_bytes(issued.ca_pem)
        return Credentials(issued.thing, folder)

    def register(self, thing: str) -> None:
        tenant, _, device = thing.partition(":")
        with psycopg.connect(self.postgres.url) as conn:
            conn.execute("SET ROLE milkrun_operator")
            conn.execute("INSERT INTO tenant (tenant_id, name) VALUES (%s, 'T') ON CONFLICT DO NOTHING", (tenant,))
            conn.execute(
                "INSERT INTO device (tenant_id, device_id, status) VALUES (%s, %s, 'active')", (tenant, device)
            )

    def listen(self) -> None:
        """From now on the bus keeps what is announced, as it does for a consumer that has not come yet."""
        with redis.Redis.from_url(self.redis.url) as client:
            for partition in range(BusSettings().partitions):
                key = stream_key("telemetry", partition)
                if not client.exists(key) or not client.xinfo_groups(key):
                    client.xgroup_create(key, _READER, id="0", mkstream=True)

    def announced(self, boot: str) -> set[Name]:
        """Every name of this boot that the bus holds."""
        names: set[Name] = set()
        with redis.Redis.from_url(self.redis.url) as client:
            for partition in range(BusSettings().partitions):
                for _id, fields in client.xrange(stream_key("telemetry", partition)):
                    event = events.decode(fields[b"e"])
                    assert isinstance(event, events.TelemetryReceived)
                    names |= {(r.thing, r.sample.boot, r.sample.seq) for r in event.samples if r.sample.boot == boot}
        return names


SPOILED = b'{"spoiled"'


def spoiled(number: int) -> bytes:
    """A payload no two of which are alike, and none of which can be stored."""
    return json.dumps({"spoiled": number}).encode()[:-1]


def assert_once(platform: Observed, boot: str, names: Iterable[Name]) -> None:
    """Each name is in the store, and once; nothing else of this boot is, and nothing good was refused."""
    expected, found = set(names), platform.stored(boot)
    missing, foreign = expected - set(found), set(found) - expected
    twice = {name for name, copies in found.items() if copies > 1}
    assert not missing, f"{len(missing)} of {len(expected)} lost, such as {sorted(missing)[:3]}"
    assert not foreign
    assert not twice
    assert not [letter for letter in platform.letters(tenant_of(expected)) if not letter[2].startswith(SPOILED)]


def tenant_of(names: set[Name]) -> str:
    [tenant] = {thing.partition(":")[0] for thing, _, _ in names}
    return tenant
