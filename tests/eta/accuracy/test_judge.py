"""What was said of a trip, kept and judged when it is over, on a real database."""

from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from core.db import Database
from core.settings import AccuracySettings
from core.tenancy import tenant_id
from eta.accuracy.judge import Judge
from eta.accuracy.record import Expected, Recorder
from eta.accuracy.service import AccuracyService
from eta.days import InvalidDays
from tests.eta.routing.engines import StillClock

ACME, GLOBEX = tenant_id("acme"), tenant_id("globex")
TRIP, STOPS = "trip_00000001", ("stop_0000000a", "stop_0000000b")
# Positions have partitions around now alone.
START = datetime.now(UTC).replace(hour=4, minute=0, second=0, microsecond=0) - timedelta(days=1)
DAY, AT = START.date(), START.timestamp()
PLACES = ((47.0, 9.0), (47.1, 9.0))
METRES = 111_195.0
# Driven north at 10 m/s and 1 Hz: 30 m before the second stop after 11,119.5 - 30 m.
ARRIVES_S = 1108.95


@pytest.fixture
async def world(database):
    async with await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as conn:
        for tenant in (ACME, GLOBEX):
            await conn.execute("INSERT INTO tenant (tenant_id, name) VALUES (%s, 'x')", (tenant,))
        await conn.execute("INSERT INTO device (tenant_id, device_id, status) VALUES ('acme', 'truck-1', 'active')")
        for n, (lat, lon) in enumerate(PLACES):
            await conn.execute(
                "INSERT INTO site (tenant_id, site_id, name, kind, lat, lon, radius_m, timezone, created_at,"
                " updated_at) VALUES ('acme', %s, 'Farm', 'farm', %s, %s, 50, 'UTC', now(), now())",
                (f"site_0000000{n}", lat, lon),
            )
        await conn.execute(
            "INSERT INTO route (tenant_id, route_id, name, timezone, created_at, updated_at)"
            " VALUES ('acme', 'route_00000001', 'North', 'UTC', now(), now())"
        )
        await conn.execute(
            "INSERT INTO trip (tenant_id, trip_id, route_id, device_id, day, state, is_recurring, started_at, ended_at,"
            " version, created_at, updated_at) VALUES ('acme', %s, 'route_00000001', 'truck-1', %s, 'done',"
            " false, %s, %s, 1, now(), now())",
            (TRIP, DAY, START, START + timedelta(minutes=25)),
        )
        for n, (stop, (lat, lon)) in enumerate(zip(STOPS, PLACES, strict=True)):
            await conn.execute(
                "INSERT INTO trip_stop (tenant_id, trip_id, stop_id, seq, site_id, name, lat, lon, radius_m, state,"
                " arrived_at) VALUES ('acme', %s, %s, %s, %s, 'Farm', %s, %s, 50, 'served', %s)",
                (TRIP, stop, n + 1, f"site_0000000{n}", lat, lon, START + timedelta(seconds=1000 * n)),
            )
    clock = StillClock()
    clock.now = START + timedelta(hours=2)
    async with Database(database.app, pool_size=2) as tenants, Database(database.operator, pool_size=2) as everyone:
        yield World(tenants, everyone, database.owner, clock)


class World:
    def __init__(self, tenants, everyone, owner, clock):
        self.tenants, self.everyone, self.owner, self.clock = tenants, everyone, owner, clock
        self.recorder = Recorder(everyone)
        self.judge = Judge(tenants, everyone, AccuracySettings(settle_minutes=30), clock)
        self.service = AccuracyService(tenants)

    async def drive(self):
        """The truck's fixes, once a second."""
        async with await psycopg.AsyncConnection.connect(self.owner, autocommit=True) as conn:
            await conn.execute(
                "INSERT INTO telemetry.position (ts, seq, lat, lon, received_at, tenant_id, device_id, boot)"
                " SELECT %s + make_interval(secs => n), n, 47.0 + n * 10 / %s, 9.0, now(), 'acme', 'truck-1', 'b'"
                " FROM generate_series(0, 1200) AS n",
                (START, METRES),
            )

    def say(self, after_s, eta_s, method="history", stop=STOPS[1], band_s=60.0):
        at = START.timestamp()
        arrival = Expected(stop, at + eta_s, at + eta_s - band_s, at + eta_s + band_s)
        self.recorder.heard(ACME, TRIP, at + after_s, method, [arrival])

    async def alert(self, kind, after_s):
        async with await psycopg.AsyncConnection.connect(self.owner, autocommit=True) as conn:
            await conn.execute(
                "INSERT INTO trip_alert (tenant_id, alert_id, trip_id, stop_id, site_id, device_id, kind, at,"
                " raised_at) VALUES ('acme', %s, %s, %s, 'site_00000001', 'truck-1', %s, %s, now())",
                (f"alert_{kind:0>8}", TRIP, STOPS[1], kind, START + timedelta(seconds=after_s)),
            )

    async def rows(self, query):
        async with self.everyone.unscoped(reason="the test looks") as tx:
            return await tx.all(query)

    async def figures(self, tenant=ACME, route=None, day=DAY):
        return (await self.service.report(tenant, day, day, route)).total


