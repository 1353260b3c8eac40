"""What a tenant may do with its webhooks, whoever asks: REST, the command line."""

import json
import secrets as random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from core.clock import Clock
from core.db import Database, TenantTx, Tx
from core.settings import NotifySettings
from core.tenancy import TenantId
from notify import model
from notify.delivery import store as deliveries
from notify.delivery.store import Delivery, NewDelivery
from notify.errors import (
    DeliveryNotFound,
    InvalidNotify,
    InvalidSecretKey,
    PreferencesMoved,
    TooManySecrets,
    TooManyWebhooks,
    WebhookDisabled,
    WebhookNotFound,
)
from notify.model import Kind, State
from notify.webhooks import guard, sign, store
from notify.webhooks.guard import Guard
from notify.webhooks.seal import Seal
from notify.webhooks.store import SecretInfo, Webhook

type Witness = Callable[[TenantTx, str, str, Mapping[str, Any] | None, Mapping[str, Any] | None], Awaitable[None]]
"""Told of a change inside its transaction: the action, what was changed, and what it was and is."""

KINDS = (*(f"alert.{kind}" for kind in Kind), "trip.changed", "stop.changed")
"""What a webhook may ask to be told of; `webhook.test` comes to each that is tested."""
TEST = "webhook.test"

_MOST_SECRETS = 4
_ANEW_AT_ONCE = 10_000
_log = structlog.get_logger()


