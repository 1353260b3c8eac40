"""Builds the stack of one machine, part by part, in the order in which they need each other."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from api.identity.bootstrap import ensure_operator_client
from broker.embedded import launch
from broker.mosquitto import MosquittoConfig
from cli.stack.errors import StartFailed
from cli.stack.process import LOOPBACK, claim_port
from cli.stack.servers.broker import KINDS, BrokerPart, choose
from cli.stack.servers.postgres import Postgres
from cli.stack.servers.redis import Redis
from cli.stack.services import API, ETA, NOTIFY, SERVICES, Facts, ServicePart, environment, login_variable
from cli.stack.state import Admin, DataFolder, MqttAddress, StackFile
from cli.stack.supervise import Supervisor
from cli.stack.web import Web
from core.db import DatabaseUnavailable
from core.migrate import ROLES, grant_logins, has_timescale, migrate
from core.settings import Settings
from provisioning.ca import CertificateAuthority

_ADMIN = "local-admin"
STOP_ORDER = ([service.name for service in SERVICES], KINDS, ["redis"], ["postgres"])

type Progress = Callable[[str], AbstractContextManager[Callable[[str], None]]]
"""`with progress("PostgreSQL") as done: ...; done("what came of it")`"""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where devices and people connect. Port 0 = the port of last time if free, else any; `api_port` None = no API."""

    mqtt_address: str
    mqtt_port: int
    api_address: str
    api_port: int | None


