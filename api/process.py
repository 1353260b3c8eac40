"""Builds the API process and serves until it is told to stop; then finishes the requests it holds and goes."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import override

import structlog
import uvicorn
from fastapi import FastAPI

from api.access import Principal, Session
from api.app import create_app
from api.http.errors import Unauthorized
from api.http.security import Authenticator
from api.services import Services
from core.bus import Bus
from core.clock import utc_now
from core.db import Database
from core.metrics import READY
from core.settings import Settings
from core.worker import until_stopped
from provisioning.ca import CertificateAuthority
from provisioning.service import ProvisioningService

_DRAIN_S = 10
_log = structlog.get_logger()


class HttpServer(uvicorn.Server):
    """Leaves signals to `until_stopped`, and says in READY whether it takes requests."""

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        READY.set(1)

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        READY.set(0)
        await super().shutdown(sockets)


class NobodySignsIn:
    """An authenticator that knows nobody: what is public works."""

    async def by_bearer(self, _token: str) -> Principal:
        raise Unauthorized("this token is not known")

    async def by_session(self, _cookie: str) -> Session:
        raise Unauthorized("this session is over")


@asynccontextmanager
async def services(settings: Settings, identity: Authenticator) -> AsyncIterator[Services]:
    """Everything routes are given, open for as long as the context lasts."""
    database = settings.database

    def login(url: str, pool_size: int) -> Database:
        return Database(url, pool_size=pool_size, statement_timeout_s=database.statement_timeout_s)

    bus = Bus(settings.redis, settings.bus)
    app, operator = login(database.app_url, database.pool_size), login(database.operator_url, 4)
    ingest = login(database.ingest_url, 1)
    authority = CertificateAuthority.open(settings.provisioning.ca_dir, settings=settings.provisioning)
    async with app, operator, ingest:
        yield Services(
            settings=settings,
            app=app,
            operator=operator,
            ingest=ingest,
            bus=bus,
            provisioning=ProvisioningService(
                app=app, operator=operator, authority=authority, settings=settings.provisioning
            ),
            identity=identity,
            clock=utc_now,
        )
    await bus.close()


def server(app: FastAPI, settings: Settings) -> HttpServer:
    config = uvicorn.Config(
        app,
        host=settings.api.host,
        port=settings.api.port,
        http="httptools",
        ws="websockets-sansio",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=_DRAIN_S,
    )
    return HttpServer(config)


async def run(settings: Settings) -> None:
    async with services(settings, NobodySignsIn()) as given:
        http = server(create_app(given), settings)
        serving = asyncio.ensure_future(http.serve())
        _log.info("api.serving", host=settings.api.host, port=settings.api.port)

        async def drain() -> None:
            http.should_exit = True
            await asyncio.wait([serving])
            _log.info("api.drained")

        await until_stopped(serving, before_cancel=drain)
