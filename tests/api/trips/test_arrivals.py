"""Arrival times over HTTP: what was said last, of the stops still ahead; to a site, of its own alone."""

import psycopg
import pytest
from psycopg.types.json import Jsonb

pytestmark = [pytest.mark.db, pytest.mark.redis]

_SAID = """
INSERT INTO trip_estimate (tenant_id, trip_id, device_id, made_at, fix_at, lat, lon, method, reason, is_on_route,
    progress_m, length_m, source, arrivals, alerts)
VALUES ('acme', %s, 'truck-1', now(), now() - interval '30 s', 47, 9.5, 'history', 'earlier trips know it all',
    true, 1200, 5000, 'shape', %s, '{}')
"""


def say(database, trip) -> None:
    arrivals = [
        {"stop": stop["id"], "site": stop["site"], "eta": n * 1000, "p10": n * 900, "p50": n * 1100, "p90": n * 1200}
        for n, stop in enumerate(trip["stops"], 1)
    ]
    with psycopg.connect(database.owner) as conn:
        conn.execute("SET ROLE milkrun_operator")
        conn.execute(_SAID, (trip["id"], Jsonb(arrivals)))


@pytest.fixture
async def trip(dairy, database):
    for number in (1, 2, 3):
        await dairy.farm(number)
    await dairy.route(1, 2, 3)
    made = await dairy.trip(device="truck-1")
    started = await dairy.acme.post(f"/v1/trips/{made['id']}/start")
    assert started.status_code == 200, started.text
    return started.json()


async def test_before_anything_is_said_there_is_no_estimate(dairy, trip):
    answer = await dairy.acme.get(f"/v1/trips/{trip['id']}/arrivals")
    assert (answer.status_code, answer.json()) == (200, {"trip": trip["id"], "state": "under_way", "estimate": None})


async def test_what_was_said_last_is_shown_with_its_grounds_and_age(dairy, trip, database):
    say(database, trip)
    said = (await dairy.acme.get(f"/v1/trips/{trip['id']}/arrivals")).json()["estimate"]
    assert (said["method"], said["on_route"], said["source"]) == ("history", True, "shape")
    assert 30.0 <= said["age_s"] < 90.0
    assert [each["name"] for each in said["arrivals"]] == ["Farm 1", "Farm 2", "Farm 3"]
    assert [each["stops_before"] for each in said["arrivals"]] == [0, 1, 2]
    assert said["arrivals"][0]["p10"] < said["arrivals"][0]["eta"] < said["arrivals"][0]["p90"]


async def test_a_stop_that_is_skipped_meanwhile_is_not_expected_any_more(dairy, trip, database):
    say(database, trip)
    await dairy.acme.patch(f"/v1/trips/{trip['id']}/stops/{trip['stops'][1]['id']}", json={"state": "skipped"})
    said = (await dairy.acme.get(f"/v1/trips/{trip['id']}/arrivals")).json()["estimate"]
    assert [each["name"] for each in said["arrivals"]] == ["Farm 1", "Farm 3"]


async def test_of_a_trip_that_is_over_nothing_is_expected(dairy, trip, database):
    say(database, trip)
    await dairy.acme.post(f"/v1/trips/{trip['id']}/finish")
    answer = (await dairy.acme.get(f"/v1/trips/{trip['id']}/arrivals")).json()
    assert (answer["state"], answer["estimate"]) == ("done", None)


async def test_a_site_sees_when_its_own_stop_is_reached_and_no_other(dairy, trip, database):
    say(database, trip)
    async with dairy.site("farm-2") as farmer, dairy.site("farm-9") as stranger:
        said = (await farmer.get(f"/v1/trips/{trip['id']}/arrivals")).json()["estimate"]
        assert [(each["name"], each["stops_before"]) for each in said["arrivals"]] == [("Farm 2", 1)]
        assert (await stranger.get(f"/v1/trips/{trip['id']}/arrivals")).status_code == 404


async def test_another_tenants_trip_is_not_there(dairy, trip, database):
    say(database, trip)
    answer = await dairy.zeta.get(f"/v1/trips/{trip['id']}/arrivals")
    assert (answer.status_code, answer.json()["code"]) == (404, "trip_not_found")
