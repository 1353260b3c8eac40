"""The three reads that `bench/rest` measures, as a tutorial on FastAPI writes them: rows, pydantic models, raw tables.

It is given what is fair: the same database, indexes and HTTP server, and a pool. It
has neither sign-in nor limits, and its track leaves out rows by count alone.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import uvicorn
from fastapi import FastAPI
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

_TENANT, _POINTS = "bench", 1000
_pool: AsyncConnectionPool = AsyncConnectionPool(
    os.environ.get("BENCH_DATABASE_URL", ""), min_size=1, max_size=8, open=False, kwargs={"row_factory": dict_row}
)


class Fix(BaseModel):
    ts: datetime
    lat: float
    lon: float
    alt: float | None
    speed: float | None
    heading: float | None
    acc: float | None


class LastPosition(Fix):
    device: str
    status: str
    online: bool


class Bucket(BaseModel):
    ts: datetime
    avg: float
    min: float
    max: float
    last: float
    count: int


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with _pool:
        yield


app = FastAPI(lifespan=_lifespan)


async def _rows(query: str, params: tuple[object, ...]) -> list[dict[str, object]]:
    async with _pool.connection() as conn:
        await conn.execute("SELECT set_config('app.tenant_id', %s, true)", (_TENANT,))
        return await (await conn.execute(query, params)).fetchall()  # type: ignore[return-value]


@app.get("/positions")
async def positions() -> list[LastPosition]:
    rows = await _rows(
        "SELECT d.device_id AS device, d.status, p.online, s.ts, s.lat, s.lon, s.alt, s.speed, s.heading, s.acc"
        " FROM device d JOIN device_state s USING (tenant_id, device_id) JOIN presence p USING (tenant_id, device_id)"
        " ORDER BY d.device_id",
        (),
    )
    return [LastPosition.model_validate(row) for row in rows]


@app.get("/track")
async def track(device: str, since: datetime, until: datetime) -> list[Fix]:
    rows = await _rows(
        "SELECT ts, lat, lon, alt, speed, heading, acc FROM positions"
        " WHERE device_id = %s AND ts >= %s AND ts < %s ORDER BY ts",
        (device, since, until),
    )
    step = max(1, -(-len(rows) // _POINTS))
    return [Fix.model_validate(row) for row in rows[::step]]


@app.get("/metric")
async def metric(device: str, name: str, since: datetime, until: datetime) -> list[Bucket]:
    rows = await _rows(
        "SELECT date_trunc('hour', ts) AS ts, avg(value) AS avg, min(value) AS min, max(value) AS max,"
        " (array_agg(value ORDER BY ts DESC))[1] AS last, count(*) AS count FROM metrics"
        " WHERE device_id = %s AND name = %s AND ts >= %s AND ts < %s GROUP BY 1 ORDER BY 1",
        (device, name, since, until),
    )
    return [Bucket.model_validate(row) for row in rows]


if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), log_level="error", loop="uvloop", http="httptools"
    )
