"""Rate limits every process shares: buckets in Redis, taken from by one script on Redis's own clock (GCRA).

Without Redis nothing is limited: what a limit protects is worth less than the answer, and the miss is counted.
"""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, NamedTuple

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from core.settings import RedisSettings

UNCHECKED = Counter("milkrun_limits_unchecked_total", "Requests let pass unlimited, Redis not answering")

_PATIENCE_S = 1.0
_SCRIPT = (files("core") / "take.lua").read_text()
_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Bucket:
    """`rate` requests a second, sustained, and `burst` at once. Keys of one call share a `{...}` part in a cluster."""

    key: str
    rate: float
    burst: int


@dataclass(frozen=True, slots=True)
class Level:
    """What is left of a bucket, in requests, and how long until it is whole."""

    remaining: int
    whole_after_s: float


@dataclass(frozen=True, slots=True)
class Taken:
    """`wait_s` is 0 when the request may pass; else nothing was taken. `levels` is empty when nothing was checked."""

    wait_s: float
    levels: Sequence[Level]


class _Asked(NamedTuple):
    command: Sequence[str | float]
    answer: asyncio.Future[list[int] | None]


class Limiter:
    """One instance a process; `close()` when done. What is asked while an answer is under way travels together."""

    def __init__(self, redis: RedisSettings) -> None:
        self._redis: Any = Redis.from_url(
            redis.url,
            protocol=2,
            socket_timeout=_PATIENCE_S,
            socket_connect_timeout=_PATIENCE_S,
            health_check_interval=15,
            retry=Retry(NoBackoff(), 1),
        )
        self._asked: list[_Asked] = []
        self._sender: asyncio.Task[None] | None = None
        self._blind_until = 0.0

    async def close(self) -> None:
        if self._sender is not None:
            await self._sender
        await self._redis.aclose()

    async def take(self, buckets: Sequence[Bucket]) -> Taken:
        """One request out of every bucket, or out of none when one of them is empty."""
        answer = None
        if time.monotonic() >= self._blind_until:
            answer = await self._ask(buckets)
        if answer is None:
            UNCHECKED.inc()
            return Taken(0.0, ())
        wait, *rest = answer
        levels = [Level(left, whole / 1e6) for left, whole in zip(rest[::2], rest[1::2], strict=True)]
        return Taken(wait / 1e6, levels)

    async def _ask(self, buckets: Sequence[Bucket]) -> list[int] | None:
        costs = [value for bucket in buckets for value in (1e6 / bucket.rate, bucket.burst)]
        command = (_SHA, len(buckets), *(bucket.key for bucket in buckets), *costs)
        asked = _Asked(command, asyncio.get_running_loop().create_future())
        self._asked.append(asked)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send())
        return await asked.answer

    async def _send(self) -> None:
        while self._asked:
            batch, self._asked = self._asked, []
            try:
                answers = await self._run(batch)
            except (RedisError, OSError):
                # Not every request waits for a server that was just found missing.
                self._blind_until = time.monotonic() + 1.0
                answers = [None] * len(batch)
            for asked, answer in zip(batch, answers, strict=True):
                if not asked.answer.done():  # whoever asked may have gone
                    asked.answer.set_result(answer)

    async def _run(self, batch: Sequence[_Asked]) -> list[list[int] | None]:
        for _ in range(2):
            async with self._redis.pipeline(transaction=False) as pipe:
                for asked in batch:
                    pipe.evalsha(*asked.command)
                answers: list[Any] = await pipe.execute(raise_on_error=False)
            if not any(isinstance(answer, NoScriptError) for answer in answers):
                break
            await self._redis.script_load(_SCRIPT)
        return [None if isinstance(answer, Exception) else answer for answer in answers]
