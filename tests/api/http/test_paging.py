from datetime import UTC, datetime

import pytest

from api.http import paging
from api.http.errors import InvalidCursor
from tests.api.http.served import Kernel


def test_a_cursor_gives_back_the_key_it_was_made_of():
    at = datetime(2026, 11, 21, 20, 30, 0, 123456, tzinfo=UTC)
    cursor = paging.encode("acme", at, 7, 1.5)
    assert paging.decode(cursor, str, datetime, int, float) == ("acme", at, 7, 1.5)
    assert paging.decode(None, str) is None


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "!!!",
        "WyJhIl0 ",
        paging.encode("a", "b"),
        paging.encode(1),
        paging.encode(None),
        paging.encode(["a"]),
        paging.encode("nul\0"),
        paging.encode("a")[:-1],
        paging.encode("a") + "AAAA",
        paging.encode({"a": 1}),
        "WyJcdWQ4MDAiXQ",  # ["\ud800"]
    ],
)
def test_what_is_no_cursor_of_a_list_of_names_is_refused(cursor: str):
    with pytest.raises(InvalidCursor):
        paging.decode(cursor, str)


@pytest.mark.parametrize(
    ("cursor", "type_"),
    [
        (paging.encode(2**63), int),
        (paging.encode("2026-11-21T20:30:00"), datetime),
        (paging.encode(True), int),
    ],
)
def test_a_key_the_database_could_not_be_asked_for_is_refused(cursor: str, type_: type):
    with pytest.raises(InvalidCursor):
        paging.decode(cursor, type_)


async def test_pages_follow_each_other_to_the_end_and_hide_nothing_that_came_between(kernel: Kernel):
    kernel.dairy.made += [f"churn-{n:03}" for n in range(25)]
    seen, cursor = [], None
    async with kernel.client("acme") as client:
        while True:
            answer = (
                await client.get("/v1/churns", params={"limit": 10, **({"cursor": cursor} if cursor else {})})
            ).json()
            seen += answer["items"]
            cursor = answer["next"]
            if cursor is None:
                break
            kernel.dairy.made.append(f"churn-000-{len(seen)}")  # before the place we are at: not seen, nothing moves
    assert seen == [f"churn-{n:03}" for n in range(25)]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("cursor=made-up", "invalid_cursor"),
        ("cursor=", "invalid_cursor"),
        ("limit=0", "invalid_request"),
        ("limit=1001", "invalid_request"),
        ("limit=ten", "invalid_request"),
        ("cursor=" + "A" * 1025, "invalid_request"),
    ],
)
async def test_a_bad_page_is_refused_in_words(kernel: Kernel, query: str, code: str):
    async with kernel.client("acme") as client:
        answer = await client.get(f"/v1/churns?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, code)
