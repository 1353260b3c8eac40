"""Senders: take what is due, send it by its channel, write down what came of it.

Any number of them work side by side. A delivery is taken for a lease, so what a killed sender held is due again when
that is over; the attempt it may have made is then made once more, under the same message id.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter as Counted
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Protocol

import structlog
from prometheus_client import Counter, Histogram

from core import outbox
from core.clock import Clock
from core.db import Database, DatabaseUnavailable, Tx
from notify import model
from notify import store as recipients
from notify.delivery import store
from notify.delivery.store import Message
from notify.model import Next, Outcome, Policy, State, Verdict

ATTEMPTS = Counter("milkrun_notify_attempts_total", "Attempts to deliver, by what came of them", ["channel", "verdict"])
SETTLED = Counter("milkrun_notify_settled_total", "Deliveries that came to an end", ["channel", "state"])
ATTEMPT_SECONDS = Histogram("milkrun_notify_attempt_seconds", "Time of one attempt", ["channel"])
SENT_SECONDS = Histogram(
    "milkrun_notify_alert_to_sent_seconds",
    "From an alert being raised to a push service or webhook having taken it",
    ["channel"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
)
TOKENS_REMOVED = Counter("milkrun_notify_tokens_removed_total", "Push tokens removed, being known no more", ["channel"])
WEBHOOKS_DISABLED = Counter("milkrun_notify_webhooks_disabled_total", "Webhooks disabled for failing", ["reason"])

_MARGIN_S = 5.0
_RESPONSE_CHARS = 1024
_log = structlog.get_logger()


class Channel(Protocol):
    """A way to somebody."""

    async def send(self, message: Message) -> Outcome:
        """Make one attempt. Whatever goes wrong is an outcome."""
        ...


class Sender:
    """`run` sends what is due on `channels` until cancelled; `wake` says that something new may be.

    `timeout_s`: an attempt is over after this at the latest, and the lease a little later.
    """

    def __init__(
        self,
        *,
        database: Database,
        channels: Mapping[str, Channel],
        policy: Policy,
        timeout_s: float,
        at_once: int,
        disable_after: timedelta,
        clock: Clock,
        every_s: float = 1.0,
        of_target: int = 4,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._channels = channels
        self._policy = policy
        self._timeout_s = timeout_s
        self._at_once = at_once
        self._disable_after = disable_after
        self._clock = clock
        self._every_s = every_s
        self._of_target = of_target
        self._chance = chance
        self._work: dict[asyncio.Task[None], str] = {}
        self._called = asyncio.Event()
        self._is_leaving = False

    def wake(self) -> None:
        self._called.set()

    async def run(self) -> None:
        """Until cancelled; an outage of the database is waited out with one log line."""
        is_silent = False
        while not self._is_leaving:
            self._called.clear()
            try:
                taken = await self.take() if len(self._work) < self._at_once else 0
                is_silent = False
            except DatabaseUnavailable as error:
                if not is_silent:
                    _log.warning("notify.waiting", error=str(error))
                is_silent, taken = True, 0
            if taken == 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._called.wait(), self._every_s)

    async def drain(self) -> None:
        """Take no more, and finish what was begun."""
        self._is_leaving = True
        self._called.set()
        if self._work:
            await asyncio.wait(self._work)

    async def take(self) -> int:
        """Begin what is due and there is room for; how many. Raises DatabaseUnavailable."""
        under_way = Counted(self._work.values())
        busy = [target for target, count in under_way.items() if count >= self._of_target]
        now = self._clock()
        lease_s = self._timeout_s + _MARGIN_S
        until = time.monotonic() + lease_s
        async with self._database.unscoped(reason="deliveries of all tenants are sent by the same workers") as tx:
            messages = await store.claim(
                tx,
                self._channels.keys(),
                busy=busy,
                now=now,
                lease=now + timedelta(seconds=lease_s),
                most=self._at_once - len(self._work),
                of_target=self._of_target,
            )
        for message in messages:
            task = asyncio.create_task(self._deliver(message, until))
            self._work[task] = message.target
            task.add_done_callback(self._done)
        return len(messages)

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while self._work:
            await asyncio.wait(self._work)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._work[task]
        self._called.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its lease ends, and then it is due again.
            _log.error("notify.bug", error=repr(error), exc_info=error)

    async def _deliver(self, message: Message, until: float) -> None:
        took_ms: int | None = None
        outcome = self._obstacle(message)
        if outcome is None:
            began = time.monotonic()
            outcome = await self._attempt(message)
            took_ms = round((time.monotonic() - began) * 1000)
            ATTEMPTS.labels(message.channel, outcome.verdict.value).inc()
            ATTEMPT_SECONDS.labels(message.channel).observe(took_ms / 1000)
        while True:
            try:
                await self._settle(message, outcome, took_ms)
            except DatabaseUnavailable as error:
                # What was sent must not be sent again for want of a note of it.
                if time.monotonic() > until:
                    _log.warning("notify.unsettled", delivery=message.id, error=str(error))
                    return
                await asyncio.sleep(0.5)
            else:
                return

    def _obstacle(self, message: Message) -> Outcome | None:
        """Why nothing is sent at all."""
        if message.expires_at is not None and message.expires_at <= self._clock():
            return Outcome(Verdict.RETRY, error="expired")  # comes to EXPIRED, as every later attempt would
        if message.channel == "webhook":
            return None if message.is_enabled else Outcome(Verdict.REFUSED, error="webhook_disabled")
        return Outcome(Verdict.REFUSED, error="token_gone") if message.token is None else None

    async def _attempt(self, message: Message) -> Outcome:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._channels[message.channel].send(message)
        except TimeoutError:
            return Outcome(Verdict.RETRY, error=f"no answer within {self._timeout_s:g} s")
        except Exception as error:  # noqa: BLE001  a defect in one channel must not end the sender
            _log.error("notify.bug", delivery=message.id, channel=message.channel, error=repr(error), exc_info=error)
            return Outcome(Verdict.RETRY, error=f"internal: {type(error).__name__}")

    async def _settle(self, message: Message, outcome: Outcome, took_ms: int | None) -> None:
        now = self._clock()
        stands = model.after(
            self._policy,
            outcome,
            attempts=message.attempts,
            now=now,
            expires_at=message.expires_at,
            chance=self._chance(),
        )
        outcome = Outcome(
            outcome.verdict, outcome.status, outcome.error[:500], _printable(outcome.response), outcome.retry_after_s
        )
        async with self._database.unscoped(reason="the sender settles what it took, whosever it is") as tx:
            if not await store.settle(tx, message, stands, outcome, at=now, took_ms=took_ms):
                return
            await self._note(tx, message, outcome, stands, is_attempt=took_ms is not None)
        if stands.at is None:
            SETTLED.labels(message.channel, stands.state.value).inc()
        if stands.state is State.SENT:
            since = message.raised_at or message.created_at
            SENT_SECONDS.labels(message.channel).observe(max(0.0, (now - since).total_seconds()))

    async def _note(self, tx: Tx, message: Message, outcome: Outcome, stands: Next, *, is_attempt: bool) -> None:
        """What the attempt says of the target itself."""
        now = self._clock()
        if message.channel != "webhook":
            if outcome.verdict is Verdict.GONE and await store.drop_token(tx, message, now):
                TOKENS_REMOVED.labels(message.channel).inc()
                _log.info("notify.token_removed", tenant=message.tenant, token=message.target, error=outcome.error)
            return
        if not is_attempt or message.kind == "webhook.test":
            return
        if stands.state is State.SENT:
            await store.note_success(tx, message)
            return
        since = await store.note_failure(tx, message, now)
        reason = ""
        if outcome.verdict is Verdict.GONE:
            reason = "gone"
        elif since is not None and now - since >= self._disable_after:
            reason = "failing"
        if reason and await store.disable(tx, message, reason, now):
            told = await recipients.admins(tx, message.tenant, now)
            notices = [model.webhook_disabled(each, message.url or "", reason, now) for each in told]
            await recipients.add_notices(tx, message.tenant, notices)
            await outbox.add(tx, [recipients.posted(message.tenant, each) for each in notices])
            WEBHOOKS_DISABLED.labels(reason).inc()
            _log.warning("notify.webhook_disabled", tenant=message.tenant, webhook=message.target, reason=reason)


def _printable(text: str) -> str:
    """What PostgreSQL and a terminal take."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text[:_RESPONSE_CHARS])
