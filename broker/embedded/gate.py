"""Who may connect to the embedded broker: decided before amqtt sees a byte.

amqtt 0.12 deletes the session of the client id it is told, and lets the old connection live on, before it asks any
plugin who is there; it takes certificates as optional and never looks at a last will's topic. So the CONNECT packet is
read here, checked, given the identity of the certificate, and only then handed on.
"""

import asyncio
import ssl
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from broker import policy
from broker.mosquitto import MAX_PAYLOAD_BYTES, MosquittoConfig
from broker.policy import Action, Device, Principal, Service, allowed
from core.errors import Forbidden
from core.mqtt import codec
from core.tenancy import Thing

_CONNECT_TIMEOUT_S = 10.0
_BAD_PROTOCOL, _BAD_CLIENT_ID, _NOT_AUTHORIZED = 1, 2, 5


class NotAdmitted(Forbidden):
    """The connection is refused; `reason` is the CONNACK code, or None to close without a word."""

    code = "mqtt_not_admitted"

    def __init__(self, message: str, reason: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Connect:
    """A CONNECT packet of MQTT 3.1.1, and `packet` to hand on."""

    client_id: str
    keepalive_s: int
    will_topic: str | None
    after_client_id: bytes
    head: bytes

    @property
    def packet(self) -> bytes:
        return codec.packet(0x10, self.head + codec.text(self.client_id) + self.after_client_id)


@dataclass(frozen=True, slots=True)
class Admitted:
    principal: Principal
    connect: Connect


def context(config: MosquittoConfig, *, authority: Path) -> ssl.SSLContext:
    """A server context that wants a certificate of `authority` from every client."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.minimum_version = ssl.TLSVersion.TLSv1_3 if config.min_tls == "tlsv1.3" else ssl.TLSVersion.TLSv1_2
    server.load_cert_chain(config.server_cert_file, config.server_key_file)
    server.load_verify_locations(authority)
    server.verify_mode = ssl.CERT_REQUIRED
    server.options |= ssl.OP_NO_TICKET
    server.num_tickets = 0
    return server


class Gate:
    """Admits to both listeners. The revocation list is asked at each connection, resumed TLS sessions included."""

    def __init__(self, crl_file: Path) -> None:
        self._crl_file = crl_file
        self._read: tuple[int, int] | None = None
        self._crl: x509.CertificateRevocationList | None = None

    async def admit(self, reader: asyncio.StreamReader, peer: ssl.SSLObject, *, is_device: bool) -> Admitted:
        """The principal and its CONNECT, the client id forced to a device's name. Raises NotAdmitted."""
        der = peer.getpeercert(binary_form=True)
        if der is None:
            raise NotAdmitted("no client certificate")
        certificate = x509.load_der_x509_certificate(der)
        principal = _principal(certificate, is_device=is_device)
        if is_device:
            self._check_revocation(certificate)
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                connect = await _read_connect(reader)
        except (TimeoutError, asyncio.IncompleteReadError, codec.MalformedPacket, IndexError, ValueError) as error:
            raise NotAdmitted(f"no CONNECT packet: {error!r}") from error
        if isinstance(principal, Device):
            connect = replace(connect, client_id=principal.thing)
        elif not connect.client_id or (Thing.is_name(connect.client_id) and principal.name != policy.BROKER):
            raise NotAdmitted(f"client id {connect.client_id!r} is not for {principal.name}", _BAD_CLIENT_ID)
        if connect.will_topic is not None and not allowed(principal, Action.WILL, connect.will_topic):
            raise NotAdmitted(f"a last will on {connect.will_topic[:200]!r} is not allowed", _NOT_AUTHORIZED)
        return Admitted(principal, connect)

    def load_list(self) -> x509.CertificateRevocationList:
        """The revocation list as it is now. Raises NotAdmitted when there is none to read: then nobody is let in."""
        try:
            status = self._crl_file.stat()
            if self._crl is None or (status.st_ino, status.st_mtime_ns) != self._read:
                self._crl = x509.load_pem_x509_crl(self._crl_file.read_bytes())
                self._read = (status.st_ino, status.st_mtime_ns)
        except (OSError, ValueError) as error:
            raise NotAdmitted(f"revocation list {self._crl_file} cannot be read: {error}") from error
        return self._crl

    def _check_revocation(self, certificate: x509.Certificate) -> None:
        crl = self.load_list()
        if crl.issuer != certificate.issuer:
            raise NotAdmitted("the revocation list is another authority's")
        if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
            raise NotAdmitted("the certificate is revoked or on hold", _NOT_AUTHORIZED)


def _principal(certificate: x509.Certificate, *, is_device: bool) -> Principal:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(names[-1].value) if names else ""
    if is_device:
        if not Thing.is_name(name):
            raise NotAdmitted(f"{name[:80]!r} is no thing name", _NOT_AUTHORIZED)
        return Device(name)
    if name not in policy.SERVICES:
        raise NotAdmitted(f"{name[:80]!r} is no service; there are {', '.join(policy.SERVICES)}", _NOT_AUTHORIZED)
    return Service(name)


async def _read_connect(reader: asyncio.StreamReader) -> Connect:
    if await reader.readexactly(1) != b"\x10":
        raise codec.MalformedPacket("the first packet is no CONNECT")
    length = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
        if shift > 21:
            raise codec.MalformedPacket("a length of over four bytes")
    if length > MAX_PAYLOAD_BYTES:
        raise codec.MalformedPacket(f"a CONNECT packet of {length} bytes")
    body = await reader.readexactly(length)
    if body[:7] != b"\x00\x04MQTT\x04":
        raise NotAdmitted("the embedded broker speaks MQTT 3.1.1 only", _BAD_PROTOCOL)
    flags, keepalive_s = body[7], body[8] << 8 | body[9]
    client_id, at = _text(body, 10)
    will_topic = _text(body, at)[0] if flags & 0x04 else None
    return Connect(client_id, keepalive_s, will_topic, body[at:], body[:10])


def _text(body: bytes, at: int) -> tuple[str, int]:
    stop = at + 2 + (body[at] << 8 | body[at + 1])
    if stop > len(body):
        raise codec.MalformedPacket("a text ends after its packet")
    return body[at + 2 : stop].decode(), stop