async def test_what_was_said_is_judged_by_the_fixes_when_the_trip_is_over(world):
    await world.drive()
    world.say(600.0, 1100.0)
    world.say(700.0, 1050.0)
    await world.alert("10min", 500.0)
    await world.recorder.flush()
    assert await world.judge.sweep() == 1
    report = await world.figures()
    assert (report.trips, report.arrivals, report.predictions) == (1, 2, 2)
    row = report.horizons[1]
    assert row.bias_s == pytest.approx((ARRIVES_S - 1100.0 + ARRIVES_S - 1050.0) / 2, abs=1.0)
    assert (row.predictions, row.within_2_min_pct, row.band_coverage_pct) == (2, 100.0, 100.0)
    ten, five = report.alerts
    assert (ten.fired, ten.on_time_pct, five.fired, five.missed_pct) == (1, 100.0, 0, 100.0)
    assert ten.lead_bias_s == pytest.approx(ARRIVES_S - 500.0 - 600.0, abs=1.0)
    assert report.methods == {"history": 2}


async def test_without_fixes_the_arrivals_of_the_trip_itself_count(world):
    world.say(600.0, 1010.0)
    await world.recorder.flush()
    await world.judge.sweep()
    assert (await world.figures()).horizons[1].bias_s == pytest.approx(-10.0)


async def test_a_stop_that_a_person_spoke_for_is_no_arrival_to_the_second(world):
    async with world.everyone.unscoped(reason="a person says so") as tx:
        await tx.execute("UPDATE trip_stop SET is_settled = true WHERE stop_id = 'stop_0000000b'")
    world.say(600.0, 1010.0)
    await world.recorder.flush()
    await world.judge.sweep()
    report = await world.figures()
    assert (report.predictions, report.arrivals, report.horizons[1].predictions) == (1, 1, 0)


async def test_a_sample_each_half_minute_of_what_is_near_and_nothing_of_bought_traffic(world):
    world.say(0.0, 1100.0)
    world.say(29.0, 1100.0)
    world.say(30.0, 1100.0, method="guess")
    world.say(60.0, 1100.0, method="traffic")
    world.say(90.0, 60.0 + 2800.0)
    await world.recorder.flush()
    rows = await world.rows("SELECT method, stops, etas, p10s, p90s FROM eta_said ORDER BY made_at")
    assert [row["method"] for row in rows] == ["history", "guess"]
    assert rows[1] == {"method": "guess", "stops": [STOPS[1]], "etas": [1070], "p10s": [1010], "p90s": [1130]}


async def test_what_two_workers_heard_is_kept_once_and_a_trip_that_is_gone_keeps_nothing(world):
    for recorder in (world.recorder, Recorder(world.everyone)):
        for trip in (TRIP, "trip_gone0000"):
            recorder.heard(ACME, trip, AT, "history", [Expected(STOPS[1], AT + 60, AT, AT + 90)])
        await recorder.flush()
    assert await world.rows("SELECT count(*) AS n FROM eta_said") == [{"n": 1}]


async def test_samples_wait_while_the_database_is_away(world, database):
    away = Database(database.operator, pool_size=1)
    recorder = Recorder(away)
    recorder.heard(ACME, TRIP, AT, "history", [Expected(STOPS[1], AT + 60, AT, AT + 90)])
    await recorder.flush()
    assert await world.rows("SELECT count(*) AS n FROM eta_said") == [{"n": 0}]
    async with away:
        await recorder.flush()
    assert await world.rows("SELECT count(*) AS n FROM eta_said") == [{"n": 1}]


async def test_a_trip_is_judged_once_and_only_when_late_fixes_are_in(world):
    world.say(600.0, 1010.0)
    await world.recorder.flush()
    world.clock.now = START + timedelta(minutes=40)
    assert await world.judge.sweep() == 0
    world.clock.move(16 * 60)
    assert [await world.judge.sweep() for _ in range(2)] == [1, 0]


async def test_what_is_old_is_dropped_and_the_judgement_outlives_what_it_rests_on(world):
    world.say(600.0, 1010.0)
    await world.recorder.flush()
    await world.judge.sweep()
    world.clock.move(15 * 86_400)
    await world.judge.forget()
    assert await world.rows("SELECT count(*) AS n FROM eta_said") == [{"n": 0}]
    assert (await world.figures()).trips == 1
    world.clock.move(800 * 86_400)
    await world.judge.forget()
    assert (await world.figures()).trips == 0


async def test_days_routes_and_tenants_are_kept_apart(world):
    world.say(600.0, 1010.0)
    await world.recorder.flush()
    await world.judge.sweep()
    assert (await world.figures(route="route_00000001")).trips == 1
    assert (await world.figures(route="route_00000002")).trips == 0
    assert (await world.figures(day=DAY + timedelta(days=1))).trips == 0
    assert (await world.figures(tenant=GLOBEX)).trips == 0


async def test_map_calls_of_the_trip_stand_in_its_report(world):
    async with world.everyone.unscoped(reason="two kinds of calls") as tx:
        await tx.execute("INSERT INTO map_spend VALUES ('acme', %s, false, '2026-08-03', 2)", (f"trip:{TRIP}",))
        await tx.execute("INSERT INTO map_spend VALUES ('acme', %s, true, '2026-08-03', 1)", (f"trip:{TRIP}",))
    world.say(600.0, 1010.0)
    await world.recorder.flush()
    await world.judge.sweep()
    report = await world.figures()
    assert (report.map_calls, report.map_calls_per_trip) == (3, 3.0)


@pytest.mark.parametrize(("since", "until"), [("2026-08-03", "2026-08-02"), ("2025-08-01", "2026-08-03")])
async def test_days_in_the_wrong_order_and_too_many_are_refused(world, since, until):
    with pytest.raises(InvalidDays):
        await world.service.report(ACME, date.fromisoformat(since), date.fromisoformat(until))
