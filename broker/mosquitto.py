"""Mosquitto: its configuration, how it is started, and how a live session is cut.

Every value that is not a path or a port has been measured; docs/adr/0003 has the numbers.
"""

import os
import pwd
import shutil
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import structlog

from broker import policy
from broker.revocation import RevocationFolder
from core.errors import Invalid, Unavailable
from core.mqtt import MqttConnection

MAX_PAYLOAD_BYTES = 131_072  # AWS IoT Core's limit
_MAX_HEADERS_BYTES = 1024  # topic (AWS IoT: 256 bytes), packet id, MQTT 5 properties

_STATE_MAGIC = b"\x00\xb5\x00mosquitto db"
_STATE_HEAD = struct.Struct("!15sII")  # magic, checksum (always 0), version
_STATE_VERSIONS = (5, 6)
_CHUNK_HEAD = struct.Struct("!II")  # kind, length of what follows
_log = structlog.get_logger()


class InvalidBrokerConfig(Invalid):
    """A value that would change the meaning of mosquitto.conf, or that Mosquitto refuses."""

    code = "invalid_broker_config"


class MosquittoNotFound(Unavailable):
    """There is no Mosquitto on this machine."""

    code = "mosquitto_not_found"


def _own_user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


@dataclass(frozen=True, slots=True, kw_only=True)
class MosquittoConfig:
    """What differs between deployments. Everything Mosquitto writes goes below `folder`.

    Ports must stay what they were when sessions are to outlive a restart: Mosquitto finds the rights of an offline
    session by the port of its listener.
    """

    folder: Path
    device_port: int
    service_port: int
    device_ca_file: Path
    service_ca_file: Path
    server_cert_file: Path
    server_key_file: Path
    crl_file: Path
    device_address: str = "0.0.0.0"  # noqa: S104  trucks come from anywhere; `milkrun up` narrows it on a laptop
    min_tls: Literal["tlsv1.2", "tlsv1.3"] = "tlsv1.2"
    run_as: str = field(default_factory=_own_user)

    def __post_init__(self) -> None:
        if self.device_port == self.service_port or not all(
            1 <= p <= 65_535 for p in (self.device_port, self.service_port)
        ):
            raise InvalidBrokerConfig(
                f"ports {self.device_port} and {self.service_port}: two different ports from 1 to 65535 are needed"
            )
        for name in self.__slots__:
            value = str(getattr(self, name))
            if not value or value != value.strip() or not value.isprintable():
                raise InvalidBrokerConfig(f"{name} {value!r} is not one line of printable text without outer blanks")

    @property
    def conf_file(self) -> Path:
        return self.folder / "mosquitto.conf"

    @property
    def device_acl_file(self) -> Path:
        return self.folder / "device.acl"

    @property
    def service_acl_file(self) -> Path:
        return self.folder / "service.acl"

    @property
    def openssl_file(self) -> Path:
        return self.folder / "openssl.cnf"

    @property
    def state_file(self) -> Path:
        return self.folder / "mosquitto.db"

    @property
    def log_file(self) -> Path:
        return self.folder / "mosquitto.log"

    @property
    def revocations(self) -> RevocationFolder:
        return RevocationFolder(self.crl_file, self.folder / "crl")


def render(config: MosquittoConfig) -> str:
    """mosquitto.conf. Two listeners, two authorities: a device certificate is nothing at the service listener."""
    return f"""\
# Rendered by broker/mosquitto.py; changes here are lost at the next start. Do not send SIGHUP (docs/adr/0003).
per_listener_settings true
user {config.run_as}
persistence true
persistence_location {config.folder}/
autosave_on_changes false
autosave_interval 1
max_queued_messages 0
max_queued_bytes 0
max_inflight_messages 65535
max_packet_size {MAX_PAYLOAD_BYTES + _MAX_HEADERS_BYTES}
max_keepalive 1200
set_tcp_nodelay true
check_retain_source true
connection_messages true
sys_interval 10
log_dest file {config.log_file}
log_timestamp true
log_type error
log_type warning
log_type notice
log_type information
log_type subscribe

listener {config.device_port} {config.device_address}
allow_anonymous false
acl_file {config.device_acl_file}
cafile {config.device_ca_file}
capath {config.revocations.folder}
crlfile {config.crl_file}
certfile {config.server_cert_file}
keyfile {config.server_key_file}
tls_version {config.min_tls}
require_certificate true
use_identity_as_username true
use_username_as_clientid true

listener {config.service_port} 127.0.0.1
allow_anonymous false
acl_file {config.service_acl_file}
cafile {config.service_ca_file}
certfile {config.server_cert_file}
keyfile {config.server_key_file}
tls_version {config.min_tls}
require_certificate true
use_identity_as_username true
"""


