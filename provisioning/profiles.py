"""What a certificate of ours looks like: profiles of authority, server, service and device, and the checks of a CSR.

Nothing here reads a file, a clock or a setting. Profiles follow RFC 5280; a device's subject is its thing name as CN.
"""

import ipaddress
import re
import secrets
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provisioning.errors import InvalidHost, InvalidRequest

type PrivateKey = ec.EllipticCurvePrivateKey
type DeviceKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

BACKDATE = timedelta(minutes=5)
"""A certificate starts this long before it is made: a device's clock may lag behind ours."""

_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_RSA_BITS = range(2048, 8193)
_MAX_CSR_BYTES = 16_384
_MAX_COMMON_NAME = 64  # X.520 ub-common-name
_HOST = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\Z")


@dataclass(frozen=True, slots=True)
class Signer:
    """A certificate authority at work: its certificate and its key. Never shown."""

    certificate: x509.Certificate
    key: PrivateKey

    def __repr__(self) -> str:
        return f"Signer({common_name(self.certificate)!r})"


def new_key() -> PrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def serial_text(certificate: x509.Certificate) -> str:
    """The serial as 32 hexadecimal digits, lower case, as it stands in the registry."""
    return f"{certificate.serial_number:032x}"


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER form, hexadecimal: what AWS IoT calls the certificate id."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def common_name(certificate: x509.Certificate) -> str:
    with warnings.catch_warnings(action="ignore"):  # see _subject
        return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def self_signed(name: str, at: datetime, life: timedelta) -> Signer:
    """A new authority called `name` that may sign end entities and revocation lists, and no further authority."""
    key = new_key()
    public = key.public_key()
    builder = (
        _builder(name, public, at, at + life)
        .issuer_name(_subject(name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    return Signer(builder.sign(key, hashes.SHA256()), key)


def client(signer: Signer, name: str, public: DeviceKey, at: datetime, life: timedelta) -> x509.Certificate:
    """A certificate that lets the holder of `public` log in as `name`, and do nothing else."""
    return _end_entity(signer, name, public, at, life, ExtendedKeyUsageOID.CLIENT_AUTH).sign(
        signer.key, hashes.SHA256()
    )


def server(signer: Signer, hosts: Iterable[str], public: DeviceKey, at: datetime, life: timedelta) -> x509.Certificate:
    """A certificate that names `hosts` (names or addresses; the first is the CN too). Raises InvalidHost."""
    names = [_general_name(host) for host in hosts]
    builder = _end_entity(signer, str(names[0].value), public, at, life, ExtendedKeyUsageOID.SERVER_AUTH)
    return builder.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(signer.key, hashes.SHA256())


def hosts_of(certificate: x509.Certificate) -> set[str]:
    """The names and addresses a server certificate answers for, as text."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in names}


def host_text(host: str) -> str:
    """`host` as a certificate spells it; raises InvalidHost."""
    return str(_general_name(host).value)


def request_key(csr_pem: bytes) -> DeviceKey:
    """The public key of a signing request, the only thing we take from it.

    Raises InvalidRequest when the request is no PEM CSR, is not signed by its own key, or the key is none of
    RSA of 2048 to 8192 bits, P-256, P-384, P-521.
    """
    if len(csr_pem) > _MAX_CSR_BYTES:
        raise InvalidRequest(f"signing request has {len(csr_pem)} bytes: at most {_MAX_CSR_BYTES} are allowed")
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        public = request.public_key()
        # The key is judged before its signature is: verifying with an absurd key costs what an attacker likes.
        checked = _allowed_key(public)
        signed = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidRequest(f"not a PEM certificate signing request with a key we know: {error}") from error
    if not signed:
        raise InvalidRequest("signing request is not signed by the key it carries")
    return checked


def _allowed_key(public: CertificatePublicKeyTypes) -> DeviceKey:
    allowed = "allowed are RSA of 2048 to 8192 bits, P-256, P-384 and P-521"
    if isinstance(public, rsa.RSAPublicKey):
        if public.key_size not in _RSA_BITS:
            raise InvalidRequest(f"RSA key of {public.key_size} bits: {allowed}")
        exponent = public.public_numbers().e
        if exponent < 65_537 or exponent % 2 == 0:
            raise InvalidRequest(f"RSA key with public exponent {exponent}: use 65537")
        return public
    if isinstance(public, ec.EllipticCurvePublicKey):
        if public.curve.name not in _CURVES:
            raise InvalidRequest(f"key on curve {public.curve.name}: {allowed}")
        return public
    raise InvalidRequest(f"key of type {type(public).__name__}: {allowed}")


def _end_entity(
    signer: Signer, name: str, public: DeviceKey, at: datetime, life: timedelta, purpose: x509.ObjectIdentifier
) -> x509.CertificateBuilder:
    # Outliving its authority would be a promise nobody can check.
    until = min(at + life, signer.certificate.not_valid_after_utc)
    return (
        _builder(name, public, at, until)
        .issuer_name(signer.certificate.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.certificate.public_key()),  # type: ignore[arg-type]
            critical=False,
        )
    )


def _builder(name: str, public: DeviceKey, at: datetime, until: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(name))
        .public_key(public)
        .serial_number(secrets.randbits(128) or 1)
        .not_valid_before(at - BACKDATE)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _subject(name: str) -> x509.Name:
    if len(name) <= _MAX_COMMON_NAME:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    # A long tenant with a long device passes X.520's 64 characters. OpenSSL and the brokers on it take what is there;
    # the library only warns, and would warn on each reading too.
    with warnings.catch_warnings(action="ignore"):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name, _validate=False)])


def _general_name(host: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if not _HOST.match(host):
            raise InvalidHost(
                f"{host[:80]!r} is no host: use an IP address or a name of letters, digits, '-' and '.'"
            ) from None
        return x509.DNSName(host.lower())


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )
