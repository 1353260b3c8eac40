"""A real HTTP server that plays OSRM and Google Routes, well or badly."""

import asyncio
import json
import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise

STEPS = 5


class Pretender:
    """Answers as `mood` says: ok, slow, garbage, negative, empty, elsewhere, short, nan, quota, broken, hang_up."""

    def __init__(self, port: int = 0) -> None:
        self.mood = "ok"
        self.port = port
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.retry_after: str | None = "120"
        self.traffic = 1.0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> "Pretender":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *rest = head.strip().split("\r\n")
                headers = {name.lower(): value for name, value in (h.split(": ", 1) for h in rest)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.asked.append(line)
                self.headers.append(headers)
                self.bodies.append(body)
                if self.mood == "hang_up":
                    break
                if self.mood == "slow":
                    await asyncio.sleep(10)
                writer.write(self._answer(line.split()[1], body))
                await writer.drain()
        self._writers.discard(writer)
        writer.close()

    def _answer(self, path: str, body: bytes) -> bytes:
        after = f"Retry-After: {self.retry_after}\r\n" if self.retry_after else ""
        bad = {
            "quota": _http(429, b'{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}', after),
            "broken": _http(500, b"<html>sorry</html>"),
            "garbage": _http(200, b"\x00\xff<html>OSRM</html>"),
            "empty": _http(200, b"{}"),
        }
        if self.mood in bad:
            return bad[self.mood]
        if path.startswith("/directions/"):
            return _http(200, json.dumps(self._google(json.loads(body))).encode())
        places = [tuple(map(float, p.split(","))) for p in path.partition("?")[0].rsplit("/", 1)[1].split(";")]
        if any(lat > 80 for _, lat in places):
            return _http(400, b'{"code":"NoRoute","message":"Impossible route between points"}')
        answer = self._nearest(places) if path.startswith("/nearest/") else self._route(places)
        return _http(200, json.dumps(answer).encode())

    def _google(self, asked: dict) -> dict:
        stops = [asked["origin"], *asked.get("intermediates", []), asked["destination"]]
        places = [(s["location"]["latLng"]["longitude"], s["location"]["latLng"]["latitude"]) for s in stops]
        durations = [f"{round(self.traffic * _metres(a, b) / 10.0)}s" for a, b in pairwise(places)]
        if self.mood == "negative":
            durations[0] = "-30s"
        if self.mood == "short":
            durations.pop()
        if self.mood == "nan":
            durations[0] = "NaNs"
        return {"routes": [{"legs": [{"duration": d} for d in durations]}]}

    def _nearest(self, places: list[tuple[float, float]]) -> dict:
        lon, lat = places[0]
        away = 11.1195 if self.mood == "ok" else -4.0
        return {"code": "Ok", "waypoints": [{"location": [lon, lat + 0.0001], "distance": away}]}

    def _route(self, places: list[tuple[float, float]]) -> dict:
        if self.mood == "elsewhere":
            places = [(lon + 1.0, lat) for lon, lat in places]
        legs, line = [], [places[0]]
        for a, b in pairwise(places):
            step = _metres(a, b) / STEPS
            line += [(a[0] + (b[0] - a[0]) * n / STEPS, a[1] + (b[1] - a[1]) * n / STEPS) for n in range(1, STEPS + 1)]
            legs.append(
                {
                    "duration": step * STEPS / 10.0,
                    "annotation": {"distance": [step] * STEPS, "duration": [step / 10.0] * STEPS},
                }
            )
        if self.mood == "negative":
            legs[0]["annotation"]["duration"][0] *= -0.5
        if self.mood == "nan":
            legs[0]["annotation"]["distance"][0] = None
        if self.mood == "short":
            legs.pop()
        waypoints = [{"location": place, "distance": 3.0} for place in places]
        return {"code": "Ok", "routes": [{"legs": legs, "geometry": {"coordinates": line}}], "waypoints": waypoints}


def _http(status: int, body: bytes, more: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


def _metres(a: tuple[float, float], b: tuple[float, float]) -> float:
    east = 111_195.0 * math.cos(math.radians(a[1]))
    return math.hypot((b[0] - a[0]) * east, (b[1] - a[1]) * 111_195.0)


class StillClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 8, 3, 6, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
