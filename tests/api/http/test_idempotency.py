import asyncio
import uuid
from datetime import timedelta

import psycopg
import pytest

from api.access import Role
from api.http.store import RequestStore
from core.settings import Settings
from tests.api.http.served import Kernel, served

KEY = {"Idempotency-Key": "0b9f0c1e-4a51-4f0e-9d53-1f2b3c4d5e6f"}


async def test_a_repeat_gets_the_first_answer_and_nothing_is_made_twice(kernel: Kernel):
    async with kernel.client("acme") as client:
        first = await client.post("/v1/churns", json={"name": "a"}, headers=KEY)
        again = await client.post("/v1/churns", json={"name": "a"}, headers=KEY)
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert again.headers["location"] == "/v1/churns/a"
    assert again.headers["content-type"] == "application/json"
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert kernel.dairy.made == ["a"]


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/churns", {"name": "b"}), ("/v1/churns?tenant=acme", {"name": "a"})],
)
async def test_the_same_key_with_another_request_is_refused(kernel: Kernel, path: str, body: dict):
    async with kernel.client("acme") as client:
        await client.post("/v1/churns", json={"name": "a"}, headers=KEY)
        other = await client.post(path, json=body, headers=KEY)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert kernel.dairy.made == ["a"]


async def test_a_twin_that_comes_while_the_first_is_at_work_is_told_so(kernel: Kernel):
    async with kernel.client("acme") as client:
        both = {asyncio.create_task(client.post("/v1/churns", json={"name": "slow"}, headers=KEY)) for _ in range(2)}
        [twin], [first] = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        assert (twin.result().status_code, twin.result().json()["code"]) == (409, "idempotency_in_progress")
        kernel.dairy.go_on.set()
        assert (await first).status_code == 201
        assert (await client.post("/v1/churns", json={"name": "slow"}, headers=KEY)).content == (await first).content
    assert kernel.dairy.made == ["slow"]


async def test_of_many_twins_at_once_one_takes_effect(kernel: Kernel):
    async with kernel.client("acme") as client:
        answers = await asyncio.gather(*(client.post("/v1/churns", json={"name": "a"}, headers=KEY) for _ in range(20)))
    assert kernel.dairy.made == ["a"]
    assert {a.status_code for a in answers} <= {201, 409}
    assert len({a.content for a in answers if a.status_code == 201}) == 1
    assert {a.json()["code"] for a in answers if a.status_code == 409} <= {"idempotency_in_progress"}


async def test_a_key_belongs_to_its_caller_and_his_tenant(kernel: Kernel):
    for tenant, name in (("acme", "a"), ("acme", "b"), ("zeta", "c")):
        async with kernel.client(tenant) as client:
            answer = await client.post("/v1/churns", json={"name": name}, headers=KEY)
            assert (answer.status_code, answer.json()["name"]) == (201, name)
    async with kernel.client(None, Role.OPERATOR) as client:
        for tenant, name in (("acme", "d"), ("zeta", "e"), (None, "f")):
            named = KEY | ({"Milkrun-Tenant": tenant} if tenant else {})
            assert (await client.post("/v1/churns", json={"name": name}, headers=named)).status_code == 201
            repeated = await client.post("/v1/churns", json={"name": name}, headers=named)
            assert repeated.headers["idempotency-replayed"] == "true"
    assert kernel.dairy.made == ["a", "b", "c", "d", "e", "f"]


async def test_a_refusal_that_is_final_is_remembered_and_one_that_is_not_is_tried_again(kernel: Kernel):
    kernel.dairy.made.append("taken")
    async with kernel.client("acme") as client:
        conflict = await client.post("/v1/churns", json={"name": "taken"}, headers=KEY)
        kernel.dairy.made.remove("taken")
        again = await client.post("/v1/churns", json={"name": "taken"}, headers=KEY)
        assert (conflict.status_code, again.status_code, again.content) == (409, 409, conflict.content)

        other = {"Idempotency-Key": "other"}
        assert (await client.post("/v1/churns", json={"litres": 1}, headers=other)).status_code == 422
        assert (await client.post("/v1/churns", json={"name": "x"}, headers=other)).status_code == 201

        third = {"Idempotency-Key": "third"}
        assert (await client.post("/v1/churns", json={"name": "bug"}, headers=third)).status_code == 500
        assert (await client.post("/v1/churns", json={"name": "bug"}, headers=third)).status_code == 201


async def test_without_rights_no_key_is_taken(kernel: Kernel):
    async with kernel.client("acme", Role.VIEWER) as viewer:
        assert (await viewer.post("/v1/churns", json={"name": "a"}, headers=KEY)).status_code == 403
    async with kernel.anybody() as nobody:
        refused = await nobody.post("/v1/churns", json={"name": "a"}, headers=KEY)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    assert await rows(kernel) == []


@pytest.mark.parametrize("key", ["", "a b", "ü", "x" * 256])
async def test_a_key_that_is_no_key_is_refused_in_words(kernel: Kernel, key: str):
    async with kernel.client("acme") as client:
        answer = await client.post("/v1/churns", json={"name": "a"}, headers={"Idempotency-Key": key.encode()})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert "255 printable ASCII" in answer.json()["detail"]


async def test_what_is_kept_does_not_show_the_answer_or_the_key(kernel: Kernel):
    async with kernel.client("acme") as client:
        await client.post("/v1/churns", json={"name": "top-secret"}, headers=KEY)
    [row] = await rows(kernel)
    kept = b"".join(bytes(v) if isinstance(v, memoryview | bytes) else str(v).encode() for v in row)
    assert b"201" in kept
    assert b'"litres"' not in kept
    assert KEY["Idempotency-Key"].encode() not in kept


async def test_a_key_whose_process_died_is_free_again_after_a_minute(kernel: Kernel):
    async with kernel.client("acme") as client:
        await client.post("/v1/churns", json={"name": "a"}, headers=KEY)
        await change(kernel, "UPDATE idempotency SET status = NULL, response = NULL")
        waiting = await client.post("/v1/churns", json={"name": "a"}, headers=KEY)
        assert waiting.json()["code"] == "idempotency_in_progress"
        await change(kernel, "UPDATE idempotency SET created_at = created_at - interval '61 s'")
        kernel.dairy.made.clear()
        assert (await client.post("/v1/churns", json={"name": "a"}, headers=KEY)).status_code == 201
    assert kernel.dairy.made == ["a"]


async def test_after_its_time_a_key_is_forgotten(api_settings: Settings):
    async with served(api_settings) as kernel:
        brief = RequestStore(kernel.services.app, kernel.services.operator, timedelta(hours=1))
        async with kernel.client("acme") as client:
            await client.post("/v1/churns", json={"name": "a"}, headers=KEY)
            await client.post("/v1/churns", json={"name": "b"}, headers={"Idempotency-Key": str(uuid.uuid4())})
        await change(kernel, "UPDATE idempotency SET created_at = created_at - interval '2 hours' WHERE key LIKE '%'")
        async with kernel.client("acme") as client:
            await client.post("/v1/churns", json={"name": "c"}, headers=KEY)
        await brief.forget(kernel.services.clock())
        assert len(await rows(kernel)) == 1


async def rows(kernel: Kernel) -> list[tuple]:
    async with await psycopg.AsyncConnection.connect(kernel.services.settings.database.operator_url) as conn:
        return await (await conn.execute("SELECT * FROM idempotency")).fetchall()


async def change(kernel: Kernel, statement: str) -> None:
    async with await psycopg.AsyncConnection.connect(kernel.services.settings.database.operator_url) as conn:
        await conn.execute(statement)
