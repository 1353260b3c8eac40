"""Channels beside the vehicles: one for each trip, alerts, commands; and what a site is shown of them."""

import dataclasses
import json
from contextlib import aclosing

import httpx
import pytest
from psycopg.types.json import Jsonb

from api.access import Role, Scope
from api.live.stream.client import Conflation, Subscription
from api.live.stream.filters import peek
from core.events import (
    AlertRaised,
    ArrivalEstimate,
    ArrivalsEstimated,
    CommandChanged,
    EstimatesMade,
    StopChanged,
    TripChanged,
)
from core.settings import LiveSettings
from tests.api.live.wire import Live, sse

pytestmark = [pytest.mark.db, pytest.mark.redis]

TRIP = "trip_00000001"
_SITE = """
INSERT INTO site (tenant_id, site_id, name, kind, lat, lon, radius_m, timezone, created_at, updated_at)
VALUES (%s, %s, 'Farm', 'farm', 47, 9, 50, 'UTC', now(), now())
"""
_TRIP = """
INSERT INTO trip (tenant_id, trip_id, device_id, day, state, is_recurring, version, created_at, updated_at)
VALUES (%s, %s, 'truck-1', '2026-08-03', 'under_way', false, 1, now(), now())
"""
_STOP = """
INSERT INTO trip_stop (tenant_id, trip_id, stop_id, seq, site_id, name, lat, lon, radius_m, state)
VALUES (%s, %s, %s, %s, %s, %s, 47, 9, 50, 'planned')
"""
_ESTIMATE = """
INSERT INTO trip_estimate (tenant_id, trip_id, device_id, made_at, fix_at, lat, lon, method, reason, is_on_route,
    progress_m, length_m, source, arrivals, alerts)
VALUES (%s, %s, 'truck-1', now(), now(), 47, 9, 'history', 'r', true, 10, 20, 'shape', %s, '{}')
"""


@pytest.fixture
def live_settings() -> LiveSettings:
    return LiveSettings(connections_per_principal=1000, recheck_s=0.1, drain_s=0)


@pytest.fixture
async def trip(fleet) -> str:
    """A trip under way with two stops, and what was said of it last."""
    await fleet.add("truck-1")
    for n in (1, 2):
        await fleet.conn.execute(_SITE, (fleet.tenant, f"site_0000000{n}"))
    await fleet.conn.execute(_TRIP, (fleet.tenant, TRIP))
    for n in (1, 2):
        values = (fleet.tenant, TRIP, f"stop_0000000{n}", n, f"site_0000000{n}", f"Farm {n}")
        await fleet.conn.execute(_STOP, values)
    said = [{"stop": f"stop_0000000{n}", "site": f"site_0000000{n}", "eta": n} for n in (1, 2)]
    await fleet.conn.execute(_ESTIMATE, (fleet.tenant, TRIP, Jsonb(said)))
    return f"trip:{TRIP}"


def estimated(*etas: int, tenant: str = "acme", made_at: int = 1) -> EstimatesMade:
    arrivals = [
        ArrivalEstimate(f"stop_0000000{n}", f"site_0000000{n}", eta, eta, eta, eta) for n, eta in enumerate(etas, 1)
    ]
    one = ArrivalsEstimated(
        tenant=tenant,
        trip=TRIP,
        device="truck-1",
        made_at=made_at,
        method="history",
        reason="r",
        age_s=0.0,
        is_on_route=True,
        progress_m=1.0,
        arrivals=arrivals,
    )
    return EstimatesMade(partition=0, estimates=[one])


def arrived(stop: int) -> StopChanged:
    return StopChanged(
        tenant="acme", trip=TRIP, stop=f"stop_0000000{stop}", site=f"site_0000000{stop}", state="arrived", at=5
    )


def alert(site: int) -> AlertRaised:
    return AlertRaised(
        tenant="acme",
        trip=TRIP,
        alert="alert_00000001",
        stop=f"stop_0000000{site}",
        site=f"site_0000000{site}",
        kind="10min",
        device="truck-1",
        at=5,
        eta=605,
    )


