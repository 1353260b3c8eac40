import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from broker.revocation import RevocationFolder, RevocationListMissing, RevocationListNotNewer, issuer_hash
from tests.broker.pki import Authority


@pytest.mark.parametrize(
    "attributes",
    [
        [(NameOID.COMMON_NAME, "Milkrun devices")],
        [
            (NameOID.COUNTRY_NAME, "LI"),
            (NameOID.ORGANIZATION_NAME, "Milk & Co"),
            (NameOID.COMMON_NAME, "  Ünter  WEGS "),
        ],
        [
            (NameOID.COMMON_NAME, "x" * 60),
            (NameOID.ORGANIZATION_NAME, "y" * 64),
            (NameOID.STATE_OR_PROVINCE_NAME, "z" * 100),
        ],
    ],
)
def test_the_issuer_hash_is_the_one_openssl_computes(
    tmp_path: Path, attributes: list[tuple[x509.ObjectIdentifier, str]]
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl program is not installed")
    authority = Authority("devices", tmp_path)
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])
    authority._subject = name
    authority.write_list()
    argv = [openssl, "crl", "-in", str(authority.crl_file), "-noout", "-hash"]
    found = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    assert f"{issuer_hash(name):08x}" == found


def test_each_new_list_gets_the_next_number_and_the_same_list_none(tmp_path: Path) -> None:
    authority = Authority("devices", tmp_path)
    folder = RevocationFolder(authority.crl_file, tmp_path / "crl")
    folder.reset()
    assert not folder.install()
    authority.write_list()
    assert folder.install()
    assert sorted(file.suffix for file in folder.folder.iterdir()) == [".r0", ".r1"]
    folder.reset()
    assert [file.suffix for file in folder.folder.iterdir()] == [".r0"]


def test_a_list_that_openssl_would_pass_over_is_refused(tmp_path: Path) -> None:
    authority = Authority("devices", tmp_path)
    folder = RevocationFolder(authority.crl_file, tmp_path / "crl")
    folder.reset()
    authority.write_list(later_by_s=0)
    with pytest.raises(RevocationListNotNewer, match="at least one second newer"):
        folder.install()


def test_a_missing_or_broken_list_is_named(tmp_path: Path) -> None:
    folder = RevocationFolder(tmp_path / "none.crl", tmp_path / "crl")
    with pytest.raises(RevocationListMissing, match=r"none\.crl"):
        folder.reset()
    (tmp_path / "none.crl").write_bytes(b"-----BEGIN X509 CRL-----\n")
    with pytest.raises(RevocationListMissing, match=r"none\.crl"):
        folder.install()
