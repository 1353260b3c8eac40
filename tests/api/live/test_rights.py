"""Who may follow what, asked when a connection opens and as long as it lasts."""

import asyncio
import dataclasses
import json
from datetime import UTC, date, datetime, timedelta

import httpx
import pytest
import websockets

from api.access import ROLE_SCOPES, Principal, Role, Scope, Session
from api.live import websocket
from core.settings import LiveSettings, Settings
from core.tenancy import tenant_id
from eta.sites.model import SiteFacts
from eta.trips.model import StopState
from eta.trips.service import NewTrip, WantedStop
from tests.api.live.wire import Live


@pytest.fixture
def live_settings() -> LiveSettings:
    return LiveSettings(connections_per_principal=3, connections_per_tenant=4, recheck_s=0.1, drain_s=0)


@pytest.fixture
def api_settings(api_settings: Settings) -> Settings:
    allowed = api_settings.api.model_copy(update={"cors_origins": ["https://maps.example"]})
    return api_settings.model_copy(update={"api": allowed})


async def refused(live: Live, code: str, close: int) -> None:
    frame = await live.until("error")
    assert frame["code"] == code
    assert frame["detail"]
    assert await live.closed() == close


async def works(live: Live) -> None:
    assert (await live.subscribe())["channel"] == "vehicles"
    await live.close()


def viewer(api, **changes) -> str:
    """A token whose principal differs in `changes`."""
    token = api.tokens.of("acme", Role.VIEWER)
    api.tokens.known[token] = dataclasses.replace(api.tokens.known[token], **changes)
    return token


async def test_a_token_may_come_with_the_first_message(api):
    live = await Live.open(api)
    await live.send(type="auth", token=api.tokens.of("acme", Role.VIEWER))
    ready = await live.frame()
    assert ready == {"type": "ready", "tenant": "acme", "expires_at": None, "ping_s": 25.0}
    await works(live)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"type": "auth", "token": "made up"}, "unauthorized"),
        ({"type": "subscribe", "channel": "vehicles"}, "auth_required"),
        ({"type": "auth"}, "auth_required"),
        ("no JSON", "auth_required"),
    ],
)
async def test_without_a_good_sign_in_first_the_connection_ends(api, message, code):
    live = await Live.open(api)
    await live.socket.send(message if isinstance(message, str) else json.dumps(message))
    await refused(live, code, 4001)


async def test_who_says_nothing_is_not_waited_for(api, monkeypatch):
    monkeypatch.setattr(websocket, "_SIGN_IN_WITHIN_S", 0.2)
    await refused(await Live.open(api), "auth_required", 4001)


async def test_a_bad_token_in_the_header_ends_the_connection(api):
    live = await Live.open(api, headers={"Authorization": "Bearer nonsense"})
    await refused(live, "unauthorized", 4001)


async def test_the_scope_is_needed(api):
    token = api.tokens.of("acme", Role.INTEGRATION, scopes=frozenset({Scope.DEVICES_READ}))
    live = await Live.open(api, headers={"Authorization": f"Bearer {token}"})
    await refused(live, "insufficient_scope", 4003)


@pytest.mark.parametrize("tenant", ["zeta", "nobody", "NO%20NAME"])
async def test_another_tenant_is_not_there(api, tenant):
    token = api.tokens.of("acme", Role.TENANT_ADMIN)
    live = await Live.open(api, path=f"/v1/ws?tenant={tenant}", headers={"Authorization": f"Bearer {token}"})
    await refused(live, "tenant_not_found", 4004)


async def test_an_operator_says_whose_fleet(api):
    headers = {"Authorization": f"Bearer {api.tokens.of(None, Role.OPERATOR)}"}
    await refused(await Live.open(api, headers=headers), "tenant_required", 4004)
    await refused(await Live.open(api, path="/v1/ws?tenant=nobody", headers=headers), "tenant_not_found", 4004)
    live = await Live.open(api, path="/v1/ws?tenant=zeta", headers=headers)
    assert (await live.frame())["tenant"] == "zeta"
    await works(live)


async def test_nothing_of_another_tenant_comes_through(api, fleets):
    ours, theirs = fleets["acme"], fleets["zeta"]
    await ours.add("truck-1")
    await theirs.add("truck-1", "secret")
    lives = {tenant: await Live.open(api, api.tokens.of(tenant, Role.VIEWER)) for tenant in fleets}
    snapshots = {tenant: (await live.subscribe())["snapshot"] for tenant, live in lives.items()}
    assert [line["device"] for line in snapshots["acme"]] == ["truck-1"]
    await theirs.move("truck-1", "secret", lat=1.0)
    await ours.move("truck-1", lat=2.0)
    assert [event["data"]["lat"] for event in await lives["acme"].events(1)] == [2.0]
    assert {event["data"]["device"] for event in await lives["zeta"].events(2)} == {"truck-1", "secret"}
    for live in lives.values():
        await live.close()


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
async def test_a_page_of_a_foreign_origin_is_refused_with_the_handshake(api, origin):
    with pytest.raises(websockets.InvalidStatus) as refusal:
        await Live.open(api, api.tokens.of("acme", Role.VIEWER), origin=origin)
    assert refusal.value.response.status_code == 403
    assert json.loads(refusal.value.response.body)["code"] == "origin_refused"


