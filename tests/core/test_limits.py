"""The limiter against a model: whatever the requests, never more than burst + rate * time of them pass."""

import asyncio
import random
import time

import pytest

from core.limits import UNCHECKED, Bucket, Limiter
from core.settings import RedisSettings

pytestmark = pytest.mark.redis


@pytest.fixture
async def limiter(redis_url: str):
    opened = Limiter(RedisSettings(url=redis_url))
    yield opened
    await opened.close()


@pytest.mark.parametrize("seed", range(6))
async def test_in_no_stretch_of_time_pass_more_than_burst_and_rate_allow(limiter: Limiter, seed: int):
    rng = random.Random(seed)
    bucket = Bucket(f"b{seed}", rate=rng.choice([5.0, 40.0, 300.0]), burst=rng.choice([1, 3, 20]))
    passed: list[tuple[float, float]] = []  # when it was asked, when it was answered

    async def ask() -> None:
        asked = time.monotonic()
        taken = await limiter.take([bucket])
        if not taken.wait_s:
            passed.append((asked, time.monotonic()))

    for _ in range(40):
        await asyncio.gather(*(ask() for _ in range(rng.randint(1, 8))))
        await asyncio.sleep(rng.choice([0.0, 0.0, 0.005, 0.03]))
    passed.sort()
    assert len(passed) >= bucket.burst
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            lasted_s = passed[last][1] - passed[first][0]
            assert last - first + 1 <= bucket.burst + bucket.rate * lasted_s + 1e-6


async def test_burst_many_pass_at_once_and_then_the_wait_that_is_told_is_long_enough(limiter: Limiter):
    bucket = Bucket("b", rate=20.0, burst=5)
    first = [await limiter.take([bucket]) for _ in range(5)]
    assert [taken.wait_s for taken in first] == [0, 0, 0, 0, 0]
    assert [taken.levels[0].remaining for taken in first] >= [4, 3, 2, 1, 0]
    while not (refused := await limiter.take([bucket])).wait_s:
        pass
    assert 0 < refused.wait_s <= 0.05
    assert refused.levels[0].remaining == 0
    await asyncio.sleep(refused.wait_s + 0.001)
    assert (await limiter.take([bucket])).wait_s == 0


async def test_an_empty_bucket_leaves_the_others_as_they_were(limiter: Limiter):
    small, large = Bucket("{t}:s", rate=0.001, burst=1), Bucket("{t}:l", rate=0.001, burst=10)
    assert (await limiter.take([small, large])).wait_s == 0
    for _ in range(5):
        refused = await limiter.take([small, large])
        assert 900 < refused.wait_s <= 1000
        assert [level.remaining for level in refused.levels] == [0, 9]
    assert [level.remaining for level in (await limiter.take([large])).levels] == [8]


async def test_buckets_of_others_are_not_touched(limiter: Limiter):
    for _ in range(3):
        await limiter.take([Bucket("a", rate=0.001, burst=1)])
    assert (await limiter.take([Bucket("b", rate=0.001, burst=1)])).wait_s == 0


async def test_many_who_ask_at_once_are_all_answered_even_after_redis_forgot_the_script(limiter: Limiter):
    bucket = Bucket("crowd", rate=0.001, burst=100)
    await limiter._redis.script_flush()
    takes = await asyncio.gather(*(limiter.take([bucket]) for _ in range(500)))
    assert sum(not taken.wait_s for taken in takes) == 100
    assert sorted({taken.levels[0].remaining for taken in takes}) == list(range(100))


async def test_whoever_stops_asking_leaves_the_others_their_answer(limiter: Limiter):
    bucket = Bucket("b", rate=0.001, burst=10)
    asking = [asyncio.create_task(limiter.take([bucket])) for _ in range(6)]
    await asyncio.sleep(0)
    asking[2].cancel()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [isinstance(answer, asyncio.CancelledError) for answer in answers] == [n == 2 for n in range(6)]


async def test_several_processes_share_a_bucket(limiter: Limiter, redis_url: str):
    other = Limiter(RedisSettings(url=redis_url))
    bucket = Bucket("shared", rate=0.001, burst=50)
    takes = await asyncio.gather(*(each.take([bucket]) for _ in range(50) for each in (limiter, other)))
    await other.close()
    assert sum(not taken.wait_s for taken in takes) == 50


async def test_a_bucket_that_is_whole_again_leaves_nothing_behind(limiter: Limiter):
    await limiter.take([Bucket("brief", rate=1000.0, burst=10)])
    redis = limiter._redis
    while await redis.exists("brief"):  # noqa: ASYNC110  what is waited for happens in Redis
        await asyncio.sleep(0.001)
    assert await redis.keys("*") == []


async def test_while_redis_is_away_everything_passes_and_is_counted_and_then_limits_hold_again(durable_redis):
    limiter = Limiter(RedisSettings(url=durable_redis.url))
    bucket = Bucket("b", rate=0.001, burst=2)
    for _ in range(2):
        assert not (await limiter.take([bucket])).wait_s
    durable_redis.child.kill()
    before = UNCHECKED._value.get()
    started = time.monotonic()
    for _ in range(50):
        taken = await limiter.take([bucket])
        assert (taken.wait_s, taken.levels) == (0, ())
    assert UNCHECKED._value.get() == before + 50
    assert time.monotonic() - started < 5
    await asyncio.to_thread(durable_redis.start)

    async def limits_again() -> bool:
        return bool((await limiter.take([bucket])).wait_s)

    async with asyncio.timeout(30):
        while not await limits_again():  # noqa: ASYNC110  what is waited for happens in Redis
            await asyncio.sleep(0.05)
    await limiter.close()