class WebhookService:
    """Webhooks of a tenant, their secrets and their deliveries. `database` is the milkrun_app login."""

    def __init__(self, *, database: Database, settings: NotifySettings, clock: Clock) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._guard = Guard(settings.webhook_networks)
        self._seal = Seal(settings.secret_key_file)

    async def page(self, tenant: TenantId, *, after: str = "", limit: int = 100) -> list[Webhook]:
        """In the order in which they were made."""
        async with self._database.tenant(tenant) as tx:
            return await store.webhooks(tx, after=after, limit=limit)

    async def show(self, tenant: TenantId, id_: str) -> tuple[Webhook, list[SecretInfo]]:
        """Raises WebhookNotFound."""
        async with self._database.tenant(tenant) as tx:
            found = await _one(tx, id_)
            return found, await store.secrets(tx, id_, self._clock())

    async def add(
        self,
        tenant: TenantId,
        *,
        url: str,
        kinds: Sequence[str],
        description: str = "",
        witness: Witness | None = None,
    ) -> tuple[Webhook, str]:
        """A new one and its secret, which is told this once.

        Raises InvalidUrl, InvalidNotify, TooManyWebhooks, InvalidSecretKey.
        """
        now = self._clock()
        self._check(url, kinds)
        secret = sign.new_secret()
        new = Webhook(
            id=model.new_id("whk_", now),
            url=url,
            description=description,
            kinds=tuple(dict.fromkeys(kinds)),
            created_at=now,
            updated_at=now,
        )
        sealed = self._seal.close(tenant, new.id, secret)
        async with self._database.tenant(tenant) as tx:
            if await store.count(tx) >= self._settings.webhooks_per_tenant:
                raise TooManyWebhooks(f"a tenant has {self._settings.webhooks_per_tenant} webhooks at most")
            await store.add(tx, new)
            await store.add_secret(tx, new.id, random.token_hex(8), sealed, now)
            if witness:
                await witness(tx, "webhook.created", new.id, None, facts(new))
        return new, sign.written(secret)

    async def change(
        self,
        tenant: TenantId,
        id_: str,
        *,
        url: str | None = None,
        kinds: Sequence[str] | None = None,
        description: str | None = None,
        status: str | None = None,
        expected: int | None = None,
        witness: Witness | None = None,
    ) -> tuple[Webhook, list[SecretInfo]]:
        """What is None stays. Enabling forgets past failures; disabling gives up what waits.

        Raises WebhookNotFound, PreferencesMoved, InvalidUrl, InvalidNotify.
        """
        now = self._clock()
        async with self._database.tenant(tenant) as tx:
            before = await _one(tx, id_, lock=True)
            if expected is not None and expected != before.version:
                raise PreferencesMoved(f"this is at version {before.version} now, not at {expected}")
            after = replace(
                before,
                url=before.url if url is None else url,
                kinds=before.kinds if kinds is None else tuple(dict.fromkeys(kinds)),
                description=before.description if description is None else description,
            )
            if status is not None and status != before.status:
                is_off = status == "disabled"
                after = replace(
                    after, status=status, disabled_reason="by request" if is_off else "", failing_since=None
                )
            if after != before:
                self._check(after.url, after.kinds)
                after = replace(after, version=before.version + 1, updated_at=now)
                await store.save(tx, after)
                if after.status == "disabled" and before.status != "disabled":
                    await deliveries.give_up(tx, tenant, id_, "webhook_disabled", now)
                if witness:
                    await witness(tx, "webhook.changed", id_, facts(before), facts(after))
            return after, await store.secrets(tx, id_, now)

    async def remove(self, tenant: TenantId, id_: str, *, witness: Witness | None = None) -> None:
        """With its deliveries. Raises WebhookNotFound."""
        async with self._database.tenant(tenant) as tx:
            before = await _one(tx, id_, lock=True)
            await store.remove(tx, id_)
            if witness:
                await witness(tx, "webhook.removed", id_, facts(before), None)

    async def rotate(
        self, tenant: TenantId, id_: str, *, overlap: timedelta, witness: Witness | None = None
    ) -> tuple[Webhook, list[SecretInfo], str]:
        """Another secret; the ones so far sign beside it for `overlap`.

        Raises WebhookNotFound, TooManySecrets, InvalidSecretKey.
        """
        now = self._clock()
        secret = sign.new_secret()
        sealed = self._seal.close(tenant, id_, secret)
        async with self._database.tenant(tenant) as tx:
            found = await _one(tx, id_, lock=True)
            await store.end_secrets(tx, id_, until=now + overlap, at=now)
            if overlap and len(await store.secrets(tx, id_, now)) >= _MOST_SECRETS:
                raise TooManySecrets(f"{_MOST_SECRETS} secrets sign already: wait for an overlap to end, or name none")
            await store.add_secret(tx, id_, random.token_hex(8), sealed, now)
            after = replace(found, version=found.version + 1, updated_at=now)
            await store.save(tx, after)
            if witness:
                told = {"overlap_s": int(overlap.total_seconds())}
                await witness(tx, "webhook.secret_rotated", id_, None, told)
            return after, await store.secrets(tx, id_, now), sign.written(secret)

    async def test(self, tenant: TenantId, id_: str, *, witness: Witness | None = None) -> Delivery:
        """Send a `webhook.test`; its delivery tells how it went. Raises WebhookNotFound, WebhookDisabled."""
        now = self._clock()
        async with self._database.tenant(tenant) as tx:
            found = await _one(tx, id_)
            if found.status != "active":
                raise WebhookDisabled(f"webhook {id_} is disabled: enable it first")
            payload = message(TEST, now, {"webhook": id_, "tenant": tenant})
            new = delivery(id_, TEST, model.new_id("msg_", now), payload, now)
            await deliveries.add(tx, [new])
            if witness:
                await witness(tx, "webhook.tested", id_, None, {"delivery": new.delivery_id})
            made = await deliveries.one(tx, new.delivery_id)
        assert made is not None
        return made

    async def deliveries(
        self,
        tenant: TenantId,
        id_: str,
        *,
        state: State | None = None,
        before: tuple[datetime, str] | None = None,
        limit: int = 100,
    ) -> list[Delivery]:
        """Newest first. Raises WebhookNotFound."""
        async with self._database.tenant(tenant) as tx:
            await _one(tx, id_)
            return await deliveries.of_webhook(tx, id_, state=state, before=before, limit=limit)

    async def delivery(self, tenant: TenantId, id_: str, delivery_id: str) -> Delivery:
        """Raises WebhookNotFound, DeliveryNotFound."""
        async with self._database.tenant(tenant) as tx:
            await _one(tx, id_)
            return await _delivery(tx, id_, delivery_id)

    async def redeliver(
        self, tenant: TenantId, id_: str, delivery_id: str, *, witness: Witness | None = None
    ) -> Delivery:
        """The same message under the same id once more. Raises WebhookNotFound, DeliveryNotFound, WebhookDisabled."""
        now = self._clock()
        async with self._database.tenant(tenant) as tx:
            found = await _one(tx, id_)
            before = await _delivery(tx, id_, delivery_id)
            if found.status != "active":
                raise WebhookDisabled(f"webhook {id_} is disabled: enable it first")
            again = await deliveries.again(tx, id_, delivery_id, now) or before
            if witness:
                await witness(tx, "webhook.redelivered", id_, None, {"delivery": delivery_id})
            return again

    def _check(self, url: str, kinds: Sequence[str]) -> None:
        self._guard.check(guard.parse(url, allow_http=self._settings.webhook_http))
        if not kinds:
            raise InvalidNotify("a webhook is told of something: name at least one kind")
        if unknown := [kind for kind in kinds if kind not in KINDS]:
            raise InvalidNotify(f"{', '.join(unknown[:5])[:200]} is no kind; there are {', '.join(KINDS)}")


