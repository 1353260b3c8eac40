"""A client of the live streams, which keeps the rules of docs/live.md and judges the server by them."""

import asyncio
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
            await self.socket.wait_closed()
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
