import os
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from provisioning.ca import CaPaths, CertificateAuthority
from provisioning.errors import CaDamaged, FolderTaken, InvalidHost
from provisioning.keyfiles import Delivery
from tests.provisioning.conftest import thing


def test_every_key_is_readable_by_its_owner_alone(authority, tmp_path) -> None:
    old = os.umask(0)
    try:
        authority.ensure_server()
        authority.ensure_service("svc-ingest")
        Delivery(tmp_path / "out").write(authority.issue(thing("truck-1")))
    finally:
        os.umask(old)
    keys = sorted(tmp_path.rglob("*.key"))
    assert [key.name for key in keys] == [
        "device-ca.key",
        "server.key",
        "service-ca.key",
        "svc-ingest.key",
        "device.key",
    ]
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_a_second_start_finds_everything_and_changes_nothing(authority, tmp_path, settings, clock) -> None:
    authority.ensure_server(["depot.example"])
    authority.ensure_service("svc-ingest")
    before = {file: file.read_bytes() for file in authority.paths.root.rglob("*") if file.is_file()}
    again = CertificateAuthority.open(tmp_path / "ca", settings=settings, clock=clock)
    again.ensure_server()
    again.ensure_service("svc-ingest")
    assert {file: file.read_bytes() for file in authority.paths.root.rglob("*") if file.is_file()} == before


def test_two_first_starts_at_once_make_one_authority(tmp_path) -> None:
    script = (
        "import sys; from pathlib import Path; from core.settings import ProvisioningSettings;"
        "from provisioning.ca import CertificateAuthority;"
        "a = CertificateAuthority.open(Path(sys.argv[1]), settings=ProvisioningSettings());"
        "print(a.paths.device_ca.read_text())"
    )
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "ca")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        for _ in range(3)
    ]
    said = [start.communicate(timeout=60)[0] for start in starts]
    assert [start.returncode for start in starts] == [0, 0, 0]
    assert said[0].startswith(b"-----BEGIN CERTIFICATE-----")
    assert len(set(said)) == 1


def test_a_first_start_that_broke_off_before_the_certificate_begins_anew(authority, tmp_path, settings, clock) -> None:
    authority.paths.device_ca.unlink()
    again = CertificateAuthority.open(tmp_path / "ca", settings=settings, clock=clock)
    assert again.issue(thing("truck-1")).ca_pem == again.paths.device_ca.read_bytes()


@pytest.mark.parametrize("damage", ["missing", "foreign", "garbage"])
def test_an_authority_whose_files_contradict_each_other_issues_nothing(
    authority, tmp_path, settings, clock, damage
) -> None:
    key = authority.paths.device_ca_key
    if damage == "missing":
        key.unlink()
    else:
        key.write_bytes(authority.paths.service_ca_key.read_bytes() if damage == "foreign" else b"no key")
    with pytest.raises(CaDamaged, match=r"restore both from a backup"):
        CertificateAuthority.open(tmp_path / "ca", settings=settings, clock=clock)


def test_serials_are_random_and_128_bits_wide(authority) -> None:
    serials = [authority.issue(thing("truck-1")).record.serial for _ in range(64)]
    assert len(set(serials)) == 64
    assert {len(serial) for serial in serials} == {32}
    assert any(int(serial, 16) >> 120 for serial in serials)


def test_the_server_certificate_names_this_machine_and_what_was_asked_for(authority, openssl) -> None:
    authority.ensure_server(["Depot.Example", "192.0.2.7"])
    paths = authority.paths
    for check in ("-verify_hostname localhost", "-verify_hostname depot.example", "-verify_ip 127.0.0.1",
                  "-verify_ip ::1", "-verify_ip 192.0.2.7"):  # fmt: skip
        done = openssl(
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            "-CAfile",
            paths.ca_cert,
            *check.split(),
            paths.server_cert,
        )
        assert done.returncode == 0, (check, done.stderr)
    assert openssl("verify", "-CAfile", paths.ca_cert, "-verify_hostname", "x.example", paths.server_cert).returncode


def test_another_host_name_is_added_to_the_server_certificate(authority) -> None:
    authority.ensure_server()
    before = authority.paths.server_cert.read_bytes()
    authority.ensure_server(["depot.example"])
    assert authority.paths.server_cert.read_bytes() != before


@pytest.mark.parametrize("host", ["", "a b", "-a", "a..b", "*.example", "x" * 64, "a/b"])
def test_what_is_no_host_is_refused(authority, host) -> None:
    with pytest.raises(InvalidHost):
        authority.ensure_server([host])


