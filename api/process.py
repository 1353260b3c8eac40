"""Builds the API process and serves until it is told to stop; then finishes the requests it holds and goes."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import override

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.http.security import Authenticator
from api.services import Services
from core.bus import Bus
from core.clock import utc_now
from core.db import Database
from core.settings import Settings
from core.worker import until_stopped
from provisioning.ca import CertificateAuthority
from provisioning.service import ProvisioningService


class HttpServer(uvicorn.Server):
    """Leaves signals to `until_stopped`."""

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


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
        timeout_graceful_shutdown=10,
    )
    return HttpServer(config)


async def run(settings: Settings, identity: Authenticator) -> None:
    async with services(settings, identity) as given:
        http = server(create_app(given), settings)

        async def stop() -> None:
            http.should_exit = True

        await until_stopped(http.serve(), before_cancel=stop)
