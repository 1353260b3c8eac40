"""`milkrun eta accuracy` and `milkrun maps report` on a real database."""

import json

import msgspec
import psycopg
import pytest

from eta.accuracy.tally import Said, of_trip
from tests.cli.conftest import environment_on, milkrun_in
from tests.conftest import DatabaseUrls

pytestmark = pytest.mark.db

DAYS = ("--from", "2026-08-01", "--to", "2026-08-31")


@pytest.fixture(scope="module")
def milkrun(module_database: DatabaseUrls, tmp_path_factory: pytest.TempPathFactory):
    """The command, on a database in which acme has one judged trip and some map calls."""
    sums = of_trip([Said("s", 0.0, 400.0, 350.0, 450.0, "history")], [], {"s": 430.0}, 0.0)
    with psycopg.connect(module_database.owner) as conn:
        conn.execute("INSERT INTO tenant (tenant_id, name) VALUES ('acme', 'Acme'), ('globex', 'Globex')")
        conn.execute(
            "INSERT INTO route (tenant_id, route_id, code, name, timezone, created_at, updated_at)"
            " VALUES ('acme', 'route_00000001', 'north', 'North', 'UTC', now(), now())"
        )
        conn.execute(
            "INSERT INTO trip (tenant_id, trip_id, route_id, day, state, is_recurring, version, created_at, updated_at)"
            " VALUES ('acme', 'trip_00000001', 'route_00000001', '2026-08-03', 'done', false, 1, now(), now())"
        )
        conn.execute(
            "INSERT INTO eta_judged VALUES ('acme', 'trip_00000001', '2026-08-03', 'route_00000001', %s, now())",
            (msgspec.json.encode(sums).decode(),),
        )
        conn.execute("INSERT INTO map_use VALUES ('acme', '2026-08-03', 'google', 'traffic', 'ok', 6000, 900)")
    command = milkrun_in(environment_on(module_database, tmp_path_factory.mktemp("data")))

    def run(*args: str, code: int = 0) -> str:
        done = command(*args, code=code)
        return done.stdout + done.stderr

    return run


def test_the_accuracy_of_ones_own_trips_as_table_and_json(milkrun):
    table = milkrun("eta", "accuracy", "--tenant", "acme", *DAYS, "--route", "north")
    assert "1 trips, 1 arrivals" in " ".join(table.split())
    found = json.loads(milkrun("eta", "accuracy", "--tenant", "acme", *DAYS, "--json"))
    assert (found["from"], found["trips"], found["mae_5_to_10_min_s"]) == ("2026-08-01", 1, 30.0)
    assert list(found["days"]) == ["2026-08-03"]


def test_where_nothing_was_judged_that_is_said(milkrun):
    assert "has been judged" in milkrun("eta", "accuracy", "--tenant", "globex", *DAYS)
    assert "route" in milkrun("eta", "accuracy", "--tenant", "globex", *DAYS, "--route", "north", code=1)


def test_what_maps_cost_as_table_and_json(milkrun):
    table = milkrun("maps", "report", "--tenant", "acme", *DAYS)
    assert "6,000 map calls" in " ".join(table.split())
    assert "every_30_s" in table
    found = json.loads(milkrun("maps", "report", "--tenant", "acme", *DAYS, "--json"))
    assert (found["billed_calls"], round(found["billed_cost"], 2)) == (6000, 10.0)
    assert json.loads(milkrun("maps", "report", "--tenant", "globex", *DAYS, "--json"))["calls"] == 0


def test_a_day_that_is_none_is_one_line(milkrun):
    said = milkrun("maps", "report", "--tenant", "acme", "--from", "yesterday", code=2)
    assert said == "milkrun: --from 'yesterday' is no day: such is 2026-11-21\n"
