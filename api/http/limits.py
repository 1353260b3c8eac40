"""How much of the API one caller, one tenant and one network address may use, told in every answer.

Headers as in draft-ietf-httpapi-ratelimit-headers-11: `RateLimit-Policy: "client";q=200;w=4` (so many at once, whole
again after so many seconds) and `RateLimit: "client";r=199;t=1` (left, and seconds until it is whole).
"""

import math
from collections.abc import Sequence

from prometheus_client import Counter
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access import Principal
from api.http.errors import TooMany
from core.limits import Bucket, Limiter, Taken
from core.settings import ApiSettings

LIMITED = Counter("milkrun_api_limited_total", "Requests refused, a limit being reached", ["limit"])

_PREFIX = "milkrun:limit:"


class Limits:
    """One instance a process."""

    def __init__(self, limiter: Limiter, settings: ApiSettings) -> None:
        self._limiter = limiter
        self._settings = settings

    async def caller(self, connection: HTTPConnection, principal: Principal) -> None:
        """Count a request of `principal` and, unless he is an operator, of his tenant. Raises TooMany."""
        settings, tenant = self._settings, principal.tenant or "!"
        key = f"{_PREFIX}{{{tenant}}}"
        buckets = [Bucket(f"{key}:{principal.kind}:{principal.id}", settings.client_rate, settings.client_burst)]
        names = ["client"]
        if principal.tenant is not None:
            buckets.append(Bucket(key, settings.tenant_rate, settings.tenant_burst))
            names.append("tenant")
        await self._take(connection, names, buckets)

    async def address(self, connection: HTTPConnection) -> None:
        """Count a request that speaks for nobody, by where it came from. Raises TooMany."""
        host = connection.client.host if connection.client else ""
        bucket = Bucket(f"{_PREFIX}address:{host}", self._settings.address_rate, self._settings.address_burst)
        await self._take(connection, ["address"], [bucket])

    async def stray(self, connection: HTTPConnection) -> None:
        """Count a request for what is not there, apart from those that sign in from the same place. Raises TooMany."""
        host = connection.client.host if connection.client else ""
        bucket = Bucket(f"{_PREFIX}stray:{host}", self._settings.address_rate, self._settings.address_burst)
        await self._take(connection, ["address"], [bucket])

    async def _take(self, connection: HTTPConnection, names: Sequence[str], buckets: Sequence[Bucket]) -> None:
        taken = await self._limiter.take(buckets)
        if not taken.levels:
            return
        connection.state.rate_limit = _headers(names, buckets, taken)
        if taken.wait_s > 0:
            name = next((n for n, level in zip(names, taken.levels, strict=True) if not level.remaining), names[0])
            bucket = buckets[names.index(name)]
            LIMITED.labels(name).inc()
            raise TooMany(
                f"this {name} sends more than {bucket.rate:g} requests a second; the next one passes in "
                f"{taken.wait_s:.2f} s",
                retry_after_s=taken.wait_s,
            )


class Strays:
    """Around what answers where no route is: whoever searches for doors is counted, as nobody has asked his name."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._limits.stray(HTTPConnection(scope))
        await self._app(scope, receive, send)


def _headers(names: Sequence[str], buckets: Sequence[Bucket], taken: Taken) -> dict[str, str]:
    policies = [
        f'"{name}";q={bucket.burst};w={math.ceil(bucket.burst / bucket.rate)}'
        for name, bucket in zip(names, buckets, strict=True)
    ]
    levels = [
        f'"{name}";r={level.remaining};t={math.ceil(level.whole_after_s)}'
        for name, level in zip(names, taken.levels, strict=True)
    ]
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(levels)}
