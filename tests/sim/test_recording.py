import gzip
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest

from core.telemetry import Sample
from sim.recording import Fix, RecordingInvalid, RouteStop, Trip, load, replay, start_at_ms_for

START_MS = 1_790_000_000_000
TRIPS = """trip_id,route_id,vehicle_id,start
morning,north,van 7,2020-09-23T06:00:00Z
noon,north,van 7,2020-09-23T12:00:00+02:00
other,south,v9,2020-09-23T06:00:00Z
"""
STOPS = """route_id,seq,stop_id,name,lat,lon
north,2,b,Zweiter Hof,47.2,9.6
north,1,a,Erster Hof,47.1,9.5
south,1,a,Erster Hof,47.1,9.5
"""
POSITIONS = """trip_id,vehicle_id,ts,lat,lon,odometer_m,door_open,driver
morning,van 7,2020-09-23T06:00:00.500Z,47.1,9.5,0,False,kim
morning,van 7,2020-09-23T06:00:10.500Z,47.101,9.5,111.5,True,kim
noon,van 7,2020-09-23T10:00:00Z,47.1,9.5,,,
other,v9,2020-09-23T06:00:05Z,47.3,9.5,5,0,
other,v9,2020-09-23T06:00:05Z,47.3,9.5,5,0,
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "trips.csv").write_text(TRIPS)
    (tmp_path / "stops.csv").write_text(STOPS)
    (tmp_path / "positions.csv").write_text(POSITIONS)
    return tmp_path


def test_a_dataset_is_read_into_typed_records(folder):
    dataset = load(folder)
    assert dataset.trips["noon"] == Trip("noon", "north", "van 7", datetime(2020, 9, 23, 10, tzinfo=UTC))
    assert [stop.stop_id for stop in dataset.stops["north"]] == ["a", "b"]
    assert dataset.stops["south"] == (RouteStop("south", 1, "a", "Erster Hof", 47.1, 9.5),)
    at = datetime(2020, 9, 23, 6, 0, 10, 500_000, tzinfo=UTC)
    assert dataset.positions["morning"][1] == Fix("morning", "van 7", at, 47.101, 9.5, None, 111.5, True)
    assert dataset.positions["noon"][0].odometer_m is None
    assert dataset.positions["noon"][0].door_open is None
    assert dataset.shapes == {}
    assert dataset.ignored_columns == ("driver",)
    assert (dataset.begins_at.second, dataset.ends_at.hour) == (0, 10)


def test_positions_may_be_packed_and_shapes_may_be_there(folder):
    (folder / "positions.csv").unlink()
    (folder / "positions.csv.gz").write_bytes(gzip.compress(POSITIONS.encode()))
    (folder / "shapes.csv").write_text("route_id,seq,lat,lon\nnorth,20,47.2,9.6\nnorth,3,47.1,9.5\n")
    dataset = load(folder)
    assert sum(map(len, dataset.positions.values())) == 5
    assert dataset.shapes == {"north": ((47.1, 9.5), (47.2, 9.6))}


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "positions.csv",
            "47.101",
            "97.101",
            r"positions.csv: line 3: lat is '97.101'; allowed is degrees from -90 to 90",
        ),
        ("positions.csv", "47.101", "nan", r"line 3: lat is 'nan'; allowed is degrees"),
        ("positions.csv", "9.5,111.5", "east,111.5", r"line 3: lon is 'east'; allowed is degrees from -180 to 180"),
        (
            "positions.csv",
            "06:00:10.500Z",
            "06:00:10.500",
            r"line 3: ts is .*; allowed is an ISO 8601 time with its offset",
        ),
        ("positions.csv", "06:00:10.500Z", "05:00:10.500Z", r"line 3: ts is .* no time before the line above"),
        ("positions.csv", "111.5,True", "-1,True", r"line 3: odometer_m is '-1'; allowed is a number from 0"),
        ("positions.csv", "111.5,True", "111.5,ajar", r"line 3: door_open is 'ajar'; allowed is True, False"),
        ("positions.csv", "111.5,True,kim", "111.5,True", r"line 3: 7 fields; the header has 8"),
        ("positions.csv", "noon,van 7", "dusk,van 7", r"line 4: trip_id is 'dusk'; allowed is a trip of trips.csv"),
        ("positions.csv", "noon,van 7", "noon,v9", r"line 4: vehicle_id is 'v9'; allowed is 'van 7', which trips.csv"),
        ("positions.csv", ",ts,", ",time,", r"positions.csv: line 1: no column ts; there is"),
        ("positions.csv", POSITIONS.split("\n", 1)[1], "", r"positions.csv: no position"),
        ("trips.csv", "noon,north", "morning,north", r"trips.csv: line 3: trip_id morning is there twice"),
        ("trips.csv", "other,south", "other,west", r"stops.csv: no stop of route 'west', which trip 'other' drives"),
        ("trips.csv", "noon,north", ",north", r"trips.csv: line 3: trip_id is ''; allowed is any text but none"),
        ("stops.csv", "north,2", "north,1", r"stops.csv: line 3: route_id, seq north, 1 is there twice"),
        ("stops.csv", "north,2", "north,2.5", r"stops.csv: line 2: seq is '2.5'; allowed is a whole number"),
        ("stops.csv", "Zweiter", '"Zweiter', r"stops.csv: not readable as CSV"),
    ],
)
def test_a_wrong_line_is_named_with_what_is_allowed_there(folder, file, old, new, message):
    path = folder / file
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(RecordingInvalid, match=message):
        load(folder)


def test_a_trip_in_two_blocks_is_refused(folder):
    (folder / "positions.csv").write_text(POSITIONS + "morning,van 7,2020-09-23T07:00:00Z,47.1,9.5,0,False,kim\n")
    with pytest.raises(RecordingInvalid, match="line 7: trip_id is 'morning'; allowed is one block of lines"):
        load(folder)


@pytest.mark.parametrize("file", ["positions.csv", "trips.csv", "stops.csv"])
def test_a_missing_file_is_named(folder, file):
    (folder / file).unlink()
    with pytest.raises(RecordingInvalid, match=rf"{file}: no such file"):
        load(folder)


@pytest.mark.parametrize(
    "spoil", [lambda packed: packed[:40], lambda packed: b"plain text", lambda packed: packed[:20] + b"\xff" * 20]
)
def test_a_damaged_archive_is_named(folder, spoil):
    (folder / "positions.csv").unlink()
    (folder / "positions.csv.gz").write_bytes(spoil(gzip.compress(POSITIONS.encode())))
    with pytest.raises(RecordingInvalid, match=r"positions.csv.gz: not readable as CSV"):
        load(folder)


def test_a_replay_plays_all_vehicles_in_time_order_and_counts_for_each(folder):
    played = list(replay(load(folder), start_at_ms=START_MS))
    assert [device for device, _ in played] == ["van_7", "v9", "v9", "van_7", "van_7"]
    assert [round(emission.due_s, 3) for _, emission in played] == [0, 4.5, 4.5, 10, 4 * 3600 - 0.5]
    samples = [emission.samples[0] for _, emission in played]
    assert [sample["seq"] for sample in samples] == [1, 1, 2, 2, 3]
    assert [sample["ts"] - START_MS for sample in samples] == [0, 4500, 4500, 10_000, 4 * 3_600_000 - 500]
    assert len({sample["boot"] for sample in samples}) == 2
    assert samples[3]["pos"] == {"lat": 47.101, "lon": 9.5}
    assert samples[3]["m"] == {"odometer_m": 111.5, "door_open": True}
    assert "m" not in samples[4]
    for sample in samples:
        assert msgspec.convert(sample, Sample).pos is not None


def test_another_replay_is_another_boot(folder):
    dataset = load(folder)
    first, second = (next(replay(dataset, start_at_ms=at_ms))[1].samples[0] for at_ms in (START_MS, START_MS + 1))
    assert (first["seq"], second["seq"]) == (1, 1)
    assert first["boot"] != second["boot"]


@pytest.mark.parametrize("speed", [0.5, 1.0, 7.0, 600.0])
def test_a_replay_at_any_speed_never_tells_a_time_that_has_not_come(folder, speed):
    dataset = load(folder)
    start_at_ms = start_at_ms_for(dataset, now_ms=START_MS, speed=speed)
    played = list(replay(dataset, start_at_ms=start_at_ms, speed=speed))
    ahead_ms = [emission.samples[0]["ts"] - (START_MS + emission.due_s * 1000) for _, emission in played]
    assert max(ahead_ms) <= 1
    if speed >= 1:
        assert ahead_ms[-1] == pytest.approx(0, abs=1)
    length = dataset.ends_at - dataset.begins_at
    assert played[-1][1].due_s == pytest.approx(length / timedelta(seconds=1) / speed)


@pytest.mark.parametrize("speed", [0.0, -1.0])
def test_a_replay_that_would_never_end_is_refused(folder, speed):
    dataset = load(folder)
    with pytest.raises(RecordingInvalid, match="a speed above 0"):
        next(replay(dataset, start_at_ms=START_MS, speed=speed))
    with pytest.raises(RecordingInvalid, match="a speed above 0"):
        start_at_ms_for(dataset, now_ms=START_MS, speed=speed)


def test_trips_that_overlap_on_one_vehicle_become_vehicles_of_their_own(folder):
    (folder / "trips.csv").write_text(
        "trip_id,route_id,vehicle_id,start\n"
        + "".join(f"{trip},north,x,2020-09-23T06:00:00Z\n" for trip in ("one", "two", "three"))
        + "four,north,x-2,2020-09-23T06:00:00Z\n"
    )
    spans = {"one": (0, 30), "two": (10, 20), "three": (25, 40), "four": (0, 1)}
    (folder / "positions.csv").write_text(
        "trip_id,vehicle_id,ts,lat,lon\n"
        + "".join(
            f"{trip},{'x-2' if trip == 'four' else 'x'},2020-09-23T06:{minute:02d}:00Z,47.1,9.5\n"
            for trip, (begin, end) in spans.items()
            for minute in (begin, end)
        )
    )
    dataset = load(folder)
    devices = dataset.devices()
    assert devices == {"one": "x", "two": "x-3", "three": "x-3", "four": "x-2"}
    for device in set(devices.values()):
        fixes = [f for f in dataset.in_time_order() if devices[f.trip_id] == device]
        changes = sum(a.trip_id != b.trip_id for a, b in pairwise(fixes))
        assert changes == len({fix.trip_id for fix in fixes}) - 1


def test_the_real_recording_is_read_and_played_whole(shared_data):
    dataset = load(shared_data / "hsl-510")
    assert (len(dataset.trips), len(dataset.stops["510-1"])) == (12, 27)
    assert sum(map(len, dataset.positions.values())) == 22_685
    assert dataset.ignored_columns == ()
    played = list(replay(dataset, start_at_ms=START_MS, speed=10))
    assert len(played) == 22_685
    assert len({device for device, _ in played}) == 11
    dues = [emission.due_s for _, emission in played]
    assert dues == sorted(dues)
    seqs: dict[str, list[int]] = {}
    for device, emission in played:
        seqs.setdefault(device, []).append(emission.samples[0]["seq"])
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in seqs.values())