async def test_pages_of_our_own_and_of_named_origins_may_connect(api):
    for origin in (api.url, "https://maps.example"):
        await works(await Live.open(api, api.tokens.of("acme", Role.VIEWER), origin=origin))


async def test_the_session_cookie_opens_a_connection_for_our_own_pages_alone(api, monkeypatch):
    principal = Principal(
        kind="user", id="u", tenant=tenant_id("acme"), role=Role.VIEWER, scopes=ROLE_SCOPES[Role.VIEWER]
    )

    async def by_session(_cookie: str) -> Session:
        return Session(principal, "csrf")

    monkeypatch.setattr(api.tokens, "by_session", by_session)
    api.tokens.known["session"] = principal
    cookie = {"Cookie": "milkrun_session=abc"}
    live = await Live.open(api, headers=cookie, origin=api.url)
    assert (await live.frame())["type"] == "ready"
    await works(live)
    monkeypatch.setattr(websocket, "_SIGN_IN_WITHIN_S", 0.2)
    await refused(await Live.open(api, headers=cookie, origin="https://maps.example"), "auth_required", 4001)


async def test_a_ticket_opens_one_connection(api):
    async with api.client("acme", Role.VIEWER) as client:
        answer = await client.post("/v1/live-tickets")
    assert answer.status_code == 201
    ticket = answer.json()["ticket"]
    live = await Live.open(api, path=f"/v1/ws?ticket={ticket}")
    assert (await live.frame())["tenant"] == "acme"
    await works(live)
    await refused(await Live.open(api, path=f"/v1/ws?ticket={ticket}"), "unauthorized", 4001)
    await refused(await Live.open(api, path="/v1/ws?ticket=made-up"), "unauthorized", 4001)


async def test_of_many_who_bring_the_same_ticket_one_comes_in(api):
    async with api.client("acme", Role.VIEWER) as client:
        ticket = (await client.post("/v1/live-tickets")).json()["ticket"]
    lives = [await Live.open(api, path=f"/v1/ws?ticket={ticket}") for _ in range(8)]
    first = [(await live.frame())["type"] for live in lives]
    assert sorted(first) == ["error"] * 7 + ["ready"]
    for live in lives:
        await live.close()


