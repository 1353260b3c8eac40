import json
from datetime import time

import psycopg
import pytest

from eta.sites.imports import ImportService, Report
from eta.sites.model import Contact, SiteKind, Weekday, Window
from eta.sites.store import WantedRoutes, WantedSites
from eta.trips.errors import InvalidImport
from tests.eta.trips.rounds import ACME, ZETA

pytestmark = pytest.mark.db

SITES = """code,name,kind,lat,lon,radius_m,timezone,windows,contact,email,phone,label:valley
farm-1,Bergerhof,farm,47.1,9.5,80,Europe/Zurich,mon-fri 05:30-09:00; sat 06:00-08:00,Ann,ann@farm.example,+423 1,north
farm-2,"Hof, unten",,47.2,9.6,,,,,,,
"""
ROUTES = """route,name,weekdays,starts_at,timezone,device,site,after_s,service_s,quantity
north,North round,mon-fri,05:30,Europe/Zurich,truck-1,farm-1,0,300,800
north,,,,,,farm-2,00:25,240,
south,South,sat sun,06:00,,,farm-2,,,
"""


@pytest.fixture
def imports(rounds):
    return ImportService(database=rounds.database, clock=rounds.clock)


def counts(report: Report) -> tuple[int, int, int, int]:
    return report.added, report.changed, report.unchanged, len(report.errors)


def features(*found: tuple[object, dict[str, object]]) -> bytes:
    made = [{"type": "Feature", "geometry": geometry, "properties": said} for geometry, said in found]
    return json.dumps({"type": "FeatureCollection", "features": made}).encode()


async def site(rounds, code):
    return (await rounds.sites.site(ACME, code)).facts


async def test_sites_of_a_csv_file_are_added_and_the_same_file_again_changes_nothing(rounds, imports):
    assert counts(await imports.sites(ACME, SITES.encode(), "csv")) == (2, 0, 0, 0)
    first = await site(rounds, "farm-1")
    assert (first.kind, first.lat, first.radius_m, first.timezone) == (SiteKind.FARM, 47.1, 80.0, "Europe/Zurich")
    week = (Weekday.MON, Weekday.TUE, Weekday.WED, Weekday.THU, Weekday.FRI)
    assert first.windows == (Window(week, "05:30", "09:00"), Window((Weekday.SAT,), "06:00", "08:00"))
    assert first.contacts == (Contact("Ann", "ann@farm.example", "+423 1"),)
    assert first.labels == {"valley": "north"}
    assert (await site(rounds, "farm-2")).name == "Hof, unten"
    assert counts(await imports.sites(ACME, SITES.encode(), "csv")) == (0, 0, 2, 0)
    assert (await rounds.sites.site(ACME, "farm-1")).version == 1
    assert await rounds.sites.sites(ZETA, WantedSites(), limit=9) == []


async def test_a_file_changes_what_it_says_and_leaves_the_rest(rounds, imports):
    await imports.sites(ACME, SITES.encode(), "csv")
    report = await imports.sites(ACME, b"\xef\xbb\xbfcode;lat;lon\r\nfarm-1;48.5;9.5\r\n", "csv")
    assert counts(report) == (0, 1, 0, 0)
    after = await site(rounds, "farm-1")
    assert (after.lat, after.name, after.labels) == (48.5, "Bergerhof", {"valley": "north"})


async def test_each_bad_line_is_reported_and_the_good_ones_are_taken(rounds, imports):
    text = (
        "code,name,kind,lat,lon,windows\n"
        "farm-1,Good,farm,47.1,9.5,\n"
        ",Nameless,farm,47.1,9.5,\n"
        "farm-3,North of the pole,farm,91,9.5,\n"
        "farm-4,No number,farm,north,9.5,\n"
        "farm-5,,farm,47.1,9.5,\n"
        "farm-6,A castle,castle,47.1,9.5,\n"
        "farm-1,Again,farm,47.1,9.5,\n"
        "\n"
        "farm-8,Closed,farm,47.1,9.5,always\n"
        "farm-9,Too much,farm,47.1,9.5,,more\n"
        "farm-10,Good too,farm,47.1,9.5,\n"
    )
    report = await imports.sites(ACME, text.encode(), "csv")
    assert (report.added, report.lines) == (2, 10)
    told = {bad.line: bad.message for bad in report.errors}
    assert set(told) == {3, 4, 5, 6, 7, 8, 10, 11}
    for line, part in (
        (3, "code"), (4, "latitude is -90 to 90"), (5, "'north' is no number"), (6, "needs name"),
        (7, "farm, depot, warehouse, other"), (8, "line 2 already"), (10, "mon-fri 05:30-09:00"), (11, "more than"),
    ):  # fmt: skip
        assert part in told[line], told[line]