async def second_stop(fleet, state: str) -> None:
    """Its state: while it is planned, the trip is on its way there."""
    await fleet.conn.execute("UPDATE trip_stop SET state = %s WHERE stop_id = 'stop_00000002'", (state,))


def farmer(api) -> str:
    token = api.tokens.of("acme", Role.SITE)
    api.tokens.known[token] = dataclasses.replace(api.tokens.known[token], sites=frozenset({"site_00000002"}))
    return token


async def test_a_trip_begins_with_all_of_it_and_goes_on_with_what_happens(api, fleet, trip):
    live = await Live.open(api, api.tokens.of("acme", Role.VIEWER))
    (line,) = (await live.subscribe(trip))["snapshot"]
    assert (line["trip"], line["state"], line["device"]) == (TRIP, "under_way", "truck-1")
    assert [stop["name"] for stop in line["stops"]] == ["Farm 1", "Farm 2"]
    assert line["estimate"]["method"] == "history"
    assert [each["eta"] for each in line["estimate"]["arrivals"]] == [1, 2]
    await fleet.publish(estimated(100, 200))
    await fleet.publish(arrived(1))
    await fleet.publish(TripChanged(tenant="acme", trip=TRIP, state="done", device="truck-1", at=9))
    told = await live.events(3)
    by_type = {event["type"]: event["data"] for event in told}
    assert [each["eta"] for each in by_type["arrivals"]["arrivals"]] == [100, 200]
    assert (by_type["stop"]["stop"], by_type["stop"]["state"]) == ("stop_00000001", "arrived")
    assert by_type["trip"]["state"] == "done"
    await live.close()


async def test_a_trip_nobody_asked_for_costs_no_log(api, fleet, trip):
    live = await Live.open(api, api.tokens.of("acme", Role.VIEWER))
    await live.subscribe("alerts")
    await fleet.publish(estimated(100, 200))
    await fleet.publish(alert(1))
    await live.events(1)
    before = (await live.subscribe(trip))["offset"]
    assert before == 0
    await live.close()


async def test_what_was_missed_of_a_trip_comes_again(api, fleet, trip):
    live = await Live.open(api, api.tokens.of("acme", Role.VIEWER))
    first = await live.subscribe(trip)
    await fleet.publish(estimated(100, 200))
    await live.events(1)
    again = await live.subscribe(trip, id="again", epoch=first["epoch"], offset=first["offset"])
    assert (again["recovered"], again["missed"]) == (True, 1)
    await live.close()


@pytest.mark.parametrize("channel", [f"trip:{TRIP}x", "trip:nothing"])
async def test_a_trip_that_is_not_there_is_refused(api, fleet, trip, channel):
    live = await Live.open(api, api.tokens.of("acme", Role.VIEWER))
    await live.send(type="subscribe", channel=channel)
    error = await live.until("error")
    assert (error["code"], error.get("id")) == ("trip_not_found", None)
    await live.close()


async def test_another_tenants_trip_is_not_there(api, fleet, trip):
    live = await Live.open(api, api.tokens.of("zeta", Role.TENANT_ADMIN))
    await live.send(type="subscribe", channel=trip)
    assert (await live.until("error"))["code"] == "trip_not_found"
    await live.close()
    async with api.client("zeta") as client:
        response = await client.get("/v1/stream", params={"channel": trip})
        assert (response.status_code, response.json()["code"]) == (404, "trip_not_found")


@pytest.mark.parametrize("channel", ["trip", "trip:", "trip:a b", "trip:" + "a" * 65, "vehicles:x", "alerts:1"])
async def test_a_channel_that_is_none_is_named_with_those_there_are(api, channel):
    live = await Live.open(api, api.tokens.of("acme", Role.VIEWER))
    await live.send(type="subscribe", channel=channel)
    error = await live.until("error")
    assert error["code"] == "unknown_channel"
    assert "trip:{id}" in error["detail"]
    await live.close()


