"""Signing keys: their phases, their files, and a rotation that nobody notices."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc.jwk import KeySet

from api.identity import keys
from api.identity.errors import InvalidKeys, InvalidToken
from api.identity.keys import KeyRing, Phase, phases
from api.identity.service import IdentityService
from core.settings import Settings
from tests.api.identity.conftest import ACME, HeldClock, Platform, add_client, serve
from tests.api.identity.forge import unpack

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LEAD, LIFE = timedelta(minutes=5), timedelta(minutes=15)


def _made(folder: Path, *minutes: int) -> list[keys.SigningKey]:
    folder.mkdir(exist_ok=True)
    return [keys.make(folder, NOON + timedelta(minutes=minute)) for minute in minutes]


def _at(made: list[keys.SigningKey], minute: float) -> list[str]:
    found = phases(made, NOON + timedelta(minutes=minute), lead=LEAD, life=LIFE)
    return [found[key.kid].value for key in made]


def test_a_key_waits_signs_verifies_and_retires(tmp_path):
    made = _made(tmp_path / "keys", 0, 60)
    assert _at(made[:1], 0) == ["signing"], "the first one need not wait for anybody"
    assert _at(made, 60) == ["signing", "waiting"]
    assert _at(made, 64.9) == ["signing", "waiting"]
    assert _at(made, 65) == ["verifying", "signing"]
    assert _at(made, 79.9) == ["verifying", "signing"]
    assert _at(made, 80) == ["retired", "signing"]


def test_exactly_one_key_signs_whatever_was_rotated_when(tmp_path):
    made = _made(tmp_path / "keys", 0, 1, 2, 3, 30, 31)
    for minute in range(-10, 120):
        for count in range(1, len(made) + 1):
            assert _at(made[:count], minute).count("signing") == 1


def test_a_key_file_is_for_its_owner_alone_and_rotation_removes_what_is_retired(tmp_path):
    folder = tmp_path / "keys"
    _made(folder, 0)
    keys.rotate(folder, NOON + timedelta(minutes=60), lead=LEAD, life=LIFE)
    new, gone = keys.rotate(folder, NOON + timedelta(minutes=120), lead=LEAD, life=LIFE)
    assert len(gone) == 1
    assert {file.stat().st_mode & 0o777 for file in folder.glob("*.pem")} == {0o600}
    assert new.kid in keys.load(folder)
    assert gone[0] not in keys.load(folder)
    assert [file.name for file in folder.iterdir() if file.suffix not in {".pem", ""}] == []


def test_a_key_made_in_the_same_second_or_with_a_clock_set_back_still_waits_its_time(tmp_path):
    folder = tmp_path / "keys"
    first = _made(folder, 0)[0]
    for minute in (0, 0, -60):
        keys.rotate(folder, NOON + timedelta(minutes=minute), lead=LEAD, life=LIFE)
    found = phases([*keys.load(folder).values()], NOON, lead=LEAD, life=LIFE)
    assert found.pop(first.kid) is Phase.SIGNING
    assert set(found.values()) == {Phase.WAITING}
    assert len(found) == 3


def test_a_folder_that_others_can_read_or_that_holds_something_else_is_refused(tmp_path):
    folder = tmp_path / "keys"
    key = _made(folder, 0)[0]
    path = folder / f"{key.kid}.pem"
    path.chmod(0o640)
    with pytest.raises(InvalidKeys, match="chmod 600"):
        keys.load(folder)
    path.chmod(0o600)
    path.write_bytes(b"nothing")
    with pytest.raises(InvalidKeys, match="no private key"):
        keys.load(folder)
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(other)
    with pytest.raises(InvalidKeys, match="not Ed25519"):
        keys.load(folder)
    path.rename(folder / "mine.pem")
    with pytest.raises(InvalidKeys, match="not named"):
        keys.load(folder)


async def test_of_processes_that_start_at_once_one_makes_the_first_key(tmp_path):
    rings = [KeyRing(tmp_path / "new" / "keys", lead=LEAD, life=LIFE) for _ in range(8)]
    await asyncio.gather(*(ring.open() for ring in rings))
    assert len({(await ring.signing()).kid for ring in rings}) == 1


async def test_a_fault_in_the_folder_leaves_the_last_good_keys_at_work(tmp_path, monkeypatch):
    monkeypatch.setattr(keys, "RESCAN_S", 0.0)
    ring = KeyRing(tmp_path / "keys", lead=LEAD, life=LIFE)
    await ring.open()
    first = await ring.signing()
    (tmp_path / "keys" / "20261121T120000Z-aaaaaaaa.pem").write_bytes(b"half")
    assert (await ring.signing()).kid == first.kid
    assert await ring.find(first.kid)


async def test_an_unknown_key_id_is_looked_for_at_once_but_not_for_every_stranger(tmp_path, monkeypatch):
    folder, scans = tmp_path / "keys", []
    load = keys.load

    def counted(*args):
        scans.append(time.monotonic())
        time.sleep(0.05)  # in a thread: a slow disk
        return load(*args)

    ring = KeyRing(folder, lead=LEAD, life=LIFE)
    await ring.open()
    monkeypatch.setattr(keys, "load", counted)
    new = keys.make(folder, datetime.now(UTC))
    found = await asyncio.gather(*(ring.find(new.kid) for _ in range(50)))
    assert {key.kid for key in found if key} == {new.kid}
    assert None not in found, "those who asked while the folder was read waited for it"
    assert len(scans) == 1
    assert await asyncio.gather(*(ring.find(f"20200101T000000Z-{n:08d}") for n in range(50))) == [None] * 50
    assert len(scans) == 1, "strangers do not make the disk work"


@pytest.mark.db
@pytest.mark.redis
async def test_a_token_outlives_the_rotation_of_its_key_and_not_the_keys_retirement(
    service: IdentityService, clock: HeldClock, identity_settings: Settings, monkeypatch
):
    monkeypatch.setattr(keys, "RESCAN_S", 0.0)
    folder = identity_settings.identity.keys_dir
    client, _ = await add_client(service, ACME)
    lead, life = timedelta(seconds=6), timedelta(seconds=80)
    old = (await service.issue(client)).token
    clock.move(seconds=1)
    new, _ = keys.rotate(folder, clock(), lead=lead, life=life)
    assert new.kid in {key["kid"] for key in await service.keys.published()}, "published before it signs"
    assert _kid((await service.issue(client)).token) == _kid(old)
    clock.move(seconds=6)
    assert _kid((await service.issue(client)).token) == new.kid
    last_of_old = old
    clock.move(seconds=62)
    await service.by_bearer(last_of_old)
    clock.move(seconds=18)
    assert _kid(old) not in {key["kid"] for key in await service.keys.published()}
    with pytest.raises(InvalidToken) as refused:
        await service.by_bearer(old)
    assert refused.value.reason == "unknown_key", "the key is out, whatever the token's own time says"
    _, gone = keys.rotate(folder, clock(), lead=lead, life=life)
    assert gone == [_kid(old)]


@pytest.mark.db
@pytest.mark.redis
async def test_a_key_whose_file_was_removed_verifies_no_longer(
    service: IdentityService, identity_settings: Settings, monkeypatch
):
    monkeypatch.setattr(keys, "RESCAN_S", 0.0)
    client, _ = await add_client(service, ACME)
    token = (await service.issue(client)).token
    (identity_settings.identity.keys_dir / f"{_kid(token)}.pem").unlink()
    with pytest.raises(InvalidToken):
        await service.by_bearer(token)
    with pytest.raises(InvalidKeys, match="milkrun keys rotate"):
        await service.issue(client)


@pytest.mark.db
@pytest.mark.redis
async def test_keys_rotate_under_load_without_one_false_401(platform: Platform, identity_settings: Settings):
    """Two processes, tokens of each shown to both, every token fresh; and somebody who checks with the JWKS alone."""
    folder = identity_settings.identity.keys_dir
    lead = timedelta(seconds=identity_settings.identity.key_lead_s)
    client, secret = await platform.client(ACME)
    form = {"grant_type": "client_credentials", "client_id": client.id, "client_secret": secret}
    outcomes: list[int] = []
    signers: set[str] = set()
    unverified: list[str] = []
    done = asyncio.Event()
    async with serve(identity_settings) as (_, second), httpx.AsyncClient(timeout=30) as http:

        async def one_after_another(here: str, there: str) -> None:
            while not done.is_set():
                token = (await http.post(f"{here}/oauth/token", data=form)).json()["access_token"]
                signers.add(_kid(token))
                bearer = {"Authorization": f"Bearer {token}"}
                outcomes.extend(
                    [(await http.get(f"{place}/v1/me", headers=bearer)).status_code for place in (there, here)]
                )

        async def reader_with_a_cache() -> None:
            """Reads the JWKS every 2 seconds, well below the lead, and verifies with what it has."""
            while not done.is_set():
                known = KeySet.import_key_set((await http.get(f"{second}/.well-known/jwks.json")).json())
                read_at = time.monotonic()
                while time.monotonic() < read_at + 2 and not done.is_set():
                    token = (await http.post(f"{platform.url}/oauth/token", data=form)).json()["access_token"]
                    if _kid(token) not in {key.kid for key in known.keys}:
                        unverified.append(token)
                    await asyncio.sleep(0.1)

        async def rotate() -> None:
            for _ in range(3):
                await asyncio.to_thread(keys.rotate, folder, datetime.now(UTC), lead=lead, life=timedelta(seconds=80))
                await asyncio.sleep(1.5)
            async with asyncio.timeout(60):
                while len(signers) < 4:  # noqa: ASYNC110  the load tells which keys have come to sign
                    await asyncio.sleep(0.1)
            done.set()

        await asyncio.gather(
            *(one_after_another(*sides) for sides in ((platform.url, second), (second, platform.url)) * 2),
            reader_with_a_cache(),
            rotate(),
        )
    assert set(outcomes) == {200}
    assert unverified == []
    assert len(signers) == 4, "each of the three new keys came to sign"


def _kid(token: str) -> str:
    return str(json.loads(unpack(token.partition(".")[0]))["kid"])
