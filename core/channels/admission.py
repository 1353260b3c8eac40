"""How many live connections a tenant and a principal hold over all API processes."""

import enum
import time
from collections.abc import Sequence
from importlib import resources
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.channels.log import ChannelsUnavailable
from core.settings import LiveSettings, RedisSettings
from core.tenancy import TenantId

TTL_S = 30
"""A connection nobody stood up for during this long is given up for dead."""


class Refusal(enum.IntEnum):
    """Whose connections are too many."""

    TENANT = 1
    PRINCIPAL = 2


class Admission:
    """The counts. One instance a process; `close()` when done. Every method raises ChannelsUnavailable."""

    def __init__(self, redis: RedisSettings, settings: LiveSettings) -> None:
        self._redis: Any = Redis.from_url(redis.url, health_check_interval=15, socket_connect_timeout=5, protocol=2)
        self._settings = settings
        text = (resources.files("core.channels") / "enter.lua").read_text()
        self._enter = self._redis.register_script(text)

    async def close(self) -> None:
        await self._redis.aclose()

    async def enter(self, tenant: TenantId, principal: str, connection: str) -> Refusal | None:
        """Count `connection` in, or say why not. `principal` and `connection` are names without whitespace."""
        most = (self._settings.connections_per_tenant, self._settings.connections_per_principal)
        try:
            answer = int(await self._enter(keys=_keys(tenant, principal), args=(connection, TTL_S, *most)))
        except (RedisError, OSError) as error:
            raise ChannelsUnavailable(f"Redis does not answer: {error}") from error
        return Refusal(answer) if answer else None

    async def stay(self, held: Sequence[tuple[TenantId, str, str]]) -> None:
        """Stand up for the connections still open: (tenant, principal, connection). Within TTL_S, again and again."""
        dead_at = int(time.time()) + TTL_S
        await self._each(held, "zadd", dead_at)

    async def leave(self, held: Sequence[tuple[TenantId, str, str]]) -> None:
        await self._each(held, "zrem", 0)

    async def _each(self, held: Sequence[tuple[TenantId, str, str]], command: str, dead_at: int) -> None:
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for tenant, principal, connection in held:
                    for key in _keys(tenant, principal):
                        if command == "zadd":
                            pipe.zadd(key, {connection: dead_at})
                            pipe.expire(key, TTL_S)
                        else:
                            pipe.zrem(key, connection)
                await pipe.execute()
        except (RedisError, OSError) as error:
            raise ChannelsUnavailable(f"Redis does not answer: {error}") from error


def _keys(tenant: TenantId, principal: str) -> list[str]:
    base = f"milkrun:{{live:{tenant}}}:connections"
    return [base, f"{base}:{principal}"]
