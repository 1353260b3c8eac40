"""A client of the live streams, which keeps the rules of docs/live.md and judges the server by them."""

import asyncio
import contextlib
import json
from typing import Any

import httpx
import websockets
from websockets.asyncio.client import ClientConnection


class Live:
    """A WebSocket of one client, frame by frame."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    @classmethod
    async def open(cls, api, token: str | None = None, *, path: str = "/v1/ws", **kwargs: Any) -> "Live":
        url = api.url.replace("http://", "ws://") + path
        headers = kwargs.pop("headers", {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        socket = await websockets.connect(url, additional_headers=headers, max_size=None, compression=None, **kwargs)
        live = cls(socket)
        if token is not None:
            assert (await live.frame())["type"] in {"ready", "error"}
        return live

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def frame(self, within_s: float = 10.0) -> dict[str, Any]:
        async with asyncio.timeout(within_s):
            return json.loads(await self.socket.recv())

    async def until(self, type_: str, within_s: float = 10.0) -> dict[str, Any]:
        async with asyncio.timeout(within_s):
            while (frame := await self.frame(within_s))["type"] != type_:
                pass
        return frame

    async def subscribe(self, channel: str = "vehicles", **fields: Any) -> dict[str, Any]:
        await self.send(type="subscribe", channel=channel, **fields)
        return await self.until("subscribed")

    async def events(self, count: int, within_s: float = 10.0) -> list[dict[str, Any]]:
        """The next `count` events, and not one more in their frames."""
        got: list[dict[str, Any]] = []
        async with asyncio.timeout(within_s):
            while len(got) < count:
                got += (await self.until("events", within_s))["events"]
        assert len(got) == count
        return got

    async def closed(self, within_s: float = 10.0) -> int:
        async with asyncio.timeout(within_s):
            # A frame nobody takes keeps the close behind it from being seen.
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:
                    await self.socket.recv()
        return self.socket.close_code or 0

    async def close(self) -> None:
        await self.socket.close()

    def drop(self) -> None:
        """As if the network were gone."""
        self.socket.transport.abort()


async def sse(client: httpx.AsyncClient, **kwargs: Any):
    """Events of a stream as (event, id, data), comments left out."""
    async with client.stream("GET", "/v1/stream", timeout=20, **kwargs) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        event, id_, data = "message", None, ""
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if line == "":
                if data:
                    yield event, id_, json.loads(data)
                event, data = "message", ""
            elif name == "event":
                event = value
            elif name == "id":
                id_ = value
            elif name == "data":
                data = value


class Follower:
    """A client as docs/live.md wants it: keeps its position, resumes after every break, replaces on a snapshot.

    `log` is every event it was told since the last snapshot, by offset; `state` what its map would show.
    """

    def __init__(self, connect, *, filter_: dict[str, Any] | None = None) -> None:
        self._connect = connect
        self._filter = filter_
        self.live: Live | None = None
        self.epoch: str | None = None
        self.offset = 0
        self.log: dict[int, dict[str, Any]] = {}
        self.state: dict[str, dict[str, Any]] = {}
        self.snapshots: list[str | None] = []
        self.resumed = 0
        self.wrong: list[str] = []
        self._task: asyncio.Task[None] | None = None

    def start(self) -> "Follower":
        self._task = asyncio.create_task(self._run())
        return self

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        if self.live is not None:
            await self.live.close()
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise error

    def drop(self) -> None:
        if self.live is not None:
            self.live.drop()

    async def reaches(self, epoch: str, offset: int, within_s: float = 20.0) -> None:
        async with asyncio.timeout(within_s):
            while (self.epoch, self.offset) != (epoch, offset):
                assert self._task is not None
                if self._task.done():
                    self._task.result()
                await asyncio.sleep(0.02)

    async def _run(self) -> None:
        while True:
            try:
                self.live = await self._connect()
                place = {} if self.epoch is None else {"epoch": self.epoch, "offset": self.offset}
                wanted = {} if self._filter is None else {"filter": self._filter}
                await self.live.send(type="subscribe", channel="vehicles", **place, **wanted)
                while True:
                    self._take(await self.live.frame(60))
            except (websockets.ConnectionClosed, OSError, websockets.InvalidHandshake, EOFError):
                await asyncio.sleep(0.05)

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "subscribed":
            self._begin(frame)
        elif frame["type"] == "events":
            for event in frame["events"]:
                self._learn(event, is_whole=self._filter is None and "conflated" not in frame)
            if frame["epoch"] != self.epoch or frame["offset"] < self.offset:
                self.wrong.append(f"a frame of {frame['epoch']}:{frame['offset']} at {self.epoch}:{self.offset}")
            self.offset = frame["offset"]
        elif frame["type"] == "ping" and self._filter is None:
            place = frame["positions"].get("vehicles")
            if place is not None and (place["epoch"], place["offset"]) != (self.epoch, self.offset):
                self.wrong.append(f"the ping says {place}, and I stand at {self.epoch}:{self.offset}")

    def _begin(self, frame: dict[str, Any]) -> None:
        if frame.get("recovered"):
            self.resumed += 1
            if (frame["epoch"], frame["offset"]) != (self.epoch, self.offset):
                self.wrong.append(f"resumed at {frame['epoch']}:{frame['offset']}, left at {self.epoch}:{self.offset}")
            return
        self.snapshots.append(frame.get("reason"))
        self.epoch, self.offset = frame["epoch"], frame["offset"]
        self.log.clear()
        self.state = {line["device"]: line for line in frame["snapshot"]}

    def _learn(self, event: dict[str, Any], *, is_whole: bool) -> None:
        offset, data = event["offset"], event["data"]
        expected = max(self.log, default=self.offset) + 1
        if offset < expected or (is_whole and offset != expected):
            self.wrong.append(f"event {offset} came where {expected} was due")
        self.log[offset] = event
        line = self.state.setdefault(data["device"], {"device": data["device"], "position": None, "since": None})
        if event["type"] == "position":
            before = line["position"]
            if before is None or data["ts"] >= before["ts"]:
                line["position"] = {key: value for key, value in data.items() if key != "device"}
        elif event["type"] == "presence":
            if line["since"] is None or data["since"] >= line["since"]:
                line |= {"online": data["online"], "since": data["since"]}
        else:
            line |= data
