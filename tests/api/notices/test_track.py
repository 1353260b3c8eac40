"""A tracking link shows one stop of one trip while the truck is on its way there, and nothing else to anybody."""

import asyncio
import json
from datetime import timedelta

import httpx
import pytest

from api.access import Role
from core.clock import utc_now
from core.settings import Settings
from tests.api.notices.conftest import Office
from tests.notify.world import BEFORE, STOP, TRIP, alert

pytestmark = [pytest.mark.db, pytest.mark.redis]


@pytest.fixture
async def public(office: Office):
    async with httpx.AsyncClient(base_url=office.api.url) as client:
        yield client


async def link(office: Office, **more: object) -> dict[str, str]:
    async with office.api.client("acme", Role.DISPATCHER) as dora:
        made = await dora.post(f"/v1/trips/{TRIP}/links", json={"stop": STOP, **more})
    assert made.status_code == 201, made.text
    return made.json()


async def look(office: Office, public: httpx.AsyncClient, token: str) -> httpx.Response:
    office.api.services.answers.sights._made.clear()  # what it showed a second ago is not asked here
    return await public.get(f"/v1/track/{token}")


async def test_it_shows_the_truck_its_arrival_and_how_many_stops_come_before(office: Office, public):
    office.world.estimate(minutes=12)
    made = await link(office)
    answer = await look(office, public, made["token"])
    assert answer.status_code == 200, answer.text
    seen = answer.json()
    assert (seen["state"], seen["stops_before"], seen["stop"]["name"]) == ("coming", 1, "Farm of acme")
    assert (seen["truck"]["lat"], seen["truck"]["lon"]) == (47.1, 9.5)
    assert seen["arrival"]["p10"] < seen["arrival"]["eta"] < seen["arrival"]["p90"]
    assert made["url"].endswith(f"/t/{made['token']}")
    for name, value in (("referrer-policy", "no-referrer"), ("cache-control", "no-store")):
        assert answer.headers[name] == value
    assert "noindex" in answer.headers["x-robots-tag"]


async def test_it_tells_nothing_of_other_sites_the_trip_or_the_truck(office: Office, public):
    office.world.estimate(minutes=12)
    text = (await look(office, public, (await link(office))["token"])).text
    for secret in ("Other", "site_", "stop_", "trip_", "truck-1", "acme:", "47.15", "learned_from"):
        assert secret not in text, secret
    assert set(json.loads(text)) == {"state", "expires_at", "stop", "planned_at", "stops_before", "arrival", "truck"}


async def test_before_the_start_and_after_the_departure_there_is_no_truck(office: Office, public):
    office.world.estimate(minutes=12)
    token = (await link(office))["token"]
    office.world.change("UPDATE trip SET state = 'planned' WHERE tenant_id = 'acme'")
    waiting = (await look(office, public, token)).json()
    assert (waiting["state"], waiting["truck"], waiting["arrival"]) == ("waiting", None, None)
    office.world.change("UPDATE trip SET state = 'under_way' WHERE tenant_id = 'acme'")
    office.world.change("UPDATE trip_stop SET state = 'served' WHERE stop_id = %(s)s AND tenant_id = 'acme'", s=BEFORE)
    assert (await look(office, public, token)).json()["stops_before"] == 0
    office.world.change("UPDATE trip_stop SET state = 'arrived' WHERE stop_id = %(s)s", s=STOP)
    here = (await look(office, public, token)).json()
    assert (here["state"], here["truck"] is not None) == ("here", True)
    for change in (
        "UPDATE trip_stop SET state = 'served' WHERE stop_id = 'stop_farm00000001'",
        "UPDATE trip_stop SET state = 'skipped' WHERE stop_id = 'stop_farm00000001'",
        "UPDATE trip SET state = 'done' WHERE tenant_id = 'acme'",
    ):
        office.world.change(change)
        over = (await look(office, public, token)).json()
        assert {name: over[name] for name in ("state", "truck", "arrival", "stop", "planned_at", "stops_before")} == {
            "state": "over", "truck": None, "arrival": None, "stop": None, "planned_at": None, "stops_before": 0,
        }, change  # fmt: skip


