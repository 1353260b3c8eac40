"""Builds the notify process and runs it until it is told to stop; then finishes the attempts it has begun and goes."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from datetime import timedelta

import structlog
from prometheus_client import Gauge

from core.bus import Bus
from core.clock import Clock, utc_now
from core.db import Database, DatabaseUnavailable
from core.metrics import READY
from core.settings import NotifySettings, Settings
from core.worker import Worker, until_stopped
from notify import model, store
from notify.delivery import store as deliveries
from notify.delivery.sender import Channel, Sender
from notify.errors import InvalidSecretKey
from notify.handlers import FanOut
from notify.push.apns import Apns
from notify.push.fcm import Fcm
from notify.tracking import store as links
from notify.webhooks import service as webhooks
from notify.webhooks.guard import Guard
from notify.webhooks.post import Post
from notify.webhooks.seal import Seal

GROUP = "notify"
WAITING = Gauge("milkrun_notify_waiting_deliveries", "Deliveries that are not settled, of all tenants", ["channel"])
SEALED = Gauge("milkrun_notify_sealed_secrets", "Webhooks' secrets that no key of this process opens")

_COUNT_EVERY_S = 15.0
_FORGET_EVERY = 240  # counts
_DRAIN_WITHIN_S = 25.0
_log = structlog.get_logger()


async def run(settings: Settings) -> None:
    """One consumer of the trips' news and one sender for each kind of channel."""
    notify, database = settings.notify, settings.database
    tenants = Database(database.app_url, pool_size=4, statement_timeout_s=database.statement_timeout_s)
    everyone = Database(database.operator_url, pool_size=4, statement_timeout_s=database.statement_timeout_s)
    async with AsyncExitStack() as opened:
        await opened.enter_async_context(tenants)
        await opened.enter_async_context(everyone)
        bus = Bus(settings.redis, settings.bus)
        opened.push_async_callback(bus.close)
        senders = build_senders(notify, everyone, utc_now, opened)

        def wake() -> None:
            for sender in senders:
                sender.wake()

        fan_out = FanOut(database=tenants, settings=notify, clock=utc_now, wake=wake)
        worker = Worker(group=GROUP, handlers=fan_out.handlers(), bus=bus, database=everyone, settings=settings.bus)

        async def drain() -> None:
            READY.set(0)
            with suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_WITHIN_S), asyncio.TaskGroup() as tasks:
                    for sender in senders:
                        tasks.create_task(sender.drain())

        with _ready():
            work = [worker.run(), _look_after(everyone, notify, utc_now), *(sender.run() for sender in senders)]
            await until_stopped(*work, before_cancel=drain)


def build_senders(settings: NotifySettings, database: Database, clock: Clock, opened: AsyncExitStack) -> list[Sender]:
    """Push services that are set up, and webhooks; apart, so that neither waits for the other.

    What waits for a push service that is not set up expires there. Raises InvalidPushCredentials.
    """
    push: dict[str, Channel] = {}
    if settings.fcm_credentials_file is not None:
        fcm = Fcm(settings.fcm_credentials_file, clock=clock, url=settings.fcm_url, project=settings.fcm_project)
        opened.push_async_callback(fcm.close)
        push["fcm"] = fcm
    if settings.apns_key_file is not None:
        apns = Apns(
            settings.apns_key_file,
            key_id=settings.apns_key_id,
            team_id=settings.apns_team_id,
            topic=settings.apns_topic,
            clock=clock,
            url=settings.apns_url,
        )
        opened.push_async_callback(apns.close)
        push["apns"] = apns
    _log.info("notify.channels", push=sorted(push), webhooks=True)
    for missing in {"fcm", "apns"} - push.keys():
        push[missing] = NotSetUp(missing)
    post = Post(
        Guard(settings.webhook_networks),
        Seal(settings.secret_key_file),
        clock=clock,
        timeout_s=settings.webhook_timeout_s,
        allow_http=settings.webhook_http,
    )
    opened.push_async_callback(post.close)
    disable_after = timedelta(days=settings.webhook_disable_days)
    return [
        Sender(
            database=database,
            channels=push,
            policy=model.PUSH,
            timeout_s=settings.push_timeout_s,
            at_once=settings.push_at_once,
            disable_after=disable_after,
            clock=clock,
        ),
        Sender(
            database=database,
            channels={"webhook": post},
            policy=model.WEBHOOK,
            timeout_s=settings.webhook_timeout_s,
            at_once=settings.webhook_at_once,
            disable_after=disable_after,
            clock=clock,
        ),
    ]


class NotSetUp:
    """In place of a push service for which there are no credentials: the delivery says so, and nothing is sent."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def send(self, message: deliveries.Message) -> model.Outcome:
        del message
        return model.Outcome(model.Verdict.REFUSED, error=f"{self._name} is not set up: see MILKRUN_NOTIFY_*")


@contextmanager
def _ready() -> Iterator[None]:
    READY.set(1)
    try:
        yield
    finally:
        READY.set(0)


async def _look_after(database: Database, settings: NotifySettings, clock: Clock) -> None:
    """Count what waits and remove what is past its time, until cancelled."""
    rounds, seal = 0, Seal(settings.secret_key_file)
    while True:
        try:
            async with database.unscoped(reason="deliveries of all tenants are counted, and old ones go") as tx:
                waiting = await deliveries.waiting(tx)
                for channel in ("fcm", "apns", "webhook"):
                    WAITING.labels(channel).set(waiting.get(channel, 0))
                if rounds % _FORGET_EVERY == 0:
                    now = clock()
                    await deliveries.forget(tx, now - timedelta(days=settings.delivery_days))
                    await store.forget_notices(tx, now - timedelta(days=settings.notice_days))
                    await links.forget(tx, now - timedelta(days=settings.delivery_days))
                    SEALED.set(await webhooks.seal_anew(tx, seal))
            rounds += 1
        except (DatabaseUnavailable, InvalidSecretKey) as error:
            _log.warning("notify.waiting", error=str(error))
        await asyncio.sleep(_COUNT_EVERY_S)
