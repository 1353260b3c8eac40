import io
import json
import re
from contextlib import redirect_stderr

import pytest
import structlog
from prometheus_client import REGISTRY

from api.access import Role
from core import logs
from core.settings import ApiSettings, Settings
from tests.api.http.served import Kernel, served


async def test_a_request_keeps_its_own_id_where_it_is_short_and_plain(kernel: Kernel):
    async with kernel.anybody() as client:
        mine = await client.get("/v1/long", headers={"X-Request-ID": "round-7.42"})
        assert mine.headers["x-request-id"] == "round-7.42"
        refused = await client.get("/v1/nothing", headers={"X-Request-ID": "round-8"})
        assert refused.json()["request_id"] == refused.headers["x-request-id"] == "round-8"
        for foreign in ("", "a b", "x" * 65, "<script>", "a\tb"):
            answer = await client.get("/v1/long", headers={"X-Request-ID": foreign})
            assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_a_line_is_logged_for_each_request_and_no_secret_with_it(kernel: Kernel):
    token = kernel.tokens.of("acme", Role.VIEWER)
    written = io.StringIO()
    with redirect_stderr(written):
        logs.configure(level="info", json=True, process="api")
        async with kernel.bearing(token) as client:
            headers = {"X-Request-ID": "r1", "Cookie": "milkrun_session=hunter2"}
            await client.get("/v1/churns/a?ticket=hunter3", headers=headers)
            await client.post("/v1/churns", json={"name": "hunter4"})
            await client.get("/healthz")
    structlog.reset_defaults()
    read, refused = [json.loads(line) for line in written.getvalue().splitlines()]
    assert {key: read[key] for key in ("event", "method", "path", "route", "status", "tenant", "request_id")} == {
        "event": "api.request",
        "method": "GET",
        "path": "/v1/churns/a",
        "route": "/v1/churns/{name}",
        "status": 200,
        "tenant": "acme",
        "request_id": "r1",
    }
    assert read["principal"].startswith("client:")
    assert read["ms"] > 0
    assert (refused["status"], refused["problem"]) == (403, "insufficient_scope")
    shown = written.getvalue().replace(f'"principal": "client:{token}"', "")
    assert not re.search(f"hunter|{token}", shown)


async def test_an_error_nobody_expected_is_a_500_that_tells_the_log_alone_what_it_was(kernel: Kernel):
    written = io.StringIO()
    with redirect_stderr(written):
        logs.configure(level="info", json=True, process="api")
        async with kernel.anybody() as client:
            answer = await client.get("/v1/bug")
    structlog.reset_defaults()
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "hunter2" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    bug, request = [json.loads(line) for line in written.getvalue().splitlines()]
    assert (bug["event"], bug["request_id"]) == ("api.bug", answer.json()["request_id"])
    assert "hunter2" in bug["exception"]
    assert (request["event"], request["status"]) == ("api.request", 500)


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_requests_are_counted_by_template_and_never_by_what_a_caller_made_up(kernel: Kernel):
    template = {"method": "GET", "route": "/v1/churns/{name}"}
    before = counted("milkrun_api_requests_total", **template, status="200")
    timed = counted("milkrun_api_request_seconds_count", **template)
    nowhere = counted("milkrun_api_requests_total", method="GET", route="none", status="404")
    async with kernel.client("acme") as client:
        for name in ("a", "b", "c"):
            await client.get(f"/v1/churns/{name}")
            await client.get(f"/v1/nowhere/{name}")
    assert counted("milkrun_api_requests_total", **template, status="200") == before + 3
    assert counted("milkrun_api_request_seconds_count", **template) == timed + 3
    assert counted("milkrun_api_requests_total", method="GET", route="none", status="404") == nowhere + 3
    assert counted("milkrun_api_in_flight") == 0


async def test_every_answer_carries_what_a_browser_needs_to_be_told(kernel: Kernel):
    async with kernel.client("acme") as client:
        for answer in (
            await client.get("/v1/churns"),
            await client.get("/v1/nothing"),
            await client.post("/v1/churns"),
        ):
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["referrer-policy"] == "same-origin"
            assert answer.headers["cache-control"] == "no-store"
            assert "strict-transport-security" not in answer.headers
            assert "server" not in answer.headers


async def test_behind_https_browsers_are_told_to_stay_there(api_settings: Settings):
    settings = api_settings.model_copy(update={"api": ApiSettings(public_url="https://milkrun.example")})
    async with served(settings) as kernel, kernel.anybody() as client:
        assert "max-age=31536000" in (await client.get("/v1/long")).headers["strict-transport-security"]


async def test_long_answers_are_packed_for_those_who_can_unpack(kernel: Kernel):
    async with kernel.anybody() as client:
        packed = await client.get("/v1/long", headers={"Accept-Encoding": "gzip"})
        plain = await client.get("/v1/long", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["vary"]
    assert "content-encoding" not in plain.headers
    assert packed.json() == plain.json() == list(range(2000))


async def test_a_head_is_a_get_without_its_body(kernel: Kernel):
    async with kernel.client("acme") as client:
        get, head = await client.get("/v1/churns/a"), await client.head("/v1/churns/a")
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "content-type", "etag"):
        assert head.headers[name] == get.headers[name]


async def test_a_method_that_is_not_there_is_told_those_that_are(kernel: Kernel):
    async with kernel.client("acme") as client:
        for method in ("PUT", "DELETE", "PROPFIND"):
            answer = await client.request(method, "/v1/churns")
            assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
            assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"
        asked = await client.options("/v1/churns/a")
        assert (asked.status_code, asked.content, asked.headers["allow"]) == (204, b"", "GET, HEAD, OPTIONS, PATCH")
        assert (await client.options("/v1/nothing")).status_code == 404


@pytest.mark.parametrize("origin", ["https://fleet.example", "https://evil.example"])
async def test_other_sites_may_call_where_the_setting_names_them(api_settings: Settings, origin: str):
    settings = api_settings.model_copy(update={"api": ApiSettings(cors_origins=["https://fleet.example"])})
    may = origin == "https://fleet.example"
    async with served(settings) as kernel, kernel.client("acme") as client:
        asked = await client.options(
            "/v1/churns",
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization, idempotency-key",
            },
        )
        answer = await client.get("/v1/churns", headers={"Origin": origin})
    assert (asked.status_code == 200) is may
    assert (answer.headers.get("access-control-allow-origin") == origin) is may
    assert "access-control-allow-credentials" not in answer.headers
    if may:
        assert "RateLimit" in answer.headers["access-control-expose-headers"]


async def test_without_the_setting_no_other_site_may(kernel: Kernel):
    async with kernel.client("acme") as client:
        answer = await client.get("/v1/churns", headers={"Origin": "https://fleet.example"})
    assert "access-control-allow-origin" not in answer.headers
