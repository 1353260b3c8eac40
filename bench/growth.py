"""Does ingest keep its rate as the table grows? The rate on an empty table next to the rate on today's partition grown.

The rows that fill it belong to a thousand other devices and lie in the same partition and index as the measured ones.
"""

import os
import statistics
import time

import psycopg
import uvloop
from rich.console import Console

from bench.figures import machine, spread
from bench.stack import Stack, running
from sim.link import Credentials
from sim.load import run_load

_ROWS = int(os.environ.get("BENCH_GROWTH_ROWS", "50000000"))
_AT_ONCE = 1_000_000
_DEVICES = 1000
_RUNS = 3

# Two fixes a device and second, all within the partition of today, whatever the hour.
_FILL = """
INSERT INTO telemetry.position
SELECT date_trunc('day', now(), 'UTC') + make_interval(secs => 0.0017 * n), n, 47 + n %% 1000 * 0.0001, 9.5, now(), 455,
       13.9, 182, 4, 0.9, 11, 'bench', 'old-' || lpad((n %% %(devices)s)::text, 5, '0'), 'k3f9'
FROM generate_series(%(first)s::bigint, %(last)s) AS n
"""


def main(console: Console) -> None:
    console.print(f"bench growth on {machine()}")
    with running() as stack:
        fleet = stack.fleet(100)
        _rate(stack, fleet)
        empty = [_rate(stack, fleet) for _ in range(_RUNS)]
        console.print(f"messages committed a second, empty table: {spread(empty)}")
        started = time.monotonic()
        with psycopg.connect(stack.context.settings.database.url, autocommit=True) as conn:
            for first in range(1, _ROWS, _AT_ONCE):
                last = min(first + _AT_ONCE - 1, _ROWS)
                conn.execute(_FILL, {"devices": _DEVICES, "first": first, "last": last})
            conn.execute("CHECKPOINT")
            row = conn.execute(
                "SELECT pg_size_pretty(sum(pg_total_relation_size(inhrelid))) FROM pg_inherits "
                "WHERE inhparent = 'telemetry.position'::regclass"
            ).fetchone()
        size = row[0] if row else "?"
        console.print(f"filled with {_ROWS:,} rows ({size}) in {time.monotonic() - started:.0f} s")
        _rate(stack, fleet)
        full = [_rate(stack, fleet) for _ in range(_RUNS)]
        console.print(f"messages committed a second, grown table: {spread(full)}")
        console.print(f"ratio: {statistics.median(full) / statistics.median(empty):.2f}")


def _rate(stack: Stack, fleet: list[Credentials]) -> float:
    return uvloop.run(run_load(stack.plan(rate=0, duration_s=8), fleet)).durable_per_s
