import httpx

from cli.stack.servers.postgres import Postgres
from core.migrate import ROLES, grant_logins, migrate
from core.settings import DatabaseSettings, RedisSettings, Settings
from tests.api.http.served import Kernel, served


async def test_a_process_that_is_well_says_so(kernel: Kernel):
    async with kernel.anybody() as client:
        for path in ("/healthz", "/readyz"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_what_does_not_answer_is_named_and_the_process_lives(
    api_settings: Settings, durable_postgres: Postgres, durable_redis
):
    migrate(durable_postgres.url)
    logins = grant_logins(durable_postgres.url, dict.fromkeys(ROLES, "p"))
    database = DatabaseSettings(
        url=durable_postgres.url,
        app_url=logins["milkrun_app"],
        ingest_url=logins["milkrun_ingest"],
        operator_url=logins["milkrun_operator"],
    )
    settings = api_settings.model_copy(update={"database": database, "redis": RedisSettings(url=durable_redis.url)})
    async with served(settings) as kernel, kernel.anybody() as client:
        assert (await client.get("/readyz")).status_code == 200
        durable_redis.child.kill()
        await expect(client, "no answer from: redis")
        durable_postgres.child.kill()
        await expect(client, "no answer from: database, redis")
        durable_redis.start()
        durable_postgres.start()
        async with client.stream("GET", "/healthz") as answer:
            assert answer.status_code == 200
        while (await client.get("/readyz", timeout=60)).status_code != 200:
            pass


async def expect(client: httpx.AsyncClient, detail: str) -> None:
    answer = await client.get("/readyz", timeout=60)
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert answer.json()["detail"] == detail
    assert (await client.get("/healthz")).status_code == 200
