"""Tokens of tracking links: what they are for and until when, signed, so that guessing one costs no look anywhere.

A token is base64url of `tenant.link.expiry` (epoch seconds), a dot, and 16 bytes of HMAC-SHA256.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from core.errors import MilkrunError
from core.tenancy import TenantId, tenant_id
from notify import keys
from notify.errors import InvalidLinkKey, LinkNotFound

MOST_CHARS = 200
_SIGNATURE_BYTES = 16
_TOKEN = re.compile(r"([A-Za-z0-9_-]{20,150})\.([A-Za-z0-9_-]{22})")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token says; whether the link still holds is for the database."""

    tenant: TenantId
    link: str
    expires_s: int


class LinkKeys:
    """Reads its file when first asked: a key a line, 64 hexadecimal digits. The first signs, all of them verify.

    A file that is not there is made; processes on several machines need the same one.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def issue(self, grant: Grant) -> str:
        """Raises InvalidLinkKey."""
        body = f"{grant.tenant}.{grant.link}.{grant.expires_s}".encode()
        return f"{_encoded(body)}.{_encoded(_signature(self._keys[0], body))}"

    def read(self, token: str, now: datetime) -> Grant:
        """Raises LinkNotFound for what is no token of ours, or one whose time is over; and InvalidLinkKey."""
        parts = _TOKEN.fullmatch(token) if len(token) <= MOST_CHARS else None
        if parts is None:
            raise LinkNotFound(_UNKNOWN)
        try:
            body, signature = _decoded(parts[1]), _decoded(parts[2])
        except binascii.Error as error:
            raise LinkNotFound(_UNKNOWN) from error
        # Every key is tried whatever the one before said, and a body is read only when its signature holds.
        matches = [hmac.compare_digest(_signature(key, body), signature) for key in self._keys]
        if not any(matches):
            raise LinkNotFound(_UNKNOWN)
        try:
            tenant, link, expires_s = body.decode().split(".")
            grant = Grant(tenant_id(tenant), link, int(expires_s))
        except (ValueError, MilkrunError) as error:
            raise LinkNotFound(_UNKNOWN) from error
        if now.timestamp() >= grant.expires_s:
            raise LinkNotFound(_UNKNOWN)
        return grant

    @cached_property
    def _keys(self) -> Sequence[bytes]:
        return keys.read_or_make(self._file, InvalidLinkKey)


_UNKNOWN = "there is no such tracking link, or it is over"


def _signature(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, b"milkrun tracking link\n" + body, hashlib.sha256)[:_SIGNATURE_BYTES]


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    """In its one canonical form. Raises binascii.Error."""
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _encoded(raw) != text:
        raise binascii.Error("not canonical")
    return raw
