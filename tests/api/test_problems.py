from tests.api.conftest import Api


async def test_what_does_not_exist_is_a_problem_with_a_code(api: Api):
    async with api.client("acme") as client:
        answer = await client.get("/v1/nothing")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["code"], body["status"], body["instance"]) == ("not_found", 404, "/v1/nothing")
    assert body["request_id"]