async def test_a_dry_run_reports_the_same_and_writes_nothing(rounds, imports):
    dry = await imports.sites(ACME, SITES.encode(), "csv", is_dry_run=True)
    assert (dry.is_dry_run, counts(dry)) == (True, (2, 0, 0, 0))
    assert await rounds.sites.sites(ACME, WantedSites(), limit=9) == []
    await imports.sites(ACME, SITES.encode(), "csv")
    dry = await imports.routes(ACME, ROUTES.encode(), "csv", is_dry_run=True)
    assert counts(dry) == (2, 0, 0, 0)
    assert await rounds.sites.routes(ACME, WantedRoutes(), limit=9) == []


async def test_sites_of_geojson_are_points_and_polygons(rounds, imports):
    ring = [[9.5, 47.1], [9.503, 47.1], [9.503, 47.102], [9.5, 47.102], [9.5, 47.1]]
    windows = [{"days": ["mon"], "from": "05:00", "to": "24:00"}]
    report = await imports.sites(
        ACME,
        features(
            ({"type": "Point", "coordinates": [9.5, 47.1, 455.0]}, {"code": "a", "name": "A", "windows": windows}),
            (
                {"type": "Polygon", "coordinates": [ring]},
                {"code": "b", "name": "B", "kind": "depot", "labels": {"x": "1"}},
            ),
            ({"type": "LineString", "coordinates": [[9.5, 47.1]]}, {"code": "c", "name": "C"}),
            (None, {"code": "d", "name": "D"}),
        ),
        "geojson",
    )
    assert (report.added, [bad.line for bad in report.errors]) == (2, [3, 4])
    one, two = await site(rounds, "a"), await site(rounds, "b")
    assert (one.lat, one.lon, one.windows[0].closes) == (47.1, 9.5, "24:00")
    assert (two.kind, len(two.polygon), two.labels) == (SiteKind.DEPOT, 4, {"x": "1"})
    assert (round(two.lat, 6), round(two.lon, 6)) == (47.101, 9.5015)


async def test_routes_of_a_csv_file_have_a_line_for_each_stop(rounds, imports):
    await imports.sites(ACME, SITES.encode(), "csv")
    assert counts(await imports.routes(ACME, ROUTES.encode(), "csv")) == (2, 0, 0, 0)
    north = (await rounds.sites.route(ACME, "north")).facts
    assert (north.name, north.starts_at, north.device, len(north.weekdays)) == (
        "North round",
        time(5, 30),
        "truck-1",
        5,
    )
    assert [(stop.after_s, stop.service_s, stop.quantity) for stop in north.stops] == [
        (0, 300.0, 800.0),
        (1500, 240.0, None),
    ]
    assert counts(await imports.routes(ACME, ROUTES.encode(), "csv")) == (0, 0, 2, 0)
    shorter = "route,site\nnorth,farm-2\n"
    assert counts(await imports.routes(ACME, shorter.encode(), "csv")) == (0, 1, 0, 0)
    after = await rounds.sites.route(ACME, "north")
    assert (len(after.facts.stops), after.facts.device, after.version) == (1, "truck-1", 2)


