"""Rate limits every process shares: buckets in Redis, taken from by one script on Redis's own clock (GCRA).

Without Redis nothing is limited: what a limit protects is worth less than the answer, and the miss is counted.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from core.settings import RedisSettings

UNCHECKED = Counter("milkrun_limits_unchecked_total", "Requests let pass unlimited, Redis not answering")

_PATIENCE_S = 0.25
_SCRIPT = (files("core") / "take.lua").read_text()


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


class Limiter:
    """One instance a process; `close()` when done."""

    def __init__(self, redis: RedisSettings) -> None:
        self._redis: Any = Redis.from_url(
            redis.url,
            protocol=2,
            socket_timeout=_PATIENCE_S,
            socket_connect_timeout=_PATIENCE_S,
            health_check_interval=15,
            retry=Retry(NoBackoff(), 1),
        )
        self._take = self._redis.register_script(_SCRIPT)
        self._blind_until = 0.0

    async def close(self) -> None:
        await self._redis.aclose()

    async def take(self, buckets: Sequence[Bucket]) -> Taken:
        """One request out of every bucket, or out of none when one of them is empty."""
        if time.monotonic() < self._blind_until:
            UNCHECKED.inc()
            return Taken(0.0, ())
        costs = [value for bucket in buckets for value in (1e6 / bucket.rate, bucket.burst)]
        try:
            wait, *rest = await self._take(keys=[bucket.key for bucket in buckets], args=costs)
        except (RedisError, OSError):
            # Not every request waits for a server that was just found missing.
            self._blind_until = time.monotonic() + 1.0
            UNCHECKED.inc()
            return Taken(0.0, ())
        levels = [Level(left, whole / 1e6) for left, whole in zip(rest[::2], rest[1::2], strict=True)]
        return Taken(wait / 1e6, levels)
