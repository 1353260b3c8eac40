"""The use cases of the service on a real database: what REST, rules and the command line will call."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from core.clock import epoch_ms, utc_now
from core.db import Database
from core.settings import ShadowSettings
from shadow.errors import (
    InvalidShadowRequest,
    ShadowForbidden,
    ShadowNotFound,
    ShadowTooLarge,
    ShadowVersionConflict,
    ThingNotFound,
)
from shadow.service import ShadowService
from tests.conftest import DatabaseUrls
from tests.desk import execute, thing
from tests.shadow.world import FOREIGN, SIBLING, TRUCK

pytestmark = pytest.mark.db


@pytest.fixture
async def service(registered: DatabaseUrls) -> AsyncIterator[ShadowService]:
    async with Database(registered.app, pool_size=4) as app:
        yield ShadowService(database=app, settings=ShadowSettings(), clock=utc_now)


def body(**request: object) -> bytes:
    return json.dumps(request).encode()


async def test_get_update_and_delete_give_awss_documents(service: ShadowService):
    with pytest.raises(ShadowNotFound, match=f"No shadow exists with name: '{TRUCK}'"):
        await service.get(thing(TRUCK))
    said = await service.update(thing(TRUCK), body(state={"desired": {"fan": 3}}, clientToken="r"))
    assert (said["version"], said["state"], said["clientToken"]) == (1, {"desired": {"fan": 3}}, "r")
    whole = await service.get(thing(TRUCK))
    assert whole["state"] == {"desired": {"fan": 3}, "delta": {"fan": 3}}
    assert (await service.delete(thing(TRUCK)))["version"] == 1
    with pytest.raises(ShadowNotFound):
        await service.delete(thing(TRUCK))
    assert (await service.update(thing(TRUCK), body(state={})))["version"] == 3


async def test_a_stale_version_conflicts_and_writes_nothing(service: ShadowService):
    await service.update(thing(TRUCK), body(state={"desired": {"n": 1}}))
    with pytest.raises(ShadowVersionConflict):
        await service.update(thing(TRUCK), body(state={"desired": {"n": 2}}, version=4))
    assert (await service.get(thing(TRUCK)))["state"]["desired"] == {"n": 1}


async def test_named_shadows_are_listed_in_pages_without_the_classic_and_the_deleted(service: ShadowService):
    for name in ("c", "a", "$fw", "b", ""):
        await service.update(thing(TRUCK), body(state={}), name)
    await service.update(thing(SIBLING), body(state={}), "z")
    await service.delete(thing(TRUCK), "b")
    assert await service.names(thing(TRUCK)) == ["$fw", "a", "c"]
    assert await service.names(thing(TRUCK), after="$fw", limit=1) == ["a"]


async def test_an_unknown_device_is_not_found_in_any_use_case(service: ShadowService):
    nobody = thing("acme:nobody")
    for ask in (
        service.get(nobody),
        service.get(nobody, "$milkrun"),
        service.update(nobody, body(state={})),
        service.delete(nobody),
        service.names(nobody),
    ):
        with pytest.raises(ThingNotFound):
            await ask


async def test_what_is_not_allowed_says_so(service: ShadowService):
    with pytest.raises(InvalidShadowRequest, match="is not allowed: use 1 to 64"):
        await service.get(thing(TRUCK), "a/b")
    with pytest.raises(ShadowForbidden):
        await service.update(thing(TRUCK), body(state={}), "$milkrun")
    with pytest.raises(ShadowForbidden):
        await service.delete(thing(TRUCK), "$milkrun")
    with pytest.raises(ShadowTooLarge):
        await service.update(thing(TRUCK), body(state={"desired": {"a": "x" * 8192}}))


async def test_a_foreign_tenants_shadow_is_out_of_reach_even_by_its_name(
    service: ShadowService, registered: DatabaseUrls
):
    await service.update(thing(TRUCK), body(state={"reported": {"of": "acme"}}))
    await service.update(thing(FOREIGN), body(state={"reported": {"of": "globex"}}))
    async with Database(registered.app) as app, app.tenant(thing(TRUCK).tenant) as tx:
        seen = await tx.all("SELECT DISTINCT tenant_id FROM shadow")
        changed = (await tx.execute("UPDATE shadow SET version = 99 WHERE tenant_id = 'globex'")).rowcount
    assert ([row["tenant_id"] for row in seen], changed) == (["acme"], 0)
    assert (await service.get(thing(FOREIGN)))["state"]["reported"] == {"of": "globex"}


async def test_last_known_is_read_from_telemetry_and_presence_with_the_age_of_each_part(
    service: ShadowService, registered: DatabaseUrls
):
    with pytest.raises(ShadowNotFound):
        await service.get(thing(TRUCK), "$milkrun")
    now = datetime.now(UTC).replace(microsecond=0)
    seen, fixed = now - timedelta(minutes=5), now - timedelta(minutes=7)
    execute(
        registered,
        "INSERT INTO device_state (tenant_id, device_id, version, last_seen_at, ts, boot, seq, lat, lon, speed, ledger)"
        " VALUES ('acme', 't1', 41, %s, %s, 'b', 1, 47.1, 9.5, 13.5, '')",
        seen,
        fixed,
    )
    execute(
        registered,
        "INSERT INTO presence (tenant_id, device_id, online, since, session, disconnect_reason, version)"
        " VALUES ('acme', 't1', false, %s, 's', 'CONNECTION_LOST', 2)",
        seen,
    )
    with psycopg.connect(registered.ingest) as conn:
        conn.execute("SELECT telemetry.ensure_partitions(now() - interval '1 day', now() + interval '1 day')")
        insert = (
            "INSERT INTO telemetry.metric (ts, seq, received_at, value, text, tenant_id, device_id, boot, name)"
            " VALUES (%s, %s, now(), %s, %s, %s, 't1', 'b', %s)"
        )
        for tenant, seq, name, value, text in (
            ("acme", 1, "fuel_pct", 60, None),
            ("acme", 2, "fuel_pct", 59, None),
            ("acme", 2, "gear", None, "N"),
            ("globex", 3, "fuel_pct", 1, None),
            ("globex", 3, "horn", 1, None),
        ):
            conn.execute(insert, (fixed + timedelta(seconds=seq), seq, value, text, tenant, name))
    whole = await service.get(thing(TRUCK), "$milkrun")
    assert whole["version"] == 41
    assert whole["state"] == {
        "reported": {
            "position": {"lat": 47.1, "lon": 9.5, "speed": 13.5},
            "presence": {"online": False, "since": epoch_ms(seen), "reason": "CONNECTION_LOST"},
            "last_seen": epoch_ms(seen),
            "metrics": {"fuel_pct": 59.0, "gear": "N"},
        }
    }
    stamps = whole["metadata"]["reported"]
    assert stamps["position"]["lat"] == {"timestamp": int(fixed.timestamp())}
    assert stamps["metrics"]["fuel_pct"] == {"timestamp": int(fixed.timestamp()) + 2}
    assert await service.names(thing(TRUCK)) == []
