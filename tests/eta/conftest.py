import csv
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.eta.roads import ROAD, STARTS_AT, STOPS, drive

RECORDING = Path(__file__).parents[3] / "shared/data/hsl-510"


def iso(at):
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def written(folder, trips, shape=()):
    """A dataset of these trips, each a list of fixes, in the format of the recordings."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = {
        "positions.csv": [("trip_id", "vehicle_id", "ts", "lat", "lon", "speed_mps")]
        + [(f"t{n}", "v", iso(f.at), f.lat, f.lon, "") for n, fixes in enumerate(trips) for f in fixes],
        "trips.csv": [("trip_id", "route_id", "vehicle_id", "start")]
        + [(f"t{n}", "r", "v", iso(fixes[0].at)) for n, fixes in enumerate(trips)],
        "stops.csv": [("route_id", "seq", "stop_id", "name", "lat", "lon")]
        + [("r", n + 1, stop.stop_id, "Farm", stop.lat, stop.lon) for n, stop in enumerate(STOPS)],
    }
    if shape:
        rows["shapes.csv"] = [("route_id", "seq", "lat", "lon")] + [("r", n, *p) for n, p in enumerate(shape)]
    for name, lines in rows.items():
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows(lines)
    return folder


@pytest.fixture
def rounds(tmp_path):
    """Three rounds of three mornings, the second of them slow."""
    trips = [drive(start=STARTS_AT + n * 86_400.0, speed_mps=speed) for n, speed in enumerate((10.0, 8.0, 10.0))]
    return written(tmp_path / "rounds", trips, ROAD)


@pytest.fixture(scope="session")
def recording():
    if not RECORDING.is_dir():
        pytest.skip(f"the recording {RECORDING.name} is not beside this checkout")
    return RECORDING
