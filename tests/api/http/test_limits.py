import asyncio
import re

import httpx

from api.access import Role
from api.http.limits import Limits
from core.limits import Limiter
from core.settings import ApiSettings, RedisSettings, Settings
from tests.api.http.served import served


def limited(settings: Settings, **limits: float) -> Settings:
    """Limits that no test machine refills while a test runs, but for those named."""
    still = {"client_rate": 0.01, "client_burst": 1000, "tenant_rate": 0.01, "tenant_burst": 1000}
    still |= {"address_rate": 0.01, "address_burst": 1000}
    return settings.model_copy(update={"api": ApiSettings(**still | limits)})


async def test_every_answer_tells_the_limits_and_what_is_left(api_settings: Settings):
    settings = limited(api_settings, client_burst=5, tenant_burst=50)
    async with served(settings) as kernel, kernel.client("acme") as client:
        first = await client.get("/v1/churns")
        refused = await client.get("/v1/churns?limit=0")
        bug = await client.get("/v1/bug")
    assert first.headers["ratelimit-policy"] == '"client";q=5;w=500, "tenant";q=50;w=5000'
    assert re.fullmatch(r'"client";r=4;t=100, "tenant";r=49;t=100', first.headers["ratelimit"])
    assert refused.headers["ratelimit"].startswith('"client";r=3;')
    assert bug.headers["ratelimit-policy"] == '"address";q=1000;w=100000'


async def test_over_the_limit_is_429_with_the_time_to_come_back(api_settings: Settings):
    async with served(limited(api_settings, client_burst=3)) as kernel, kernel.client("acme") as client:
        answers = [await client.get("/v1/churns") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    refused = answers[-1]
    assert refused.json()["code"] == "rate_limited"
    assert 90 <= int(refused.headers["retry-after"]) <= 101
    assert '"client";r=0' in refused.headers["ratelimit"]


async def test_whoever_comes_back_after_retry_after_passes(api_settings: Settings):
    settings = limited(api_settings, client_rate=2.0, client_burst=1)
    async with served(settings) as kernel, kernel.client("acme") as client:
        assert (await client.get("/v1/churns")).status_code == 200
        while (refused := await client.get("/v1/churns")).status_code == 200:
            pass
        await asyncio.sleep(int(refused.headers["retry-after"]))
        assert (await client.get("/v1/churns")).status_code == 200


async def test_a_tenant_over_its_limit_takes_nothing_from_another(api_settings: Settings):
    settings = limited(api_settings, client_burst=40, tenant_burst=60)
    async with served(settings) as kernel:
        noisy = [kernel.client("acme") for _ in range(3)]
        quiet = kernel.client("zeta")
        loud = await asyncio.gather(*(client.get("/v1/churns") for client in noisy for _ in range(40)))
        calm = await asyncio.gather(*(quiet.get("/v1/churns") for _ in range(40)))
        for client in (*noisy, quiet):
            await client.aclose()
    assert sum(answer.status_code == 200 for answer in loud) == 60
    assert {answer.status_code for answer in loud} == {200, 429}
    assert {answer.status_code for answer in calm} == {200}
    assert any("this tenant sends more" in a.json()["detail"] for a in loud if a.status_code == 429)


async def test_an_operator_at_work_in_a_tenant_does_not_use_up_its_limit(api_settings: Settings):
    async with served(limited(api_settings, tenant_burst=2)) as kernel:
        async with kernel.client(None, Role.OPERATOR) as operator:
            for _ in range(5):
                answer = await operator.get("/v1/churns", headers={"Milkrun-Tenant": "acme"})
                assert answer.status_code == 200
        async with kernel.client("acme") as client:
            assert (await client.get("/v1/churns")).headers["ratelimit"].endswith("r=1;t=100")


async def test_who_is_not_signed_in_is_limited_by_his_address_and_so_is_guessing(api_settings: Settings):
    async with served(limited(api_settings, address_burst=4)) as kernel:
        async with kernel.anybody() as nobody:
            assert (await nobody.get("/v1/long")).headers["ratelimit"] == '"address";r=3;t=100'
            guesses = [await nobody.get("/v1/churns", headers={"Authorization": f"Bearer {n}"}) for n in range(5)]
        assert [answer.status_code for answer in guesses] == [401, 401, 401, 429, 429]
        async with kernel.client("acme") as client:
            assert (await client.get("/v1/churns")).status_code == 200


async def test_whoever_looks_for_what_is_not_there_is_limited_and_signing_in_from_there_is_not(api_settings: Settings):
    async with served(limited(api_settings, address_burst=3)) as kernel, kernel.anybody() as nobody:
        answers = [await nobody.get(f"/v1/{n}.php") for n in range(3)]
        answers += [await nobody.post("/admin"), await nobody.get("/v1/backup.zip")]
        assert [answer.status_code for answer in answers] == [404, 404, 404, 429, 429]
        assert answers[0].headers["ratelimit"] == '"address";r=2;t=100'
        assert answers[-1].json()["code"] == "rate_limited"
        assert (await nobody.get("/v1/long")).status_code == 200


async def test_an_address_cannot_be_made_up(api_settings: Settings):
    async with served(limited(api_settings, address_burst=2)) as kernel, kernel.anybody() as nobody:
        answers = [await nobody.get("/v1/long", headers={"X-Forwarded-For": f"192.0.2.{n}"}) for n in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]


async def test_a_proxy_we_trust_is_believed(api_settings: Settings):
    settings = limited(api_settings, address_burst=2, trusted_proxies=["127.0.0.1"])
    async with served(settings) as kernel, kernel.anybody() as nobody:
        answers = [await nobody.get("/v1/long", headers={"X-Forwarded-For": f"192.0.2.{n}"}) for n in range(4)]
        more = [await nobody.get("/v1/long", headers={"X-Forwarded-For": "192.0.2.9"}) for _ in range(3)]
    assert [answer.status_code for answer in (*answers, *more)] == [200, 200, 200, 200, 200, 200, 429]


async def test_without_redis_nothing_is_limited_and_nobody_waits_long(api_settings: Settings, free_port):
    settings = limited(api_settings, client_burst=1)
    nowhere = Limits(Limiter(RedisSettings(url=f"redis://127.0.0.1:{free_port()}/0")), settings.api)
    async with served(settings, limits=nowhere) as kernel, kernel.client("acme") as client:
        answers: list[httpx.Response] = [await client.get("/v1/churns", timeout=5) for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200}
    assert all("ratelimit" not in answer.headers for answer in answers)
