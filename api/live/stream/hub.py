"""The hub of one process: follows the channels its clients ask for; starts, resumes and ends subscriptions."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog
from prometheus_client import Counter, Gauge

from api.access import Role
from api.live.stream import channels, frames
from api.live.stream.client import Client, Subscription
from api.live.stream.feed import Feed, OutOfPlace, Tick
from api.live.stream.filters import ALL, Filter, Selection
from api.live.stream.frames import Close, Reason
from api.live.stream.sight import Sight
from api.live.stream.snapshots import Line, Snapshot, Snapshots
from api.sites import SiteView
from core.channels import Channel, Channels, ChannelsUnavailable, Position
from core.clock import Clock, epoch_ms
from core.db import DatabaseUnavailable
from core.settings import LiveSettings
from core.tenancy import TenantId

RECOVERIES = Counter("milkrun_live_recover_total", "Subscriptions that came back with a position", ["recovered"])
RECOVERED = Counter("milkrun_live_recovered_events_total", "Events replayed to subscriptions that came back")
RESTARTS = Counter("milkrun_live_restarts_total", "Subscriptions started over by the server", ["reason"])
FEEDS = Gauge("milkrun_live_feeds", "Channels this process follows")

_LOOK_EVERY_S = 1.0
_LINGER_S = 30.0
_CATCH_UP_S = 2.0
_RESTART_TRIES = 5
_log = structlog.get_logger()


class State(Protocol):
    """The tenant's state as the database has it. Each raises DatabaseUnavailable."""

    async def vehicles(self, tenant: TenantId) -> "list[Line]": ...

    async def trip(self, tenant: TenantId, trip: str) -> "list[Line]": ...

    async def has_trip(self, tenant: TenantId, trip: str) -> bool: ...

    async def labels(self, tenant: TenantId) -> Mapping[str, Mapping[str, object]]: ...


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client asks for: a channel, a filter, and the position it left off at."""

    channel: str
    id: str
    filter: Filter = ALL
    since: Position | None = None
    """epoch 0 where the client named one that is none of ours"""


class Hub:
    """`run` follows until cancelled. `subscribe` and `unsubscribe` answer by frames on the client."""

    def __init__(
        self, *, channels: Channels, state: State, site_view: SiteView, settings: LiveSettings, clock: Clock
    ) -> None:
        self._channels = channels
        self._state = state
        self._sight = Sight(site_view, state.has_trip)
        self._settings = settings
        self._clock = clock
        self._feeds: dict[Channel, Feed] = {}
        self._opening: dict[Channel, asyncio.Lock] = {}
        self._labels: dict[TenantId, dict[str, Mapping[str, object]]] = {}
        self._snapshots = Snapshots(self._load)
        self._restarts: dict[Feed, asyncio.Task[None]] = {}
        self._looked_at = 0.0

    # --- following ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow until cancelled; an outage of Redis is waited out, and what it lost is told to every client."""
        is_silent = False
        while True:
            try:
                await self._round()
                is_silent = False
            except ChannelsUnavailable as error:
                if not is_silent:
                    _log.warning("live.waiting", error=str(error))
                is_silent = True
                await asyncio.sleep(0.5)

    async def _round(self) -> None:
        if time.monotonic() - self._looked_at >= _LOOK_EVERY_S:
            await self._look()
        after = {channel: feed.position for channel, feed in self._feeds.items() if feed.position is not None}
        news = await self._channels.follow(after, wait_ms=int(_LOOK_EVERY_S * 1000))
        now_ms = epoch_ms(self._clock())
        for channel, batches in news.items():
            feed = self._feeds.get(channel)
            if feed is None or feed.position != after[channel]:
                continue
            try:
                for tick in feed.take(batches, now_ms):
                    self._learn_labels(channel, tick)
            except OutOfPlace:
                self._restart(feed, "epoch" if batches[-1].epoch != after[channel].epoch else "gone")
        if news:
            await asyncio.sleep(self._settings.tick_ms / 1000)

    async def _look(self) -> None:
        """Once a second: is each log still the one we follow, and do we keep up with it?"""
        self._looked_at = time.monotonic()
        for channel, feed in list(self._feeds.items()):
            if not feed.subscriptions and self._looked_at - feed.used_at > _LINGER_S and feed not in self._restarts:
                del self._feeds[channel]
                self._snapshots.forget(feed)
        FEEDS.set(len(self._feeds))
        feeds = [feed for feed in self._feeds.values() if feed.position is not None]
        if not feeds:
            return
        for feed, log in zip(feeds, await self._channels.want([feed.channel for feed in feeds]), strict=True):
            at = feed.position
            if at is None:
                continue
            if log is None or log.epoch != at.epoch or log.offset < at.offset:
                self._restart(feed, "epoch")
            elif log.offset == at.offset:
                feed.behind_at = None
            elif feed.behind_at == at.offset:
                self._restart(feed, "gone")  # ahead for a second, and nothing came of it
            else:
                feed.behind_at = at.offset

    def _learn_labels(self, channel: Channel, tick: Tick) -> None:
        known = self._labels.get(channel.tenant)
        if known is None or channel.name != "vehicles":
            return
        for about in tick.peeks:
            if about.type == "device" and about.data.device is not None:
                known[about.data.device] = about.data.labels or {}

    async def _feed(self, channel: Channel) -> Feed:
        """The followed feed of `channel`. Raises ChannelsUnavailable."""
        async with self._opening.setdefault(channel, asyncio.Lock()):
            feed = self._feeds.get(channel)
            if feed is None:
                feed = Feed(channel, keep_events=self._settings.recover_events)
                feed.start(await self._channels.open(channel))
                self._feeds[channel] = feed
                await self._channels.wake()
        feed.used_at = time.monotonic()
        return feed

    # --- subscriptions ----------------------------------------------------------------------------------------------

    async def subscribe(self, client: Client, wish: Wish) -> None:
        """Start or resume. Raises InsufficientScope, TripNotFound, ChannelsUnavailable, DatabaseUnavailable."""
        await self._sight.admit(client, wish.channel)
        self.unsubscribe(client, wish.id)
        subscription = Subscription(wish.id, wish.channel, client)
        client.subscriptions[wish.id] = subscription
        labels = await self._labels_of(client.tenant) if wish.filter.labels else {}
        selection = await self._sight.selection(client, wish.channel, wish.filter, labels)
        feed = await self._feed(Channel(client.tenant, wish.channel))
        reason: Reason | None = None
        if wish.since is not None:
            is_site = client.principal.role is Role.SITE
            reason = "rights" if is_site else await self._obstacle(feed, wish.since)
            RECOVERIES.labels("no" if reason else "yes").inc()
            if reason is None:
                self._resume(feed, subscription, selection, wish.since.offset)
                return
        await self._begin(feed, subscription, selection, reason)

    def unsubscribe(self, client: Client, id_: str) -> bool:
        """Whether there was one of that name."""
        subscription = client.subscriptions.pop(id_, None)
        if subscription is None:
            return False
        if subscription.feed is not None:
            subscription.feed.leave(subscription)
        return True

    def forget(self, client: Client) -> None:
        """The connection is over."""
        for id_ in list(client.subscriptions):
            self.unsubscribe(client, id_)

    def knows(self, tenant: TenantId) -> bool:
        """Whether somebody follows this tenant here, so that it need not be asked whether there is such a tenant."""
        return any(channel.tenant == tenant for channel in self._feeds)

    @staticmethod
    def positions(client: Client) -> dict[str, Position]:
        """Where each of its subscriptions stands, once everything before this has reached it."""
        return {
            id_: each.feed.position
            for id_, each in client.subscriptions.items()
            if each.group is not None and each.feed is not None and each.feed.position is not None
        }

    async def recheck_sites(self, client: Client) -> None:
        """Start over what a site is subscribed to when other vehicles or trips are on their way to it now."""
        for subscription in list(client.subscriptions.values()):
            group, feed = subscription.group, subscription.feed
            if group is None or feed is None:
                continue
            labels = self._labels.get(client.tenant, {})
            selection = await self._sight.selection(client, subscription.channel, group.selection.wanted, labels)
            if subscription.group is not group:
                continue
            if selection.devices != group.selection.devices:
                feed.leave(subscription)
                RESTARTS.labels("rights").inc()
                await self._begin(feed, subscription, selection, "rights")

    def _resume(self, feed: Feed, subscription: Subscription, selection: Selection, offset: int) -> None:
        """All in one go, so that no event can come between."""
        assert feed.position is not None
        client = subscription.client
        if not _is_wanted(subscription):
            return
        group, is_new = feed.join(subscription, _key(subscription, selection), selection)
        since = Position(feed.position.epoch, offset)
        missed = feed.position.offset - offset
        client.tell(frames.subscribed(subscription.id, subscription.channel, since, missed=missed))
        for frame in group.replay(feed.since(offset), selection if is_new else selection.again()):
            client.tell(frame)
        RECOVERED.inc(missed)

    async def _begin(self, feed: Feed, subscription: Subscription, selection: Selection, reason: Reason | None) -> None:
        """From a snapshot on. Raises DatabaseUnavailable, ChannelsUnavailable."""
        while True:
            try:
                snapshot = await self._snapshots.get(feed)
                break
            except OutOfPlace:
                await self._placed(feed)
        if _is_wanted(subscription):
            self._show(feed, subscription, selection, snapshot, reason)

    def _show(
        self, feed: Feed, subscription: Subscription, selection: Selection, snapshot: Snapshot, reason: Reason | None
    ) -> None:
        client, position = subscription.client, snapshot.position
        # Of a new group the selection becomes the group's own, and knows the box from here; beside an older one it
        # serves this replay alone.
        group, _ = feed.join(subscription, _key(subscription, selection), selection)
        if selection.wanted.bbox is not None:
            for line in snapshot.lines:
                selection.place(line.device, line.lat, line.lon)
        told = snapshot.chosen(selection)
        client.tell(frames.subscribed(subscription.id, subscription.channel, position, snapshot=told, reason=reason))
        for frame in group.replay(feed.since(position.offset), selection):
            client.tell(frame)

    # --- coming back --------------------------------------------------------------------------------------------------

    async def _obstacle(self, feed: Feed, since: Position) -> Reason | None:
        """Why `since` cannot be resumed from, or None with everything after it remembered by the feed."""
        await self._placed(feed)
        assert feed.position is not None
        if since.epoch != feed.position.epoch:
            return "epoch"
        if since.offset > feed.position.offset and (reason := await self._await_offset(feed, since)):
            return reason
        async with self._opening[feed.channel]:  # one reads what all who come back at once have missed
            return await self._recall(feed, since)

    async def _recall(self, feed: Feed, since: Position) -> Reason | None:
        """Let the feed remember everything after `since`, or say why that cannot be."""
        at = feed.position
        if at is None or at.epoch != since.epoch:
            return "epoch"
        if at.offset - since.offset > self._settings.recover_events:
            return "too_far"
        if since.offset + 1 < feed.oldest:
            upto = feed.oldest - 1
            older = await self._channels.missed(feed.channel, since, upto, most=self._settings.recover_events)
            if feed.position is None or feed.position.epoch != since.epoch:
                return "epoch"
            if older is None or feed.oldest != upto + 1:
                return "gone"
            feed.prepend(older, since.offset + 1)
        return None

    async def _await_offset(self, feed: Feed, since: Position) -> Reason | None:
        """The client comes from a process that was ahead of this one, or it makes things up."""
        log = await self._channels.open(feed.channel)
        if log.epoch != since.epoch:
            return "epoch"
        if since.offset > log.offset:
            return "ahead"
        until = time.monotonic() + _CATCH_UP_S
        while feed.position is not None and feed.position.offset < since.offset:
            if time.monotonic() > until:
                return "gone"
            await asyncio.sleep(self._settings.tick_ms / 1000)
        return None

    async def _placed(self, feed: Feed) -> None:
        """Wait until the feed has its place again."""
        while feed.position is None:
            running = self._restarts.get(feed)
            if running is None:
                raise ChannelsUnavailable(f"the place in {feed.channel.name} is lost")
            await asyncio.wait([running])

    # --- losing the log -----------------------------------------------------------------------------------------------

    def _restart(self, feed: Feed, reason: Reason) -> None:
        """The feed lost its place: every subscription of it begins again with a snapshot."""
        if feed in self._restarts:
            return
        _log.warning("live.lost_place", tenant=feed.channel.tenant, channel=feed.channel.name, reason=reason)
        feed.position = None
        self._snapshots.forget(feed)
        subscriptions = [(each, each.group.selection) for each in feed.subscriptions if each.group is not None]
        for subscription, _ in subscriptions:
            feed.leave(subscription)
        task = asyncio.create_task(self._start_over(feed, subscriptions, reason))
        self._restarts[feed] = task
        task.add_done_callback(lambda _: self._restarts.pop(feed, None))

    async def _start_over(
        self, feed: Feed, subscriptions: list[tuple[Subscription, Selection]], reason: Reason
    ) -> None:
        for attempt in range(_RESTART_TRIES):
            with contextlib.suppress(ChannelsUnavailable, DatabaseUnavailable, OutOfPlace):
                feed.start(await self._channels.open(feed.channel))
                await self._channels.wake()
                if feed.channel.tenant in self._labels:
                    fresh = await self._state.labels(feed.channel.tenant)
                    self._labels[feed.channel.tenant].clear()
                    self._labels[feed.channel.tenant].update(fresh)
                snapshot = await self._snapshots.get(feed)
                for subscription, selection in subscriptions:
                    if _is_wanted(subscription):
                        RESTARTS.labels(reason).inc()
                        self._show(feed, subscription, selection.again(), snapshot, reason)
                return
            await asyncio.sleep(min(5.0, 0.2 * 2**attempt))
        self._feeds.pop(feed.channel, None)
        for subscription, _ in subscriptions:
            if _is_wanted(subscription):
                subscription.client.cut(Close.LOST_PLACE, "unavailable", "the stream lost its place: come back")

    # --- what the database knows --------------------------------------------------------------------------------------

    async def _load(self, feed: Feed) -> "list[Line]":
        tenant, name = feed.channel
        if (trip := channels.one_of(name)) is not None:
            return await self._state.trip(tenant, trip)
        return await self._state.vehicles(tenant) if name == "vehicles" else []

    async def _labels_of(self, tenant: TenantId) -> Mapping[str, Mapping[str, object]]:
        """Labels by device, kept true by the `device` events of the vehicles' feed."""
        await self._feed(Channel(tenant, "vehicles"))
        if tenant not in self._labels:
            loaded = await self._state.labels(tenant)
            self._labels.setdefault(tenant, dict(loaded))
        return self._labels[tenant]


def _is_wanted(subscription: Subscription) -> bool:
    """Whether the client is still there and has not replaced or ended it meanwhile."""
    client = subscription.client
    is_there = not client.is_cut and client.subscriptions.get(subscription.id) is subscription
    return is_there and subscription.group is None


def _key(subscription: Subscription, selection: Selection) -> tuple[object, ...]:
    return subscription.id, selection.wanted.key, selection.devices, selection.sites, selection.recipient
