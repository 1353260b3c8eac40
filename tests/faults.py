"""Faults to order: processes stopped for a while, and a wire to PostgreSQL that breaks at a chosen word."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlsplit

import psutil

COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"
"""What PostgreSQL answers to COMMIT once it has happened: CommandComplete with the tag COMMIT."""


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """The process and its children stand still: their sockets stay open and nothing answers."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in reversed(processes):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


async def until(is_so: Callable[[], bool] | Callable[[], Awaitable[bool]], *, within_s: float = 60.0) -> None:
    """Wait for what must come about; TimeoutError when it does not."""
    async with asyncio.timeout(within_s):
        while True:
            answer = is_so()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.02)


class CommitCutter:
    """Between a client and PostgreSQL. Once told to `cut`, the next COMMIT happens, and its answer is lost with the
    connection: the client cannot know whether it is through.
    """

    def __init__(self) -> None:
        self.cut = 0
        self.cuts = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
        there, back = await asyncio.open_connection(host, port)
        tasks = [asyncio.create_task(_pass(reader, back)), asyncio.create_task(self._answers(there, writer))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for each in (writer, back):
                each.transport.abort()
                each.close()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if self.cut and COMMITTED in data:
                self.cut -= 1
                self.cuts += 1
                return
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def commit_cutter(url: str) -> AsyncIterator[tuple[CommitCutter, str]]:
    """A cutter before the server of `url`, and the URL that leads through it."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    host, port = parts.hostname, parts.port
    cutter = CommitCutter()
    running: set[asyncio.Task[None]] = set()

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(cutter.serve(reader, writer, host, port))
        running.add(task)
        task.add_done_callback(running.discard)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    through = server.sockets[0].getsockname()[1]
    try:
        yield cutter, url.replace(f"@{host}:{port}", f"@127.0.0.1:{through}")
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
