"""Watches over the live connections of one process: admits them, keeps their rights true, pings, cuts, sends away."""

import asyncio
import contextlib
import random
import time
import uuid
from dataclasses import dataclass, replace

import structlog
from prometheus_client import Counter, Gauge

from api.access import Principal, Role
from api.http.security import Authenticator
from api.live.errors import AuthMismatch, Draining, TooManyConnections
from api.live.stream import frames
from api.live.stream.client import Client
from api.live.stream.frames import Close
from api.live.stream.hub import Hub
from core.channels import Admission, ChannelsUnavailable, Refusal
from core.clock import Clock, epoch_ms
from core.db import DatabaseUnavailable
from core.settings import LiveSettings
from core.tenancy import TenantId

CONNECTIONS = Gauge("milkrun_live_connections", "Live connections open in this process", ["kind"])
QUEUED = Gauge("milkrun_live_queued_bytes", "Bytes of events that wait for slow clients of this process")
REFUSED = Counter("milkrun_live_refused_total", "Live connections not admitted, by whose limit was reached", ["limit"])

_ROUND_S = 1.0
_STAY_EVERY_S = 10.0
_log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class Held:
    """A connection under guard."""

    client: Client
    kind: str
    name: str
    ping_at: float

    @property
    def counted(self) -> tuple[TenantId, str, str]:
        principal = self.client.principal
        return self.client.tenant, f"{principal.kind}:{principal.id}", self.name


class Guard:
    """`run` watches until cancelled."""

    def __init__(
        self, *, hub: Hub, admission: Admission, rights: Authenticator, settings: LiveSettings, clock: Clock
    ) -> None:
        self._hub = hub
        self._admission = admission
        self._rights = rights
        self._settings = settings
        self._clock = clock
        self._held: set[Held] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._is_draining = False

    @property
    def open(self) -> int:
        return len(self._held)

    @property
    def is_draining(self) -> bool:
        """Whether this process is about to stop."""
        return self._is_draining

    async def admit(self, client: Client, kind: str) -> Held:
        """Count a connection in. Raises TooManyConnections, Draining, ChannelsUnavailable."""
        if self._is_draining:
            raise Draining("this server is about to stop: come back", retry_after_s=self._jitter_ms() / 1000)
        wait_s = self._settings.ping_s * random.uniform(0.9, 1.0)
        held = Held(client, kind, uuid.uuid4().hex, time.monotonic() + wait_s)
        refusal = await self._admission.enter(*held.counted)
        if refusal is not None:
            REFUSED.labels(refusal.name.lower()).inc()
            mine = refusal is Refusal.PRINCIPAL
            most = self._settings.connections_per_principal if mine else self._settings.connections_per_tenant
            whose = "of this user or client" if mine else "of this tenant"
            raise TooManyConnections(f"{most} live connections {whose} are open already", retry_after_s=30)
        self._held.add(held)
        CONNECTIONS.labels(kind).inc()
        return held

    def dismiss(self, held: Held) -> None:
        """The connection is over. It waits for nothing, since it is called where everything is being cancelled."""
        self._hub.forget(held.client)
        if held in self._held:
            self._held.discard(held)
            CONNECTIONS.labels(held.kind).dec()
            task = asyncio.create_task(self._leave(held))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _leave(self, held: Held) -> None:
        with contextlib.suppress(ChannelsUnavailable):  # else it is given up for dead soon
            await self._admission.leave([held.counted])

    @staticmethod
    def renew(client: Client, principal: Principal) -> None:
        """Go on with a fresh proof. Raises AuthMismatch for another's, or one with other rights."""
        before = client.principal
        if replace(principal, expires_at=None) != replace(before, expires_at=None):
            raise AuthMismatch("this token speaks for somebody else, or for other rights: open another connection")
        client.principal = principal

    async def run(self) -> None:
        """Look after every connection until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look_on())
            tasks.create_task(self._recheck_on())
            tasks.create_task(self._stay_on())

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(min(_ROUND_S, self._settings.recheck_s))
            self._look(time.monotonic())

    async def _recheck_on(self) -> None:
        """While the database is away rights stay what they were."""
        while True:
            await asyncio.sleep(self._settings.recheck_s)
            with contextlib.suppress(DatabaseUnavailable, ChannelsUnavailable):
                await self._recheck()

    async def _stay_on(self) -> None:
        while True:
            await asyncio.sleep(_STAY_EVERY_S)
            with contextlib.suppress(ChannelsUnavailable):
                await self._admission.stay([held.counted for held in self._held])

    def _look(self, now: float) -> None:
        queued = 0
        at = self._clock()
        for held in tuple(self._held):
            client = held.client
            queued += client.queued
            self._end_if_expired(client)
            if client.is_stalled(now):
                seconds = self._settings.stall_s
                client.cut(Close.TOO_SLOW, "too_slow", f"nothing was taken from the connection for {seconds:g} s")
            elif now >= held.ping_at:
                held.ping_at = now + self._settings.ping_s
                client.tell(frames.ping(epoch_ms(at), self._hub.positions(client)))
        QUEUED.set(queued)

    def _end_if_expired(self, client: Client) -> None:
        expires_at = client.principal.expires_at
        if expires_at is not None and expires_at <= self._clock():
            client.cut(Close.UNAUTHORIZED, "auth_expired", "your token or session is over: bring a new one")

    async def _recheck(self) -> None:
        """One question for all connections."""
        held = [each for each in self._held if not each.client.is_cut]
        principals = list({each.client.principal for each in held})
        if not principals:
            return
        valid = dict(zip(principals, await self._rights.still_valid(principals), strict=True))
        for each in held:
            client = each.client
            # One that came, or brought a fresh proof, meanwhile is asked about the next time.
            if not valid.get(client.principal, True):
                self._end_if_expired(client)
                client.cut(Close.FORBIDDEN, "revoked", "what you proved who you are by does not hold any more")
            elif client.principal.role is Role.SITE:
                await self._hub.recheck_sites(client)

    def drain(self) -> None:
        """Send every client away, each with its own time to come back; no new ones are admitted."""
        self._is_draining = True
        _log.info("live.draining", connections=len(self._held))
        for held in tuple(self._held):
            held.client.send_away(self._jitter_ms())

    def _jitter_ms(self) -> int:
        return random.randint(0, int(self._settings.drain_s * 1000))
