"""At 100,000 devices each kind of search is answered through its index, and a page costs what it shows."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from api.fleet import store as fleet_store
from api.fleet.store import Search, Wanted
from api.search.language import parse
from api.search.store import clause
from core.db import Database
from core.tenancy import TenantId
from tests.api.search.terms_made import NOW
from tests.conftest import DatabaseUrls

pytestmark = pytest.mark.db

DEVICES = 100_000
_FILL = f"""
INSERT INTO tenant (tenant_id, name) VALUES ('acme', 'Acme'), ('zeta', 'Zeta');
INSERT INTO device (tenant_id, device_id, status, type, labels)
    SELECT t, 'd' || lpad(n::text, 6, '0'), 'active', CASE WHEN n % 500 = 0 THEN 'van' ELSE 'tanker' END,
           jsonb_build_object('depot', 'depot-' || n % 400)
    FROM unnest(ARRAY['acme', 'zeta']) t, generate_series(1, CASE WHEN t = 'acme' THEN {DEVICES} ELSE 5000 END) n;
INSERT INTO presence (tenant_id, device_id, online, since, session, version)
    SELECT tenant_id, device_id, hashtext(device_id) % 2000 = 0, timestamptz '2026-08-01T06:00Z', 's', 1 FROM device;
INSERT INTO device_state (tenant_id, device_id, last_seen_at, ts, lat, lon, ledger)
    SELECT tenant_id, device_id, now(), now(), 46 + abs(hashtext(device_id)) % 2000 / 1000.0,
           8 + abs(hashtext('x' || device_id)) % 3000 / 1000.0, '' FROM device;
INSERT INTO shadow_leaf (tenant_id, device_id, name, field, key, number)
    SELECT d.tenant_id, d.device_id, '', v.field, v.key, v.number FROM device d
    CROSS JOIN LATERAL (VALUES
        (E'reported\\x01fw', '"1.' || abs(hashtext(d.device_id)) % 300, NULL::float8),
        (E'desired\\x01fw', '"1.' || abs(hashtext(d.device_id)) % 300, NULL),
        (E'reported\\x01fuel_pct', '#' || abs(hashtext('f' || d.device_id)) % 1000 / 10.0 || '',
         abs(hashtext('f' || d.device_id)) % 1000 / 10.0)) AS v (field, key, number);
INSERT INTO shadow_leaf (tenant_id, device_id, name, field, key, number)
    SELECT tenant_id, device_id, '', E'delta\\x01fw', '"2.0', NULL FROM device WHERE hashtext(device_id) % 700 = 0;
"""


@pytest.fixture(scope="module")
def large(module_database: DatabaseUrls) -> DatabaseUrls:
    with psycopg.connect(module_database.operator) as conn:
        conn.execute(_FILL)
    with psycopg.connect(module_database.owner, autocommit=True) as conn:
        for table in ("device", "device_label", "device_state", "presence", "shadow_leaf"):
            conn.execute(f"VACUUM ANALYZE {table}")  # type: ignore[arg-type]
    return module_database


async def plan(urls: DatabaseUrls, where: str) -> dict[str, Any]:
    """How PostgreSQL answers the first page for a tenant's login, with what it cost."""
    async with Database(urls.app, pool_size=1) as app, app.tenant(TenantId("acme")) as tx:
        search, found = Search(at=NOW, soon=NOW), clause(parse(where), NOW)
        said: list[Any] = []

        async def explain(query: Any, params: Any) -> list[Any]:
            rows = await (await tx.conn.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", params)).fetchall()
            said.append(rows[0]["QUERY PLAN"][0])
            return []

        class Explaining:
            tenant, all = tx.tenant, staticmethod(explain)

        await fleet_store.devices(Explaining(), Wanted(), search, where=found, limit=101)  # type: ignore[arg-type]
        return said[0]["Plan"]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from nodes(each)


def rows_read(plan: dict[str, Any]) -> float:
    """Rows of what is searched that any step of the plan looked at; the registry's own may be read beside it."""
    return sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0))
        * node["Actual Loops"]
        for node in nodes(plan)
        if node.get("Relation Name") in {"shadow_leaf", "device_label", "device_state", "presence"}
    )


@pytest.mark.parametrize(
    ("where", "index"),
    [
        ('reported.fw = "1.17"', "shadow_leaf_pkey"),
        ('reported.fw like "1.17*" and type = "tanker"', "shadow_leaf_pkey"),
        ("reported.fuel_pct < 0.5", "shadow_leaf_number"),
        ("delta exists", "shadow_leaf_pkey"),
        ('delta.fw exists and not reported.fw = "1.3"', "shadow_leaf_pkey"),
        ('label.depot = "depot-17"', "device_label_pkey"),
        ('type = "van"', "device_by_type"),
        ("online = true", "presence_by_state"),
        ("near(47, 9.5, 3000)", "device_state_by_cell"),
        ("within(9.40, 47.00, 9.45, 47.05)", "device_state_by_cell"),
    ],
)
async def test_a_search_goes_through_its_index(large: DatabaseUrls, where: str, index: str):
    found = await plan(large, where)
    assert index in {node.get("Index Name") for node in nodes(found)}
    assert 0 < found["Actual Rows"] <= 101
    assert rows_read(found) < DEVICES / 10


@pytest.mark.parametrize(
    "where",
    [
        '(reported.fw like "1.1*" or reported.fw = "1.2") and near(47, 9.5, 60000)',
        "reported.fuel_pct >= 1",
        'not label.depot = "depot-17" and last_seen.age < 1h',
    ],
)
async def test_also_a_wide_search_reads_neither_leaves_nor_labels_from_end_to_end(large: DatabaseUrls, where: str):
    found = await plan(large, where)
    whole = {node["Relation Name"] for node in nodes(found) if node["Node Type"] == "Seq Scan"}
    assert whole.isdisjoint({"shadow_leaf", "device_label"})
    assert found["Actual Rows"] == 101