async def test_a_ticket_is_over_after_its_time(api, fleet):
    async with api.client("acme", Role.VIEWER) as client:
        answer = (await client.post("/v1/live-tickets")).json()
    ends = datetime.fromisoformat(answer["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=20) < ends <= timedelta(seconds=30)
    await fleet.conn.execute("UPDATE live_ticket SET expires_at = now() - interval '1 second'")
    await refused(await Live.open(api, path=f"/v1/ws?ticket={answer['ticket']}"), "unauthorized", 4001)


async def test_a_ticket_is_made_for_those_who_may_follow(api):
    scopes = frozenset({Scope.DEVICES_READ})
    async with api.client("acme", Role.INTEGRATION, scopes=scopes) as client:
        assert (await client.post("/v1/live-tickets")).status_code == 403
    async with httpx.AsyncClient(base_url=api.url) as client:
        assert (await client.post("/v1/live-tickets")).status_code == 401


async def test_a_connection_ends_with_its_token(api):
    ends = datetime.now(UTC) + timedelta(seconds=1)
    live = await Live.open(api, headers={"Authorization": f"Bearer {viewer(api, expires_at=ends)}"})
    assert abs((await live.frame())["expires_at"] - ends.timestamp() * 1000) <= 1
    await live.subscribe()
    await refused(live, "auth_expired", 4001)


async def test_a_fresh_token_carries_a_connection_on(api, fleet):
    await fleet.add("truck-1")
    first = viewer(api, id="same", expires_at=datetime.now(UTC) + timedelta(seconds=1.5))
    fresh = viewer(api, id="same", expires_at=datetime.now(UTC) + timedelta(seconds=3600))
    live = await Live.open(api, first)
    await live.subscribe()
    await live.send(type="auth", token=fresh)
    assert (await live.until("ready"))["expires_at"] > 0
    await asyncio.sleep(2)
    await fleet.move("truck-1")
    await live.events(1)
    await live.close()


@pytest.mark.parametrize(
    "changes", [{"id": "another"}, {"role": Role.DISPATCHER}, {"tenant": tenant_id("zeta")}, {"generation": 2}]
)
async def test_a_fresh_token_of_somebody_else_ends_the_connection(api, changes):
    live = await Live.open(api, viewer(api, id="one"))
    await live.send(type="auth", token=viewer(api, **{"id": "one"} | changes))
    await refused(live, "auth_mismatch", 4003)


async def test_a_fresh_token_that_is_no_good_ends_the_connection(api):
    live = await Live.open(api, viewer(api))
    await live.send(type="auth", token="made up")
    await refused(live, "unauthorized", 4001)


async def test_who_is_disabled_is_cut_and_others_are_not(api, fleet):
    await fleet.add("truck-1")
    gone, stays = viewer(api), viewer(api)
    lives = {token: await Live.open(api, token) for token in (gone, stays)}
    for live in lives.values():
        await live.subscribe()
    del api.tokens.known[gone]
    await refused(lives[gone], "revoked", 4003)
    await fleet.move("truck-1")
    await lives[stays].events(1)
    await lives[stays].close()


async def test_connections_of_one_and_of_all_are_limited(api):
    token = viewer(api)
    lives = [await Live.open(api, token) for _ in range(3)]
    await refused(await Live.open(api, headers={"Authorization": f"Bearer {token}"}), "too_many_connections", 4029)
    lives.append(await Live.open(api, viewer(api)))
    other = {"Authorization": f"Bearer {viewer(api)}"}
    await refused(await Live.open(api, headers=other), "too_many_connections", 4029)
    async with httpx.AsyncClient(base_url=api.url, headers=other) as client:
        answer = await client.get("/v1/stream", params={"channel": "vehicles"})
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_connections")
    assert int(answer.headers["Retry-After"]) >= 30
    # Another tenant has room, and so has this one once somebody leaves.
    await works(await Live.open(api, api.tokens.of("zeta", Role.VIEWER)))
    await lives.pop(0).close()
    async with asyncio.timeout(10):
        while True:
            live = await Live.open(api, headers={"Authorization": f"Bearer {token}"})
            if (await live.frame())["type"] == "ready":
                break
            await live.closed()
    lives.append(live)
    for live in lives:
        await live.close()


def farmer(api) -> str:
    token = api.tokens.of("acme", Role.SITE)
    api.tokens.known[token] = dataclasses.replace(api.tokens.known[token], sites=frozenset({"farm-1"}))
    return token


async def test_a_site_sees_the_truck_that_is_on_its_way_and_no_other(api, fleet):
    await fleet.add("truck-1", "truck-2")
    acme, trips = tenant_id("acme"), api.services.trips
    for number in (1, 2):
        await api.services.places.add_site(acme, SiteFacts(name="Farm", code=f"farm-{number}", lat=47.0, lon=9.5))
    stops, day = [WantedStop(site="farm-2"), WantedStop(site="farm-1")], date(2026, 8, 3)
    trip = await trips.add(acme, NewTrip(day=day, stops=stops, device="truck-1"))
    other = await trips.add(acme, NewTrip(day=day, stops=stops[:1], device="truck-2"))
    await trips.start(acme, other.id)
    live = await Live.open(api, farmer(api))
    first = await live.subscribe()
    assert first["snapshot"] == []
    await trips.start(acme, trip.id)
    again = await live.until("subscribed")
    assert (again["recovered"], again["reason"]) == (False, "rights")
    assert [line["device"] for line in again["snapshot"]] == ["truck-1"]
    await fleet.move("truck-1", "truck-2")
    await fleet.report("truck-2", "door_open")
    assert [event["data"]["device"] for event in await live.events(1)] == ["truck-1"]
    # Asking for the other one by name changes nothing, and what was missed is not replayed to it.
    place = {"epoch": first["epoch"], "offset": first["offset"]}
    asked = await live.subscribe(filter={"devices": ["truck-2"]}, **place)
    assert (asked["snapshot"], asked["recovered"], asked["reason"]) == ([], False, "rights")
    await trips.change_stop(acme, trip.id, trip.stops[1].id, state=StopState.SERVED)
    assert (await live.subscribe())["snapshot"] == []
    await live.close()


async def test_while_no_trip_is_on_its_way_a_site_sees_nothing(api, fleet):
    await fleet.add("truck-1")
    live = await Live.open(api, farmer(api))
    assert (await live.subscribe())["snapshot"] == []
    await fleet.move("truck-1")
    await live.send(type="ping", at=7)
    assert await live.frame() == {"type": "pong", "at": 7}
    await live.close()
