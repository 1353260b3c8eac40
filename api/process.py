"""Builds the API process and serves until it is told to stop; then finishes the requests it holds and goes."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import override

import structlog
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.control.store import FleetSearch
from api.http.limits import Limits
from api.http.security import Authenticator
from api.http.store import RequestStore
from api.identity.service import identity
from api.live.protocol import MAX_MESSAGE_BYTES
from api.live.service import Live
from api.live.socket import PONG_WITHIN_S, LiveSocket
from api.services import Services
from api.sites import OnTheirWay
from commands.service import CommandService
from core.bus import Bus
from core.clock import utc_now
from core.db import Database, DatabaseUnavailable
from core.errors import Unavailable
from core.limits import Limiter
from core.metrics import READY
from core.settings import ApiSettings, Settings
from core.worker import until_stopped
from eta.accuracy.service import AccuracyService
from eta.live.service import ArrivalService
from eta.routing.cost import prices
from eta.routing.cost.report import MapsService
from eta.sites.imports import ImportService
from eta.sites.service import SiteService
from eta.trips.service import TripService
from notify.service import NotifyService
from notify.tracking.service import LinkService
from notify.webhooks.service import WebhookService
from provisioning.ca import CertificateAuthority
from provisioning.service import ProvisioningService
from shadow.aws.mode import shadows

_DRAIN_S = 10
_FORGET_EVERY_S = 600.0
_log = structlog.get_logger()


class CannotListen(Unavailable):
    """The address or port is not this machine's or not free."""

    code = "cannot_listen"


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
        _log.info("api.serving", host=self.config.host, port=self.config.port)

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        READY.set(0)
        await super().shutdown(sockets)


@asynccontextmanager
async def services(settings: Settings, known: Authenticator | None = None) -> AsyncIterator[Services]:
    """Everything routes are given, open for as long as the context lasts; `known` answers in place of api.identity."""
    database = settings.database

    def login(url: str, pool_size: int, tenant_most: int | None = None) -> Database:
        timeout_s = database.statement_timeout_s
        return Database(url, pool_size=pool_size, statement_timeout_s=timeout_s, tenant_most=tenant_most)

    async with AsyncExitStack() as opened:
        # Half of the connections at most are one tenant's, whatever it asks for.
        app = await opened.enter_async_context(
            login(database.app_url, database.pool_size, tenant_most=max(1, database.pool_size // 2))
        )
        operator = await opened.enter_async_context(login(database.operator_url, 4))
        ingest = await opened.enter_async_context(login(database.ingest_url, 1))
        bus, limiter = Bus(settings.redis, settings.bus), Limiter(settings.redis)
        opened.push_async_callback(bus.close)
        opened.push_async_callback(limiter.close)
        if known is None:
            known = await opened.enter_async_context(identity(app=app, operator=operator, settings=settings))
        authority = CertificateAuthority.open(settings.provisioning.ca_dir, settings=settings.provisioning)
        places = SiteService(database=app, clock=utc_now)
        trips = TripService(database=app, clock=utc_now)
        sites = OnTheirWay(trips, places)
        live = Live(settings=settings, bus=bus, app=app, operator=operator, rights=known, clock=utc_now, sites=sites)
        opened.push_async_callback(live.close)
        yield Services(
            settings=settings,
            app=app,
            operator=operator,
            ingest=ingest,
            bus=bus,
            provisioning=ProvisioningService(
                app=app, operator=operator, authority=authority, settings=settings.provisioning
            ),
            identity=known,
            limits=Limits(limiter, settings.api),
            requests=RequestStore(app, operator, timedelta(hours=settings.api.idempotency_hours)),
            live=live,
            places=places,
            imports=ImportService(database=app, clock=utc_now),
            trips=trips,
            arrivals=ArrivalService(database=app, clock=utc_now),
            accuracy=AccuracyService(app),
            maps=MapsService(app, prices.load()),
            sites=sites,
            shadows=await opened.enter_async_context(shadows(settings.shadow, app, utc_now)),
            notices=NotifyService(database=app, settings=settings.notify, clock=utc_now),
            webhooks=WebhookService(database=app, settings=settings.notify, clock=utc_now),
            links=LinkService(database=app, settings=settings.notify, clock=utc_now),
            commands=CommandService(
                database=app, settings=settings.commands, clock=utc_now, selector=FleetSearch(utc_now)
            ),
            clock=utc_now,
        )


def server(app: FastAPI, settings: Settings) -> HttpServer:
    config = uvicorn.Config(
        app,
        host=settings.api.host,
        port=settings.api.port,
        http="httptools",
        ws=LiveSocket,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=settings.live.ping_s,
        ws_ping_timeout=PONG_WITHIN_S,
        # Each client's own compression of frames that all share would cost more than everything else together.
        ws_per_message_deflate=False,
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        # Else any program on this machine could say it speaks for another address.
        proxy_headers=bool(settings.api.trusted_proxies),
        forwarded_allow_ips=settings.api.trusted_proxies,
        # Longer than a load balancer keeps an idle connection (AWS: 60 s), so that it is never closed under a request.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_DRAIN_S,
    )
    return HttpServer(config)


def listener(settings: ApiSettings) -> socket.socket:
    """Where requests come in. Raises CannotListen."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise CannotListen(f"{settings.host} port {settings.port} cannot be listened on: {why}") from error


async def run(settings: Settings) -> None:
    """Serve until asked to stop. Raises CannotListen."""
    incoming = listener(settings.api)
    async with services(settings) as given:
        http = server(create_app(given), settings)
        serving = asyncio.ensure_future(http.serve(sockets=[incoming]))

        async def drain() -> None:
            given.live.drain()
            http.should_exit = True
            await asyncio.wait([serving])
            _log.info("api.drained")

        await until_stopped(serving, given.live.run(), _forget_requests(given), before_cancel=drain)


async def _forget_requests(given: Services) -> None:
    """Remembered requests that are past their time go, until cancelled."""
    while True:
        try:
            await given.requests.forget(given.clock())
        except DatabaseUnavailable as error:
            _log.warning("api.waiting", error=str(error))
        await asyncio.sleep(_FORGET_EVERY_S)
