"""The channel log: per tenant and channel a Redis stream whose entries are batches of events.

An entry's id is `{epoch}-{offset of its last event}`, and an epoch is the time (ms) its life began: ids therefore grow
over epochs too, and whoever reads on after a flush is given the new life's events and sees by their epoch that it is
another. Events are kept only while somebody wants them (`open`, `want`); the offset counts them all the same, so that
a position given out before stays true.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal, NamedTuple, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from core.errors import Unavailable
from core.settings import LiveSettings, RedisSettings
from core.tenancy import TenantId

_META_S = 30 * 86_400
"""A log that had no event for so long starts a new epoch."""
_READ_ENTRIES = 256
_WAKE_S = 60

type Outcome = Literal["kept", "counted", "known", "wanted"]


class ChannelsUnavailable(Unavailable):
    """Redis does not answer: nothing live can be said."""

    code = "live_unavailable"


class Channel(NamedTuple):
    """A log's name: whose, and which."""

    tenant: TenantId
    name: str

    @property
    def keys(self) -> tuple[str, str, str]:
        """Log, meta, demand; the braces keep a tenant's keys in one Redis Cluster slot."""
        log = f"milkrun:{{live:{self.tenant}}}:{self.name}"
        return log, f"{log}:meta", f"{log}:demand"


