"""The Ed25519 keys that sign access tokens: one PEM file each, mode 0600, in a folder that all API processes read.

A file's name is the key's id and begins with the time it was made; from these times alone every process knows which key
is only published, which signs, and which still verifies. So a rotation is one new file, and no process need be told.
"""

import asyncio
import enum
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey
from prometheus_client import Gauge

from api.identity.errors import InvalidKeys
from core.clock import Clock, utc_now
from core.settings import IdentitySettings
from provisioning import keyfiles

ALGORITHM = "EdDSA"
LEEWAY_S = 10
"""How far the clocks of issuer and reader of a token may be apart."""
RESCAN_S = 2.0
"""A new file is seen after this at the latest, as soon as a token is signed or verified."""
UNKNOWN_RESCAN_S = 10.0
"""A token with an unknown key id makes the folder be read at once, but not more often than this."""

_STAMP = "%Y%m%dT%H%M%SZ"
_KID = re.compile(r"(\d{8}T\d{6}Z)-[A-Za-z0-9_-]{8}\Z")
KEYS = Gauge("milkrun_identity_signing_keys", "Signing keys by what they do now", ["phase"])
_log = structlog.get_logger()


class Phase(enum.StrEnum):
    """What a key does at a moment."""

    WAITING = "waiting"  # published, so that everybody has it before it signs
    SIGNING = "signing"  # exactly one
    VERIFYING = "verifying"  # its last tokens are still good
    RETIRED = "retired"  # all it signed has expired


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key with its id and the time it was made, which the id carries."""

    kid: str
    created_at: datetime
    jwk: OKPKey
    mark: tuple[int, int]
    """modification time and size of its file: another one is read again"""


def times(settings: IdentitySettings) -> tuple[timedelta, timedelta]:
    """How long a key is published before it signs, and how long after its last token it must verify."""
    return timedelta(seconds=settings.key_lead_s), timedelta(seconds=settings.token_ttl_s + 2 * LEEWAY_S)


def phases(keys: Sequence[SigningKey], at: datetime, *, lead: timedelta, life: timedelta) -> dict[str, Phase]:
    """What each of `keys` does at `at`: a key signs from `lead` after it was made, the first one at once.

    `life` is how long a token may be good after it was signed.
    """
    ordered = sorted(keys, key=lambda key: (key.created_at, key.kid))
    starts = [key.created_at + (lead if n else timedelta()) for n, key in enumerate(ordered)]
    signing = max((n for n, start in enumerate(starts) if start <= at), default=0)
    found = {}
    for n, key in enumerate(ordered):
        if n == signing:
            found[key.kid] = Phase.SIGNING
        elif n > signing:
            found[key.kid] = Phase.WAITING
        else:
            found[key.kid] = Phase.VERIFYING if at < starts[n + 1] + life else Phase.RETIRED
    return found


def load(folder: Path, known: Mapping[str, SigningKey] | None = None) -> dict[str, SigningKey]:
    """The keys in `folder`; those of `known` whose files are as they were are not read again. Raises InvalidKeys."""
    found = {}
    try:
        for file in sorted(folder.glob("*.pem")):
            status = file.stat()
            mark = (status.st_mtime_ns, status.st_size)
            if status.st_mode & 0o077:
                raise InvalidKeys(f"{file} can be read by others: chmod 600 it, and rotate if others were there")
            before = (known or {}).get(file.stem)
            found[file.stem] = before if before and before.mark == mark else _read(file, mark)
    except OSError as error:
        raise InvalidKeys(f"signing keys cannot be read: {error}") from error
    return found


def make(folder: Path, at: datetime) -> SigningKey:
    """A new key in a new file, in place only when it is whole and on disk."""
    private = Ed25519PrivateKey.generate()
    jwk = OKPKey.import_key(private)
    kid = f"{at.astimezone(UTC).strftime(_STAMP)}-{jwk.thumbprint()[:8]}"
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / f"{kid}.pem"
    keyfiles.write(path, pem, mode=keyfiles.PRIVATE)
    status = path.stat()
    return _read(path, (status.st_mtime_ns, status.st_size))


def ensure(folder: Path, at: datetime) -> None:
    """Make the folder and its first key; of several processes that start at once, one does. Raises InvalidKeys."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with keyfiles.exclusive(folder):
            if not load(folder):
                make(folder, at)
    except OSError as error:
        raise InvalidKeys(f"signing keys cannot be kept in {folder}: {error}") from error


