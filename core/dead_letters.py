"""Dead letters: every refused message, kept whole with the reason, until it is replayed or its time is over."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import LiteralString

from core.db import Tx

UNATTRIBUTED = "!"
"""Tenant of a letter whose topic named no tenant of ours; no tenant can be called so."""

# Not COPY, which PostgreSQL refuses on tables with row level security.
_INSERT: LiteralString = """
INSERT INTO dead_letter (tenant_id, received_at, source, topic, thing, reason, detail, payload, digest)
SELECT * FROM unnest(%s::text[], %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
                     %s::bytea[], %s::bytea[])
"""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`tenant` is an id or UNATTRIBUTED, `received_at` ISO 8601; `detail` says what was wrong and what is allowed."""

    tenant: str
    received_at: str
    source: str
    topic: str
    thing: str | None
    reason: str
    detail: str
    payload: bytes

    @property
    def digest(self) -> bytes:
        return hashlib.blake2b(self.topic.encode("utf-8", "replace") + b"\x00" + self.payload, digest_size=16).digest()


async def known(tx: Tx, letters: Iterable[DeadLetter]) -> set[bytes]:
    """The digests among `letters` that are kept already, for messages that were delivered again."""
    rows = await tx.all(
        "SELECT d.digest FROM dead_letter d JOIN unnest(%s::text[], %s::bytea[]) AS w(tenant_id, digest) "
        "USING (tenant_id, digest)",
        ([letter.tenant for letter in letters], [letter.digest for letter in letters]),
    )
    return {bytes(row["digest"]) for row in rows}


async def keep(tx: Tx, letters: Sequence[DeadLetter]) -> None:
    """Store `letters`; they are there if and only if `tx` commits."""
    if not letters:
        return
    fields = [
        (
            letter.tenant,
            letter.received_at,
            letter.source,
            _storable(letter.topic),
            _storable(letter.thing),
            letter.reason,
            _storable(letter.detail),
            letter.payload,
            letter.digest,
        )
        for letter in letters
    ]
    await tx.execute(_INSERT, [list(column) for column in zip(*fields, strict=True)])


def _storable(text: str | None) -> str | None:
    """PostgreSQL text holds neither NUL nor a lone surrogate; the payload itself is kept as bytes, untouched."""
    if text is None:
        return None
    return text[:2000].replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