async def test_each_channel_needs_the_scope_of_what_it_tells(api, fleet, trip):
    for channel in (trip, "alerts", "commands"):
        token = api.tokens.of("acme", Role.INTEGRATION, scopes=frozenset({Scope.LIVE_READ}))
        live = await Live.open(api, token)
        await live.send(type="subscribe", channel=channel)
        assert (await live.until("error"))["code"] == "insufficient_scope"
        assert await live.closed() == 4003


async def test_a_site_follows_a_trip_while_it_comes_and_sees_its_own_stop_alone(api, fleet, trip):
    await second_stop(fleet, "skipped")
    live = await Live.open(api, farmer(api))
    await live.send(type="subscribe", channel=trip)
    assert (await live.until("error"))["code"] == "trip_not_found"
    await second_stop(fleet, "planned")
    (line,) = (await live.subscribe(trip))["snapshot"]
    assert [(stop["site"], stop["before"]) for stop in line["stops"]] == [("site_00000002", 1)]
    assert [each["site"] for each in line["estimate"]["arrivals"]] == ["site_00000002"]
    await fleet.publish(arrived(1))
    await fleet.publish(arrived(2))
    await fleet.publish(estimated(100, 200))
    told = await live.events(2)
    assert {event["type"] for event in told} == {"stop", "arrivals"}
    assert "site_00000001" not in str(told)
    assert "stop_00000001" not in str(told)
    await second_stop(fleet, "served")
    over = await live.until("subscribed")
    assert (over["reason"], over["snapshot"]) == ("rights", [])
    await fleet.publish(estimated(101, 201, made_at=2))
    await live.send(type="ping", at=7)
    assert await live.frame() == {"type": "pong", "at": 7}
    await live.close()


async def test_a_site_hears_of_its_own_alerts_and_of_no_command(api, fleet, trip):
    live = await Live.open(api, farmer(api))
    await live.subscribe("alerts")
    await fleet.publish(alert(1))
    await fleet.publish(alert(2))
    (told,) = await live.events(1)
    assert (told["type"], told["data"]["site"], told["data"]["kind"]) == ("alert", "site_00000002", "10min")
    await live.send(type="subscribe", channel="commands")
    assert (await live.until("error"))["code"] == "insufficient_scope"
    await live.closed()


async def test_commands_are_told_with_their_state(api, fleet):
    await fleet.add("truck-1")
    live = await Live.open(api, api.tokens.of("acme", Role.VIEWER))
    await live.subscribe("commands")
    await fleet.publish(
        CommandChanged(thing="acme:truck-1", execution="exec_1", command="lock", state="SUCCEEDED", version=3, at=9)
    )
    (told,) = await live.events(1)
    assert told["type"] == "command"
    assert told["data"]["state"] == "SUCCEEDED"
    await live.close()


async def test_a_trip_comes_as_server_sent_events_too(api, fleet, trip):
    async with api.client("acme", Role.VIEWER) as client, aclosing(sse(client, params={"channel": trip})) as told:
        _, _, data = await anext(told)
        assert data["snapshot"][0]["trip"] == TRIP
        await fleet.publish(estimated(100, 200))
        _, _, data = await anext(told)
        assert data["events"][0]["type"] == "arrivals"
        bad = await client.get("/v1/stream", params={"channel": "trip:"})
        assert bad.status_code == httpx.codes.UNPROCESSABLE_ENTITY


def test_what_waits_of_a_trip_is_its_newest_arrivals_alone():
    subscription = Subscription("t", f"trip:{TRIP}", None)
    waiting = Conflation(subscription, 1)
    for offset in range(1, 4):
        event = b'{"offset":%d,"type":"arrivals","data":{"device":"truck-1"}}' % offset
        waiting.add(offset, event, peek(event))
    stop = b'{"offset":4,"type":"stop","data":{"site":"site_00000001"}}'
    waiting.add(4, stop, peek(stop))
    waiting.upto = 4
    told = json.loads(waiting.frame().text)
    assert ([event["offset"] for event in told["events"]], told["conflated"]) == ([3, 4], True)