class Position(NamedTuple):
    """How far a log is told: all up to `offset`. `epoch` is ms; the wire writes it in hexadecimal."""

    epoch: int
    offset: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Events `first` to `last` of one epoch. `at_ms` is when the news came; each event is what `Note` carried."""

    epoch: int
    last: int
    at_ms: int
    events: list[bytes]

    @property
    def first(self) -> int:
        return self.last - len(self.events) + 1


@dataclass(frozen=True, slots=True)
class Note:
    """Something to append: `events` from `source` under its id there (`ms-seq`), by which a repetition is known.

    `events` None: they are `count`, and not told because nobody wanted them lately.
    """

    channel: Channel
    source: str
    id: str
    at_ms: int
    count: int
    events: Sequence[bytes] | None


class Channels:
    """All logs. One instance a process; `close()` when done. Every method raises ChannelsUnavailable."""

    def __init__(self, redis: RedisSettings, settings: LiveSettings) -> None:
        # Any: redis-py types each reply as the union of every client and protocol version.
        self._redis: Any = Redis.from_url(redis.url, health_check_interval=15, socket_connect_timeout=5, protocol=2)
        self._settings = settings
        self._scripts: dict[str, str] = {}
        self._wake_key = f"milkrun:live:wake:{uuid.uuid4().hex}"
        self._woken = "0-0"
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(list[bytes]).decode

    async def close(self) -> None:
        await self._redis.aclose()

    async def append(self, notes: Sequence[Note]) -> list[Outcome]:
        """Append each note once, in order, in one round trip.

        `wanted`: it came without its events and somebody wants them; nothing was done, send it again with them.
        `counted`: nobody wants them. `known`: it was here before.
        """
        if not notes:
            return []
        settings = self._settings
        calls = []
        for note in notes:
            ms, _, seq = note.id.partition("-")
            body = b"" if note.events is None else self._encode(note.events)
            wanted = (settings.history_s, _META_S, note.source, ms, seq or 0, note.count, body, note.at_ms)
            calls.append((*note.channel.keys, *wanted, settings.history_events))
        answers = await self._run("append", calls)
        return [cast("Outcome", answer[0].decode()) for answer in answers]

    async def open(self, channel: Channel) -> Position:
        """Where the log stands; what comes after it is kept for `history_s` at least, and as long as it is wanted."""
        ((epoch, offset),) = await self._run("open", [(*channel.keys, self._settings.history_s, _META_S)])
        return Position(int(epoch), offset)

    async def want(self, channels: Sequence[Channel]) -> list[Position | None]:
        """Go on keeping the events of these logs, and tell where each stands; None: it was lost and not begun again."""
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for channel in channels:
                    _, meta, demand = channel.keys
                    pipe.set(demand, 1, ex=self._settings.history_s)
                    pipe.hmget(meta, "epoch", "offset")
                answers = (await pipe.execute())[1::2]
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error
        return [None if epoch is None else Position(int(epoch), int(offset)) for epoch, offset in answers]

    async def is_begun(self, channels: Sequence[Channel]) -> list[bool]:
        """Whether each log has a life, so that somebody may hold a position in it."""
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for channel in channels:
                    pipe.exists(channel.keys[1])
                return [bool(answer) for answer in await pipe.execute()]
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

    async def missed(self, channel: Channel, since: Position, upto: int, *, most: int) -> list[Batch] | None:
        """All events after `since` up to `upto` of its epoch, or None: one is not there, or they are more than `most`.

        The first batch may begin before, and the last end after, what was asked for.
        """
        if upto - since.offset > most:
            return None
        found: list[Batch] = []
        next_ = since.offset + 1
        while next_ <= upto:
            try:
                rows = await self._redis.xrange(
                    channel.keys[0], f"{since.epoch}-{next_}", f"{since.epoch}-{2**63}", count=_READ_ENTRIES
                )
            except (RedisError, OSError) as error:
                raise _unavailable(error) from error
            if not rows:
                return None
            for row in rows:
                batch = self._batch(*row)
                is_beginning = not found and batch.first <= next_
                if not is_beginning and batch.first != next_:
                    return None
                found.append(batch)
                next_ = batch.last + 1
        return found

    async def follow(self, after: Mapping[Channel, Position], *, wait_ms: int) -> dict[Channel, list[Batch]]:
        """What came after these positions, later epochs included, as soon as there is any.

        Empty after `wait_ms`, or when `wake` is called.
        """
        by_key = {channel.keys[0].encode(): channel for channel in after}
        streams = {key: f"{after[channel].epoch}-{after[channel].offset}" for key, channel in by_key.items()}
        wake_key = self._wake_key.encode()
        try:
            found = await self._redis.xread({**streams, wake_key: self._woken}, count=_READ_ENTRIES, block=wait_ms)
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error
        news: dict[Channel, list[Batch]] = {}
        for key, rows in found:
            if key == wake_key:
                self._woken = rows[-1][0].decode()
            else:
                news[by_key[key]] = [self._batch(*row) for row in rows]
        return news

    async def wake(self) -> None:
        """Let a `follow` of this instance that waits return, so that it can be called for other channels."""
        try:
            await self._redis.xadd(self._wake_key, {"w": 1}, maxlen=1, approximate=False)
            await self._redis.expire(self._wake_key, _WAKE_S)
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

    def _batch(self, id_: bytes, fields: Mapping[bytes, bytes]) -> Batch:
        epoch, _, last = id_.partition(b"-")
        return Batch(int(epoch), int(last), int(fields[b"a"]), self._decode(fields[b"b"]))

    async def _run(self, script: str, calls: Sequence[tuple[object, ...]]) -> list[Any]:
        """Each call is three keys and the arguments. A call lost with the connection may have taken effect."""
        try:
            sha = self._scripts.get(script) or await self._load(script)
            answers = await self._call(sha, calls)
            if any(isinstance(answer, NoScriptError) for answer in answers):  # Redis was restarted
                answers = await self._call(await self._load(script), calls)
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error
        for answer in answers:
            if isinstance(answer, Exception):
                raise _unavailable(answer)
        return answers

    async def _call(self, sha: str, calls: Sequence[tuple[object, ...]]) -> list[Any]:
        if len(calls) == 1:
            try:
                return [await self._redis.evalsha(sha, 3, *calls[0])]
            except NoScriptError as error:
                return [error]
        async with self._redis.pipeline(transaction=False) as pipe:
            for call in calls:
                pipe.evalsha(sha, 3, *call)
            return cast("list[Any]", await pipe.execute(raise_on_error=False))

    async def _load(self, script: str) -> str:
        folder = resources.files("core.channels")
        text = (folder / "life.lua").read_text() + (folder / f"{script}.lua").read_text()
        self._scripts[script] = sha = str(await self._redis.script_load(text))
        return sha


def _unavailable(error: Exception) -> ChannelsUnavailable:
    return ChannelsUnavailable(f"Redis does not answer: {error}")