class LocalStack:
    """Starts everything, tells the data folder how to reach it, and stays the one that knows."""

    def __init__(
        self,
        folder: DataFolder,
        settings: Settings,
        supervisor: Supervisor,
        listen: Listen,
        progress: Progress,
        osm_file: Path | None = None,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._supervisor = supervisor
        self._listen = listen
        self._progress = progress
        self._osm_file = osm_file

    def start(self) -> StackFile:
        """Start every part and write stack.json. Raises the errors of the part that does not start."""
        device_port, service_port = self._claim_ports()
        web = self._claim_web()
        owner_url = self._postgres()
        redis_url = self._redis()
        role_urls = self._schema(owner_url)
        authority = self._certificates()
        kind = self._broker(authority, device_port, service_port)
        facts = Facts(
            owner_url=owner_url,
            role_urls=role_urls,
            redis_url=redis_url,
            broker_kind=kind,
            service_port=service_port,
            mqtt_ca_file=authority.paths.ca_cert,
            broker_folder=self._folder.path / "mosquitto",
            crl_file=authority.paths.crl,
            ca_dir=authority.paths.root,
        )
        admin = self._admin(role_urls["milkrun_operator"]) if web else None
        self._services(facts, authority, web)
        stack = StackFile(
            api_url=web.url if web else None,
            console_url=f"{web.url}/" if web else None,
            mqtt=MqttAddress(_reachable(self._listen.mqtt_address), device_port, str(authority.paths.ca_cert)),
            database_url=owner_url,
            redis_url=redis_url,
            broker=facts.broker_kind,
            timescale=has_timescale(owner_url),
            admin=admin,
        )
        ours = {"MILKRUN_DATABASE_URL": owner_url, **environment(facts, certificate=None), **self._sealing()}
        if web:
            ours |= web.variables()
        self._folder.publish(stack, ours)
        return stack

    def _claim_ports(self) -> tuple[int, int]:
        """First of all: nothing is started when the port asked for is taken."""
        ports = []
        for name, wanted in (("mqtt", self._listen.mqtt_port), ("mqtt-service", 0)):
            preferred = self._folder.remembered_port(name)
            port = claim_port(wanted, "devices (MQTT)", "--mqtt-port", preferred=preferred)
            self._folder.remember_port(name, port)
            ports.append(port)
        return ports[0], ports[1]

    def _claim_web(self) -> Web | None:
        if self._listen.api_port is None:
            return None
        preferred = self._folder.remembered_port("api")
        port = claim_port(self._listen.api_port, "the API", "--api-port", preferred=preferred)
        self._folder.remember_port("api", port)
        return Web(self._folder, self._listen.api_address, port)

    def _postgres(self) -> str:
        if self._settings.database.url:
            return self._settings.database.url
        with self._progress("PostgreSQL") as done:
            password = self._folder.secret("postgres")
            server = Postgres(
                self._folder.path / "postgres",
                password=password,
                log=self._folder.logs / "postgres.log",
                port=self._preferred("postgres"),
            )
            self._supervisor.start(server)
            self._folder.remember_port("postgres", server.port)
            done(f"embedded, port {server.port}")
        return server.url

    def _redis(self) -> str:
        if "url" in self._settings.redis.model_fields_set:
            return self._settings.redis.url
        with self._progress("Redis") as done:
            server = Redis(
                self._folder.path / "redis",
                password=self._folder.secret("redis"),
                log=self._folder.logs / "redis.log",
                port=self._preferred("redis"),
            )
            self._supervisor.start(server)
            self._folder.remember_port("redis", server.port)
            done(f"embedded, port {server.port}")
        return server.url

    def _preferred(self, name: str) -> int:
        return claim_port(0, name, "", preferred=self._folder.remembered_port(name))

    def _schema(self, owner_url: str) -> dict[str, str]:
        """Migrate, and give the roles their logins; one named by the environment is taken as it is."""
        with self._progress("Schema") as done, _database_errors():
            revision = migrate(owner_url)
            given = {role: os.environ[login_variable(role)] for role in ROLES if os.environ.get(login_variable(role))}
            missing = {role: self._folder.secret(role) for role in ROLES if role not in given}
            done(f"revision {revision}")
            return given | grant_logins(owner_url, missing)

    def _certificates(self) -> CertificateAuthority:
        with self._progress("Certificates") as done:
            authority = CertificateAuthority.open(self._folder.ca, settings=self._settings.provisioning)
            address = self._listen.mqtt_address
            authority.ensure_server([] if address == LOOPBACK else [_reachable(address)])
            done(f"authority in {self._folder.ca}")
        return authority

    def _broker(self, authority: CertificateAuthority, device_port: int, service_port: int) -> str:
        kind = choose(self._settings.broker)
        with self._progress("Mosquitto" if kind == "mosquitto" else kind) as done:
            paths = authority.paths
            config = MosquittoConfig(
                folder=self._folder.path / "mosquitto",
                device_port=device_port,
                service_port=service_port,
                device_ca_file=paths.device_ca,
                service_ca_file=paths.service_ca,
                server_cert_file=paths.server_cert,
                server_key_file=paths.server_key,
                crl_file=paths.crl,
                device_address=self._listen.mqtt_address,
            )
            self._supervisor.start(BrokerPart(kind, config, logs=self._folder.logs))
            done(f"devices connect to {_reachable(self._listen.mqtt_address)}:{device_port}, mTLS")
            if kind == "amqtt":
                done(launch.note())
        return kind

    def _admin(self, operator_url: str) -> Admin:
        """The API client with which this machine's own scripts may do everything."""
        secret = self._folder.secret(_ADMIN)
        with _database_errors():
            asyncio.run(ensure_operator_client(operator_url, _ADMIN, secret))
        return Admin(_ADMIN, secret)

    def _sealing(self) -> dict[str, str]:
        """Where the keys are that webhooks' secrets are sealed with; the environment wins."""
        name = "MILKRUN_NOTIFY_SECRET_KEY_FILE"
        return {name: os.environ.get(name) or str(self._folder.webhook_keys)}

    def _services(self, facts: Facts, authority: CertificateAuthority, web: Web | None) -> None:
        for service in SERVICES:
            if service.name == API and web is None:
                continue
            with self._progress(service.name) as done:
                certificate = authority.ensure_service(service.certificate) if service.certificate else None
                variables = environment(facts, roles=service.roles, certificate=certificate)
                if service.name == API and web is not None:
                    variables |= web.variables()
                if service.name == ETA:
                    variables |= self._maps()
                if service.name in {API, NOTIFY}:
                    variables |= self._sealing()
                log = self._folder.logs / f"{service.name}.log"
                port = self._preferred(f"metrics-{service.name}")
                self._supervisor.start(ServicePart(service, variables, log=log, metrics_port=port))
                self._folder.remember_port(f"metrics-{service.name}", port)
                if service.name == API and web is not None:
                    done(web.url)
                done(f"metrics on http://{LOOPBACK}:{port}/metrics")

    def _maps(self) -> dict[str, str]:
        """Where road graphs are kept, and the roads named on the command line; the environment's own stay."""
        variables = {}
        if "folder" not in self._settings.maps.model_fields_set:
            variables["MILKRUN_MAPS_FOLDER"] = str(self._folder.path / "maps")
        if self._osm_file is not None:
            variables["MILKRUN_MAPS_OSM_FILE"] = str(self._osm_file.resolve())
        return variables


def _reachable(address: str) -> str:
    """The name under which devices reach a listener on `address`."""
    return socket.gethostname() if address in {"0.0.0.0", "::"} else address  # noqa: S104  compared, not bound


@contextmanager
def _database_errors() -> Iterator[None]:
    try:
        yield
    except DatabaseUnavailable as error:
        raise StartFailed(f"database {error}") from error
