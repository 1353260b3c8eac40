"""Predictions and alerts as the files that others judge them by."""

import csv
from datetime import UTC, datetime
from pathlib import Path

from eta.backtest.run import Played


def write(played: Played, predictions: Path) -> Path:
    """Write predictions.csv where it is asked for and alerts.csv beside it; returns the path of the latter."""
    alerts = predictions.with_name("alerts.csv")
    predictions.parent.mkdir(parents=True, exist_ok=True)
    with predictions.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("trip_id", "stop_id", "made_at", "eta", "p10", "p90", "method"))
        for p in played.predictions:
            rows.writerow((p.trip_id, p.stop_id, *map(iso, (p.made_at, p.eta, p.p10, p.p90)), p.method))
    with alerts.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("trip_id", "stop_id", "kind", "fired_at", "eta"))
        for a in played.alerts:
            rows.writerow((a.trip_id, a.stop_id, a.kind.value, iso(a.fired_at), iso(a.eta)))
    return alerts


def iso(at: float) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(round(at, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
