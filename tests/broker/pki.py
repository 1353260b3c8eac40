"""Certificates for tests: two authorities, a server, whatever clients a test asks for, and a revocation list."""

import ipaddress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Credentials:
    """A certificate with its key, as files."""

    name: str
    cert_file: Path
    key_file: Path
    serial: int


@dataclass
class Authority:
    """A certificate authority that keeps everything in `folder`. Its revocation list is always at `crl_file`."""

    name: str
    folder: Path
    barred: dict[int, x509.ReasonFlags] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name(self.name)
        now = datetime.now(UTC)
        # Lists are dated well back and a second further each time, as the registry dates them.
        self._listed_at = now - timedelta(hours=1)
        self.ca_file = self.folder / f"{self.name}.crt"
        self.crl_file = self.folder / f"{self.name}.crl"
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        cert = (
            self._builder(self._subject, self._key, now)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.ca_file.write_bytes(cert.public_bytes(_PEM))
        self.write_list()

    def issue(self, name: str, *, server: bool = False, file: str | None = None) -> Credentials:
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = self._builder(_name(name), key, datetime.now(UTC))
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(authority, critical=False)
        if server:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        cert = builder.sign(self._key, hashes.SHA256())
        stem = self.folder / (file or f"{self.name}-{cert.serial_number:x}")
        cert_file, key_file = stem.with_suffix(".crt"), stem.with_suffix(".key")
        cert_file.write_bytes(cert.public_bytes(_PEM))
        pem = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        key_file.write_bytes(pem)
        return Credentials(name, cert_file, key_file, cert.serial_number)

    def bar(self, credentials: Credentials, reason: x509.ReasonFlags = x509.ReasonFlags.key_compromise) -> None:
        self.barred[credentials.serial] = reason
        self.write_list()

    def free(self, credentials: Credentials) -> None:
        del self.barred[credentials.serial]
        self.write_list()

    def write_list(self, *, later_by_s: int = 1) -> None:
        self._listed_at += timedelta(seconds=later_by_s)
        builder = x509.CertificateRevocationListBuilder(
            issuer_name=self._subject,
            last_update=self._listed_at,
            next_update=datetime.now(UTC) + timedelta(days=5),
            revoked_certificates=[
                x509.RevokedCertificateBuilder()
                .serial_number(serial)
                .revocation_date(self._listed_at)
                .add_extension(x509.CRLReason(reason), critical=False)
                .build()
                for serial, reason in self.barred.items()
            ],
        )
        temporary = self.crl_file.with_suffix(".next")
        temporary.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(_PEM))
        temporary.rename(self.crl_file)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.CertificateBuilder:
        return x509.CertificateBuilder(
            issuer_name=self._subject,
            subject_name=subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(hours=2),
            not_valid_after=now + timedelta(days=10),
        )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
