"""Who is told, and what they were told: recipients, subscriptions, push tokens and inboxes; one method a use case."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time
from typing import Any

from core.clock import Clock
from core.db import Database, TenantTx
from core.settings import NotifySettings
from core.tenancy import TenantId
from notify import model, store
from notify.errors import (
    InvalidNotify,
    NoticeNotFound,
    PreferencesMoved,
    PushTokenNotFound,
    RecipientNotFound,
    SubscriptionExists,
    SubscriptionNotFound,
    TooManyPushTokens,
    UnknownPlace,
)
from notify.model import USUAL_KINDS, Kind, Notice, PushToken, Recipient, Subscription

type Witness = Callable[[TenantTx, str, str, Mapping[str, Any] | None, Mapping[str, Any] | None], Awaitable[None]]
"""Told of a change inside its transaction: the action, what was changed, and what it was and is."""

_MOST_TOKENS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How somebody wants to be told. All of it replaces all of what was."""

    name: str = ""
    language: str = "en"
    timezone: str | None = None
    quiet_from: time | None = None
    quiet_to: time | None = None
    daily_cap: int | None = None
    channels: frozenset[str] = frozenset({"in_app", "push"})


class NotifyService:
    """`database` is the milkrun_app login. A recipient is a user by his id, or one without an account (`rcp_...`)."""

    def __init__(self, *, database: Database, settings: NotifySettings, clock: Clock) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock

    # --- recipients -------------------------------------------------------------------------------------------------

    async def recipients(self, tenant: TenantId, *, after: str = "", limit: int = 100) -> list[Recipient]:
        """By id."""
        async with self._database.tenant(tenant) as tx:
            return await store.recipients(tx, after=after, limit=limit)

    async def recipient(self, tenant: TenantId, id_: str) -> Recipient:
        """A user who never said anything has the usual wishes. Raises RecipientNotFound."""
        async with self._database.tenant(tenant) as tx:
            return await self._known(tx, id_)

    async def add_recipient(self, tenant: TenantId, wishes: Wishes, *, witness: Witness | None = None) -> Recipient:
        """Somebody without an account. Raises InvalidNotify."""
        now = self._clock()
        new = _wishing(_fresh(model.new_id("rcp_", now), now), wishes)
        async with self._database.tenant(tenant) as tx:
            await store.add_recipient(tx, new)
            if witness:
                await witness(tx, "recipient.created", new.id, None, facts(new))
        return new

    async def set_wishes(
        self, tenant: TenantId, id_: str, wishes: Wishes, *, expected: int | None = None, witness: Witness | None = None
    ) -> Recipient:
        """Raises RecipientNotFound, PreferencesMoved, InvalidNotify."""
        now = self._clock()
        async with self._database.tenant(tenant) as tx:
            await store.add_recipient(tx, await self._known(tx, id_))
            before = await store.recipient(tx, id_, lock=True)
            if before is None:
                raise RecipientNotFound(f"there is no recipient {id_[:80]!r}")
            if expected is not None and expected != before.version:
                raise PreferencesMoved(f"this is at version {before.version} now, not at {expected}")
            after = _wishing(before, wishes)
            if after != before:
                after = replace(after, version=before.version + 1, updated_at=now)
                await store.save_recipient(tx, after)
                if witness:
                    await witness(tx, "recipient.changed", id_, facts(before), facts(after))
        return after

    async def remove_recipient(self, tenant: TenantId, id_: str, *, witness: Witness | None = None) -> None:
        """With his subscriptions, tokens and notices; of a user it leaves the account. Raises RecipientNotFound."""
        async with self._database.tenant(tenant) as tx:
            before = await store.recipient(tx, id_, lock=True) if _can_be(id_) else None
            if before is None:
                raise RecipientNotFound(f"there is no recipient {id_[:80]!r}")
            await store.remove_recipient(tx, id_)
            if witness:
                await witness(tx, "recipient.removed", id_, facts(before), None)

    # --- subscriptions ----------------------------------------------------------------------------------------------

    async def subscriptions(
        self, tenant: TenantId, *, recipient: str | None = None, site: str | None = None, after: str = "", limit: int
    ) -> list[Subscription]:
        async with self._database.tenant(tenant) as tx:
            return await store.subscriptions(tx, recipient_id=recipient, site_id=site, after=after, limit=limit)

    async def subscription(self, tenant: TenantId, id_: str, *, of: str | None = None) -> Subscription:
        """`of`: only this recipient's. Raises SubscriptionNotFound."""
        async with self._database.tenant(tenant) as tx:
            return await _subscription(tx, id_, of)

    async def subscribe(
        self,
        tenant: TenantId,
        *,
        recipient: str,
        site: str,
        kinds: Sequence[str] | None = None,
        witness: Witness | None = None,
    ) -> Subscription:
        """Raises RecipientNotFound, UnknownPlace, SubscriptionExists, InvalidNotify."""
        now = self._clock()
        wanted = _kinds(USUAL_KINDS if kinds is None else kinds)
        new = Subscription(
            id=model.new_id("sub_", now), recipient=recipient, site=site, kinds=wanted, created_at=now, updated_at=now
        )
        async with self._database.tenant(tenant) as tx:
            await self._ensure(tx, recipient)
            user = await store.user(tx, recipient)
            place = await store.site(tx, site) if _can_be(site) else None
            if place is None or not (user is None or user.sites is None or user.sites & place.names):
                raise UnknownPlace(f"there is no site {site[:80]!r} for this recipient")
            made = await store.add_subscription(tx, new)
            if made is None:
                raise SubscriptionExists(f"{recipient} is subscribed to {site} already: change that subscription")
            if witness:
                await witness(tx, "subscription.created", made.id, None, _told(made))
        return made

    async def change_subscription(
        self,
        tenant: TenantId,
        id_: str,
        kinds: Sequence[str],
        *,
        of: str | None = None,
        expected: int | None = None,
        witness: Witness | None = None,
    ) -> Subscription:
        """Raises SubscriptionNotFound, PreferencesMoved, InvalidNotify."""
        wanted = _kinds(kinds)
        async with self._database.tenant(tenant) as tx:
            before = await _subscription(tx, id_, of)
            if expected is not None and expected != before.version:
                raise PreferencesMoved(f"this is at version {before.version} now, not at {expected}")
            if wanted == before.kinds:
                return before
            after = await store.save_subscription(tx, id_, wanted, self._clock())
            if witness:
                await witness(tx, "subscription.changed", id_, _told(before), _told(after))
            return after

    async def unsubscribe(
        self, tenant: TenantId, id_: str, *, of: str | None = None, witness: Witness | None = None
    ) -> None:
        """Raises SubscriptionNotFound."""
        async with self._database.tenant(tenant) as tx:
            before = await _subscription(tx, id_, of)
            await store.remove_subscription(tx, id_)
            if witness:
                await witness(tx, "subscription.removed", id_, _told(before), None)

    # --- push tokens ------------------------------------------------------------------------------------------------

    async def tokens(
        self, tenant: TenantId, *, recipient: str | None = None, after: str = "", limit: int
    ) -> list[PushToken]:
        async with self._database.tenant(tenant) as tx:
            return await store.tokens(tx, recipient_id=recipient, after=after, limit=limit)

    async def add_token(
        self, tenant: TenantId, *, recipient: str, platform: str, token: str, witness: Witness | None = None
    ) -> PushToken:
        """An installation; one that was somebody else's moves. Raises RecipientNotFound, TooManyPushTokens."""
        now = self._clock()
        new = PushToken(
            id=model.new_id("ptk_", now),
            recipient=recipient,
            platform=platform,
            token=token,
            created_at=now,
            updated_at=now,
        )
        async with self._database.tenant(tenant) as tx:
            await self._ensure(tx, recipient)
            if await store.count_tokens(tx, recipient) >= _MOST_TOKENS:
                raise TooManyPushTokens(f"{recipient} has {_MOST_TOKENS} push tokens already: remove one first")
            made = await store.add_token(tx, new)
            if witness:
                await witness(tx, "push_token.added", made.id, None, {"recipient": recipient, "platform": platform})
        return made

    async def remove_token(
        self, tenant: TenantId, id_: str, *, of: str | None = None, witness: Witness | None = None
    ) -> None:
        """`of`: only this recipient's. Raises PushTokenNotFound."""
        async with self._database.tenant(tenant) as tx:
            found = await store.token(tx, id_) if _can_be(id_) else None
            if found is None or of not in {None, found.recipient}:
                raise PushTokenNotFound(f"there is no push token {id_[:80]!r}")
            await store.remove_token(tx, id_)
            if witness:
                told = {"recipient": found.recipient, "platform": found.platform}
                await witness(tx, "push_token.removed", id_, told, None)

    # --- inboxes ----------------------------------------------------------------------------------------------------

    async def inbox(
        self,
        tenant: TenantId,
        recipient: str,
        *,
        is_unread: bool = False,
        before: tuple[datetime, str] | None = None,
        limit: int = 100,
    ) -> list[Notice]:
        """Newest first."""
        async with self._database.tenant(tenant) as tx:
            return await store.inbox(tx, recipient, is_unread=is_unread, before=before, limit=limit)

    async def unread(self, tenant: TenantId, recipient: str) -> int:
        async with self._database.tenant(tenant) as tx:
            return await store.unread(tx, recipient)

    async def mark_read(self, tenant: TenantId, recipient: str, id_: str) -> Notice:
        """May be repeated: when it was read first stays. Raises NoticeNotFound."""
        async with self._database.tenant(tenant) as tx:
            found = await store.mark_read(tx, recipient, id_, self._clock()) if _can_be(id_) else None
        if found is None:
            raise NoticeNotFound(f"there is no notice {id_[:80]!r} in this inbox")
        return found

    async def mark_all_read(self, tenant: TenantId, recipient: str, *, until: datetime | None = None) -> int:
        """Those that came up to `until`; how many were not read before."""
        now = self._clock()
        async with self._database.tenant(tenant) as tx:
            return await store.mark_all_read(tx, recipient, until=until or now, at=now)

    # --- who may be told --------------------------------------------------------------------------------------------

    async def _known(self, tx: TenantTx, id_: str) -> Recipient:
        found = await store.recipient(tx, id_) if _can_be(id_) else None
        if found is None and id_.startswith("usr_") and _can_be(id_):
            user = await store.user(tx, id_)
            found = None if user is None else replace(_fresh(id_, self._clock()), name=user.name)
        if found is None:
            raise RecipientNotFound(f"there is no recipient {id_[:80]!r}")
        return found

    async def _ensure(self, tx: TenantTx, id_: str) -> None:
        """His row, which what belongs to him refers to. Raises RecipientNotFound."""
        await store.add_recipient(tx, await self._known(tx, id_))


