import pytest

pytestmark = [pytest.mark.db, pytest.mark.redis]

FARM = {
    "name": "Bergerhof",
    "code": "farm-7",
    "kind": "farm",
    "lat": 47.141,
    "lon": 9.5215,
    "radius_m": 80.0,
    "windows": [{"days": ["mon", "sat"], "from": "05:30", "to": "24:00"}],
    "timezone": "Europe/Zurich",
    "contacts": [{"name": "Ann", "email": "ann@farm.example", "phone": "+423 1"}],
    "labels": {"valley": "north"},
}


async def test_a_site_is_added_shown_and_listed(dairy):
    made = await dairy.acme.post("/v1/sites", json=FARM)
    assert made.status_code == 201, made.text
    body = made.json()
    assert {key: body[key] for key in FARM} == FARM
    assert made.headers["location"] == f"/v1/sites/{body['id']}"
    for ref in (body["id"], "farm-7"):
        shown = await dairy.acme.get(f"/v1/sites/{ref}")
        assert (shown.json(), shown.headers["etag"]) == (body, '"v1"')
    await dairy.farm(1, kind="depot")
    for query, count in (("", 2), ("?kind=depot", 1), ("?label=valley:north", 1), ("?q=berger", 1), ("?q=FARM-1", 1)):
        assert len((await dairy.acme.get(f"/v1/sites{query}")).json()["items"]) == count, query
    first = (await dairy.acme.get("/v1/sites?limit=1")).json()
    second = (await dairy.acme.get("/v1/sites", params={"limit": 1, "cursor": first["next"]})).json()
    assert [each["code"] for each in first["items"] + second["items"]] == ["farm-7", "farm-1"]
    assert second["next"] is None


async def test_a_polygon_is_the_area_and_the_circle_encloses_it(dairy):
    corners = [(47.1, 9.5), (47.102, 9.5), (47.102, 9.503), (47.1, 9.503), (47.1, 9.5)]
    site = await dairy.farm(1, lat=47.101, lon=9.5015, polygon=[{"lat": lat, "lon": lon} for lat, lon in corners])
    assert len(site["polygon"]) == 4
    assert 155 < site["radius_m"] < 162
    circle = await dairy.acme.patch(f"/v1/sites/{site['id']}", json={"polygon": [], "radius_m": 60})
    assert (circle.json()["polygon"], circle.json()["radius_m"]) == ([], 60.0)


async def test_a_change_says_what_changes_and_for_which_version(dairy):
    site = await dairy.farm(7)
    path = f"/v1/sites/{site['id']}"
    changed = await dairy.acme.patch(path, json={"name": "Neuhof", "code": None}, headers={"If-Match": '"v1"'})
    assert (changed.json()["name"], changed.json()["code"], changed.headers["etag"]) == ("Neuhof", None, '"v2"')
    late = await dairy.acme.patch(path, json={"name": "Althof"}, headers={"If-Match": '"v1"'})
    assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")
    same = await dairy.acme.patch(path, json={"name": "Neuhof"})
    assert same.headers["etag"] == '"v2"'
    assert (await dairy.acme.get(path, headers={"If-None-Match": '"v2"'})).status_code == 304
    told = [(entry.action, entry.before, entry.after) for entry in dairy.api.tokens.audited]
    assert told[0][0] == "site.added"
    assert told[1:] == [
        ("site.changed", {"name": "Farm 7", "code": "farm-7"}, {"name": "Neuhof", "code": None}),
    ]
    assert "contacts" not in told[0][2]


async def test_a_site_that_a_route_stops_at_stays_in_use(dairy):
    site = await dairy.farm(1)
    await dairy.route(1)
    refused = await dairy.acme.patch(f"/v1/sites/{site['id']}", json={"archived": True})
    assert (refused.status_code, refused.json()["code"]) == (409, "site_in_use")
    assert "north" in refused.json()["detail"]
    await dairy.acme.patch("/v1/routes/north", json={"archived": True})
    assert (await dairy.acme.patch(f"/v1/sites/{site['id']}", json={"archived": True})).json()["archived"] is True
    assert (await dairy.acme.get("/v1/sites")).json()["items"] == []
    assert len((await dairy.acme.get("/v1/sites?archived=true")).json()["items"]) == 1
    refused = await dairy.acme.patch("/v1/routes/north", json={"archived": False})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_route")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": ""}, "invalid_request"),
        ({"lat": 91}, "invalid_request"),
        ({"lat": "47"}, "invalid_request"),
        ({"radius_m": 4}, "invalid_request"),
        ({"kind": "castle"}, "invalid_request"),
        ({"colour": "red"}, "invalid_request"),
        ({"code": "a b"}, "invalid_request"),
        ({"code": "site_0123456789"}, "invalid_site"),
        ({"timezone": "Europe/Vaduzz"}, "invalid_site"),
        ({"windows": [{"days": ["mon"], "from": "09:00", "to": "05:00"}]}, "invalid_site"),
        ({"windows": [{"days": ["mon", "mon"], "from": "05:00", "to": "09:00"}]}, "invalid_site"),
        ({"polygon": [{"lat": 47, "lon": 9}, {"lat": 47, "lon": 9.1}]}, "invalid_site"),
    ],
)
async def test_what_is_no_site_is_refused(dairy, change, code):
    answer = await dairy.acme.post("/v1/sites", json={**FARM, **change})
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


