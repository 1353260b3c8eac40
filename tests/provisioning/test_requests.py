"""A signing request gives its public key and nothing else."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from provisioning.errors import InvalidRequest
from tests.provisioning.conftest import thing


def request(key, *, name: str = "beta:truck-9", is_ca: bool = False) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    )
    if is_ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM)


def test_the_name_in_a_request_is_never_the_certificates(authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    issued = authority.issue_from_csr(request(key), thing("truck-1"))
    certificate = x509.load_pem_x509_certificate(issued.certificate_pem)
    assert certificate.subject.rfc4514_string() == "CN=acme:truck-1"
    assert certificate.public_key() == key.public_key()
    assert issued.key_pem is None


def test_a_request_to_be_an_authority_or_a_server_is_not_granted(authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    issued = authority.issue_from_csr(request(key, is_ca=True), thing("truck-1"))
    extensions = x509.load_pem_x509_certificate(issued.certificate_pem).extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        x509.ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    with pytest.raises(x509.ExtensionNotFound):
        extensions.get_extension_for_class(x509.SubjectAlternativeName)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        rsa.generate_private_key(65_537, 2048),
    ],
    ids=["P-256", "P-384", "P-521", "RSA 2048"],
)
def test_strong_keys_are_taken(authority, key) -> None:
    certificate = x509.load_pem_x509_certificate(
        authority.issue_from_csr(request(key), thing("truck-1")).certificate_pem
    )
    assert certificate.public_key() == key.public_key()


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (rsa.generate_private_key(65_537, 1024), "RSA key of 1024 bits"),
        (rsa.generate_private_key(3, 2048), "exponent 3"),
        (ec.generate_private_key(ec.SECP256K1()), "curve secp256k1"),
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
        (dsa.generate_private_key(2048), "DSA"),
    ],
    ids=["RSA 1024", "RSA exponent 3", "secp256k1", "Ed25519", "DSA"],
)
def test_weak_and_foreign_keys_are_refused(authority, key, said) -> None:
    with pytest.raises(InvalidRequest, match=said):
        authority.issue_from_csr(request(key), thing("truck-1"))


def test_a_request_not_signed_by_its_own_key_is_refused(authority) -> None:
    der = x509.load_pem_x509_csr(request(ec.generate_private_key(ec.SECP256R1()))).public_bytes(
        serialization.Encoding.DER
    )
    forged = der.replace(b"beta:truck-9", b"beta:truck-8")
    assert forged != der
    pem = x509.load_der_x509_csr(forged).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(InvalidRequest, match="not signed by the key it carries"):
        authority.issue_from_csr(pem, thing("truck-1"))


@pytest.mark.parametrize("text", [b"", b"not a request", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n", b"x" * 20_000])
def test_what_is_no_request_is_refused(authority, text) -> None:
    with pytest.raises(InvalidRequest):
        authority.issue_from_csr(text, thing("truck-1"))
