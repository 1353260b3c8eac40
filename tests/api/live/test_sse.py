"""The same streams as Server-Sent Events."""

import asyncio
import json
from contextlib import aclosing

import httpx
import pytest

from api.access import Role, Scope
from core.settings import LiveSettings
from tests.api.live.wire import Live, sse


@pytest.fixture
def live_settings() -> LiveSettings:
    return LiveSettings(recheck_s=0.1, drain_s=1, ping_s=0.3)


async def test_a_stream_begins_with_a_snapshot_and_goes_on_with_what_websocket_has(api, fleet):
    await fleet.add("truck-1", "truck-2")
    live = await Live.open(api, api.tokens.of("acme", Role.VIEWER))
    wanted = await live.subscribe()
    async with api.client("acme", Role.VIEWER) as client, aclosing(sse(client, params={"channel": "vehicles"})) as told:
        event, id_, data = await anext(told)
        assert (event, id_, data) == ("subscribed", f"{wanted['epoch']}:{wanted['offset']}", wanted)
        await fleet.move("truck-1", "truck-2")
        event, id_, data = await anext(told)
        assert data == await live.until("events")
        assert (event, id_) == ("events", f"{data['epoch']}:{data['offset']}")
    await live.close()


async def test_a_stream_resumes_after_its_last_event_id(api, fleet):
    await fleet.add("truck-1")
    async with api.client("acme", Role.VIEWER) as client:
        async with aclosing(sse(client, params={"channel": "vehicles"})) as told:
            await anext(told)
            await fleet.move("truck-1")
            _, last, _ = await anext(told)
        live = await Live.open(api, api.tokens.of("acme", Role.VIEWER))
        await live.subscribe()
        for n in range(3):
            await fleet.move("truck-1", lat=47.0 + n)
        epoch, _, offset = last.partition(":")
        resumed = {"channel": "vehicles"}
        for how in ({"headers": {"Last-Event-ID": last}}, {"params": resumed | {"last_event_id": last}}):
            async with aclosing(sse(client, **{"params": resumed} | how)) as told:
                event, _, data = await anext(told)
                assert (event, data["recovered"], data["epoch"], data["offset"]) == (
                    *("subscribed", True),
                    *(epoch, int(offset)),
                )
                missed: list[dict] = []
                while len(missed) < 3:
                    missed += (await anext(told))[2]["events"]
                assert [each["data"]["lat"] for each in missed] == [47.0, 48.0, 49.0]
                assert [each["offset"] for each in missed] == [int(offset) + n for n in (1, 2, 3)]
        async with aclosing(sse(client, params=resumed, headers={"Last-Event-ID": "abc123:7"})) as told:
            _, _, data = await anext(told)
            assert (data["recovered"], data["reason"]) == (False, "epoch")
            # The snapshot may be one that others just got; then the events after its position follow.
            assert [line["device"] for line in data["snapshot"]] == ["truck-1"]
            if data["offset"] < int(offset) + 3:
                while (data := (await anext(told))[2])["offset"] < int(offset) + 3:
                    pass
                assert data["events"][-1]["data"]["lat"] == 49.0
            else:
                assert data["snapshot"][0]["position"]["lat"] == 49.0
        await live.close()


