"""An HTTP client that costs less than the server it measures: kept-alive connections, and an event stream.

Only for requests that may be repeated: one whose connection ends before its answer is sent again, and counted.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import cast, override
from urllib.parse import urlsplit

import httptools
import msgspec

_MOST_TRIES = 5


class Refused(Exception):
    """The server answered with a status nobody asked for."""


class _Connection(asyncio.Protocol):
    """One request at a time. `stream` gets the pieces of the body as they come; its end is None."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.stream: asyncio.Queue[bytes | None] | None = None
        self.is_lost = False
        self._body: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's own class

    @override
    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self.stream is not None:
            self.stream.put_nowait(None)
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(ConnectionResetError(str(exc or "closed before the answer")))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Raises ConnectionResetError."""
        assert self.transport is not None
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.answer

    def on_body(self, body: bytes) -> None:
        if self.stream is None:
            self._body.append(body)
        else:
            self.stream.put_nowait(body)

    def on_message_complete(self) -> None:
        status, body, self._body = self._parser.get_status_code(), b"".join(self._body), []
        self._parser = httptools.HttpResponseParser(self)
        if self.answer is not None and not self.answer.done():
            self.answer.set_result((status, body))


class HttpClient:
    """As many connections as requests are under way. `again` counts requests that were sent once more."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        told = {"Host": parts.netloc, "Content-Type": "application/json", **headers}
        self._head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        self._idle: list[_Connection] = []
        self.again = 0

    async def ask(self, method: str, path: str, body: object = None, *, expected: int = 200) -> bytes:
        """The answer's body. Raises Refused, ConnectionError."""
        content = b"" if body is None else msgspec.json.encode(body)
        request = f"{method} {path} HTTP/1.1\r\n{self._head}Content-Length: {len(content)}\r\n\r\n".encode() + content
        for tries_left in reversed(range(_MOST_TRIES)):
            connection = await self._connection()
            try:
                status, answer = await connection.ask(request)
            except ConnectionResetError:
                self.again += 1
                if not tries_left:
                    raise
                continue
            self._idle.append(connection)
            if status != expected:
                raise Refused(f"{method} {path} answered {status}: {answer[:500]!r}")
            return answer
        raise AssertionError

    async def events(self, path: str) -> AsyncIterator[bytes]:
        """The `data` of each server-sent event, as they come, until the connection ends."""
        connection = await self._connect()
        connection.stream = asyncio.Queue()
        assert connection.transport is not None
        connection.transport.write(f"GET {path} HTTP/1.1\r\n{self._head}\r\n".encode())
        rest = b""
        while (piece := await connection.stream.get()) is not None:
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.startswith(b"data: "):
                    yield line[6:]

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_lost:
                return connection
        return await self._connect()

    async def _connect(self) -> _Connection:
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, self._host, self._port)
        return connection

    def close(self) -> None:
        for connection in self._idle:
            if connection.transport is not None:
                connection.transport.abort()
