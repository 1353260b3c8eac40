import psycopg
import pytest
from psycopg.types.json import Jsonb

from api.access import Role

pytestmark = [pytest.mark.db, pytest.mark.redis]


async def test_a_trip_is_planned_from_a_route(dairy, round_of_three):
    trip = round_of_three
    assert (trip["state"], trip["device"], trip["planned_start"]) == ("planned", "truck-1", "2026-08-03T04:30:00.000Z")
    assert [(stop["name"], stop["state"], stop["stops_before"]) for stop in trip["stops"]] == [
        ("Farm 1", "planned", 0), ("Farm 2", "planned", 1), ("Farm 3", "planned", 2),
    ]  # fmt: skip
    shown = await dairy.acme.get(f"/v1/trips/{trip['id']}")
    assert shown.json() == trip
    assert shown.headers["etag"].startswith('"v1-')


async def test_a_round_is_driven_by_hand(dairy, round_of_three):
    path = f"/v1/trips/{round_of_three['id']}"
    first, second, third = [stop["id"] for stop in round_of_three["stops"]]
    begun = await dairy.acme.post(f"{path}/start", headers={"If-Match": '"v1"'})
    assert (begun.json()["state"], begun.json()["version"]) == ("under_way", 2)
    assert begun.json()["started_at"] is not None
    served = await dairy.acme.patch(f"{path}/stops/{first}", json={"state": "served"})
    assert [stop["state"] for stop in served.json()["stops"]] == ["served", "planned", "planned"]
    await dairy.acme.patch(f"{path}/stops/{second}", json={"state": "skipped"})
    back = await dairy.acme.patch(f"{path}/stops/{second}", json={"state": "planned", "service_s": 90.0})
    assert (back.json()["stops"][1]["settled"], back.json()["stops"][1]["service_s"]) == (False, 90.0)
    ordered = await dairy.acme.put(f"{path}/stops/order", json={"stops": [third, second]})
    assert [stop["id"] for stop in ordered.json()["stops"]] == [first, third, second]
    added = await dairy.acme.post(f"{path}/stops", json={"site": "farm-1", "position": 0})
    assert added.status_code == 201
    assert [(stop["name"], stop["stops_before"]) for stop in added.json()["stops"]] == [
        ("Farm 1", None), ("Farm 1", 0), ("Farm 3", 1), ("Farm 2", 2),
    ]  # fmt: skip
    given = await dairy.acme.post(f"{path}/assign", json={"device": "truck-2"})
    assert given.json()["device"] == "truck-2"
    done = await dairy.acme.post(f"{path}/finish")
    assert (done.json()["state"], done.json()["stops"][1]["state"]) == ("done", "skipped")
    over = await dairy.acme.post(f"{path}/abandon", json={})
    assert (over.status_code, over.json()["code"]) == (409, "move_not_allowed")
    assert [entry.action for entry in dairy.api.tokens.audited if entry.target == round_of_three["id"]] == [
        "trip.planned", "trip.started", "trip.stop_changed", "trip.stop_changed", "trip.stop_changed",
        "trip.reordered", "trip.stop_added", "trip.assigned", "trip.finished",
    ]  # fmt: skip


async def test_a_planned_trip_gets_another_start_or_is_given_up(dairy, round_of_three):
    path = f"/v1/trips/{round_of_three['id']}"
    moved = await dairy.acme.patch(path, json={"planned_start": "2026-08-04T05:00:00Z", "day": "2026-08-04"})
    assert (moved.json()["day"], moved.json()["stops"][0]["planned_at"]) == ("2026-08-04", "2026-08-04T05:00:00.000Z")
    late = await dairy.acme.post(f"{path}/abandon", json={"reason": "snow"}, headers={"If-Match": '"v1"'})
    assert late.status_code == 412
    gone = await dairy.acme.post(f"{path}/abandon", json={"reason": "snow"})
    assert (gone.json()["state"], gone.json()["reason"]) == ("abandoned", "snow")
    assert {stop["state"] for stop in gone.json()["stops"]} == {"skipped"}


