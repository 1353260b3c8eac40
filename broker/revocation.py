"""Revocation lists as Mosquitto takes them without a reload signal.

SIGHUP is not safe on Mosquitto 2.0: an offline session with an expiry is put on the expiry list a second time, and its
next reconnect frees memory that the list still holds (docs/adr/0003). OpenSSL however looks for newer lists in a hashed
folder at every handshake, so a new list is a new file there and nothing else.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from core.errors import Conflict, Unavailable


class RevocationListNotNewer(Conflict):
    """Another list with the same or an earlier thisUpdate is installed; OpenSSL would go on using that one."""

    code = "revocation_list_not_newer"


class RevocationListMissing(Unavailable):
    """The revocation list cannot be read; the broker keeps the last one."""

    code = "revocation_list_missing"


@dataclass(frozen=True, slots=True)
class RevocationFolder:
    """`crl_file` is what provisioning writes (PEM, replaced whole); `folder` is the broker's `capath`."""

    crl_file: Path
    folder: Path

    def reset(self) -> None:
        """Keep the current list alone. Only while the broker is down: it remembers how far it has read.

        Raises RevocationListMissing.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.iterdir():
            old.unlink()
        self.install()

    def install(self) -> bool:
        """Make the current list count from the next handshake on; False if it already does.

        Raises RevocationListMissing, RevocationListNotNewer.
        """
        try:
            text = self.crl_file.read_bytes()
        except OSError as error:
            raise RevocationListMissing(f"revocation list {self.crl_file} cannot be read: {error}") from error
        installed = sorted(self.folder.glob("*.r*"), key=lambda file: int(file.suffix[2:]))
        if installed and installed[-1].read_bytes() == text:
            return False
        crl = _parse(self.crl_file, text)
        if installed:
            newest = _parse(installed[-1], installed[-1].read_bytes())
            if crl.last_update_utc <= newest.last_update_utc:
                raise RevocationListNotNewer(
                    f"{self.crl_file} says thisUpdate {crl.last_update_utc:%Y-%m-%dT%H:%M:%SZ}, the installed list "
                    f"{newest.last_update_utc:%Y-%m-%dT%H:%M:%SZ}: a new list must be at least one second newer"
                )
        # OpenSSL stops at the first missing number, so numbers are dense; the rename keeps it from reading half a file.
        temporary = self.folder / "next"
        temporary.write_bytes(text)
        temporary.rename(self.folder / f"{issuer_hash(crl.issuer):08x}.r{len(installed)}")
        return True


def _parse(file: Path, text: bytes) -> x509.CertificateRevocationList:
    try:
        return x509.load_pem_x509_crl(text)
    except ValueError as error:
        raise RevocationListMissing(f"revocation list {file} cannot be read: {error}") from error


def issuer_hash(name: x509.Name) -> int:
    """OpenSSL's X509_NAME_hash: SHA-1 over the canonical encoding of `name`, first four bytes, little-endian.

    Canonical is: each RDN as it is, strings in UTF-8, lower case, trimmed, inner white space made one blank, without
    the outer SEQUENCE (crypto/x509/x_name.c, x509_name_canon).
    """
    digest = hashlib.sha1(b"".join(_canonical_rdn(rdn) for rdn in name.rdns), usedforsecurity=False).digest()
    return int.from_bytes(digest[:4], "little")


def _canonical_rdn(rdn: x509.RelativeDistinguishedName) -> bytes:
    attributes = sorted(_attribute(attribute.oid, str(attribute.value)) for attribute in rdn)
    return _tlv(0x31, b"".join(attributes))


def _attribute(oid: x509.ObjectIdentifier, value: str) -> bytes:
    text = re.sub(r"[ \t\n\v\f\r]+", " ", value.strip(" \t\n\v\f\r"))
    # OpenSSL lowers ASCII letters only.
    lowered = "".join(c.lower() if c.isascii() else c for c in text)
    return _tlv(0x30, _oid(oid) + _tlv(0x0C, lowered.encode()))


def _oid(oid: x509.ObjectIdentifier) -> bytes:
    arcs = [int(arc) for arc in oid.dotted_string.split(".")]
    body = b""
    for arc in (arcs[0] * 40 + arcs[1], *arcs[2:]):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(0x80 | arc & 0x7F)
        body += bytes(reversed(septets))
    return _tlv(0x06, body)


def _tlv(tag: int, body: bytes) -> bytes:
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + body