async def test_a_stream_takes_the_same_filters(api, fleet):
    await fleet.add("a", labels={"depot": "north"})
    await fleet.add("b", "c")
    await fleet.fix([("a", 47.5, 9.5), ("b", 47.5, 9.5), ("c", 40.0, 9.5)])
    async with api.client("acme", Role.VIEWER) as client:
        for parts, names in (
            ({"device": ["a", "c"]}, ["a", "c"]),
            ({"label": "depot:north"}, ["a"]),
            ({"bbox": "9,47,10,48"}, ["a", "b"]),
            ({"bbox": "9.0,47.0,10.0,48.0", "device": ["b", "c"]}, ["b"]),
        ):
            async with aclosing(sse(client, params={"channel": "vehicles"} | parts)) as told:
                _, _, data = await anext(told)
                assert [line["device"] for line in data["snapshot"]] == names


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"channel": "weather"},
        {"channel": "vehicles", "bbox": "1,2,3"},
        {"channel": "vehicles", "bbox": "a,b,c,d"},
        {"channel": "vehicles", "bbox": "0,10,1,5"},
        {"channel": "vehicles", "bbox": "0,0,999,5"},
        {"channel": "vehicles", "label": "north"},
        {"channel": "vehicles", "device": "a b"},
        {"channel": "vehicles", "last_event_id": "812"},
        {"channel": "vehicles", "last_event_id": ":812"},
        {"channel": "vehicles", "last_event_id": "abc:-1"},
        {"channel": "vehicles", "last_event_id": "abc:\N{ARABIC-INDIC DIGIT ONE}"},
    ],
)
async def test_what_is_wrong_with_a_request_is_said_before_the_stream(api, params):
    async with api.client("acme", Role.VIEWER) as client:
        answer = await client.get("/v1/stream", params=params)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert api.services.live.guard.open == 0


async def test_who_may_not_follow_is_told_before_the_stream(api):
    params = {"channel": "vehicles"}
    async with httpx.AsyncClient(base_url=api.url) as client:
        assert (await client.get("/v1/stream", params=params)).status_code == 401
    async with api.client("acme", Role.INTEGRATION, scopes=frozenset({Scope.DEVICES_READ})) as client:
        assert (await client.get("/v1/stream", params=params)).status_code == 403
    async with api.client("acme", Role.VIEWER) as client:
        assert (await client.get("/v1/stream", params=params | {"tenant": "zeta"})).status_code == 404


async def test_events_are_not_held_back_by_compression_and_come_with_signs_of_life(api, fleet):
    await fleet.add(*[f"truck-{n}" for n in range(100)])
    async with api.client("acme", Role.VIEWER) as client:
        headers = {"Accept-Encoding": "gzip"}
        async with client.stream("GET", "/v1/stream", params={"channel": "vehicles"}, headers=headers) as answer:
            assert "content-encoding" not in answer.headers
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-accel-buffering"] == "no"
            lines = answer.aiter_lines()
            async with asyncio.timeout(10):
                assert await anext(lines) == "retry: 2000"
                while await anext(lines) != ": ping":
                    pass
                assert (await anext(lines)).startswith("id: ")


async def test_a_stream_whose_right_is_taken_away_ends_with_the_reason(api):
    async with api.client("acme", Role.VIEWER) as client, aclosing(sse(client, params={"channel": "vehicles"})) as told:
        await anext(told)
        api.tokens.known.clear()
        event, _, data = await anext(told)
        assert (event, data["code"]) == ("error", "revoked")
        with pytest.raises(StopAsyncIteration):
            await anext(told)


async def test_a_client_that_goes_away_is_forgotten(api):
    async with api.client("acme", Role.VIEWER) as client, aclosing(sse(client, params={"channel": "vehicles"})) as told:
        await anext(told)
        assert api.services.live.guard.open == 1
    async with asyncio.timeout(10):
        while api.services.live.guard.open:  # noqa: ASYNC110  the server notices in its own time
            await asyncio.sleep(0.02)
    assert api.services.live.hub._feeds.popitem()[1].subscriptions == []


async def test_a_stopping_server_says_when_to_come_back(api):
    async with api.client("acme", Role.VIEWER) as client:
        async with client.stream("GET", "/v1/stream", params={"channel": "events"}) as answer:
            lines = answer.aiter_lines()
            while not (await anext(lines)).startswith("data:"):
                pass
            api.services.live.drain()
            rest = [line async for line in lines if line]
        told = [json.loads(line.removeprefix("data: ")) for line in rest if line.startswith("data: {")]
        (reconnect,) = [each for each in told if each["type"] == "reconnect"]
        assert 0 <= reconnect["after_ms"] <= 1000
        assert rest[-1] == f"retry: {reconnect['after_ms']}"
        answer = await client.get("/v1/stream", params={"channel": "events"})
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        live = await Live.open(api, headers={"Authorization": client.headers["Authorization"]})
        assert (await live.until("error"))["code"] == "unavailable"
        assert await live.closed() == 1013
