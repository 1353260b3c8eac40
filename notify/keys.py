"""Files of our own keys: a key a line, 64 hexadecimal digits, the first in use and the others still good."""

import os
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from core.errors import Invalid

_KEY = re.compile(r"[0-9a-f]{64}")


def read(file: Path, error: type[Invalid]) -> Sequence[bytes]:
    """The keys of a file, the one in use first. Raises `error`."""
    try:
        lines = file.read_text(encoding="ascii").split()
    except (OSError, ValueError) as fault:
        raise error(f"{file} cannot be read: {fault}") from fault
    if not lines or not all(_KEY.fullmatch(line) for line in lines):
        raise error(f"{file} holds one or more keys, a line each, of 64 digits 0-9 a-f")
    return tuple(bytes.fromhex(line) for line in lines)


def read_or_make(file: Path, error: type[Invalid]) -> Sequence[bytes]:
    """The same; a file that is not there is made with one key. Raises `error`."""
    with suppress(FileExistsError):
        _make(file, error)
    return read(file, error)


def _make(file: Path, error: type[Invalid]) -> None:
    """Whole or not at all: another process may read it at the same moment. Raises `error`, FileExistsError."""
    if file.exists():
        return
    draft = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as target:
            target.write(secrets.token_hex(32) + "\n")
        try:
            os.link(draft, file)
        finally:
            draft.unlink()
    except FileExistsError:
        raise
    except OSError as fault:
        raise error(f"{file} cannot be made: {fault}") from fault