async def test_a_code_is_taken_once_in_a_tenant_and_again_in_another(dairy):
    await dairy.farm(1)
    again = await dairy.acme.post("/v1/sites", json={"name": "x", "code": "farm-1", "lat": 1, "lon": 1})
    assert (again.status_code, again.json()["code"]) == (409, "code_taken")
    other = await dairy.farm(2)
    taken = await dairy.acme.patch(f"/v1/sites/{other['id']}", json={"code": "farm-1"})
    assert (taken.status_code, taken.json()["code"]) == (409, "code_taken")
    await dairy.farm(1, dairy.zeta)


async def test_a_site_of_another_tenant_is_not_there(dairy):
    site = await dairy.farm(1)
    for ref in (site["id"], "farm-1"):
        for ask in (dairy.zeta.get(f"/v1/sites/{ref}"), dairy.zeta.patch(f"/v1/sites/{ref}", json={"name": "x"})):
            answer = await ask
            assert (answer.status_code, answer.json()["code"]) == (404, "site_not_found")
    assert (await dairy.zeta.get("/v1/sites")).json()["items"] == []


async def test_a_post_that_is_repeated_with_its_key_adds_one_site(dairy):
    for _ in range(2):
        answer = await dairy.acme.post("/v1/sites", json=FARM, headers={"Idempotency-Key": "k"})
        assert answer.status_code == 201
    assert len((await dairy.acme.get("/v1/sites")).json()["items"]) == 1


async def test_sites_and_routes_come_from_files(dairy):
    text = "code,name,lat,lon\nfarm-1,One,47.1,9.5\nfarm-2,Two,247.1,9.5\n"
    for dry_run, listed in ((True, 0), (False, 1)):
        answer = await dairy.acme.post(
            "/v1/sites/import",
            params={"dry_run": dry_run},
            content=text,
            headers={"Content-Type": "text/csv; charset=utf-8"},
        )
        report = answer.json()
        assert answer.status_code == 200, answer.text
        assert (report["dry_run"], report["lines"], report["added"]) == (dry_run, 2, 1)
        assert [(bad["line"], bad["code"]) for bad in report["errors"]] == [(3, "farm-2")]
        assert len((await dairy.acme.get("/v1/sites")).json()["items"]) == listed
    route = {"type": "Feature", "geometry": None, "properties": {"code": "north", "stops": ["farm-1"]}}
    content = {"type": "FeatureCollection", "features": [route]}
    for kind in ("application/geo+json", "application/json"):
        answer = await dairy.acme.post("/v1/routes/import", json=content, headers={"Content-Type": kind})
        assert answer.status_code == 200, answer.text
    assert answer.json()["unchanged"] == 1
    assert [(entry.action, entry.after) for entry in dairy.api.tokens.audited] == [
        ("sites.imported", {"added": 1, "changed": 0, "left_out": 1}),
        ("routes.imported", {"added": 1, "changed": 0, "left_out": 0}),
    ]
    assert (await dairy.zeta.get("/v1/routes")).json()["items"] == []


@pytest.mark.parametrize(
    ("kind", "content", "status", "code"),
    [
        ("text/plain", b"code\nx\n", 415, "unsupported_media_type"),
        ("text/csv", b"", 422, "invalid_import"),
        ("text/csv", b"colour\nred\n", 422, "invalid_import"),
        ("application/geo+json", b"[]", 422, "invalid_import"),
        ("application/geo+json", b"{", 422, "invalid_request"),
        ("text/csv", b"x" * 1_048_577, 413, "too_large"),
    ],
)
async def test_a_file_that_cannot_be_read_is_refused(dairy, kind, content, status, code):
    answer = await dairy.acme.post("/v1/sites/import", content=content, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
