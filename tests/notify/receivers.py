"""Servers at the other end: HTTP/1.1 (FCM, webhooks) and HTTP/2 (APNs), that answer as they are told, well or badly."""

import asyncio
import contextlib
import json
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events


@dataclass
class Asked:
    """A request that came in."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """What is answered. `hangs`: nothing, ever; `raw`: these bytes and the end of the connection."""

    status: int = 200
    body: bytes | str | dict[str, Any] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs: bool = False
    raw: bytes | None = None

    @property
    def bytes(self) -> bytes:
        if isinstance(self.body, dict):
            return json.dumps(self.body).encode()
        return self.body.encode() if isinstance(self.body, str) else self.body


HANGS = Answer(hangs=True)
GARBAGE = Answer(raw=b"\x00\xff not HTTP at all \r\n\r\n")
CLOSES = Answer(raw=b"")


@dataclass
class Receiver:
    """`script` is answered first, one after the other; `usually` afterwards. `accepted` were answered with 2xx."""

    usually: Callable[[Asked], Answer]
    script: deque[Answer] = field(default_factory=deque)
    asked: list[Asked] = field(default_factory=list)
    accepted: list[Asked] = field(default_factory=list)
    connections: int = 0
    url: str = ""

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        answer = self.script.popleft() if self.script else self.usually(asked)
        if 200 <= answer.status < 300 and not answer.hangs and answer.raw is None:
            self.accepted.append(asked)
        return answer


@asynccontextmanager
async def http1(
    usually: Callable[[Asked], Answer], *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    """A server on a free port."""
    receiver = Receiver(usually)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        receiver.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().split("\r\n")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                answer = receiver.answer(Asked(first.split(" ")[1], headers, body))
                if answer.hangs:
                    await asyncio.sleep(60)
                if answer.raw is not None:
                    writer.write(answer.raw)
                    break
                told = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
                content = answer.bytes
                writer.write(
                    f"HTTP/1.1 {answer.status} X\r\n{told}content-length: {len(content)}\r\n\r\n".encode() + content
                )
                await writer.drain()
        writer.close()

    async with _serving(serve, host, tls) as port:
        receiver.url = f"{'https' if tls else 'http'}://{host}:{port}"
        yield receiver


@asynccontextmanager
async def http2(usually: Callable[[Asked], Answer]) -> AsyncIterator[Receiver]:
    """HTTP/2 with prior knowledge, many streams on a connection as Apple has it."""
    receiver = Receiver(usually)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        receiver.connections += 1
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        heads: dict[int, dict[str, str]] = {}
        bodies: dict[int, bytes] = {}
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        heads[event.stream_id], bodies[event.stream_id] = dict(event.headers), b""
                    elif isinstance(event, h2.events.DataReceived):
                        bodies[event.stream_id] += event.data
                        connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, h2.events.StreamEnded):
                        headers = heads[event.stream_id]
                        answer = receiver.answer(Asked(headers[":path"], headers, bodies[event.stream_id]))
                        if answer.hangs:
                            continue
                        if answer.raw is not None:
                            writer.write(answer.raw)
                            writer.close()
                            return
                        _send(connection, event.stream_id, answer)
                writer.write(connection.data_to_send())
                await writer.drain()
        writer.close()

    async with _serving(serve, "127.0.0.1", None) as port:
        receiver.url = f"http://127.0.0.1:{port}"
        yield receiver


def _send(connection: h2.connection.H2Connection, stream: int, answer: Answer) -> None:
    connection.send_headers(stream, [(":status", str(answer.status)), *answer.headers.items()])
    connection.send_data(stream, answer.bytes, end_stream=True)


@asynccontextmanager
async def _serving(serve: Any, host: str, tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None]] = set()

    async def held(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except asyncio.CancelledError:
            writer.close()
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(held, host, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