async def test_a_route_with_one_bad_line_is_left_out_whole(rounds, imports):
    await imports.sites(ACME, SITES.encode(), "csv")
    text = (
        "route,site,device,weekdays,starts_at\n"
        "good,farm-1,,,\n"
        "bad,farm-1,,,\n"
        "bad,nowhere,,,\n"
        "good,farm-2,,,\n"
        "gone,farm-1,truck-9,,\n"
        "late,farm-1,,mon,\n"
        "torn,farm-1,truck-1,,\n"
        "torn,farm-2,truck-2,,\n"
        "none,,,,\n"
    )
    report = await imports.routes(ACME, text.encode(), "csv")
    assert [route.facts.code for route in await rounds.sites.routes(ACME, WantedRoutes(), limit=9)] == ["good"]
    assert [(bad.line, bad.code) for bad in report.errors] == [
        (4, "bad"), (6, "gone"), (7, "late"), (9, "torn"), (10, "none"),
    ]  # fmt: skip


async def test_routes_of_geojson_bring_their_road(rounds, imports):
    await imports.sites(ACME, SITES.encode(), "csv")
    line = {"type": "LineString", "coordinates": [[9.5, 47.1], [9.6, 47.2]]}
    stops = ["farm-1", {"site": "farm-2", "after_s": 600}]
    content = features(
        (line, {"code": "north", "name": "North", "stops": stops, "weekdays": ["mon"], "starts_at": "5:30"}),
        (line, {"code": "south", "stops": [{"site": "farm-1", "colour": "red"}]}),
        (line, {"code": "east"}),
    )
    report = await imports.routes(ACME, content, "geojson")
    assert (report.added, [bad.line for bad in report.errors]) == (1, [2, 3])
    north = (await rounds.sites.route(ACME, "north")).facts
    assert (north.shape, north.stops[1].after_s, north.starts_at) == (((47.1, 9.5), (47.2, 9.6)), 600, time(5, 30))


@pytest.mark.parametrize(
    ("content", "format_", "part"),
    [
        (b"\xff\xfe", "csv", "UTF-8"),
        (b"code,name\nfarm-1,a\0b\n", "csv", "NUL"),
        (b"", "csv", "names the columns"),
        (b"name,lat,lon\nx,1,1\n", "csv", "names the columns"),
        (b"code,colour\nx,red\n", "csv", "colour"),
        (b"code,code\nx,x\n", "csv", "each once"),
        (b'code,name\nx,"open\n', "csv", "not CSV"),
        (b"code\n" + b"x\n" * 10_001, "csv", "10,000"),
        (b"[", "geojson", "not JSON"),
        (b"[]", "geojson", "FeatureCollection"),
        (b'{"type": "Feature"}', "geojson", "FeatureCollection"),
        (b"[" * 100_000, "geojson", "not JSON"),
    ],
)
async def test_a_file_that_cannot_be_read_is_refused_whole(rounds, imports, content, format_, part):
    with pytest.raises(InvalidImport, match=part):
        await imports.sites(ACME, content, format_)


async def test_an_archived_site_that_a_file_names_is_in_use_again(rounds, imports):
    await imports.sites(ACME, SITES.encode(), "csv")
    await rounds.sites.change_site(ACME, "farm-2", lambda facts: facts, is_archived=True)
    report = await imports.routes(ACME, ROUTES.encode(), "csv")
    assert [bad.message for bad in report.errors] == [
        "stop 2: site 'farm-2' is archived",
        "stop 1: site 'farm-2' is archived",
    ]
    assert counts(await imports.sites(ACME, SITES.encode(), "csv")) == (0, 1, 1, 0)
    assert counts(await imports.routes(ACME, ROUTES.encode(), "csv")) == (2, 0, 0, 0)


async def test_ten_thousand_lines_are_taken_at_once(rounds, imports):
    lines = "".join(f"farm-{n},Farm {n},{46 + n / 10_000},{9 + n / 10_000}\n" for n in range(10_000))
    report = await imports.sites(ACME, f"code,name,lat,lon\n{lines}".encode(), "csv")
    assert counts(report) == (10_000, 0, 0, 0)
    with psycopg.connect(rounds.urls.owner) as conn:
        conn.execute("SET ROLE milkrun_operator")
        assert conn.execute("SELECT count(*), count(DISTINCT site_id) FROM site").fetchone() == (10_000, 10_000)
