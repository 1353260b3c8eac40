"""Answers that are asked for again and again: made once, and given to all who ask within their time."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from time import monotonic


class Shared:
    """Finished answers by what was asked. A key must hold all that the answer depends on, the tenant first.

    Who asks while an answer is being made waits for that one. At most `most_bytes` are kept, the latest asked for.
    """

    def __init__(self, *, ttl_s: float, most_bytes: int) -> None:
        self._ttl_s = ttl_s
        self._most_bytes = most_bytes
        self._made: OrderedDict[Hashable, tuple[float, bytes]] = OrderedDict()
        self._making: dict[Hashable, asyncio.Task[bytes]] = {}
        self._bytes = 0

    async def get(self, key: Hashable, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """The answer to `key`; what `make` raises is raised to all who wait for it, and not kept."""
        now = monotonic()
        if (known := self._made.get(key)) and known[0] > now:
            self._made.move_to_end(key)
            return known[1]
        task = self._making.get(key)
        if task is None:
            # A task of its own: who asked first may go away, and others wait for it.
            task = asyncio.create_task(self._make(key, make, now))
            self._making[key] = task
        return await asyncio.shield(task)

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[bytes]], began: float) -> bytes:
        try:
            answer = await make()
        finally:
            del self._making[key]
        self._forget(key)
        self._made[key] = (began + self._ttl_s, answer)
        self._bytes += len(answer)
        while self._bytes > self._most_bytes:
            self._forget(next(iter(self._made)))
        return answer

    def _forget(self, key: Hashable) -> None:
        if known := self._made.pop(key, None):
            self._bytes -= len(known[1])


class Answers:
    """What one process shares: last positions and what tracking links show for a second, tracks for as long as nothing
    was added to them. `followers`: streams of tracking links by address.
    """

    def __init__(self) -> None:
        self.positions = Shared(ttl_s=1.0, most_bytes=64_000_000)
        self.tracks = Shared(ttl_s=600.0, most_bytes=64_000_000)
        self.sights = Shared(ttl_s=1.0, most_bytes=8_000_000)
        self.followers: Counter[str] = Counter()
