"""The development certificate authority: made on first start, kept in the data folder, nowhere else.

Two authorities that never meet: the device authority signs devices and the broker's server certificate (so the
`ca.crt` a device carries verifies the broker, and a purpose in each certificate keeps the two apart); the service
authority signs our own processes. A listener trusts one of them, so no device gets in where services talk, and the
reverse.
certs/README.md says how production differs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from re import compile as regex

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from core.clock import Clock, utc_now
from core.settings import ProvisioningSettings
from core.tenancy import Thing
from provisioning import keyfiles, profiles
from provisioning.crl import RevocationList
from provisioning.errors import CaDamaged, InvalidHost
from provisioning.model import Certificate, CertificateStatus, Issued
from provisioning.profiles import DeviceKey, Signer

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")

_AUTHORITY_LIFE = timedelta(days=20 * 365)
_SERVER_LIFE = timedelta(days=397)  # the longest every TLS client accepts
_SERVICE_LIFE = timedelta(days=365)
_RENEW_BEFORE = timedelta(days=30)
_SERVICE = regex(r"svc-[a-z0-9-]{1,32}\Z")


@dataclass(frozen=True, slots=True)
class CaPaths:
    """Where everything lies below the CA folder."""

    root: Path

    @property
    def device_ca(self) -> Path:
        """What the device listener trusts (Mosquitto: cafile)."""
        return self.root / "device-ca.crt"

    @property
    def device_ca_key(self) -> Path:
        return self.root / "device-ca.key"

    @property
    def ca_cert(self) -> Path:
        """What a client verifies the broker with; a device gets a copy as `ca.crt`."""
        return self.device_ca

    @property
    def crl(self) -> Path:
        """Revoked and held device certificates (Mosquitto: crlfile)."""
        return self.root / "device-ca.crl"

    @property
    def service_ca(self) -> Path:
        """What the service listener trusts."""
        return self.root / "service-ca.crt"

    @property
    def service_ca_key(self) -> Path:
        return self.root / "service-ca.key"

    @property
    def server_cert(self) -> Path:
        return self.root / "server.crt"

    @property
    def server_key(self) -> Path:
        return self.root / "server.key"

    def service_cert(self, name: str) -> Path:
        return self.root / "services" / f"{name}.crt"

    def service_key(self, name: str) -> Path:
        return self.root / "services" / f"{name}.key"


class CertificateAuthority:
    """Issues and renews. `open()` makes it on first start and finds it again on the next."""

    def __init__(
        self, paths: CaPaths, device: Signer, service: Signer, *, settings: ProvisioningSettings, clock: Clock
    ) -> None:
        self.paths = paths
        self._device = device
        self._service = service
        self._settings = settings
        self._clock = clock
        self._ca_pem = profiles.pem(device.certificate)
        self.revocations = RevocationList(paths.crl, device, clock, timedelta(days=settings.crl_days))

    @classmethod
    def open(cls, root: Path, *, settings: ProvisioningSettings, clock: Clock = utc_now) -> "CertificateAuthority":
        """The authority in folder `root`, with a revocation list that is in force. Raises CaDamaged, OSError."""
        paths = CaPaths(root)
        root.mkdir(parents=True, exist_ok=True)
        # Two first starts at once would make two authorities.
        with keyfiles.exclusive(root):
            device = _authority(paths.device_ca, paths.device_ca_key, "Milkrun development device CA", clock())
            service = _authority(paths.service_ca, paths.service_ca_key, "Milkrun development service CA", clock())
        authority = cls(paths, device, service, settings=settings, clock=clock)
        authority.revocations.ensure()
        return authority

    def issue(self, thing: Thing) -> Issued:
        """A new key and its certificate for `thing`."""
        key = profiles.new_key()
        return self._issue(thing, key.public_key(), profiles.key_pem(key))

    def issue_from_csr(self, csr_pem: bytes, thing: Thing) -> Issued:
        """A certificate for `thing` over the key of the request; nothing else of the request counts.

        Raises InvalidRequest.
        """
        return self._issue(thing, profiles.request_key(csr_pem), None)

    def ensure_server(self, hosts: Sequence[str] = ()) -> None:
        """See that the broker's certificate names this machine and `hosts`, and lasts. Raises InvalidHost."""
        wanted = list(dict.fromkeys(profiles.host_text(host) for host in (*LOCAL_HOSTS, *hosts)))
        with keyfiles.exclusive(self.paths.root):
            current = self._current(self.paths.server_cert, self.paths.server_key, self._device)
            if current is not None and set(wanted) <= profiles.hosts_of(current):
                return
            key = profiles.new_key()
            certificate = profiles.server(self._device, wanted, key.public_key(), self._clock(), _SERVER_LIFE)
            _write_pair(self.paths.server_cert, self.paths.server_key, certificate, key)

    def ensure_service(self, name: str) -> tuple[Path, Path]:
        """Certificate and key file of one of our processes, such as svc-ingest. Raises InvalidHost."""
        if not _SERVICE.match(name):
            # No ':' in it, so a service's name can never be a device's.
            raise InvalidHost(
                f"service name {name[:80]!r} is not allowed: 'svc-' and 1 to 32 characters of a-z, 0-9, '-'"
            )
        paths = self.paths.service_cert(name), self.paths.service_key(name)
        with keyfiles.exclusive(self.paths.root):
            current = self._current(*paths, self._service)
            if current is None or profiles.common_name(current) != name:
                paths[0].parent.mkdir(exist_ok=True)
                key = profiles.new_key()
                certificate = profiles.client(self._service, name, key.public_key(), self._clock(), _SERVICE_LIFE)
                _write_pair(*paths, certificate, key)
        return paths

    def _issue(self, thing: Thing, public: DeviceKey, key_pem: bytes | None) -> Issued:
        now = self._clock()
        life = timedelta(days=self._settings.certificate_days)
        certificate = profiles.client(self._device, str(thing), public, now, life)
        record = Certificate(
            serial=profiles.serial_text(certificate),
            fingerprint=profiles.fingerprint(certificate),
            status=CertificateStatus.ACTIVE,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            issued_at=now,
        )
        return Issued(thing, record, profiles.pem(certificate), self._ca_pem, key_pem)

    def _current(self, cert: Path, key: Path, signer: Signer) -> x509.Certificate | None:
        """The pair on disk, if it belongs together, is signed by `signer` and lasts a while."""
        try:
            pair = _read_pair(cert, key)
            pair.certificate.verify_directly_issued_by(signer.certificate)
        except Exception:  # noqa: BLE001  whatever is wrong with it, the answer is a new one
            return None
        lasts = pair.certificate.not_valid_after_utc - self._clock() > _RENEW_BEFORE
        return pair.certificate if lasts else None


def _authority(cert: Path, key: Path, name: str, now: datetime) -> Signer:
    if not cert.exists():
        # The certificate is written last: without it nothing was ever issued, so a key alone is a start that broke off.
        signer = profiles.self_signed(name, now, _AUTHORITY_LIFE)
        _write_pair(cert, key, signer.certificate, signer.key)
        return signer
    try:
        return _read_pair(cert, key)
    except (OSError, ValueError, TypeError) as error:
        raise CaDamaged(
            f"{cert.name} and {key.name} in {cert.parent} do not make an authority ({error}): restore both from a "
            "backup, or remove the folder, which ends every certificate issued so far"
        ) from error


def _read_pair(cert: Path, key: Path) -> Signer:
    certificate = x509.load_pem_x509_certificate(cert.read_bytes())
    private = load_pem_private_key(key.read_bytes(), password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != certificate.public_key():
        raise ValueError("the key is not the certificate's")
    return Signer(certificate, private)


def _write_pair(cert: Path, key: Path, certificate: x509.Certificate, private: ec.EllipticCurvePrivateKey) -> None:
    keyfiles.write(key, profiles.key_pem(private), mode=keyfiles.PRIVATE)
    keyfiles.write(cert, profiles.pem(certificate))
