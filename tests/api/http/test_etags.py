import pytest

from tests.api.http.served import Kernel


async def test_a_known_version_is_answered_with_304_and_nothing_else(kernel: Kernel):
    async with kernel.client("acme") as client:
        first = await client.get("/v1/churns/a")
        assert (first.status_code, first.headers["etag"]) == (200, '"v3"')
        assert first.headers["cache-control"] == "private, no-cache"
        for known in ('"v3"', 'W/"v3"', '"v1", "v3"', "*"):
            again = await client.get("/v1/churns/a", headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", '"v3"')
            assert "content-type" not in again.headers
        changed = await client.get("/v1/churns/a", headers={"If-None-Match": '"v2"'})
        assert (changed.status_code, changed.json()["name"]) == (200, "a")


async def test_a_change_meant_for_another_version_is_refused_and_the_one_for_this_version_goes_through(kernel: Kernel):
    async with kernel.client("acme") as client:
        stale = await client.patch("/v1/churns/a", headers={"If-Match": '"v2"'})
        assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
        right = await client.patch("/v1/churns/a", headers={"If-Match": '"v3"'})
        assert (right.status_code, right.headers["etag"]) == (200, '"v4"')
        repeated = await client.patch("/v1/churns/a", headers={"If-Match": '"v3"'})
        assert repeated.status_code == 412
        for anything in ({}, {"If-Match": "*"}):
            assert (await client.patch("/v1/churns/a", headers=anything)).status_code == 200


@pytest.mark.parametrize("tag", ["v3", '"3"', 'W/"v3"', '"v3", "v4"', '"v-3"', f'"v{10**30}"', ""])
async def test_an_if_match_that_cannot_hold_never_lets_a_change_through(kernel: Kernel, tag: str):
    async with kernel.client("acme") as client:
        answer = await client.patch("/v1/churns/a", headers={"If-Match": tag})
    assert (answer.status_code, kernel.dairy.version) == (412, 3)
