"""Milkrun's own processes, and the environment each is given: what its work needs and no more."""

import http.client
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cli.stack.process import LOOPBACK, Child, Command
from core.migrate import ROLES

_READY_TIMEOUT_S = 60.0
_DRAIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Service:
    """`python -m module`. `roles`: the database logins it gets; `certificate`: its name at the broker, if any."""

    name: str
    module: str
    roles: tuple[str, ...]
    certificate: str | None = None


API = "api"
"""The one service that can be left out."""
ETA = "eta"
"""The one that is given maps."""
NOTIFY = "notify"
"""The one that signs with webhooks' secrets."""

# Started in this order, stopped together. A further process is a further line.
SERVICES = (
    Service("provisioning", "provisioning", ("milkrun_app", "milkrun_operator")),
    Service("broker", "broker", ("milkrun_operator",), "svc-broker"),
    Service("ingest", "ingest", ("milkrun_ingest",), "svc-ingest"),
    Service("shadow", "shadow", ("milkrun_app", "milkrun_operator"), "svc-shadow"),
    Service(ETA, "eta", ("milkrun_app", "milkrun_operator")),
    Service("commands", "commands", ("milkrun_operator",), "svc-commands"),
    Service(NOTIFY, "notify", ("milkrun_app", "milkrun_operator")),
    Service(API, "api", ("milkrun_app", "milkrun_ingest", "milkrun_operator")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a running stack is made of; from it come the environment of each service and of our own commands."""

    owner_url: str
    role_urls: Mapping[str, str]
    redis_url: str
    broker_kind: str
    service_port: int
    mqtt_ca_file: Path
    broker_folder: Path
    crl_file: Path
    ca_dir: Path


def login_variable(role: str) -> str:
    """The variable that carries the URL of a role's login: MILKRUN_DATABASE_APP_URL for milkrun_app."""
    return f"MILKRUN_DATABASE_{role.removeprefix('milkrun_').upper()}_URL"


_LOGINS = frozenset({"MILKRUN_DATABASE_URL", *map(login_variable, ROLES)})


def environment(
    facts: Facts, *, roles: tuple[str, ...] = ROLES, certificate: tuple[Path, Path] | None
) -> dict[str, str]:
    """The MILKRUN_* variables that connect a process to the stack with the logins of `roles`."""
    values = {login_variable(role): facts.role_urls[role] for role in roles}
    values |= {
        "MILKRUN_REDIS_URL": facts.redis_url,
        "MILKRUN_MQTT_HOST": LOOPBACK,
        "MILKRUN_MQTT_PORT": str(facts.service_port),
        "MILKRUN_MQTT_CA_FILE": str(facts.mqtt_ca_file),
        "MILKRUN_MQTT_PROTOCOL": "5" if facts.broker_kind == "mosquitto" else "4",
        "MILKRUN_BROKER_KIND": facts.broker_kind,
        "MILKRUN_BROKER_FOLDER": str(facts.broker_folder),
        "MILKRUN_BROKER_CRL_FILE": str(facts.crl_file),
        "MILKRUN_PROVISIONING_CA_DIR": str(facts.ca_dir),
    }
    if certificate:
        values |= {"MILKRUN_MQTT_CERT_FILE": str(certificate[0]), "MILKRUN_MQTT_KEY_FILE": str(certificate[1])}
    return values


class ServicePart:
    """One service as a child. It is ready when its metrics say so."""

    def __init__(self, service: Service, variables: Mapping[str, str], *, log: Path, metrics_port: int) -> None:
        self.name = service.name
        self._service = service
        self._variables = variables
        self._log = log
        self._metrics_port = metrics_port
        self.child: Child | None = None

    def start(self) -> Child:
        """Start and return when it does its work. Raises StartFailed, DiskFull."""
        self.child = Child(self._command())
        try:
            self.child.wait_ready(self._is_ready, timeout_s=_READY_TIMEOUT_S)
        except BaseException:
            self.child.stop()
            raise
        return self.child

    def _command(self) -> Command:
        # A login the service is not given here must not reach it from the shell either, the owner's least of all.
        inherited = {k: v for k, v in os.environ.items() if k not in _LOGINS}
        settings = {"MILKRUN_METRICS_HOST": LOOPBACK, "MILKRUN_METRICS_PORT": str(self._metrics_port)}
        # -P: a folder called `broker` where the command is typed must not pass for ours.
        argv = (sys.executable, "-P", "-m", self._service.module)
        env = {**inherited, **self._variables, **settings}
        return Command(self.name, argv, self._log, env=env, stop_signal=signal.SIGTERM, grace_s=_DRAIN_S)

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self._metrics_port, timeout=2)
        try:
            connection.request("GET", "/metrics")
            return b"\nmilkrun_ready 1.0" in connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
