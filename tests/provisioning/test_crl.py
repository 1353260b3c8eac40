"""The revocation list as openssl reads it."""

import itertools
import ssl
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from provisioning.ca import CertificateAuthority
from provisioning.keyfiles import Delivery
from provisioning.model import Barred, Reason
from tests.provisioning.conftest import thing


@pytest.fixture
def verify(authority, openssl, tmp_path):
    def accepted(issued) -> tuple[bool, str]:
        out = Delivery(tmp_path / issued.record.serial)
        out.write(issued)
        done = openssl(
            "verify",
            "-crl_check",
            "-CAfile",
            out.out / "ca.crt",
            "-CRLfile",
            authority.paths.crl,
            out.out / "device.crt",
        )
        return done.returncode == 0, done.stdout + done.stderr

    return accepted


def crl(path: Path) -> x509.CertificateRevocationList:
    return x509.load_pem_x509_crl(path.read_bytes())


def barred(issued, reason: Reason, clock) -> Barred:
    return Barred(issued.record.serial, clock(), reason)


def test_the_first_start_makes_an_empty_list_that_lets_devices_in(authority, verify) -> None:
    assert list(crl(authority.paths.crl)) == []
    assert verify(authority.issue(thing("truck-1")))[0]


@pytest.mark.parametrize("reason", Reason)
def test_who_is_listed_is_refused_and_the_others_are_not(authority, verify, clock, reason) -> None:
    good, bad = authority.issue(thing("truck-1")), authority.issue(thing("truck-2"))
    authority.revocations.amend(bar=[barred(bad, reason, clock)])
    assert verify(good)[0]
    accepted, said = verify(bad)
    assert not accepted
    assert "certificate revoked" in said
    assert [(e.serial, e.reason) for e in authority.revocations.read()] == [(bad.record.serial, reason)]


def test_a_hold_taken_back_lets_the_device_in_again(authority, verify, clock) -> None:
    device = authority.issue(thing("truck-1"))
    authority.revocations.amend(bar=[barred(device, Reason.CERTIFICATE_HOLD, clock)])
    assert not verify(device)[0]
    authority.revocations.amend(free={device.record.serial})
    assert verify(device)[0]


def test_a_tls_server_with_the_list_refuses_the_revoked_device_and_serves_the_other(authority, tmp_path, clock) -> None:
    authority.ensure_server()
    good, bad = authority.issue(thing("truck-1")), authority.issue(thing("truck-2"))
    authority.revocations.amend(bar=[barred(bad, Reason.KEY_COMPROMISE, clock)])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(authority.paths.server_cert, authority.paths.server_key)
    server.load_verify_locations(authority.paths.device_ca)
    server.load_verify_locations(authority.paths.crl)
    server.verify_mode = ssl.CERT_REQUIRED
    server.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF

    def handshake(issued) -> None:
        out = Delivery(tmp_path / issued.record.serial)
        out.write(issued)
        client = ssl.create_default_context(cafile=out.out / "ca.crt")
        client.load_cert_chain(out.out / "device.crt", out.out / "device.key")
        _shake(server, client, "localhost")

    handshake(good)
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate revoked"):
        handshake(bad)


def _shake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> None:
    """A whole TLS handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server, server_hostname=host), server.wrap_bio(to_server, to_client, True)]
    for _ in range(10):
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                pass
        if not ends:
            return
    raise AssertionError("the handshake did not end")


def test_each_list_is_dated_later_than_the_one_before_and_never_ahead_of_the_clock(authority, clock) -> None:
    dates, numbers = [], []
    for n in range(1, 6):
        authority.revocations.amend(bar=[Barred(f"{n:032x}", clock(), Reason.UNSPECIFIED)])
        current = crl(authority.paths.crl)
        dates.append(current.last_update_utc)
        numbers.append(current.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)
    assert all(later - earlier >= timedelta(seconds=1) for earlier, later in itertools.pairwise(dates))
    assert numbers == sorted(set(numbers))
    assert dates[-1] < clock()


def test_a_list_that_says_so_already_is_not_written_again_until_half_of_its_life_is_over(
    authority, settings, clock
) -> None:
    entries = [Barred("1".zfill(32), clock(), Reason.UNSPECIFIED)]
    assert authority.revocations.replace(entries)
    assert not authority.revocations.replace(entries)
    clock.advance(timedelta(days=settings.crl_days / 2 + 1))
    assert authority.revocations.replace(entries)
    assert crl(authority.paths.crl).next_update_utc > clock() + timedelta(days=settings.crl_days - 1)


def test_a_start_after_a_long_pause_puts_the_list_in_force_again_with_its_entries(
    authority, settings, clock, tmp_path
) -> None:
    authority.revocations.amend(bar=[Barred("a" * 32, clock(), Reason.KEY_COMPROMISE)])
    clock.advance(timedelta(days=400))
    again = CertificateAuthority.open(tmp_path / "ca", settings=settings, clock=clock)
    assert crl(again.paths.crl).next_update_utc > clock()
    assert [e.serial for e in again.revocations.read()] == ["a" * 32]


def test_a_reader_never_meets_half_a_list_and_writers_lose_no_entry(authority, clock) -> None:
    stop, bad = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            try:
                crl(authority.paths.crl)
            except (ValueError, OSError) as error:
                bad.append(error)

    def write(start: int) -> None:
        for n in range(start, start + 25):
            authority.revocations.amend(bar=[Barred(f"{n:032x}", clock(), Reason.UNSPECIFIED)])

    reader = threading.Thread(target=read)
    reader.start()
    writers = [threading.Thread(target=write, args=(start,)) for start in (1, 100, 200)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    stop.set()
    reader.join()
    assert bad == []
    assert len(authority.revocations.read()) == 75
