"""Many live clients in a process of their own: `python -m bench.live_clients`, told what to do by JSON lines on stdin.

WebSocket by hand over plain TCP: what is measured is the server, so its clients must cost less than it does. Each event
is read (offset and device time); each gap is counted.
"""

import asyncio
import base64
import os
import resource
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import NoReturn, cast
from urllib.parse import urlsplit

import msgspec
import uvloop


class _Data(msgspec.Struct, gc=False):
    ts: int = 0


class _Event(msgspec.Struct, gc=False):
    offset: int
    data: _Data


class _Frame(msgspec.Struct, gc=False):
    type: str
    epoch: str = ""
    offset: int = 0
    recovered: bool | None = None
    events: list[_Event] = []


class Order(msgspec.Struct):
    """`open` connects and subscribes, `measure` counts what comes, `storm` drops all and has them come back."""

    do: str
    count: int = 0
    seconds: float = 0.0
    channel: str | None = "vehicles"
    """None: the baseline, which sends bare events to whoever connects"""


class Report(msgspec.Struct):
    """Latencies in ms. `clients_s` is each client's time from being dropped to having its place again."""

    clients: int = 0
    seconds: float = 0.0
    events: int = 0
    frames: int = 0
    gaps: int = 0
    recovered: int = 0
    snapshots: int = 0
    lost: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    clients_p50_s: float = 0.0
    clients_p99_s: float = 0.0
    cpu_s: float = 0.0


@dataclass
class Tally:
    """What all clients together saw since it was begun. `latencies` counts events by whole ms."""

    latencies: dict[int, int] = field(default_factory=dict)
    events: int = 0
    frames: int = 0
    gaps: int = 0
    recovered: int = 0
    snapshots: int = 0
    lost: int = 0
    back_s: list[float] = field(default_factory=list)

    def share_ms(self, share: float) -> float:
        due = share * sum(self.latencies.values())
        for ms in sorted(self.latencies):
            due -= self.latencies[ms]
            if due <= 0:
                return float(ms)
        return 0.0


_decode = msgspec.json.Decoder(_Frame).decode
_decode_bare = msgspec.json.Decoder(_Data).decode


class Client(asyncio.Protocol):
    """One connection at a time; it keeps its position over several."""

    def __init__(self, fleet: "Fleet", channel: str | None) -> None:
        self._fleet = fleet
        self._channel = channel
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._is_open = False
        self.epoch = ""
        self.offset = 0
        self.dropped_at = 0.0
        self.is_placed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class
        self._buffer.clear()
        self._is_open = False
        self._transport.write(self._fleet.handshake)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.dropped_at:
            self._fleet.tally.lost += 1

    def drop(self) -> None:
        assert self._transport is not None
        self.dropped_at = time.monotonic()
        self.is_placed.clear()
        self._transport.abort()

    def send(self, message: dict[str, object]) -> None:
        payload = msgspec.json.encode(message)
        head = (
            bytes((0x81, 0x80 | len(payload))) if len(payload) < 126 else struct.pack("!BBH", 0x81, 0xFE, len(payload))
        )
        assert self._transport is not None
        self._transport.write(head + b"\0\0\0\0" + payload)  # a mask of zeros leaves the payload as it is

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if not self._is_open:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if not buffer.startswith(b"HTTP/1.1 101"):
                _give_up(f"refused: {bytes(buffer[:200])!r}")
            del buffer[: end + 4]
            self._is_open = True
            if self._channel is None:
                self._placed()
        at = 0
        while (span := self._payload(at)) is not None:
            opcode = buffer[at] & 0x0F
            start, at = span
            self._take(opcode, bytes(buffer[start:at]))
        if at:
            del buffer[:at]

    def _payload(self, at: int) -> tuple[int, int] | None:
        """Start and end of the payload of the frame at `at`, or None while it is not all there."""
        buffer, have = self._buffer, len(self._buffer) - at
        if have < 2:
            return None
        length, head = buffer[at + 1], 2
        if length >= 126:
            head = 4 if length == 126 else 10
            if have < head:
                return None
            length = int.from_bytes(buffer[at + 2 : at + head])
        if have < head + length:
            return None
        return at + head, at + head + length

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == 0x9:
            assert self._transport is not None
            self._transport.write(bytes((0x8A, 0x80 | len(payload))) + b"\0\0\0\0" + payload)
        elif opcode == 0x1 and self._channel is None:
            self._fleet.tally.frames += 1
            self._count([_decode_bare(payload).ts])
        elif opcode == 0x1:
            self._fleet.tally.frames += 1
            self._read(_decode(payload), payload)

    def _read(self, frame: _Frame, payload: bytes) -> None:
        tally = self._fleet.tally
        if frame.type == "events":
            told = frame.events
            if told[0].offset != self.offset + 1 or told[-1].offset - told[0].offset + 1 != len(told):
                tally.gaps += 1
            self.offset = frame.offset
            self._count([event.data.ts for event in told])
        elif frame.type == "ready":
            place = {"epoch": self.epoch, "offset": self.offset} if self.epoch else {}
            self.send({"type": "subscribe", "channel": self._channel, **place})
        elif frame.type == "subscribed":
            if self.epoch:
                tally.recovered += frame.recovered is True
                tally.snapshots += frame.recovered is False
            self.epoch, self.offset = frame.epoch, frame.offset
            self._placed()
        elif frame.type == "error":
            _give_up(f"the server says {payload!r}")

    def _placed(self) -> None:
        if self.dropped_at:
            self._fleet.tally.back_s.append(time.monotonic() - self.dropped_at)
            self.dropped_at = 0.0
        self.is_placed.set()

    def _count(self, stamps: list[int]) -> None:
        tally = self._fleet.tally
        now_ms = int(time.time() * 1000)
        tally.events += len(stamps)
        for ts in stamps:
            if not ts:  # no position
                continue
            late = now_ms - ts
            tally.latencies[late] = tally.latencies.get(late, 0) + 1


