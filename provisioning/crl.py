"""The revocation list of the device authority: the file a broker loads.

It is always there, from the first start with nothing in it, because a broker told to check a list refuses everybody
without one. Entries come from the registry; the file is replaced whole.
"""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from core.clock import Clock, epoch_ms
from provisioning import keyfiles
from provisioning.model import Barred, Reason
from provisioning.profiles import Signer

_FLAGS = {
    Reason.UNSPECIFIED: x509.ReasonFlags.unspecified,
    Reason.KEY_COMPROMISE: x509.ReasonFlags.key_compromise,
    Reason.AFFILIATION_CHANGED: x509.ReasonFlags.affiliation_changed,
    Reason.SUPERSEDED: x509.ReasonFlags.superseded,
    Reason.CESSATION_OF_OPERATION: x509.ReasonFlags.cessation_of_operation,
    Reason.PRIVILEGE_WITHDRAWN: x509.ReasonFlags.privilege_withdrawn,
    Reason.CERTIFICATE_HOLD: x509.ReasonFlags.certificate_hold,
}
_REASONS = {flag: reason for reason, flag in _FLAGS.items()}

_SECOND = timedelta(seconds=1)
_BACKDATE = timedelta(days=1)
"""Of several lists OpenSSL takes the one with the latest thisUpdate, which counts whole seconds. So each list is dated
at least a second after the one before, and all of them in the past, which leaves room for many within one second."""


@dataclass(frozen=True, slots=True)
class RevocationList:
    """The list at `path`, signed by `signer`. `life` is how long a broker may go on without a new one.

    Writers queue, also those of other processes; a reader never sees half a list.
    """

    path: Path
    signer: Signer
    clock: Clock
    life: timedelta

    def ensure(self) -> None:
        """See that there is a list of this authority, in the first half of its life."""
        with keyfiles.exclusive(self.path.parent):
            self._write(self.read())

    def read(self) -> list[Barred]:
        """Who is barred according to the file; empty when there is no list of this authority."""
        current = self._load()
        return [] if current is None else list(_entries(current))

    def amend(self, *, bar: Iterable[Barred] = (), free: Collection[str] = ()) -> bool:
        """Add `bar` and take the serials `free` off; returns whether the file changed."""
        with keyfiles.exclusive(self.path.parent):
            entries = {entry.serial: entry for entry in self.read() if entry.serial not in free}
            entries.update((entry.serial, entry) for entry in bar)
            return self._write(entries.values())

    def replace(self, entries: Iterable[Barred]) -> bool:
        """Let the list say exactly `entries`; returns whether the file changed.

        It stays as it is while it says so already and has half of its life before it: each new file makes a broker
        reload.
        """
        with keyfiles.exclusive(self.path.parent):
            return self._write(entries)

    def _write(self, entries: Iterable[Barred]) -> bool:
        # A list tells seconds.
        wanted = {entry.serial: replace(entry, at=entry.at.replace(microsecond=0)) for entry in entries}
        current = self._load()
        now = self.clock()
        if current is not None and {e.serial: e for e in _entries(current)} == wanted:
            ends = current.next_update_utc
            if ends is not None and ends - now > self.life / 2:
                return False
        dated = now - _BACKDATE
        if current is not None and current.last_update_utc >= dated.replace(microsecond=0):
            dated = current.last_update_utc + _SECOND
            # A list dated ahead of the clock is not valid yet, and with it a broker would refuse every device.
            time.sleep(max(0.0, (dated - now).total_seconds()))
        keyfiles.write(self.path, self._signed(wanted.values(), _number(current), dated, now + self.life))
        return True

    def _signed(self, entries: Iterable[Barred], last_number: int, dated: datetime, until: datetime) -> bytes:
        crl = x509.CertificateRevocationListBuilder(
            issuer_name=self.signer.certificate.subject,
            last_update=dated,
            next_update=until,
            revoked_certificates=[_revoked(entry) for entry in entries],
        )
        crl = crl.add_extension(x509.CRLNumber(max(last_number + 1, epoch_ms(dated))), critical=False)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.signer.key.public_key())
        signed = crl.add_extension(authority, critical=False).sign(self.signer.key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def _load(self) -> x509.CertificateRevocationList | None:
        try:
            crl = x509.load_pem_x509_crl(self.path.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return crl if crl.is_signature_valid(self.signer.key.public_key()) else None


def _revoked(entry: Barred) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(int(entry.serial, 16)).revocation_date(entry.at)
    if entry.reason is not Reason.UNSPECIFIED:  # RFC 5280 5.3.1: leave it out rather than say unspecified
        builder = builder.add_extension(x509.CRLReason(_FLAGS[entry.reason]), critical=False)
    return builder.build()


def _entries(crl: x509.CertificateRevocationList) -> Iterable[Barred]:
    for revoked in crl:
        try:
            flag = revoked.extensions.get_extension_for_class(x509.CRLReason).value.reason
        except x509.ExtensionNotFound:
            flag = x509.ReasonFlags.unspecified
        yield Barred(f"{revoked.serial_number:032x}", revoked.revocation_date_utc, _REASONS[flag])


def _number(crl: x509.CertificateRevocationList | None) -> int:
    return 0 if crl is None else crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
