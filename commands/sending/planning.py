"""What a device's queue does next: pure. A look at it gives what changed, what is to be sent, when to look again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from commands import model
from commands.model import Execution, State
from core.tenancy import Thing


@dataclass(frozen=True, slots=True)
class Lane:
    """A device as its queue needs to know it. `online_since` None: it is not connected."""

    thing: Thing
    is_in_service: bool
    online_since: datetime | None

    @property
    def is_reachable(self) -> bool:
        return self.is_in_service and self.online_since is not None


@dataclass(slots=True)
class Plan:
    """`changed` holds each execution as it is now, by id; those in `send` are handed over once that is committed.

    `look_at` None: only news of the device brings anything on; `waits` says that it should.
    """

    changed: dict[str, Execution] = field(default_factory=dict)
    send: list[Execution] = field(default_factory=list)
    look_at: datetime | None = None
    waits: bool = False

    def look(self, at: datetime) -> None:
        self.look_at = at if self.look_at is None else min(self.look_at, at)


def plan(executions: Sequence[Execution], lane: Lane, now: datetime) -> Plan:
    """`executions` are open ones of the lane: the first of its queue, and all whose time is over."""
    made = Plan()
    left = []
    for each in executions:
        after = model.lapse(each, now)
        if after is not each:
            made.changed[each.id] = after
        elif each.is_open:
            left.append(each)
            made.look(each.lapses_at)
    waiting = {"after_end": False, "after_delivery": False}
    for each in sorted((e for e in left if e.is_queued), key=lambda e: e.place):
        if not waiting.get(each.terms.order, False):
            _advance(made, each, lane, now)
        if each.terms.order != "any":
            waiting["after_end"] = True
            waiting["after_delivery"] = waiting["after_delivery"] or each.state in {State.CREATED, State.SENT}
    return made


def _advance(made: Plan, each: Execution, lane: Lane, now: datetime) -> None:
    if each.state not in {State.CREATED, State.SENT} or each.attempts >= model.MOST_ATTEMPTS:
        return
    if each.expires_at - now < model.LAST_MOMENT:
        return
    is_again = each.state is State.SENT
    if is_again and each.retried >= each.terms.retries and not _came_back(each, lane):
        made.waits = True  # a reconnect would have it sent again
        return
    if not lane.is_reachable:
        made.waits = True
        return
    is_awaited = each.misses == 0 and _came_back(each, lane)  # who has not subscribed yet is given a moment
    if each.due_at > now and not is_awaited:
        made.look(each.due_at)
        made.waits = is_again
        return
    after = model.attempt(each, now, is_retry=is_again and not _came_back(each, lane))
    made.changed[each.id] = after
    made.send.append(after)
    made.look(after.due_at)
    made.look(after.lapses_at)


def _came_back(each: Execution, lane: Lane) -> bool:
    """Whether the device has connected anew since it was last sent this: what its session held may be lost."""
    return lane.online_since is not None and each.tried_at is not None and lane.online_since > each.tried_at


def is_sendable(each: Execution, now: datetime) -> bool:
    """Whether enough is left of it at the moment it is written to the wire."""
    return each.expires_at - now >= model.LAST_MOMENT


def expiry_s(each: Execution, now: datetime) -> int:
    """MQTT 5's Message Expiry Interval: whole seconds, one less than is left, since brokers count to the end of one."""
    return max(1, (each.expires_at - now) // timedelta(seconds=1) - 1)