# A resumed TLS session skips the revocation check. Mosquitto has no switch for it; OpenSSL has one for TLS 1.3.
_OPENSSL = """\
openssl_conf = milkrun
[milkrun]
ssl_conf = ssl
[ssl]
system_default = server
[server]
NumTickets = 0
"""


def prepare(config: MosquittoConfig) -> None:
    """Write everything Mosquitto reads; call it before each start. Raises RevocationListMissing.

    Sessions and queued messages that a full disk has torn are set aside: without them Mosquitto starts, devices find no
    session and subscribe anew, and what is not durable they send again.
    """
    config.folder.mkdir(parents=True, exist_ok=True)
    config.conf_file.write_text(render(config))
    config.device_acl_file.write_text(policy.device_acl())
    config.service_acl_file.write_text(policy.service_acl())
    config.openssl_file.write_text(_OPENSSL)
    for file in (config.device_acl_file, config.service_acl_file):
        file.chmod(0o600)
    config.revocations.reset()
    if _is_torn(config.state_file):
        kept = config.state_file.with_suffix(".torn")
        config.state_file.replace(kept)
        _log.error("broker.saved_state_torn", file=str(config.state_file), kept=str(kept))


def _is_torn(file: Path) -> bool:
    """Whether the saved state ends in the middle of a chunk, so that Mosquitto would refuse to start, now and always.

    Mosquitto 2.0 does not look whether the last of what it saves still found room on the disk, and puts such a file in
    the place of the whole one. An empty file it takes for none.
    """
    try:
        with file.open("rb") as state:
            size = state.seek(0, os.SEEK_END)
            state.seek(0)
            head = state.read(_STATE_HEAD.size)
            if len(head) < _STATE_HEAD.size:
                return len(head) > 0
            magic, _, version = _STATE_HEAD.unpack(head)
            if magic != _STATE_MAGIC or version not in _STATE_VERSIONS:
                return False  # not ours to judge
            at = _STATE_HEAD.size
            while at + _CHUNK_HEAD.size <= size:
                state.seek(at)
                _, length = _CHUNK_HEAD.unpack(state.read(_CHUNK_HEAD.size))
                at += _CHUNK_HEAD.size + length
            return at != size
    except FileNotFoundError:
        return False


def executable() -> str:
    """Mosquitto's path. Debian puts it where a user's PATH may not look. Raises MosquittoNotFound."""
    places = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"))
    found = shutil.which("mosquitto", path=places)
    if found is None:
        raise MosquittoNotFound("no `mosquitto` on PATH, in /usr/sbin, /usr/local/sbin or /opt/homebrew/sbin")
    return found


def command(config: MosquittoConfig) -> tuple[list[str], Mapping[str, str]]:
    """The argument list and the environment to start Mosquitto with, after `prepare`. Raises MosquittoNotFound."""
    environment = {"OPENSSL_CONF": str(config.openssl_file), "PATH": os.environ.get("PATH", os.defpath)}
    return [executable(), "-c", str(config.conf_file)], environment


@dataclass(frozen=True, slots=True)
class BrokerControl:
    """Bars and cuts devices at a running broker.

    `connect` opens a clean connection to the service listener with the client id it is given. `revocations` is None
    for a broker that reads the list itself at each handshake (the embedded one).
    """

    connect: Callable[[str], Awaitable[MqttConnection]]
    revocations: RevocationFolder | None

    async def reload(self) -> None:
        """Make the current revocation list count. Raises RevocationListMissing, RevocationListNotNewer."""
        if self.revocations is not None:
            self.revocations.install()

    async def kick(self, thing: str) -> None:
        """End the live session of `thing`, its subscriptions and queued messages. Harmless if it is not connected.

        A client id has one connection: taking it over with a clean start ends the other. The device's last will, if
        it set one, is published on its own topic as for any lost connection. Raises ConnectionLost, Refused.
        """
        connection = await self.connect(thing)
        await connection.disconnect()
