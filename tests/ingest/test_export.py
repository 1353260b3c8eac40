"""A device's track as CSV, GeoJSON and GPX, out of the real store and through the tenant's door."""

import asyncio
import csv
import io
import json
from datetime import datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from cli.telemetry import telemetry_app
from core.db import Database
from core.errors import Invalid, NotFound
from core.tenancy import device_id, tenant_id
from ingest.history import export
from ingest.history.export import Span
from tests.conftest import DatabaseUrls
from tests.ingest.feed import feed, minutes_ago, register, sample

TRUCK = "acme:truck-1"
GPX = "{http://www.topografix.com/GPX/1/1}"
pytestmark = pytest.mark.db


async def test_csv_has_a_line_a_sample_in_order_of_time(database: DatabaseUrls) -> None:
    register(database, TRUCK)
    late, early = minutes_ago(5), minutes_ago(6)
    first = {**sample(early, 1), "pos": {"lat": 47.0, "lon": 9.5, "alt": 455.5, "speed": 13.9, "sats": 11}}
    await feed(database, (TRUCK, sample(late)), (TRUCK, first))
    lines = await rows(database)
    assert [line["ts"] for line in lines] == [shown(early), shown(late)]
    assert lines[0] == {
        **dict.fromkeys(("heading", "acc", "hdop"), ""),
        "ts": shown(early),
        "boot": "b1",
        "seq": "1",
        "lat": "47",
        "lon": "9.5",
        "alt": "455.5",
        "speed": "13.9",
        "sats": "11",
    }
    assert lines[1]["seq"] == ""  # the device gave none; the digest that stands for it is ours


async def test_only_the_span_is_exported_its_end_excluded(database: DatabaseUrls) -> None:
    register(database, TRUCK)
    begin = minutes_ago(10)
    await feed(database, *((TRUCK, sample(begin + timedelta(minutes=n), n)) for n in range(1, 6)))
    since, until = begin + timedelta(minutes=2), begin + timedelta(minutes=4)
    span = Span(device_id("truck-1"), since, until)
    assert [line["ts"] for line in await rows(database, span=span)] == [
        shown(since),
        shown(since + (until - since) / 2),
    ]


async def test_metrics_stand_beside_their_position_and_alone_where_there_is_none(database: DatabaseUrls) -> None:
    register(database, TRUCK)
    both = sample(minutes_ago(3), 1, m={"ignition": True, "fuel_pct": 61.5, "driver": "Ann, B."})
    alone = {"ts": int(minutes_ago(2).timestamp() * 1000), "boot": "b1", "seq": 2, "m": {"fuel_pct": 61}}
    neither = sample(minutes_ago(1), 3)
    await feed(database, (TRUCK, [both, alone, neither]))
    lines = await rows(database, with_metrics=True)
    assert [(line["lat"], line["m.ignition"], line["m.fuel_pct"], line["m.driver"]) for line in lines] == [
        ("47", "1", "61.5", "Ann, B."),
        ("", "", "61", ""),
        ("47", "", "", ""),
    ]
    assert [line["seq"] for line in await rows(database)] == ["1", "3"]  # without metrics: fixes alone


async def test_geojson_has_a_point_a_fix_with_what_was_measured_there(database: DatabaseUrls) -> None:
    register(database, TRUCK)
    at = minutes_ago(3)
    body = {**sample(at, 1, m={"milk_l": 8200}), "pos": {"lat": 47.0, "lon": 9.5, "alt": 455.0, "heading": 182.5}}
    alone = {"ts": int(minutes_ago(2).timestamp() * 1000), "boot": "b1", "seq": 2, "m": {"milk_l": 1}}
    await feed(database, (TRUCK, [body, alone]))
    found = json.loads(await text(database, "geojson", with_metrics=True))
    assert found == {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [9.5, 47.0, 455.0]},
                "properties": {"ts": shown(at), "boot": "b1", "seq": 1, "heading": 182.5, "m.milk_l": 8200},
            }
        ],
    }


async def test_gpx_follows_the_schema_and_breaks_the_track_at_gaps_over_ten_minutes(database: DatabaseUrls) -> None:
    register(database, TRUCK)
    begin = minutes_ago(60)
    times = [begin + timedelta(minutes=m) for m in (0, 10, 21, 22)]
    full = {"alt": 455.5, "sats": 11, "hdop": 0.9, "speed": 3.0}
    bodies = [{**sample(at, n), "pos": {"lat": 47.0, "lon": 180.0, **full}} for n, at in enumerate(times)]
    await feed(database, (TRUCK, bodies))
    root = ET.fromstring(await text(database, "gpx"))
    assert (root.tag, root.get("version"), root.get("creator")) == (f"{GPX}gpx", "1.1", "Milkrun")
    [track] = root
    assert [child.tag for child in track] == [f"{GPX}name", f"{GPX}trkseg", f"{GPX}trkseg"]
    assert [[point.findtext(f"{GPX}time") for point in segment] for segment in track.findall(f"{GPX}trkseg")] == [
        [shown(times[0]), shown(times[1])],
        [shown(times[2]), shown(times[3])],
    ]
    point = track.find(f"{GPX}trkseg")[0]
    assert point.attrib == {"lat": "47.0000000", "lon": "-180.0000000"}  # the schema has no 180
    assert [child.tag.removeprefix(GPX) for child in point] == ["ele", "time", "sat", "hdop"]  # a sequence, in order


