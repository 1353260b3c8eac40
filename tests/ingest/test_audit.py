"""The count of what arrived cannot say that all is well when it is not."""

from datetime import timedelta

import psycopg
import pytest

from core.db import Database
from core.tenancy import device_id, tenant_id
from ingest.history.audit import Audit, audit
from tests.conftest import DatabaseUrls
from tests.ingest.feed import feed, minutes_ago, register, sample

TRUCK = "acme:truck-1"
pytestmark = pytest.mark.db


async def test_every_sample_is_found_once_or_as_a_dead_letter_or_it_is_missing(database: DatabaseUrls) -> None:
    register(database, TRUCK)
    bad = {**sample(minutes_ago(3), 3), "pos": {"lat": 91.0, "lon": 9.0}}
    await feed(database, (TRUCK, [sample(minutes_ago(5), 1), sample(minutes_ago(4), 2), bad]))
    counted = await count(database, {("b1", 1), ("b1", 2), ("b1", 3), ("b1", 4)})
    assert (counted.sent, counted.stored, counted.missing, counted.duplicates) == (4, 2, 1, 0)
    assert counted.rejected == {"out_of_range": 1}


async def test_a_row_that_is_gone_is_lost_and_a_row_too_many_is_a_duplicate(database: DatabaseUrls) -> None:
    register(database, TRUCK)
    await feed(database, (TRUCK, [sample(minutes_ago(5 - n), n) for n in range(1, 5)]))
    names = {("b1", n) for n in range(1, 5)}
    assert (await count(database, names)).stored == 4
    with psycopg.connect(database.owner) as conn:
        conn.execute("DELETE FROM telemetry.position WHERE seq = 2")
        conn.execute(
            "INSERT INTO telemetry.position SELECT ts + %s, seq, lat, lon, received_at, alt, speed, heading, acc, hdop,"
            " sats, tenant_id, device_id, boot FROM telemetry.position WHERE seq = 3",
            (timedelta(seconds=1),),
        )
    counted = await count(database, names)
    assert (counted.stored, counted.missing, counted.duplicates) == (3, 1, 1)


async def test_another_tenants_rows_do_not_count(database: DatabaseUrls) -> None:
    register(database, TRUCK, "brio:truck-1")
    await feed(database, ("brio:truck-1", sample(minutes_ago(1), 1)), ("brio:truck-1", b"{no"))
    counted = await count(database, {("b1", 1)})
    assert (counted.stored, counted.missing) == (0, 1)


def test_counts_of_devices_add_up() -> None:
    total = Audit()
    for _ in range(2):
        total.add(Audit(sent=5, stored=2, duplicates=1, missing=1))
    assert (total.sent, total.stored, total.duplicates, total.missing) == (10, 4, 2, 2)


async def count(urls: DatabaseUrls, names: set[tuple[str, int]]) -> Audit:
    since = minutes_ago(60)
    async with Database(urls.app, pool_size=1) as app, app.tenant(tenant_id("acme")) as tx:
        return await audit(tx, device_id("truck-1"), names, measured_since=since, received_since=since)
