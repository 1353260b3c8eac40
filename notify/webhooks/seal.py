"""Secrets of webhooks as the database holds them: AES-256-GCM, under a key that is in a file and nowhere else.

A sealed secret names its key (4 bytes of a digest), then nonce (12 bytes) and ciphertext. It opens only as the secret
of the webhook it was sealed for: moved to another row, or another tenant's, it is damaged.
"""

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.tenancy import TenantId
from notify import keys
from notify.errors import InvalidSecretKey

NAME_BYTES = 4
_NONCE_BYTES = 12


class Seal:
    """Reads its file when first asked. The first key seals, all of them open.

    A file that is not there is made when the first secret is sealed; every process of api and notify needs the same.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def close(self, tenant: TenantId, webhook: str, secret: bytes) -> bytes:
        """Seal a secret. Raises InvalidSecretKey."""
        key = self._made[0]
        nonce = os.urandom(_NONCE_BYTES)
        return _name(key) + nonce + AESGCM(key).encrypt(nonce, secret, _row(tenant, webhook))

    def open(self, tenant: TenantId, webhook: str, sealed: bytes) -> bytes:
        """The secret. Raises InvalidSecretKey when no key of the file opens it."""
        name, nonce, rest = sealed[:NAME_BYTES], sealed[NAME_BYTES:][:_NONCE_BYTES], sealed[NAME_BYTES + _NONCE_BYTES :]
        for key in self._there:
            if _name(key) == name:
                try:
                    return AESGCM(key).decrypt(nonce, rest, _row(tenant, webhook))
                except InvalidTag as error:
                    raise InvalidSecretKey(f"a secret of webhook {webhook} is damaged") from error
        raise InvalidSecretKey(f"{self._file} has not the key that a secret of webhook {webhook} is sealed with")

    @property
    def is_there(self) -> bool:
        """Whether there is a file: until something is sealed there need be none."""
        return self._file.exists()

    @property
    def name(self) -> bytes:
        """Of the key that seals: sealed secrets begin with it. Raises InvalidSecretKey."""
        return _name(self._there[0])

    @cached_property
    def _made(self) -> Sequence[bytes]:
        return keys.read_or_make(self._file, InvalidSecretKey)

    @cached_property
    def _there(self) -> Sequence[bytes]:
        # Not made here: a key of one's own opens nothing that another machine has sealed.
        return keys.read(self._file, InvalidSecretKey)


def _name(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=NAME_BYTES, person=b"milkrun webhook").digest()


def _row(tenant: TenantId, webhook: str) -> bytes:
    return f"{tenant} {webhook}".encode()
