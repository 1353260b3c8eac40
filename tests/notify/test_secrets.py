"""Webhooks' secrets at rest: no row of any table holds one, and the keys they are sealed with can be changed."""

import base64
import secrets
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from core.clock import utc_now
from core.tenancy import TenantId
from notify.errors import InvalidSecretKey
from notify.webhooks import service
from notify.webhooks.seal import Seal
from tests.notify.outlets import send_all, webhook
from tests.notify.world import ACME, World, alert

pytestmark = pytest.mark.db


def everything(world: World) -> bytes:
    """Every row of every table of ours, as text."""
    with psycopg.connect(world.urls.owner) as conn:
        tables = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        conn.execute("SET ROLE milkrun_operator")
        readable = [name for (name,) in tables if _may_read(conn, name)]
        assert {"webhook_secret", "delivery", "outbox"} <= set(readable)
        return "\n".join(
            str(row) for name in readable for row in conn.execute(f"SELECT * FROM {name}").fetchall()
        ).encode()


def _may_read(conn: psycopg.Connection, table: str) -> bool:
    row = conn.execute("SELECT has_table_privilege(%s, 'SELECT')", (table,)).fetchone()
    return row is not None and row[0]


async def reseal(world: World) -> int:
    """What the notify process does when it starts and every hour."""
    async with world.operator.unscoped(reason="secrets of all tenants") as tx:
        return await service.seal_anew(tx, Seal(world.settings.secret_key_file))


async def test_no_row_holds_a_secret_in_clear(world: World, tmp_path: Path):
    async with webhook(world, tmp_path) as (sender, receiver):
        made, first = await world.webhooks.add(ACME, url=f"{receiver.url}/", kinds=["alert.10min"])
        _, _, second = await world.webhooks.rotate(ACME, made.id, overlap=timedelta(hours=1))
        await world.raise_(alert())
        await send_all(world, sender)
    found = everything(world)
    for told in (first, second):
        raw = base64.b64decode(told.removeprefix("whsec_"))
        for shape in (raw, repr(raw)[2:-1].encode(), raw.hex().encode(), told.encode(), base64.b64encode(raw)):
            assert shape not in found
    [row] = world.rows("SELECT sealed FROM webhook_secret WHERE webhook_id = %(id)s AND expires_at IS NULL", id=made.id)
    raw = base64.b64decode(second.removeprefix("whsec_"))
    assert Seal(world.settings.secret_key_file).open(ACME, made.id, row["sealed"]) == raw


async def test_another_key_takes_over_and_the_old_one_can_then_be_thrown_away(world: World, tmp_path: Path):
    file = world.settings.secret_key_file
    world.now.at = utc_now()  # the library refuses what is older than five minutes
    async with webhook(world, tmp_path) as (_, receiver):
        world.change("DELETE FROM webhook")
        _, secret = await world.webhooks.add(ACME, url=f"{receiver.url}/", kinds=["alert.10min"])
    old, new = file.read_text(), secrets.token_hex(32) + "\n"
    before = world.rows("SELECT sealed FROM webhook_secret")
    file.write_text(new + old)
    assert await reseal(world) == 0
    after = world.rows("SELECT sealed FROM webhook_secret")
    assert after != before
    assert await reseal(world) == 0
    assert world.rows("SELECT sealed FROM webhook_secret") == after
    file.write_text(new)
    async with webhook(world, tmp_path) as (sender, receiver):
        world.change("DELETE FROM webhook WHERE url LIKE %(u)s", u=f"{receiver.url}%")
        world.change("UPDATE webhook SET url = %(u)s", u=f"{receiver.url}/")
        await world.raise_(alert())
        await send_all(world, sender)
    [asked] = receiver.accepted
    assert standardwebhooks.Webhook(secret).verify(asked.body, asked.headers)["type"] == "alert.10min"


async def test_without_its_key_a_message_waits_for_the_operator_and_is_not_sent_unsigned(world: World, tmp_path: Path):
    async with webhook(world, tmp_path) as (_, receiver):
        kept = world.settings.secret_key_file.read_text()
        world.settings.secret_key_file.write_text(secrets.token_hex(32) + "\n")
        assert await reseal(world) == 1
    async with webhook(world, tmp_path) as (sender, receiver):
        world.change("DELETE FROM webhook WHERE url LIKE %(u)s", u=f"{receiver.url}%")
        world.change("UPDATE webhook SET url = %(u)s", u=f"{receiver.url}/")
        await world.raise_(alert())
        await sender.take()
        await sender.idle()
        [waiting] = world.deliveries()
        assert (waiting["state"], receiver.asked) == ("failed", [])
        assert "has not the key that a secret of webhook whk_" in waiting["error"]
        world.settings.secret_key_file.write_text(kept)
    async with webhook(world, tmp_path) as (sender, receiver):
        world.change("UPDATE webhook SET url = %(u)s", u=f"{receiver.url}/")
        await send_all(world, sender)
    assert len(receiver.accepted) == 1


async def test_where_nothing_was_ever_sealed_no_key_is_missed(world: World):
    assert await reseal(world) == 0
    assert not world.settings.secret_key_file.exists()


@given(st.binary(min_size=24, max_size=64))
def test_a_sealed_secret_opens_as_that_of_its_own_webhook_alone(tmp_path_factory, secret):
    seal = Seal(tmp_path_factory.getbasetemp() / "webhooks.key")
    sealed = seal.close(ACME, "whk_00000001", secret)
    assert seal.open(ACME, "whk_00000001", sealed) == secret
    assert sealed != seal.close(ACME, "whk_00000001", secret)
    for tenant, owner in ((TenantId("zeta"), "whk_00000001"), (ACME, "whk_00000002")):
        with pytest.raises(InvalidSecretKey, match="damaged"):
            seal.open(tenant, owner, sealed)
    with pytest.raises(InvalidSecretKey, match="damaged"):
        seal.open(ACME, "whk_00000001", sealed[:-1] + bytes([sealed[-1] ^ 1]))


def test_a_file_that_holds_no_keys_is_refused(tmp_path: Path):
    file = tmp_path / "webhooks.key"
    with pytest.raises(InvalidSecretKey, match="cannot be read"):
        Seal(file).open(ACME, "whk_00000001", b"0" * 64)
    file.write_text("not a key\n")
    with pytest.raises(InvalidSecretKey, match="64 digits"):
        Seal(file).close(ACME, "whk_00000001", b"0" * 32)
