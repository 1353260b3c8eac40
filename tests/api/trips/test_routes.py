import pytest

pytestmark = [pytest.mark.db, pytest.mark.redis]


async def test_a_route_is_added_with_sites_by_code_and_shown_with_their_ids(dairy):
    farms = [await dairy.farm(n) for n in (1, 2)]
    stops = [{"site": "farm-1", "after_s": 0, "service_s": 60.0, "quantity": 800.0}, {"site": farms[1]["id"]}]
    line = [{"lat": 47.01, "lon": 9.5}, {"lat": 47.02, "lon": 9.5}]
    route = await dairy.route(
        stops=stops, weekdays=["sun", "mon"], starts_at="05:30", timezone="Europe/Zurich", device="truck-1", shape=line
    )
    assert [stop["site"] for stop in route["stops"]] == [farm["id"] for farm in farms]
    assert route["stops"][0] == {
        "seq": 1, "site": farms[0]["id"], "after_s": 0, "service_s": 60.0, "quantity": 800.0,
    }  # fmt: skip
    assert (route["weekdays"], route["starts_at"], route["shape"]) == (["mon", "sun"], "05:30", line)
    for ref in (route["id"], "north"):
        assert (await dairy.acme.get(f"/v1/routes/{ref}")).json() == route
    for query, count in (("", 1), ("?weekday=mon", 1), ("?weekday=tue", 0), ("?site=farm-2", 1), ("?site=farm-3", 0)):
        assert len((await dairy.acme.get(f"/v1/routes{query}")).json()["items"]) == count, query


async def test_a_route_changes_in_parts_and_keeps_the_rest(dairy):
    for number in (1, 2):
        await dairy.farm(number)
    route = await dairy.route(1, 2, starts_at="05:30", device="truck-1")
    path = f"/v1/routes/{route['id']}"
    answer = await dairy.acme.patch(path, json={"device": None, "stops": [{"site": "farm-2"}]})
    after = answer.json()
    assert (after["device"], len(after["stops"]), after["starts_at"], after["version"]) == (None, 1, "05:30", 2)
    late = await dairy.acme.patch(path, json={"name": "South"}, headers={"If-Match": '"v1"'})
    assert late.status_code == 412
    assert dairy.api.tokens.audited[-1].action == "route.changed"
    assert set(dairy.api.tokens.audited[-1].after) == {"device", "stops"}


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"stops": []}, "at least 1 item"),
        ({"stops": [{"site": "nowhere"}]}, "there is no site 'nowhere'"),
        ({"device": "truck-9"}, "there is no device 'truck-9'"),
        ({"weekdays": ["mon"]}, "needs the time"),
        ({"stops": [{"site": "farm-1", "after_s": 60}, {"site": "farm-1", "after_s": 59}]}, "60 to"),
        ({"shape": [{"lat": 47, "lon": 9}]}, "2 to"),
        ({"timezone": "Mars"}, "time zone"),
        ({"starts_at": "24:00"}, "pattern"),
    ],
)
async def test_what_is_no_route_is_refused(dairy, change, detail):
    await dairy.farm(1)
    body = {"name": "North", "stops": [{"site": "farm-1"}], **change}
    answer = await dairy.acme.post("/v1/routes", json=body)
    assert answer.status_code == 422
    assert detail in answer.json()["detail"]


async def test_the_trip_of_a_day_is_made_once(dairy):
    await dairy.farm(1)
    await dairy.route(1, starts_at="05:30", timezone="Europe/Zurich")
    made = await dairy.acme.post("/v1/routes/north/trips", json={"day": "2026-08-03"})
    trip = made.json()
    assert (made.status_code, trip["code"], trip["recurring"]) == (201, "north:2026-08-03", True)
    assert trip["planned_start"] == "2026-08-03T03:30:00.000Z"
    again = await dairy.acme.post("/v1/routes/north/trips", json={"day": "2026-08-03"})
    assert (again.status_code, again.json()["code"]) == (409, "trip_exists")
    assert (await dairy.acme.get("/v1/trips/north:2026-08-03")).json()["id"] == trip["id"]


async def test_a_route_of_another_tenant_is_not_there(dairy):
    await dairy.farm(1)
    route = await dairy.route(1)
    for ask in (
        dairy.zeta.get(f"/v1/routes/{route['id']}"),
        dairy.zeta.patch("/v1/routes/north", json={"name": "x"}),
        dairy.zeta.post("/v1/routes/north/trips", json={"day": "2026-08-03"}),
    ):
        answer = await ask
        assert (answer.status_code, answer.json()["code"]) == (404, "route_not_found")
    foreign = await dairy.zeta.post("/v1/routes", json={"name": "x", "stops": [{"site": "farm-1"}]})
    assert foreign.status_code == 422