async def seal_anew(tx: Tx, seal: Seal) -> int:
    """Seal with the key in use what an older one has sealed, of all tenants; how many are left that none opens.

    Needs the operator login. Raises InvalidSecretKey.
    """
    unopened = 0
    if seal.is_there:
        for each in await store.sealed_before(tx, seal.name, _ANEW_AT_ONCE):
            try:
                secret = seal.open(each.tenant, each.webhook, each.sealed)
            except InvalidSecretKey as error:
                _log.warning("notify.sealed", tenant=each.tenant, webhook=each.webhook, error=str(error))
                unopened += 1
            else:
                await store.seal(tx, each._replace(sealed=seal.close(each.tenant, each.webhook, secret)))
    return unopened


def message(kind: str, at: datetime, data: Mapping[str, Any]) -> str:
    """The body of a webhook, by the specification: type, timestamp, data."""
    stamp = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"type": kind, "timestamp": stamp, "data": data}, ensure_ascii=False, separators=(",", ":"))


def delivery(
    webhook: str, kind: str, message_id: str, payload: str, at: datetime, *, alert: str | None = None
) -> NewDelivery:
    return NewDelivery(
        delivery_id=model.new_id("dlv_", at),
        channel="webhook",
        target_id=webhook,
        event_id=message_id,
        kind=kind,
        created_at=at,
        alert_id=alert,
        webhook_id=webhook,
        payload=payload,
    )


def facts(webhook: Webhook) -> dict[str, Any]:
    """What the audit log says of a webhook."""
    return {
        "url": webhook.url,
        "kinds": list(webhook.kinds),
        "status": webhook.status,
        "description": webhook.description,
    }


async def _one(tx: TenantTx, id_: str, *, lock: bool = False) -> Webhook:
    found = await store.webhook(tx, id_, lock=lock) if id_.isascii() and id_.isprintable() else None
    if found is None:
        raise WebhookNotFound(f"there is no webhook {id_[:80]!r}")
    return found


async def _delivery(tx: TenantTx, webhook: str, id_: str) -> Delivery:
    found = await deliveries.one(tx, id_) if id_.isascii() and id_.isprintable() else None
    if found is None or found.webhook != webhook:
        raise DeliveryNotFound(f"there is no delivery {id_[:80]!r} of this webhook")
    return found
