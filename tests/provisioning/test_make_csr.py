"""The script a device makes its own key with."""

import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from core.tenancy import Thing
from provisioning import profiles

SCRIPT = Path(__file__).parents[2] / "certs" / "make-csr.sh"


def make(thing: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", SCRIPT, thing, folder], capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize("name", ["acme:truck-17", "t" * 32 + ":" + "d" * 64])
def test_its_request_is_taken_and_its_key_stays_private(authority, openssl, tmp_path, name) -> None:
    done = make(name, tmp_path / "keys")
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE((tmp_path / "keys/device.key").stat().st_mode) == 0o600
    issued = authority.issue_from_csr((tmp_path / "keys/device.csr").read_bytes(), Thing.parse(name))
    (tmp_path / "device.crt").write_bytes(issued.certificate_pem)
    public = openssl("pkey", "-in", tmp_path / "keys/device.key", "-pubout").stdout
    assert openssl("x509", "-in", tmp_path / "device.crt", "-noout", "-pubkey").stdout == public
    assert profiles.common_name(x509.load_pem_x509_certificate(issued.certificate_pem)) == name


@pytest.mark.parametrize("name", ["truck-17", "Acme:truck", "acme:", "acme:a b", "acme:a/b", "acme:a\nbeta:b", "a:b"])
def test_what_is_no_thing_name_is_refused(tmp_path, name) -> None:
    done = make(name, tmp_path / "keys")
    assert done.returncode == 2
    assert "is no thing name" in done.stderr
    assert not (tmp_path / "keys").exists()


def test_a_key_that_is_there_is_kept(tmp_path) -> None:
    make("acme:truck-17", tmp_path)
    key = (tmp_path / "device.key").read_bytes()
    assert make("acme:truck-17", tmp_path).returncode == 1
    assert (tmp_path / "device.key").read_bytes() == key