async def test_trips_are_listed_by_what_they_are(dairy, round_of_three):
    later = await dairy.trip(day="2026-08-04", device="truck-2", code="later")
    await dairy.acme.post(f"/v1/trips/{later['id']}/start")
    both = [round_of_three["id"], later["id"]]
    for query, found in (
        ("", both), ("?day=2026-08-03", both[:1]), ("?from=2026-08-04", both[1:]), ("?to=2026-08-03", both[:1]),
        ("?state=under_way", both[1:]), ("?state=under_way&state=planned", both), ("?device=truck-2", both[1:]),
        ("?route=north", both), ("?site=farm-3", both), ("?site=farm-9", []), ("?device=truck-9", []),
    ):  # fmt: skip
        listed = (await dairy.acme.get(f"/v1/trips{query}")).json()["items"]
        assert [trip["id"] for trip in listed] == found, query
    first = (await dairy.acme.get("/v1/trips?limit=1")).json()
    second = (await dairy.acme.get("/v1/trips", params={"limit": 1, "cursor": first["next"]})).json()
    assert [trip["id"] for trip in first["items"] + second["items"]] == both
    assert (await dairy.acme.get("/v1/trips?state=running")).status_code == 422
    assert (await dairy.acme.get("/v1/trips?sort=day")).status_code == 422


