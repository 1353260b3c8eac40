"""Shared answers: made once for all who ask at the same time, within their time, and never one for another question."""

import asyncio

import pytest

from api.http.sharing import Shared


class Kitchen:
    """Makes answers and counts how often."""

    def __init__(self, answer: bytes = b"answer") -> None:
        self.answer = answer
        self.made = 0
        self.open = asyncio.Event()
        self.open.set()

    async def make(self) -> bytes:
        self.made += 1
        await self.open.wait()
        return self.answer


async def test_who_asks_at_the_same_time_shares_one_answer():
    shared, kitchen = Shared(ttl_s=60, most_bytes=100), Kitchen()
    kitchen.open.clear()
    asking = [asyncio.create_task(shared.get("k", kitchen.make)) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()  # who asked first goes away; the others still get it
    kitchen.open.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [b"answer"] * 4
    assert await shared.get("k", kitchen.make) == b"answer"
    assert kitchen.made == 1


async def test_an_answer_ends_with_its_time():
    shared, kitchen = Shared(ttl_s=0, most_bytes=100), Kitchen()
    for _ in range(3):
        await shared.get("k", kitchen.make)
    assert kitchen.made == 3


async def test_another_question_has_another_answer():
    shared = Shared(ttl_s=60, most_bytes=100)
    assert await shared.get(("acme", "all"), Kitchen(b"a").make) == b"a"
    assert await shared.get(("zeta", "all"), Kitchen(b"z").make) == b"z"


async def test_a_failure_is_told_to_all_who_wait_and_is_not_kept():
    shared, kitchen = Shared(ttl_s=60, most_bytes=100), Kitchen()

    async def fail() -> bytes:
        await asyncio.sleep(0)
        raise RuntimeError("no")

    failed = await asyncio.gather(*(shared.get("k", fail) for _ in range(3)), return_exceptions=True)
    assert [str(each) for each in failed] == ["no"] * 3
    assert await shared.get("k", kitchen.make) == b"answer"


async def test_the_oldest_answers_go_when_there_are_too_many_bytes():
    shared = Shared(ttl_s=60, most_bytes=25)
    kitchens = {name: Kitchen(b"x" * 10) for name in "abc"}
    for name in ("a", "b", "a", "c"):  # b is the one not asked for since
        await shared.get(name, kitchens[name].make)
    await shared.get("a", kitchens["a"].make)
    await shared.get("b", kitchens["b"].make)
    assert [kitchens[name].made for name in "abc"] == [1, 2, 1]


@pytest.mark.parametrize("size", [26, 1000])
async def test_an_answer_larger_than_all_there_is_room_for_is_given_and_not_kept(size):
    shared, kitchen = Shared(ttl_s=60, most_bytes=25), Kitchen(b"x" * size)
    assert len(await shared.get("k", kitchen.make)) == size
    assert len(await shared.get("k", kitchen.make)) == size
    assert kitchen.made == 2
