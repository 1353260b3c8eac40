"""Where a webhook may go: never into the networks this server stands in.

A name is resolved once, every address it has is judged, and the connection goes to a judged address itself, with TLS
and Host by the name; so a name that resolves to something else a moment later changes nothing.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import override

import httpcore
import httpx

from notify.errors import InvalidUrl

type Address = IPv4Address | IPv6Address
type Network = IPv4Network | IPv6Network
type Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]
"""The addresses of a name. Raises OSError."""

MOST_URL = 2048

# What ipaddress.is_global lets pass and is still a way around: addresses that carry an IPv4 address, segment routing,
# and two clouds' own metadata.
_WAYS_AROUND = tuple(
    ipaddress.ip_network(each)
    for each in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16",
                 "2001::/32", "5f00::/16", "fec0::/10", "192.88.99.0/24", "192.0.0.0/24", "168.63.129.16/32")
)  # fmt: skip
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")


class AddressRefused(Exception):
    """A webhook's name leads to an address that none may lead to."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL as it is asked for: one reading of it serves the check and the connection."""

    url: httpcore.URL
    host: str
    header: bytes
    """the Host header"""


def parse(url: str, *, allow_http: bool = False) -> Target:
    """Raises InvalidUrl naming what is not allowed. An address written out is judged by `Guard.check`."""
    if len(url) > MOST_URL or not url.isprintable():
        raise InvalidUrl(f"a webhook's URL has at most {MOST_URL} printable characters")
    try:
        parts = httpx.URL(url)
        host = parts.raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise InvalidUrl(f"{url[:200]!r} is no URL: {error}") from error
    schemes = {"https", "http"} if allow_http else {"https"}
    if parts.scheme not in schemes:
        raise InvalidUrl(f"a webhook's URL begins with {' or '.join(sorted(schemes))}://, not {parts.scheme[:20]!r}")
    if not _HOST.fullmatch(host) or parts.userinfo or parts.fragment:
        raise InvalidUrl("a webhook's URL has a host, no user name or password, and no fragment")
    if parts.port is not None and not 0 < parts.port < 65_536:
        raise InvalidUrl(f"{parts.port} is no port: 1 to 65535")
    asked = httpcore.URL(scheme=parts.raw_scheme, host=parts.raw_host, port=parts.port, target=parts.raw_path or b"/")
    return Target(asked, host, parts.netloc)


async def resolve(host: str, port: int) -> Sequence[Address]:
    """By the system. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(each[4][0])) for each in found]


class Guard:
    """Judges addresses. `allowed` are networks that may be reached although nobody outside could."""

    def __init__(self, allowed: Iterable[Network] = (), resolver: Resolve = resolve) -> None:
        self._allowed = tuple(allowed)
        self._resolver = resolver

    def is_allowed(self, address: Address) -> bool:
        if any(address in network for network in self._allowed):
            return True
        return (
            address.is_global
            and not address.is_multicast
            and not any(address in network for network in _WAYS_AROUND if network.version == address.version)
        )

    def check(self, target: Target) -> None:
        """Raises InvalidUrl for an address written out that is refused, so that this is told at once."""
        address = _literal(target.host)
        if address is None and target.host.rstrip(".").lower().endswith("localhost") and not self._allowed:
            raise InvalidUrl(f"{target.host} is this machine: webhooks go to public addresses")
        if address is not None and not self.is_allowed(address):
            raise InvalidUrl(f"{address} is not reachable from outside: webhooks go to public addresses")

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        """Where `host` is; one address that is refused refuses all. Raises AddressRefused, OSError."""
        found = await self._resolver(host, port)
        if not found:
            raise OSError(f"{host} has no address")
        for address in found:
            if not self.is_allowed(address):
                raise AddressRefused(f"{host} leads to {address}, where no webhook may go")
        return found


def _literal(host: str) -> Address | None:
    """The address that is written out, also as 2130706433, 0x7f.1 or 127.1, which resolvers take for 127.0.0.1."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were judged. TLS is by the name, which the connection above knows."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._inner = httpcore.AnyIOBackend()

    @override
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception | None = None
        for address in await self._guard.addresses(host, port):
            try:
                return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure

    @override
    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise AddressRefused("webhooks go over the network")

    @override
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
