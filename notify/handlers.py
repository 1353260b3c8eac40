"""The fan-out: what an alert or a change of a trip becomes for everybody who asked to be told.

One transaction holds the inboxes, the deliveries and the news of them, and every row has a key of its own, so an event
that comes twice, or to two workers at once, adds nothing the second time.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import structlog
from prometheus_client import Counter

from core import outbox
from core.bus import Delivery
from core.clock import Clock, from_epoch_ms
from core.db import Database, TenantTx
from core.events import AlertRaised, Event, StopChanged, TripChanged
from core.settings import NotifySettings
from core.tenancy import tenant_id
from core.worker import Handler
from notify import model, store
from notify.delivery import store as deliveries
from notify.delivery.store import NewDelivery
from notify.model import Notice, Recipient
from notify.store import Site
from notify.webhooks import service as webhooks
from notify.webhooks import store as webhook_store

NOTICES = Counter("milkrun_notify_notices_total", "Notices put into inboxes", ["kind"])
HELD = Counter("milkrun_notify_held_total", "Notices not pushed: quiet hours, or the day's cap", ["reason"])

_log = structlog.get_logger()


class FanOut:
    """Handlers of the worker group `notify`. `wake` is called after each commit: there may be something to send."""

    def __init__(self, *, database: Database, settings: NotifySettings, clock: Clock, wake: Callable[[], None]) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._wake = wake

    def handlers(self) -> Mapping[type[Event], Handler]:
        """The table: which event is told how."""
        return {
            AlertRaised: self._on_alert,
            TripChanged: self._on_trip,
            StopChanged: self._on_stop,
        }

    async def _on_alert(self, event: Event, _delivery: Delivery) -> None:
        assert isinstance(event, AlertRaised)
        now = self._clock()
        async with self._database.tenant(tenant_id(event.tenant)) as tx:
            site = await store.site(tx, event.site)
            if site is None:
                _log.warning("notify.no_site", tenant=event.tenant, site=event.site, alert=event.alert)
                return
            told = await store.who_is_told(tx, event.site, event.kind)
            notices = await self._post(tx, event, site, told, now)
            by_push = {each.id for each in told if "push" in each.channels}
            await self._push(tx, [n for n in notices if n.held is None and n.recipient in by_push], now)
            shown = [n for n in notices if n.read_at is None]
            await outbox.add(tx, [store.posted(tx.tenant, each) for each in shown])
            facts = {
                "tenant": event.tenant,
                "alert": event.alert,
                "kind": event.kind,
                "trip": event.trip,
                "stop": event.stop,
                "site": {"id": event.site, "name": site.name},
                "device": event.device,
                "at": event.at,
                "eta": event.eta,
            }
            await _tell_webhooks(tx, f"alert.{event.kind}", event.at, facts, ("alert", event.alert), now, event.alert)
        for each in notices:
            NOTICES.labels(each.kind).inc()
            if each.held:
                HELD.labels(each.held).inc()
        self._wake()

    async def _post(
        self, tx: TenantTx, event: AlertRaised, site: Site, told: Sequence[Recipient], now: datetime
    ) -> list[Notice]:
        """The notices that are new, in their inboxes."""
        since = {each.id: model.day_began(now, each.timezone or site.timezone) for each in told}
        pushed = await store.pushed_since(tx, since)
        wanted = [_notice(event, site, each, now) for each in told]
        wanted = [
            replace(notice, held=self._held(each, site, pushed[each.id], now))
            for notice, each in zip(wanted, told, strict=True)
        ]
        new = await store.add_notices(tx, tx.tenant, wanted)
        return [each for each in wanted if each.id in new]

    def _held(self, recipient: Recipient, site: Site, pushed: int, now: datetime) -> str | None:
        zone = recipient.timezone or site.timezone
        if model.is_quiet(now, zone, recipient.quiet_from, recipient.quiet_to):
            return "quiet"
        cap = self._settings.daily_cap if recipient.daily_cap is None else recipient.daily_cap
        return "cap" if pushed >= cap else None

    @staticmethod
    async def _push(tx: TenantTx, notices: Sequence[Notice], now: datetime) -> None:
        by_recipient = {each.recipient: each for each in notices}
        tokens = await store.tokens_of(tx, by_recipient)
        new = [
            NewDelivery(
                delivery_id=model.new_id("dlv_", now),
                channel=platform,
                target_id=token,
                event_id=by_recipient[recipient].id,
                kind=by_recipient[recipient].kind,
                created_at=now,
                alert_id=by_recipient[recipient].alert,
                notice_id=by_recipient[recipient].id,
                expires_at=by_recipient[recipient].expires_at,
            )
            for token, recipient, platform in tokens
        ]
        await deliveries.add(tx, new)

    async def _on_trip(self, event: Event, _delivery: Delivery) -> None:
        assert isinstance(event, TripChanged)
        facts = {
            "tenant": event.tenant,
            "trip": event.trip,
            "state": event.state,
            "device": event.device,
            "at": event.at,
        }
        await self._tell("trip.changed", event.tenant, event.at, facts)

    async def _on_stop(self, event: Event, _delivery: Delivery) -> None:
        assert isinstance(event, StopChanged)
        facts = {
            "tenant": event.tenant,
            "trip": event.trip,
            "stop": event.stop,
            "site": event.site,
            "state": event.state,
            "at": event.at,
        }
        await self._tell("stop.changed", event.tenant, event.at, facts)

    async def _tell(self, kind: str, tenant: str, at_ms: int, facts: Mapping[str, object]) -> None:
        identity = tuple(str(value) for value in facts.values())
        async with self._database.tenant(tenant_id(tenant)) as tx:
            await _tell_webhooks(tx, kind, at_ms, facts, (kind, *identity), self._clock(), None)
        self._wake()


async def _tell_webhooks(
    tx: TenantTx,
    kind: str,
    at_ms: int,
    facts: Mapping[str, object],
    identity: Sequence[str],
    now: datetime,
    alert: str | None,
) -> None:
    """The message id is made of what happened and not drawn, so that an event that comes twice is the same message."""
    listening = await webhook_store.listening(tx, kind)
    if not listening:
        return
    payload = webhooks.message(kind, from_epoch_ms(at_ms), facts)
    digest = hashlib.blake2b("\n".join((tx.tenant, *identity)).encode(), digest_size=16).hexdigest()
    new = [webhooks.delivery(each, kind, f"msg_{digest}", payload, now, alert=alert) for each in listening]
    await deliveries.add(tx, new)


def _notice(event: AlertRaised, site: Site, recipient: Recipient, now: datetime) -> Notice:
    raised_at = from_epoch_ms(event.at)
    eta = None if event.eta is None else from_epoch_ms(event.eta)
    zone = recipient.timezone or site.timezone
    return Notice(
        id=model.new_id("ntc_", now),
        recipient=recipient.id,
        trip=event.trip,
        stop=event.stop,
        kind=event.kind,
        alert=event.alert,
        site=event.site,
        device=event.device,
        title=site.name,
        body=model.words(event.kind, recipient.language, eta, zone),
        eta=eta,
        raised_at=raised_at,
        expires_at=model.expires_at(event.kind, raised_at, eta),
        held=None,
        created_at=now,
        # Who wants nothing in the application finds it there all the same, and is not called to it.
        read_at=None if "in_app" in recipient.channels else now,
    )