async def test_a_stop_shows_what_was_last_estimated_while_it_is_ahead(dairy, round_of_three, database):
    trip, stops = round_of_three["id"], [stop["id"] for stop in round_of_three["stops"]]
    await dairy.acme.post(f"/v1/trips/{trip}/start")
    before = (await dairy.acme.get(f"/v1/trips/{trip}")).headers["etag"]
    arrivals = [
        {"stop": stop, "site": "s"} | {"eta": at, "p10": at - 60_000, "p50": at, "p90": at + 120_000}
        for stop, at in zip(stops[:2], (1_785_734_340_000, 1_785_734_400_000), strict=True)
    ]
    with psycopg.connect(database.operator) as conn:
        conn.execute(
            "INSERT INTO trip_estimate (tenant_id, trip_id, device_id, made_at, fix_at, lat, lon, method, reason,"
            " is_on_route, progress_m, length_m, source, arrivals, alerts)"
            " VALUES ('acme', %s, 'truck-1', now(), now(), 47, 9, 'learned', '', true, 0, 1000, 'stops', %s, '{}')",
            (trip, Jsonb(arrivals)),
        )
    await dairy.acme.patch(f"/v1/trips/{trip}/stops/{stops[0]}", json={"state": "arrived"})
    shown = await dairy.acme.get(f"/v1/trips/{trip}")
    first, second, third = shown.json()["stops"]
    assert (first["eta"], third["eta"], third["method"]) == (None, None, None)
    assert (second["eta"], second["p90"]) == ("2026-08-03T05:20:00.000Z", "2026-08-03T05:22:00.000Z")
    assert second["method"] == "learned"
    assert shown.headers["etag"] != before


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid_trip"),
        ({"route": "nowhere"}, 404, "route_not_found"),
        ({"day": "2026-08-03", "stops": [{"site": "nowhere"}]}, 422, "invalid_trip"),
        ({"route": "north", "device": "truck-9"}, 404, "device_not_found"),
        ({"route": "north", "day": "tomorrow"}, 422, "invalid_request"),
        ({"route": "north", "planned_start": "06:30"}, 422, "invalid_request"),
    ],
)
@pytest.mark.usefixtures("round_of_three")
async def test_a_trip_that_cannot_be_is_refused(dairy, body, status, code):
    answer = await dairy.acme.post("/v1/trips", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_a_device_drives_one_trip_at_a_time(dairy, round_of_three):
    other = await dairy.trip()
    assert (await dairy.acme.post(f"/v1/trips/{round_of_three['id']}/start")).status_code == 200
    busy = await dairy.acme.post(f"/v1/trips/{other['id']}/start")
    assert (busy.status_code, busy.json()["code"]) == (409, "device_busy")
    free = await dairy.acme.post(f"/v1/trips/{other['id']}/assign", json={"device": None})
    assert free.json()["device"] is None
    nobody = await dairy.acme.post(f"/v1/trips/{other['id']}/start")
    assert (nobody.status_code, nobody.json()["code"]) == (409, "move_not_allowed")


async def test_a_farmer_sees_his_truck_while_it_is_on_its_way_to_him_and_nothing_of_others(dairy, round_of_three):
    trip, stops = round_of_three["id"], round_of_three["stops"]
    site = stops[1]["site"]
    async with dairy.site("farm-2") as by_code, dairy.site(site) as by_id, dairy.site("farm-9") as other:
        for farmer in (by_code, by_id, other):
            assert (await farmer.get("/v1/trips")).json()["items"] == []
            hidden = await farmer.get(f"/v1/trips/{trip}")
            assert (hidden.status_code, hidden.json()["code"]) == (404, "trip_not_found")
            assert (await farmer.get("/v1/sites")).status_code == 403
            assert (await farmer.post(f"/v1/trips/{trip}/start")).status_code == 403
        await dairy.acme.post(f"/v1/trips/{trip}/start")
        for farmer in (by_code, by_id):
            [seen] = (await farmer.get("/v1/trips")).json()["items"]
            assert seen == (await farmer.get(f"/v1/trips/{trip}")).json()
            assert [(stop["site"], stop["stops_before"]) for stop in seen["stops"]] == [(site, 1)]
            assert (seen["device"], seen["route"], seen["code"]) == ("truck-1", None, None)
            told = str(seen)
            assert "Farm 1" not in told
            assert stops[0]["site"] not in told
        assert (await other.get("/v1/trips")).json()["items"] == []
        await dairy.acme.patch(f"/v1/trips/{trip}/stops/{stops[1]['id']}", json={"state": "served"})
        for farmer in (by_code, by_id):
            assert (await farmer.get("/v1/trips")).json()["items"] == []
            assert (await farmer.get(f"/v1/trips/{trip}")).status_code == 404


async def test_who_may_read_trips_and_who_may_change_them(dairy, round_of_three):
    async with dairy.api.client("acme", Role.VIEWER) as viewer, dairy.api.client("acme", Role.DISPATCHER) as dispatcher:
        path = f"/v1/trips/{round_of_three['id']}"
        assert (await viewer.get(path)).status_code == 200
        for client, status in ((viewer, 403), (dispatcher, 200)):
            assert (await client.post(f"{path}/assign", json={"device": "truck-2"})).status_code == status


async def test_a_trip_of_another_tenant_is_not_there(dairy, round_of_three):
    path, stop = f"/v1/trips/{round_of_three['id']}", round_of_three["stops"][0]["id"]
    for ask in (
        dairy.zeta.get(path),
        dairy.zeta.patch(path, json={"day": "2026-08-04"}),
        dairy.zeta.post(f"{path}/assign", json={"device": "truck-1"}),
        dairy.zeta.post(f"{path}/start"),
        dairy.zeta.post(f"{path}/finish"),
        dairy.zeta.post(f"{path}/abandon", json={}),
        dairy.zeta.post(f"{path}/stops", json={"site": "farm-1"}),
        dairy.zeta.put(f"{path}/stops/order", json={"stops": []}),
        dairy.zeta.patch(f"{path}/stops/{stop}", json={"state": "skipped"}),
    ):
        answer = await ask
        assert (answer.status_code, answer.json()["code"]) == (404, "trip_not_found")
    unknown = await dairy.acme.patch(f"{path}/stops/stop_00000000", json={"state": "skipped"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "stop_not_found")
    assert (await dairy.acme.get(path)).json()["version"] == 1


@pytest.mark.parametrize("day", ["0", "1785715200", "2026-8-3", "0001-01-01", "2026-02-30", "2026-08-03T00:00"])
@pytest.mark.usefixtures("round_of_three")
async def test_a_day_is_written_as_a_day(dairy, day):
    assert (await dairy.acme.get("/v1/trips", params={"day": day})).status_code == 422
    assert (await dairy.acme.post("/v1/trips", json={"route": "north", "day": day})).status_code == 422
