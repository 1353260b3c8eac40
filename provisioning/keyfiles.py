"""How certificates and keys reach the disk: whole or not at all, and a private key readable by its owner alone."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from core.tenancy import Thing
from provisioning import profiles
from provisioning.errors import FolderTaken
from provisioning.model import Issued

PRIVATE = 0o600
PUBLIC = 0o644


def write(path: Path, content: bytes, *, mode: int = PUBLIC, durable: bool = True) -> None:
    """Replace `path` in one step; a reader sees the old content or the new. Raises OSError and leaves no part behind.

    `durable` waits until the disk has it; a caller that writes thousands of files syncs once at the end instead.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    # The mode is set on creation: a key must not be readable by others even for a moment.
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keep every other process and thread that asks for the same folder waiting."""
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True, slots=True)
class Delivery:
    """Hands out `device.crt`, `device.key` and `ca.crt`.

    They go into `out`, or with `each_its_own` into a folder there that is called like the device.
    `durable` waits for the disk at each file; for thousands, sync once afterwards.
    """

    out: Path
    each_its_own: bool = False
    durable: bool = True
    _new_folders: list[Path] = field(default_factory=list)

    def folder(self, thing: Thing) -> Path:
        return self.out / thing.device if self.each_its_own else self.out

    def check(self, thing: Thing) -> None:
        """Raises FolderTaken when the folder holds another device's certificate: its key would be lost."""
        present = self.folder(thing) / "device.crt"
        if not present.exists():
            return
        try:
            owner = profiles.common_name(x509.load_pem_x509_certificate(present.read_bytes()))
        except (ValueError, IndexError):
            owner = "something that is no certificate"
        if owner != str(thing):
            raise FolderTaken(f"{present} belongs to {owner}: choose another folder for {thing}")

    def write(self, issued: Issued) -> None:
        """Put the files in place, the key with mode 0600. Raises FolderTaken or OSError."""
        self.check(issued.thing)
        folder = self.folder(issued.thing)
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            self._new_folders.append(folder)
        if issued.key_pem is not None:
            write(folder / "device.key", issued.key_pem, mode=PRIVATE, durable=self.durable)
        write(folder / "device.crt", issued.certificate_pem, durable=self.durable)
        write(folder / "ca.crt", issued.ca_pem, durable=self.durable)

    def discard(self) -> None:
        """Remove the folders made here: nothing in them is registered."""
        for folder in self._new_folders:
            for name in ("device.key", "device.crt", "ca.crt"):
                (folder / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                folder.rmdir()