def test_server_and_service_certificates_are_renewed_before_they_end(authority, clock) -> None:
    authority.ensure_server()
    cert, _ = authority.ensure_service("svc-ingest")
    before = authority.paths.server_cert.read_bytes(), cert.read_bytes()
    clock.advance(timedelta(days=330))
    authority.ensure_server()
    authority.ensure_service("svc-ingest")
    assert authority.paths.server_cert.read_bytes() == before[0]
    assert cert.read_bytes() == before[1]
    clock.advance(timedelta(days=40))
    authority.ensure_server()
    authority.ensure_service("svc-ingest")
    assert authority.paths.server_cert.read_bytes() != before[0]
    assert cert.read_bytes() != before[1]


@pytest.mark.parametrize("name", ["ingest", "svc-", "svc-a:b", "svc-../x", "svc-A", "svc-x\n", "acme:truck-1"])
def test_a_service_name_that_could_be_a_devices_or_a_path_is_refused(authority, name) -> None:
    with pytest.raises(InvalidHost, match="svc-"):
        authority.ensure_service(name)


def test_no_certificate_opens_a_door_it_is_not_meant_for(authority, openssl, tmp_path) -> None:
    authority.ensure_server()
    service, _ = authority.ensure_service("svc-ingest")
    Delivery(tmp_path / "out").write(authority.issue(thing("truck-1")))
    device, paths = tmp_path / "out" / "device.crt", authority.paths

    def opens(trusted: Path, purpose: str, cert: Path) -> bool:
        done = openssl("verify", "-x509_strict", "-purpose", purpose, "-CAfile", trusted, cert)
        return done.returncode == 0

    assert opens(paths.device_ca, "sslclient", device)
    assert opens(paths.service_ca, "sslclient", service)
    assert not opens(paths.service_ca, "sslclient", device)
    assert not opens(paths.device_ca, "sslclient", service)
    assert not opens(paths.device_ca, "sslclient", paths.server_cert)
    assert not opens(paths.device_ca, "sslserver", device)
    assert not opens(paths.service_ca, "sslserver", service)


def test_a_device_certificate_is_for_a_year_and_never_outlives_its_authority(authority, clock) -> None:
    record = authority.issue(thing("truck-1")).record
    assert timedelta(days=365) <= record.not_after - record.not_before <= timedelta(days=365, minutes=6)
    clock.advance(timedelta(days=20 * 365 - 10))
    late = x509.load_pem_x509_certificate(authority.issue(thing("truck-1")).certificate_pem)
    ca = x509.load_pem_x509_certificate(authority.paths.device_ca.read_bytes())
    assert late.not_valid_after_utc == ca.not_valid_after_utc


def test_the_longest_names_that_are_allowed_get_a_certificate_openssl_takes(authority, openssl, tmp_path) -> None:
    longest = thing("d" * 64, "t" * 32)
    Delivery(tmp_path / "out").write(authority.issue(longest))
    assert openssl("verify", "-CAfile", tmp_path / "out/ca.crt", tmp_path / "out/device.crt").returncode == 0
    shown = openssl("x509", "-in", tmp_path / "out/device.crt", "-noout", "-subject").stdout
    assert shown.strip() == f"subject=CN = {longest}"


def test_a_folder_that_holds_another_devices_key_is_left_alone(authority, tmp_path) -> None:
    out = Delivery(tmp_path / "out")
    out.write(authority.issue(thing("truck-1")))
    key = (tmp_path / "out/device.key").read_bytes()
    with pytest.raises(FolderTaken, match="belongs to acme:truck-1"):
        out.write(authority.issue(thing("truck-2")))
    assert (tmp_path / "out/device.key").read_bytes() == key
    out.write(authority.issue(thing("truck-1")))
    assert (tmp_path / "out/device.key").read_bytes() != key


def test_nothing_that_holds_a_key_shows_it(authority) -> None:
    issued = authority.issue(thing("truck-1"))
    assert b"PRIVATE KEY" in issued.key_pem
    for shown in (repr(issued), repr(authority), repr(authority.revocations), repr(authority._device)):
        assert "PRIVATE" not in shown
        assert "key_pem" not in shown


def test_the_paths_are_those_the_broker_is_told(tmp_path) -> None:
    paths = CaPaths(tmp_path)
    assert paths.ca_cert == paths.device_ca
    assert paths.service_key("svc-sim") == tmp_path / "services" / "svc-sim.key"