def facts(of: Recipient) -> dict[str, Any]:
    """What the audit log says of a recipient's wishes."""
    return {
        "name": of.name,
        "language": of.language,
        "timezone": of.timezone,
        "quiet": None if of.quiet_from is None or of.quiet_to is None else f"{of.quiet_from}-{of.quiet_to}",
        "daily_cap": of.daily_cap,
        "channels": sorted(of.channels),
    }


def _fresh(id_: str, at: datetime) -> Recipient:
    return Recipient(id=id_, created_at=at, updated_at=at)


def _wishing(before: Recipient, wishes: Wishes) -> Recipient:
    if wishes.timezone is not None and not model.is_zone(wishes.timezone):
        raise InvalidNotify(f"{wishes.timezone[:60]!r} is no time zone: use an IANA name such as Europe/Vaduz")
    if (wishes.quiet_from is None) != (wishes.quiet_to is None):
        raise InvalidNotify("quiet hours have a beginning and an end")
    return replace(
        before,
        name=wishes.name,
        language=wishes.language,
        timezone=wishes.timezone,
        quiet_from=wishes.quiet_from,
        quiet_to=wishes.quiet_to,
        daily_cap=wishes.daily_cap,
        channels=wishes.channels,
    )


async def _subscription(tx: TenantTx, id_: str, of: str | None) -> Subscription:
    found = await store.subscription(tx, id_) if _can_be(id_) else None
    if found is None or of not in {None, found.recipient}:
        raise SubscriptionNotFound(f"there is no subscription {id_[:80]!r}")
    return found


def _kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    known = {each.value for each in Kind}
    if not kinds or not known.issuperset(kinds):
        raise InvalidNotify(f"a subscription names one or more of {', '.join(Kind)}")
    return tuple(kind.value for kind in Kind if kind in kinds)


def _told(of: Subscription) -> dict[str, Any]:
    return {"recipient": of.recipient, "site": of.site, "kinds": list(of.kinds)}


def _can_be(id_: str) -> bool:
    """Whether it could be an id at all: PostgreSQL refuses what is not text."""
    return id_.isascii() and id_.isprintable()
