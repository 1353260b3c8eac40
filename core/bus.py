"""The bus: Redis Streams, one stream a device partition, read by consumer groups.

Order holds within a partition: one consumer of a group reads it at a time (a lease). What a dead consumer had taken is
reclaimed by the next lease holder. Entries stay until every group has acknowledged them; a stream that grows past
`max_lag` refuses more, and the news waits in the outbox instead of in memory.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from core.errors import Unavailable
from core.settings import BusSettings, RedisSettings

PUBLISHED = Counter("milkrun_bus_published_total", "Entries published to the bus", ["stream"])
REFUSED = Counter("milkrun_bus_refused_total", "Publications refused, the stream being over its lag", ["stream"])

_UNREAD_TAIL = 50
"""Entries kept for a group that may come, while nobody reads: an entry of a full batch has some 30 kB."""

_LEASE = """
local holder = redis.call("GET", KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
return 1
"""

STREAMS = ("telemetry", "device", "outbound", "trip", "notice", "command")


class BusUnavailable(Unavailable):
    """Redis does not answer, or a stream's slowest group is too far behind. News waits."""

    code = "bus_unavailable"


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """An event on its way: the stream, the key that decides the partition (`#n` names it), the encoded event."""

    stream: str
    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """An entry as a consumer gets it. `times` counts deliveries, this one included; `id` is stable over them."""

    stream_key: str
    id: str
    body: bytes
    times: int


class Bus:
    """Publishing and reading. One instance a process; `close()` when done."""

    def __init__(self, redis: RedisSettings, settings: BusSettings) -> None:
        # health_check_interval finds a connection that a restarted Redis left half open before a command is lost on it.
        # Any: redis-py types each reply as the union of every client and protocol version.
        self._redis: Any = Redis.from_url(redis.url, health_check_interval=15, socket_connect_timeout=5, protocol=2)
        self._settings = settings
        self._full: set[str] = set()

    async def close(self) -> None:
        await self._redis.aclose()

    async def ping(self) -> None:
        """Raises BusUnavailable when Redis does not answer."""
        try:
            await self._redis.ping()
        except (RedisError, OSError) as error:
            raise BusUnavailable(f"Redis does not answer: {error}") from error

    def partition(self, key: str) -> int:
        """The partition of a device's events: the same for every process of a deployment."""
        if key.startswith("#"):
            return int(key[1:])
        return zlib.crc32(key.encode()) % self._settings.partitions

    def keys(self, stream: str) -> list[str]:
        return [stream_key(stream, n) for n in range(self._settings.partitions)]

    async def publish(self, entries: Sequence[Entry]) -> None:
        """Append `entries` in one round trip. Raises BusUnavailable; some may then be in, and all may be sent again."""
        placed = [(stream_key(entry.stream, self.partition(entry.key)), entry) for entry in entries]
        for key, entry in placed:
            if key in self._full:
                REFUSED.labels(entry.stream).inc()
                raise BusUnavailable(f"{key} holds over {self._settings.max_lag} entries that a group has not read")
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for key, entry in placed:
                    pipe.xadd(key, {"e": entry.body})
                await pipe.execute()
        except (RedisError, OSError) as error:
            raise BusUnavailable(f"Redis does not answer: {error}") from error
        for _, entry in placed:
            PUBLISHED.labels(entry.stream).inc()

    async def trim(self) -> None:
        """Drop what every group has acknowledged and note which streams are over their lag. Raises BusUnavailable."""
        try:
            needed = await self._needed([key for stream in STREAMS for key in self.keys(stream)])
            async with self._redis.pipeline(transaction=False) as pipe:
                for key, oldest in needed.items():
                    if oldest is None:
                        # Nobody listens yet: keep a short tail for whoever comes.
                        pipe.xtrim(key, maxlen=min(_UNREAD_TAIL, self._settings.max_lag), approximate=False)
                    else:
                        pipe.xtrim(key, minid=oldest, approximate=False)
                    pipe.xlen(key)
                lengths = (await pipe.execute())[1::2]
        except (RedisError, OSError) as error:
            raise BusUnavailable(f"Redis does not answer: {error}") from error
        self._full = {key for key, length in zip(needed, lengths, strict=True) if length > self._settings.max_lag}

    async def _needed(self, keys: Sequence[str]) -> dict[str, bytes | None]:
        """Of each stream that is there the oldest entry some group has not acknowledged; None: it has no group."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.xinfo_groups(key)
            answers = await pipe.execute(raise_on_error=False)
        # No such stream: nothing published, or flushed.
        found = {
            key: groups for key, groups in zip(keys, answers, strict=True) if not isinstance(groups, ResponseError)
        }
        for failure in found.values():
            if isinstance(failure, Exception):
                raise failure
        held = [(key, group["name"]) for key, groups in found.items() for group in groups if group["pending"]]
        async with self._redis.pipeline(transaction=False) as pipe:
            for key, group in held:
                pipe.xpending(key, group)
            pending = dict(zip(held, await pipe.execute(), strict=True))
        needed: dict[str, bytes | None] = {}
        for key, groups in found.items():
            ids = []
            for group in groups:
                held_by = pending.get((key, group["name"]))
                # No least one: the last was acknowledged since we asked.
                ids.append((held_by and held_by["min"]) or group["last-delivered-id"])
            needed[key] = min(ids, key=_order, default=None)
        return needed

    async def join(self, key: str, group: str) -> None:
        """Make sure `group` reads `key`, from the oldest entry kept. Raises BusUnavailable."""
        try:
            await self._redis.xgroup_create(key, group, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        except (RedisError, OSError) as error:
            raise BusUnavailable(f"Redis does not answer: {error}") from error

    async def lease(self, key: str, group: str, consumer: str, ttl_s: float) -> bool:
        """Take or renew the right to read `key` for `group`. Raises BusUnavailable."""
        name = f"milkrun:lease:{group}:{key}"
        try:
            return bool(await self._redis.eval(_LEASE, 1, name, consumer, int(ttl_s * 1000)))
        except (RedisError, OSError) as error:
            raise BusUnavailable(f"Redis does not answer: {error}") from error

    async def release(self, key: str, group: str, consumer: str) -> None:
        name = f"milkrun:lease:{group}:{key}"
        try:
            if await self._redis.get(name) == consumer.encode():
                await self._redis.delete(name)
        except (RedisError, OSError) as error:
            raise BusUnavailable(f"Redis does not answer: {error}") from error

    async def held(self, key: str, group: str, consumer: str) -> list[Delivery]:
        """What the group had taken and not acknowledged, now in this consumer's hands, oldest first."""
        try:
            pending = await self._redis.xpending_range(key, group, min="-", max="+", count=100)
            if not pending:
                return []
            ids = [row["message_id"] for row in pending]
            answer = await self._redis.xclaim(key, group, consumer, min_idle_time=0, message_ids=ids)
            times = {row["message_id"]: row["times_delivered"] + 1 for row in pending}
        except ResponseError as error:
            raise _flushed(error) from error
        except (RedisError, OSError) as error:
            raise BusUnavailable(f"Redis does not answer: {error}") from error
        claimed = [pair for pair in answer if pair[0] is not None]  # before Redis 7 a removed entry is a nil among them
        gone = set(ids) - {id_ for id_, _ in claimed}
        if gone:  # trimmed by hand: nothing is left to deliver
            await self.acknowledge(key, group, [id_.decode() for id_ in gone])
        return [Delivery(key, id_.decode(), fields[b"e"], times[id_]) for id_, fields in claimed]

    async def read(self, key: str, group: str, consumer: str, *, most: int, wait_ms: int) -> list[Delivery]:
        """New entries of one partition, in order; empty after `wait_ms`. Raises BusUnavailable."""
        try:
            found = await self._redis.xreadgroup(group, consumer, {key: ">"}, count=most, block=wait_ms)
        except ResponseError as error:
            raise _flushed(error) from error
        except (RedisError, OSError) as error:
            raise BusUnavailable(f"Redis does not answer: {error}") from error
        rows = found[0][1] if found else []
        return [Delivery(key, id_.decode(), fields[b"e"], 1) for id_, fields in rows]

    async def acknowledge(self, key: str, group: str, ids: Sequence[str]) -> None:
        try:
            await self._redis.xack(key, group, *ids)
        except (RedisError, OSError) as error:
            raise BusUnavailable(f"Redis does not answer: {error}") from error


def stream_key(stream: str, partition: int) -> str:
    """The braces make one Redis Cluster slot of a partition's keys."""
    return f"milkrun:{{{stream}:{partition:03}}}"


def _order(entry_id: bytes) -> tuple[int, int]:
    ms, _, count = entry_id.partition(b"-")
    return int(ms), int(count)


def _flushed(error: ResponseError) -> BusUnavailable:
    """NOGROUP after FLUSHALL: the reader joins again and goes on."""
    return BusUnavailable(f"the consumer group is gone (Redis was flushed): {error}")