class Fleet:
    """All clients of this process."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        key = base64.b64encode(os.urandom(16)).decode()
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        self.handshake = (
            f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n\r\n"
        ).encode()
        self.tally = Tally()
        self._clients: list[Client] = []

    async def follow(self, order: Order) -> Report:
        self.tally = Tally()
        started, cpu_s = time.monotonic(), time.process_time()
        if order.do == "open":
            new = [Client(self, order.channel) for _ in range(order.count)]
            for at in range(0, len(new), 50):
                await asyncio.gather(*map(self._connect, new[at : at + 50]))
            self._clients += new
        elif order.do == "measure":
            await asyncio.sleep(order.seconds)
        elif order.do == "storm":
            for client in self._clients:
                client.drop()
            await asyncio.gather(*map(self._connect, self._clients))
        return self._report(time.monotonic() - started, time.process_time() - cpu_s)

    async def _connect(self, client: Client) -> None:
        while True:
            try:
                await asyncio.get_running_loop().create_connection(lambda: client, self._host, self._port)
                break
            except OSError:  # the server's backlog is full
                await asyncio.sleep(0.05)
        await client.is_placed.wait()

    def _report(self, seconds: float, cpu_s: float) -> Report:
        tally = self.tally
        back = sorted(tally.back_s) or [0.0]
        return Report(
            clients=len(self._clients),
            seconds=seconds,
            events=tally.events,
            frames=tally.frames,
            gaps=tally.gaps,
            recovered=tally.recovered,
            snapshots=tally.snapshots,
            lost=tally.lost,
            p50_ms=tally.share_ms(0.5),
            p99_ms=tally.share_ms(0.99),
            max_ms=float(max(tally.latencies, default=0)),
            clients_p50_s=back[len(back) // 2],
            clients_p99_s=back[int(len(back) * 0.99)],
            cpu_s=cpu_s,
        )


def _give_up(why: str) -> NoReturn:
    """Out of a callback, where an exception would only be logged."""
    sys.stderr.write(f"live clients: {why}\n")
    os._exit(1)


async def main(url: str, token: str) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _, context: _give_up(repr(context)))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    fleet = Fleet(url, token)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        report = await fleet.follow(msgspec.json.decode(line, type=Order))
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], os.environ["BENCH_TOKEN"]))
