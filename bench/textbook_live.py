"""The textbook live server that ours is measured against: a FastAPI WebSocket and a loop that sends JSON to each one.

It is what tutorials show: a list of connections, `send_json` to each in turn. It is given what is fair: uvloop, the
same bus to read from, no sign-in, nobody slow. It keeps no history, so whoever was away has missed what he has missed.
"""

import asyncio
import sys
from typing import Any

import uvicorn
import uvloop
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from redis.asyncio import Redis

from core import events, settings
from core.bus import stream_key
from core.events import TelemetryReceived

app = FastAPI()
active: list[WebSocket] = []


@app.websocket("/ws")
async def live(websocket: WebSocket) -> None:
    await websocket.accept()
    active.append(websocket)
    try:
        while True:
            await websocket.receive_text()
    except WebSocketDisconnect:
        active.remove(websocket)


async def broadcast() -> None:
    given = settings.load()
    redis: Any = Redis.from_url(given.redis.url)
    after: dict[str, str] = dict.fromkeys((stream_key("telemetry", n) for n in range(given.bus.partitions)), "$")
    while True:
        for key, rows in await redis.xread(after, count=50, block=1000):
            after[key.decode()] = rows[-1][0].decode()
            for _, fields in rows:
                event = events.decode(fields[b"e"])
                assert isinstance(event, TelemetryReceived)
                for thing, sample in ((each.thing, each.sample) for each in event.samples):
                    pos = sample.pos
                    assert pos is not None
                    fix = {"device": thing.partition(":")[2], "ts": sample.ts, "lat": pos.lat, "lon": pos.lon}
                    for websocket in tuple(active):
                        await websocket.send_json({**fix, "speed": pos.speed, "heading": pos.heading})


async def main(port: int) -> None:
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", ws="websockets-sansio"))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(broadcast())
        tasks.create_task(server.serve())


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
