"""Accuracy and the cost of maps over HTTP: a tenant's own, and for no site."""

import msgspec
import psycopg
import pytest
from psycopg.types.json import Jsonb

from eta.accuracy.tally import Said, Told, of_trip
from eta.alerts import Kind
from tests.api.trips.conftest import Dairy

DAY = "2026-08-03"


@pytest.fixture
async def judged(dairy: Dairy, database) -> Dairy:
    """Acme's trip of that day was foretold 430 s ahead, 30 s too early."""
    await dairy.farm(1)
    await dairy.route(1)
    trip = await dairy.trip(device="truck-1")
    sums = of_trip(
        [Said("s", 0.0, 400.0, 350.0, 450.0, "history")],
        [Told("s", Kind.FIVE_MINUTES, 100.0)],
        {"s": 430.0},
        0.0,
        map_calls=1,
    )
    async with await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as conn:
        await conn.execute(
            "INSERT INTO eta_judged VALUES ('acme', %s, %s, %s, %s, now())",
            (trip["id"], DAY, trip["route"], Jsonb(msgspec.to_builtins(sums))),
        )
        await conn.execute("INSERT INTO map_use VALUES ('acme', %s, 'google', 'traffic', 'ok', 6000, 900)", (DAY,))
        await conn.execute("INSERT INTO map_use VALUES ('acme', %s, 'osrm-local', 'snapshot', 'ok', 2, 0.01)", (DAY,))
        await conn.execute(
            "UPDATE trip SET state = 'done', started_at = '2026-08-03 04:00+00', ended_at = '2026-08-03 05:00+00'"
            " WHERE trip_id = %s",
            (trip["id"],),
        )
    return dairy


async def test_the_figures_of_ones_own_trips(judged):
    answer = await judged.acme.get("/v1/eta/accuracy", params={"from": DAY, "to": DAY})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["from"], body["to"], body["trips"], body["arrivals"], body["predictions"]) == (DAY, DAY, 1, 1, 1)
    assert body["mae_5_to_10_min_s"] == 30.0
    assert body["benchmark"]["6-10 min"] == 100.0
    near, ahead, *_ = body["horizons"]
    assert (near["predictions"], near["mae_s"]) == (0, None)
    assert (ahead["minutes"], ahead["bias_s"], ahead["band_coverage_pct"]) == ("5-10", 30.0, 100.0)
    ten, five = body["alerts"]
    assert (ten["fired"], ten["lead_mae_s"]) == (0, None)
    assert (five["kind"], five["lead_bias_s"], five["repeated"]) == ("5min", 30.0, 0)
    assert (body["map_calls"], body["methods"]) == (1, {"history": 1})
    assert [day["day"] for day in body["days"]] == [DAY]


@pytest.mark.parametrize(("route", "trips"), [("north", 1), ("south", 0)])
async def test_one_route_by_its_code(judged, route, trips):
    await judged.route(1, code="south", name="South")
    answer = await judged.acme.get("/v1/eta/accuracy", params={"from": DAY, "to": DAY, "route": route})
    assert answer.json()["trips"] == trips


async def test_a_route_that_is_not_there_is_404(judged):
    assert (await judged.acme.get("/v1/eta/accuracy", params={"route": "nowhere"})).status_code == 404
    assert (await judged.zeta.get("/v1/eta/accuracy", params={"route": "north"})).status_code == 404


async def test_without_days_the_last_thirty_are_meant(judged):
    body = (await judged.acme.get("/v1/eta/accuracy")).json()
    assert body["trips"] == body["arrivals"] == 0
    assert body["days"] == []


async def test_what_maps_were_asked_and_what_that_costs(judged):
    body = (await judged.acme.get("/v1/maps/report", params={"from": DAY, "to": DAY})).json()
    assert (body["trips"], body["hours"], body["calls"], body["billed_calls"]) == (1, 1.0, 6002, 6000)
    assert body["billed_cost"] == pytest.approx(10.0)
    assert [(use["engine"], use["purpose"], use["calls"]) for use in body["uses"]] == [
        ("google", "traffic", 6000),
        ("osrm-local", "snapshot", 2),
    ]
    methods = {method["name"]: method["calls"] for method in body["methods"]}
    assert (methods["every_30_s"], methods["every_5_min"], methods["once_a_trip"]) == (120, 12, 1)
    assert body["prices"]["as_of"] == "2026-08-16"


@pytest.mark.parametrize("path", ["/v1/eta/accuracy", "/v1/maps/report"])
async def test_another_tenant_sees_nothing_of_it_and_a_site_gets_no_answer(judged, path):
    other = (await judged.zeta.get(path, params={"from": DAY, "to": DAY})).json()
    assert other["trips"] == 0
    async with judged.site("farm-1") as farm:
        assert (await farm.get(path)).status_code == 403


@pytest.mark.parametrize("path", ["/v1/eta/accuracy", "/v1/maps/report"])
@pytest.mark.parametrize(
    ("since", "until", "code"),
    [
        ("2026-08-04", "2026-08-03", "invalid_days"),
        ("2025-08-03", "2026-08-04", "invalid_days"),
        ("2026-13-01", "2026-08-04", "invalid_request"),
    ],
)
async def test_days_that_are_none_are_refused(judged, path, since, until, code):
    answer = await judged.acme.get(path, params={"from": since, "to": until})
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == code