async def test_nothing_stored_is_an_empty_file_of_the_right_form(database: DatabaseUrls) -> None:
    register(database, TRUCK)
    assert await rows(database) == []
    assert json.loads(await text(database, "geojson")) == {"type": "FeatureCollection", "features": []}
    assert ET.fromstring(await text(database, "gpx")).find(f"{GPX}trk/{GPX}trkseg") is None


async def test_a_long_track_is_read_by_server_side_cursors_alone(database: DatabaseUrls) -> None:
    register(database, TRUCK)
    begin = minutes_ago(60)
    many = [sample(begin + timedelta(milliseconds=n), n, m={"fuel_pct": n}) for n in range(12_000)]
    await feed(database, *((TRUCK, many[at : at + 500]) for at in range(0, len(many), 500)))
    async with Database(database.app, pool_size=1) as app, app.tenant(tenant_id("acme")) as tx:
        points = export.read(tx, all_of("truck-1"), with_metrics=True)
        first = await anext(points)
        cursors = await tx.all("SELECT name FROM pg_cursors ORDER BY name")
        assert [cursor["name"] for cursor in cursors] == ["export_metrics", "export_positions"]
        rest = [point async for point in points]
    assert [point.seq for point in (first, *rest)] == list(range(12_000))
    assert all(point.m == {"fuel_pct": float(point.seq)} for point in rest)


async def test_a_foreign_device_is_not_found_as_an_unknown_one_is(database: DatabaseUrls) -> None:
    register(database, TRUCK, "brio:van")
    await feed(database, (TRUCK, sample(minutes_ago(1), 1)))
    async with Database(database.app, pool_size=1) as app, app.tenant(tenant_id("brio")) as tx:
        for device in ("truck-1", "nobody"):
            with pytest.raises(NotFound, match=f"there is no device brio:{device}"):
                await export.require_device(tx, device_id(device))
        assert [point async for point in export.read(tx, all_of("truck-1"), with_metrics=True)] == []


def test_the_command_writes_whole_files_and_says_what_is_wrong(database: DatabaseUrls, tmp_path, monkeypatch) -> None:
    register(database, TRUCK, "brio:van")
    asyncio.run(feed(database, (TRUCK, [sample(minutes_ago(2), 1), sample(minutes_ago(1), 2)])))
    monkeypatch.setenv("MILKRUN_DATABASE_URL", database.owner)
    monkeypatch.setenv("MILKRUN_DATABASE_APP_URL", database.app)
    out = tmp_path / "track.gpx"

    def run(**options: str) -> Any:
        given = {"tenant": "acme", "device": "truck-1", "from": "2000-01-01", "to": "2999-01-01T00:00+02:00"} | options
        arguments = [part for name, value in given.items() for part in (f"--{name}", value)]
        result = CliRunner().invoke(telemetry_app, ["export", *arguments, "--data", str(tmp_path)])
        if result.exception is not None:
            raise result.exception
        return result

    assert run().stdout.count("\n") == 3
    assert "2 samples written" in run(format="gpx", out=str(out)).stderr
    assert len([*ET.parse(out).getroot().iter(f"{GPX}trkpt")]) == 2
    assert "acme:truck-1 sent nothing from 2000-01-01 to 2001-01-01" in run(to="2001-01-01").stderr
    for wrong, said in (
        ({"from": "yesterday"}, "--from 'yesterday' is no ISO 8601 time"),
        ({"to": "1999-01-01"}, "--from 2000-01-01 is not before --to 1999-01-01"),
        ({"device": "a:b"}, "device name 'a:b' is not allowed"),
    ):
        with pytest.raises(Invalid, match=said):
            run(**wrong)
    with pytest.raises(NotFound, match="there is no device brio:truck-1"):
        run(tenant="brio", out=str(tmp_path / "foreign.csv"))
    assert not (tmp_path / "foreign.csv").exists()


def all_of(device: str) -> Span:
    return Span(device_id(device), minutes_ago(24 * 60), minutes_ago(-60))


def shown(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.000Z"


async def text(urls: DatabaseUrls, form: str, *, span: Span | None = None, with_metrics: bool = False) -> str:
    """A whole file of acme:truck-1."""
    span = span or all_of("truck-1")
    async with Database(urls.app, pool_size=1) as app, app.tenant(tenant_id("acme")) as tx:
        names = await export.metric_names(tx, span) if with_metrics else []
        points = export.read(tx, span, with_metrics=with_metrics)
        chunks = {
            "csv": lambda: export.as_csv(points, names),
            "geojson": lambda: export.as_geojson(points),
            "gpx": lambda: export.as_gpx(points, TRUCK),
        }[form]()
        return "".join([chunk async for chunk in chunks])


async def rows(urls: DatabaseUrls, **options: Any) -> list[dict[str, str]]:
    return [*csv.DictReader(io.StringIO(await text(urls, "csv", **options)))]