def rotate(folder: Path, at: datetime, *, lead: timedelta, life: timedelta) -> tuple[SigningKey, list[str]]:
    """Add a key, remove the files of those that are retired; the new key, and the ids of those that went."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with keyfiles.exclusive(folder):
        there = [*load(folder).values()]
        gone = [kid for kid, phase in phases(there, at, lead=lead, life=life).items() if phase is Phase.RETIRED]
        # Later than all that are there, whatever the clock says: their order is that of their ids.
        new = make(folder, max([at, *(key.created_at + timedelta(seconds=1) for key in there)]))
        for kid in gone:
            (folder / f"{kid}.pem").unlink(missing_ok=True)
    return new, gone


class KeyRing:
    """The keys as they are on disk, seen again every few seconds by whoever needs one."""

    def __init__(self, folder: Path, *, lead: timedelta, life: timedelta, clock: Clock = utc_now) -> None:
        self._folder = folder
        self._lead = lead
        self._life = life
        self._clock = clock
        self._keys: dict[str, SigningKey] = {}
        self._scanned_at = self._forced_at = float("-inf")
        self._scan = asyncio.Lock()

    async def open(self) -> None:
        """Make the first key where there is none, and read what is there. Raises InvalidKeys."""
        await asyncio.to_thread(ensure, self._folder, self._clock())
        self._keys = await asyncio.to_thread(load, self._folder)
        self._scanned_at = time.monotonic()

    async def signing(self) -> SigningKey:
        """The one key that signs now. Raises InvalidKeys when there is none."""
        await self._refresh(RESCAN_S)
        for kid, phase in self._phases().items():
            if phase is Phase.SIGNING:
                return self._keys[kid]
        raise InvalidKeys(f"there is no signing key in {self._folder}: milkrun keys rotate makes one")

    async def find(self, kid: str) -> SigningKey | None:
        """The key called `kid` if it may verify. An id is looked up and never becomes a path."""
        await self._refresh(RESCAN_S)
        if kid not in self._keys:
            if time.monotonic() - self._forced_at >= UNKNOWN_RESCAN_S:
                self._forced_at = time.monotonic()
                await self._refresh(0.0)
            else:
                async with self._scan:  # the one that is under way may find it
                    pass
        return self._keys[kid] if self._phases().get(kid, Phase.RETIRED) is not Phase.RETIRED else None

    async def published(self) -> list[dict[str, str]]:
        """The public halves of all but retired keys, as the `keys` of a JWKS."""
        await self._refresh(RESCAN_S)
        living = [self._keys[kid] for kid, phase in self._phases().items() if phase is not Phase.RETIRED]
        return [
            {**key.jwk.as_dict(private=False), "kid": key.kid, "alg": ALGORITHM, "use": "sig"}  # type: ignore[dict-item]
            for key in living
        ]

    def _phases(self) -> dict[str, Phase]:
        return phases([*self._keys.values()], self._clock(), lead=self._lead, life=self._life)

    async def _refresh(self, most_s: float) -> None:
        """Read the folder unless somebody has begun to within `most_s` before now. On a fault the last keys stay."""
        asked_at = time.monotonic()
        if self._scanned_at > asked_at - most_s:
            return
        async with self._scan:
            if self._scanned_at > asked_at - most_s:
                return
            began_at = time.monotonic()
            try:
                self._keys = await asyncio.to_thread(load, self._folder, self._keys)
            except InvalidKeys as error:
                _log.error("identity.keys_unread", error=str(error))
            self._scanned_at = began_at
            counted = list(self._phases().values())
            for phase in Phase:
                KEYS.labels(phase).set(counted.count(phase))


def _read(file: Path, mark: tuple[int, int]) -> SigningKey:
    stamp = _KID.match(file.stem)
    if stamp is None:
        raise InvalidKeys(f"{file} is not named as `milkrun keys rotate` names a key")
    try:
        private = serialization.load_pem_private_key(file.read_bytes(), password=None)
        created_at = datetime.strptime(stamp[1], _STAMP).replace(tzinfo=UTC)
    except (ValueError, TypeError) as error:
        raise InvalidKeys(f"{file} holds no private key that can be read: {error}") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise InvalidKeys(f"{file} holds a key that is not Ed25519")
    return SigningKey(file.stem, created_at, OKPKey.import_key(private), mark)
