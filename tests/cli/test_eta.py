import csv
import json
import subprocess
import sys
from datetime import datetime

import pytest

from tests.eta.conftest import written
from tests.eta.roads import ROAD, STARTS_AT, drive


@pytest.fixture
def rounds(tmp_path):
    trips = [drive(start=STARTS_AT + n * 86_400.0) for n in range(2)]
    return written(tmp_path / "rounds", trips, ROAD)


def backtest(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "eta", "backtest", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_backtest_writes_predictions_alerts_and_a_report(rounds, tmp_path):
    out = tmp_path / "new/predictions.csv"
    done = backtest(rounds, "--out", out, "--report", tmp_path / "report.json", "--protocol", "leave-one-out")
    assert done.returncode == 0, done.stderr
    assert "0 map calls" in " ".join(done.stdout.split())
    with out.open() as file:
        predictions = list(csv.DictReader(file))
    with out.with_name("alerts.csv").open() as file:
        alerts = list(csv.DictReader(file))
    assert list(predictions[0]) == ["trip_id", "stop_id", "made_at", "eta", "p10", "p90", "method"]
    assert list(alerts[0]) == ["trip_id", "stop_id", "kind", "fired_at", "eta"]
    assert {alert["kind"] for alert in alerts} == {"10min", "5min"}
    for row in predictions:
        made_at, p10, eta, p90 = (datetime.fromisoformat(row[name]) for name in ("made_at", "p10", "eta", "p90"))
        assert made_at <= p10 <= eta <= p90
        assert row["eta"].endswith("Z")
    assert json.loads((tmp_path / "report.json").read_text())["protocol"] == "leave-one-out"


def test_a_folder_that_is_no_dataset_is_one_line_and_exit_code_2(tmp_path):
    done = backtest(tmp_path, "--out", tmp_path / "predictions.csv")
    assert done.returncode == 2
    assert done.stderr.startswith("milkrun: ")
    assert done.stderr.count("\n") == 1


def test_without_shapes_csv_the_road_is_learned(rounds, tmp_path):
    (rounds / "shapes.csv").unlink()
    done = backtest(rounds, "--out", tmp_path / "predictions.csv")
    assert done.returncode == 0, done.stderr
    assert "history" in (tmp_path / "predictions.csv").read_text()