async def test_every_link_that_is_not_good_reads_the_same(office: Office, public):
    made = await link(office)
    token = made["token"]
    body, _, signature = token.partition(".")
    async with office.api.client("acme", Role.DISPATCHER) as dora:
        other = await link(office)
        assert (await dora.delete(f"/v1/trips/{TRIP}/links/{other['id']}")).status_code == 204
        assert (await dora.delete(f"/v1/trips/{TRIP}/links/{other['id']}")).status_code == 204
    short = await link(office, expires_at=(utc_now() + timedelta(seconds=1)).isoformat(timespec="milliseconds"))
    await asyncio.sleep(1.1)
    answers = [
        await look(office, public, each)
        for each in (
            "nonsense",
            f"{body}.{signature[::-1]}",
            f"{body[:-1]}{'A' if body[-1] != 'A' else 'B'}.{signature}",
            f"{body}.{'A' * 22}",
            token + "A",
            other["token"],
            short["token"],
        )
    ]
    assert {each.status_code for each in answers} == {404}
    assert len({(each.json()["code"], each.json()["detail"]) for each in answers}) == 1
    assert (await look(office, public, token)).status_code == 200
    assert token not in str(office.api.tokens.audited)


async def test_a_link_is_for_a_stop_there_is_and_for_a_week_at_most(office: Office):
    async with office.api.client("acme", Role.DISPATCHER) as dora, office.api.client("acme", Role.VIEWER) as viewer:
        for path, body, status, code in (
            (f"/v1/trips/{TRIP}/links", {"stop": "stop_nowhere00001"}, 404, "place_not_found"),
            ("/v1/trips/trip_nowhere00001/links", {"stop": STOP}, 404, "place_not_found"),
            (
                f"/v1/trips/{TRIP}/links",
                {"stop": STOP, "expires_at": "2020-01-01T00:00:00Z"},
                422,
                "invalid_link_expiry",
            ),
            (
                f"/v1/trips/{TRIP}/links",
                {"stop": STOP, "expires_at": "2090-01-01T00:00:00Z"},
                422,
                "invalid_link_expiry",
            ),
        ):
            answer = await dora.post(path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert (await viewer.post(f"/v1/trips/{TRIP}/links", json={"stop": STOP})).status_code == 403
        assert (await viewer.get(f"/v1/trips/{TRIP}/links")).status_code == 403
        made = await link(office, note="for Ed")
        [listed] = (await dora.get(f"/v1/trips/{TRIP}/links")).json()["items"]
        assert (listed["id"], listed["note"], listed["token"]) == (made["id"], "for Ed", made["token"])
    async with office.api.client("zeta", Role.DISPATCHER) as foreign:
        assert (await foreign.get(f"/v1/trips/{TRIP}/links")).json()["items"] == []
        assert (await foreign.delete(f"/v1/trips/{TRIP}/links/{made['id']}")).status_code == 404


async def test_a_link_of_one_tenant_never_shows_the_others_trip_of_the_same_id(office: Office, public):
    """Both tenants have this trip; the token says whose it is, and cannot be made to say otherwise."""
    office.world.change("UPDATE trip_stop SET name = 'Secret' WHERE tenant_id = 'zeta'")
    assert (await look(office, public, (await link(office))["token"])).json()["stop"]["name"] == "Farm of acme"


async def test_the_stream_tells_each_change_and_ends_when_the_truck_has_been(office: Office, public):
    token = (await link(office))["token"]
    told: list[dict[str, object]] = []
    async with public.stream("GET", f"/v1/track/{token}/stream", timeout=30) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert (stream.headers["referrer-policy"], stream.headers["cache-control"]) == ("no-referrer", "no-store")
        async for line in stream.aiter_lines():
            if line.startswith("data: "):
                told.append(json.loads(line.removeprefix("data: ")))
                after = {
                    1: "UPDATE trip_stop SET state = 'arrived' WHERE stop_id = 'stop_farm00000001'",
                    2: "UPDATE trip_stop SET state = 'served' WHERE stop_id = 'stop_farm00000001'",
                }
                if statement := after.get(len(told)):
                    office.world.change(statement)
    assert [each["state"] for each in told] == ["coming", "here", "over"]
    assert office.api.services.answers.followers == {}


async def test_a_stream_ends_when_its_link_is_revoked(office: Office, public):
    made = await link(office)
    lines = []
    async with public.stream("GET", f"/v1/track/{made['token']}/stream", timeout=30) as stream:
        async for line in stream.aiter_lines():
            lines.append(line)
            if line.startswith('data: {"state"'):
                async with office.api.client("acme", Role.DISPATCHER) as dora:
                    await dora.delete(f"/v1/trips/{TRIP}/links/{made['id']}")
    assert "event: over" in lines


async def test_addresses_are_held_to_their_rate(office: Office, public, api_settings: Settings):
    limits = office.api.services.limits
    limits._settings = api_settings.api.model_copy(update={"address_rate": 0.5, "address_burst": 5})
    statuses = [(await public.get("/v1/track/nonsense")).status_code for _ in range(8)]
    assert statuses[:5] == [404] * 5
    assert set(statuses[5:]) == {429}


async def test_alerts_are_logged_with_what_became_of_them(office: Office):
    raised = alert(at=office.world.now())
    for tenant in ("acme", "zeta"):
        office.world.change(
            "INSERT INTO trip_alert (tenant_id, alert_id, trip_id, stop_id, site_id, device_id, kind, at, raised_at)"
            " SELECT %(t)s, %(a)s, trip_id, stop_id, site_id, 'truck-1', '10min', now(), now() FROM trip_stop"
            " WHERE tenant_id = %(t)s AND stop_id = %(s)s",
            t=tenant,
            a=raised.alert,
            s=STOP,
        )
    async with (
        office.user("dora", Role.DISPATCHER) as dora,
        office.user() as anna,
        office.user("ben", sites=("site_other0000001",)) as ben,
    ):
        for farmer in (anna, ben):
            await farmer.post("/v1/push-tokens", json={"platform": "fcm", "token": "a-phone-token-" + str(id(farmer))})
        await anna.post("/v1/subscriptions", json={"site": "site_farm00000001"})
        await office.world.webhooks.add("acme", url="https://erp.example/", kinds=["alert.10min"])
        await office.world.raise_(raised)
        [logged] = (await dora.get("/v1/alerts")).json()["items"]
        assert (logged["id"], logged["site"]["name"]) == (raised.alert, "Farm of acme")
        whole = (await dora.get(f"/v1/alerts/{raised.alert}")).json()
        assert {each["channel"] for each in whole["deliveries"]} == {"fcm", "webhook"}
        mine = (await anna.get(f"/v1/alerts/{raised.alert}")).json()
        assert [(each["channel"], each["recipient"]) for each in mine["deliveries"]] == [("fcm", office.id_of("anna"))]
        assert (await ben.get("/v1/alerts")).json()["items"] == []
        assert (await ben.get(f"/v1/alerts/{raised.alert}")).status_code == 404
        for wanted, count in (({"kind": "5min"}, 0), ({"trip": TRIP}, 1), ({"site": "site_other0000001"}, 0)):
            assert len((await dora.get("/v1/alerts", params=wanted)).json()["items"]) == count


async def test_a_process_that_is_about_to_stop_lets_its_followers_go(office: Office, public):
    token = (await link(office))["token"]
    async with public.stream("GET", f"/v1/track/{token}/stream", timeout=30) as stream:
        lines = stream.aiter_lines()
        await anext(lines)
        office.api.services.live.drain()
        assert "event: sight" in [line async for line in lines]
    assert office.api.services.answers.followers == {}
