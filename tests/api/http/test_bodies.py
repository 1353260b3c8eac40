import asyncio
import json

import pytest

from core.settings import ApiSettings, Settings
from tests.api.http.served import Kernel, served

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "at", "said"),
    [
        (b'{"name": "a\\u0000b"}', "name", "a NUL character (\\u0000) cannot be stored"),
        (b'{"name": "a\\ud800b"}', "name", "half of a surrogate pair"),
        (b'{"name": "a", "x": [1, {"y": "\\udfff"}]}', "x.1.y", "half of a surrogate pair"),
        (b'{"a\\u0000": 1}', "", "a NUL character"),
        (b'{"name": "a", "litres": NaN}', "", "NaN is no JSON number"),
        (b'{"name": "a", "litres": -Infinity}', "", "-Infinity is no JSON number"),
        (b'{"name": ', "", "this is not JSON"),
        (b"\xff\xfe", "", "this is not JSON"),
        (b'{"name": "\xff"}', "", "this is not JSON"),
        (b"[" * 100_000, "", "this is nested too deeply"),
        (b'{"name": ' + b"1" * 5000 + b"}", "", "this is not JSON"),
        (b"[1]", "", "this must be a JSON object"),
        (b'"text"', "", "this must be a JSON object"),
        (b"null", "", "this must be a JSON object"),
        (b"", "", "this is needed"),
        (b"{}", "name", "this is needed"),
    ],
)
async def test_a_body_that_cannot_be_taken_is_refused_in_words(kernel: Kernel, body: bytes, at: str, said: str):
    async with kernel.client("acme") as client:
        answer = await client.post("/v1/churns", content=body, headers=JSON)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "invalid_request")
    [error, *_] = problem["errors"]
    assert (error["in"], error["at"]) == ("body", at)
    assert said in error["message"]
    assert said in problem["detail"]
    assert kernel.dairy.made == []


async def test_what_only_looks_like_it_is_taken_as_it_is(kernel: Kernel):
    name = "\\u0000 \\ud800 \U0001f69a ü"
    async with kernel.client("acme") as client:
        for body in (json.dumps({"name": name}), json.dumps({"name": name + "2"}, ensure_ascii=False)):
            assert (await client.post("/v1/churns", content=body.encode(), headers=JSON)).status_code == 201
    assert kernel.dairy.made == [name, name + "2"]


@pytest.mark.parametrize("path", ["/v1/churns/a%00b", "/v1/churns?x=%00", "/v1/churns/%ff", "/v1/churns?x=%ed%a0%80"])
async def test_an_address_with_nul_or_broken_text_is_refused(kernel: Kernel, path: str):
    async with kernel.client("acme") as client:
        answer = await client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_a_body_over_the_limit_is_refused_announced_or_not(api_settings: Settings):
    settings = api_settings.model_copy(update={"api": ApiSettings(max_body_bytes=2000)})

    async def pieces():
        for _ in range(30):
            yield b"x" * 100

    async with served(settings) as kernel, kernel.client("acme") as client:
        for body in (b"x" * 2001, pieces()):
            answer = await client.post("/v1/churns", content=body, headers=JSON)
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        fits = json.dumps({"name": "x" * 1900})
        assert (await client.post("/v1/churns", content=fits, headers=JSON)).status_code == 201


async def test_a_caller_who_hangs_up_in_the_middle_leaves_nothing_behind(kernel: Kernel):
    host, port = kernel.url.removeprefix("http://").split(":")
    _reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /v1/churns HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with kernel.client("acme") as client:
        assert (await client.get("/v1/churns")).json()["items"] == []
    assert kernel.dairy.made == []
