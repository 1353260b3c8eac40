"""One command on one device as a state machine: pure. docs/commands.md has its diagram and what each state proves."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from commands.errors import (
    CommandEnded,
    InvalidStateTransition,
    NotAwaitingApproval,
    OwnApproval,
    TerminalStateReached,
    UnknownExecution,
)
from core.tenancy import Thing

CONFIRM_WITHIN = timedelta(seconds=5)
"""What was handed to the broker and not confirmed by then is handed over again."""
LAST_MOMENT = timedelta(seconds=2)
"""So shortly before its expiry nothing is sent: brokers count whole seconds."""
MOST_ATTEMPTS = 20
_MISS_PAUSES_S = (0.5, 1, 2, 4, 8, 15, 30)
_RETRY_S, _LONGEST_RETRY_S = 5.0, 300.0
_MOST_STEPS = 64


class State(enum.StrEnum):
    """Where an execution is."""

    AWAITING_APPROVAL = "AWAITING_APPROVAL"  # a second person has to agree
    CREATED = "CREATED"  # waits for its turn, its time, or its device
    SENT = "SENT"  # the broker confirmed it for a session that was there
    DELIVERED = "DELIVERED"  # the device said that it has it
    IN_PROGRESS = "IN_PROGRESS"  # the device works on it
    SUCCEEDED = "SUCCEEDED"  # the device says so
    FAILED = "FAILED"  # the device says so
    REJECTED = "REJECTED"  # the device would not
    TIMED_OUT = "TIMED_OUT"  # sent, and no final answer in time: it may have been done
    EXPIRED = "EXPIRED"  # never sent
    CANCELLED = "CANCELLED"  # called back


ANSWERS = frozenset({State.SUCCEEDED, State.FAILED, State.REJECTED})
FINAL = ANSWERS | {State.TIMED_OUT, State.EXPIRED, State.CANCELLED}
OPEN = frozenset(State) - FINAL

MOVES: Mapping[State, frozenset[State]] = {
    State.AWAITING_APPROVAL: frozenset({State.CREATED, State.CANCELLED, State.EXPIRED}),
    State.CREATED: frozenset({State.SENT, State.EXPIRED, State.CANCELLED, State.TIMED_OUT}),
    State.SENT: frozenset({State.DELIVERED, State.TIMED_OUT, State.CANCELLED}),
    State.DELIVERED: frozenset({State.IN_PROGRESS, *ANSWERS, State.TIMED_OUT, State.CANCELLED}),
    State.IN_PROGRESS: frozenset({*ANSWERS, State.TIMED_OUT, State.CANCELLED}),
    # Only while the device has not said the last word itself: a late answer knows better than our clock.
    State.TIMED_OUT: ANSWERS,
    State.CANCELLED: ANSWERS,
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.REJECTED: frozenset(),
    State.EXPIRED: frozenset(),
}
_WAY = (State.CREATED, State.SENT, State.DELIVERED, State.IN_PROGRESS)

type Order = Literal["after_end", "after_delivery", "any"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who sent or approved: a user, a client, a key, or `cli`."""

    kind: str
    id: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the history. `by` is an actor, `device` or `milkrun`."""

    at: datetime
    state: State
    by: str
    reason_code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a device says of an execution, read and checked."""

    status: State
    reason_code: str = ""
    reason: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How it is to be carried out. `binary` names the parameters that CBOR carries as bytes."""

    format: Literal["json", "cbor"]
    parameters: Mapping[str, Any]
    dangerous: bool
    order: Order
    timeout_s: int
    expires_s: int
    retries: int
    binary: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One command on one device.

    `lapses_at` is when its present state ends by itself, `due_at` before when nothing is to be sent, `place` where it
    stands in the device's queue (0 while it awaits approval). `attempts` counts times it was handed to the broker,
    `retried` those of them for want of an answer, `misses` times the broker had nobody for it.
    """

    thing: Thing
    id: str
    template: str
    terms: Terms
    sender: Actor
    state: State
    created_at: datetime
    expires_at: datetime
    lapses_at: datetime
    due_at: datetime
    updated_at: datetime
    batch: str | None = None
    token: str | None = None
    digest: str | None = None
    approver: Actor | None = None
    place: int = 0
    attempts: int = 0
    retried: int = 0
    misses: int = 0
    is_late: bool = False
    version: int = 1
    approved_at: datetime | None = None
    tried_at: datetime | None = None
    sent_at: datetime | None = None
    delivered_at: datetime | None = None
    ended_at: datetime | None = None
    reason_code: str = ""
    reason: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Step, ...] = ()

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def is_queued(self) -> bool:
        """Open, and in the device's queue."""
        return self.is_open and self.state is not State.AWAITING_APPROVAL


def begin(
    *,
    thing: Thing,
    id_: str,
    template: str,
    terms: Terms,
    sender: Actor,
    at: datetime,
    approval_within: timedelta | None,
    due_at: datetime | None = None,
    batch: str | None = None,
    token: str | None = None,
    digest: str | None = None,
) -> Execution:
    """A new one; `approval_within` None: it needs no approval. Its expiry runs from when it may be sent."""
    due_at = due_at or at
    expires_at = due_at + timedelta(seconds=terms.expires_s)
    state = State.CREATED if approval_within is None else State.AWAITING_APPROVAL
    return Execution(
        thing=thing,
        id=id_,
        template=template,
        terms=terms,
        sender=sender,
        state=state,
        created_at=at,
        expires_at=expires_at,
        lapses_at=expires_at if approval_within is None else at + approval_within,
        due_at=due_at,
        updated_at=at,
        batch=batch,
        token=token,
        digest=digest,
        history=(Step(at, state, str(sender)),),
    )


# --- people -------------------------------------------------------------------------------------------------------


def approve(before: Execution, by: Actor, at: datetime) -> Execution:
    """Into the queue; its expiry runs from now, and a group's turns as they were planned.

    Raises NotAwaitingApproval, OwnApproval.
    """
    _require_awaiting(before)
    if (by.kind, by.id) == (before.sender.kind, before.sender.id):
        raise OwnApproval(f"{before.id} was sent by {before.sender}: another person has to approve it")
    due_at = at + (before.due_at - before.created_at)
    expires_at = due_at + timedelta(seconds=before.terms.expires_s)
    after = _moved(before, State.CREATED, at, str(by), "APPROVED")
    return replace(after, approver=by, approved_at=at, due_at=due_at, expires_at=expires_at, lapses_at=expires_at)


def deny(before: Execution, by: Actor, at: datetime, reason: str = "") -> Execution:
    """Raises NotAwaitingApproval. The sender may deny too: that is calling it back."""
    _require_awaiting(before)
    return _ended(replace(before, approver=by), State.CANCELLED, at, str(by), "DENIED", reason)


def cancel(before: Execution, by: Actor, at: datetime, reason: str = "") -> Execution:
    """Raises CommandEnded. What was sent before may be carried out all the same; no more is sent."""
    if not before.is_open:
        raise CommandEnded(f"{before.id} is {before.state}: there is nothing to call back")
    return _ended(
        before, State.CANCELLED, at, str(by), "CANCELLED_AFTER_SENDING" if before.attempts else "CANCELLED", reason
    )


def _require_awaiting(before: Execution) -> None:
    if before.state is not State.AWAITING_APPROVAL:
        raise NotAwaitingApproval(f"{before.id} is {before.state}: there is nothing to approve")


# --- the broker ---------------------------------------------------------------------------------------------------


def attempt(before: Execution, at: datetime, *, is_retry: bool = False) -> Execution:
    """About to be handed to the broker. The timeout runs from the first time."""
    retried = before.retried + is_retry
    pause = CONFIRM_WITHIN if before.state is State.CREATED else retry_pause(retried)
    first = before.attempts == 0
    return replace(
        before,
        attempts=before.attempts + 1,
        retried=retried,
        tried_at=at,
        due_at=at + pause,
        lapses_at=at + timedelta(seconds=before.terms.timeout_s) if first else before.lapses_at,
        updated_at=at,
        version=before.version + 1,
    )


def confirm(before: Execution, at: datetime) -> Execution:
    """The broker gave it to a session. The same execution when that is known already."""
    if before.state is State.SENT and before.misses:
        return replace(before, misses=0)
    if before.state is not State.CREATED or not before.attempts:
        return before
    after = _moved(before, State.SENT, at, "milkrun")
    return replace(after, sent_at=before.tried_at, due_at=at + retry_pause(before.retried), misses=0)


def miss(before: Execution, at: datetime, reason_code: str, reason: str) -> Execution:
    """It did not leave, or the broker had nobody for it: as if not tried, and again after a pause that grows."""
    pause = timedelta(seconds=_MISS_PAUSES_S[min(before.misses, len(_MISS_PAUSES_S) - 1)])
    attempts = max(0, before.attempts - 1)
    if before.state is not State.CREATED:
        # Tried anew for a session that has not subscribed yet: still to be sent to it.
        due_at, misses = at + pause, before.misses + 1
        return replace(before, attempts=attempts, misses=misses, tried_at=before.sent_at, due_at=due_at, updated_at=at)
    return replace(
        before,
        attempts=attempts,
        misses=before.misses + 1,
        due_at=at + pause,
        lapses_at=before.expires_at if attempts == 0 else before.lapses_at,
        tried_at=None if attempts == 0 else before.tried_at,
        reason_code=reason_code,
        reason=reason,
        updated_at=at,
        version=before.version + 1,
    )


def retry_pause(retried: int) -> timedelta:
    """How long an answer is waited for before the message is sent once more: 5 s, doubled each time."""
    return timedelta(seconds=min(_LONGEST_RETRY_S, _RETRY_S * 2**retried))


# --- the device ---------------------------------------------------------------------------------------------------


def answer(before: Execution, said: Answer, at: datetime) -> Execution:
    """What follows from a device's answer; the same execution where nothing does (a repetition).

    Raises UnknownExecution, InvalidStateTransition, TerminalStateReached.
    """
    if not before.attempts or before.state in {State.AWAITING_APPROVAL, State.EXPIRED}:
        raise UnknownExecution(f"there is no execution {before.id} for this device")
    if said.status not in {State.DELIVERED, State.IN_PROGRESS, State.TIMED_OUT, *ANSWERS}:
        raise InvalidStateTransition(f"{said.status} is not for a device to report")
    if not before.is_open:
        return _late(before, said, at)
    if said.status in _WAY and _WAY.index(said.status) < _WAY.index(before.state):
        return before
    if said.status is before.state:
        return before if said == _last(before) else _told(before, said, at)
    return _reported(before, said, at)


def _reported(before: Execution, said: Answer, at: datetime) -> Execution:
    """Through every state between, since the answer proves them."""
    after = before
    for passed in _WAY[_WAY.index(before.state) + 1 : _WAY.index(State.DELIVERED) + 1]:
        if passed is not said.status:
            after = _stamped(_moved(after, passed, at, "device", "ANSWERED"), at)
    after = _moved(after, said.status, at, "device", said.reason_code, said.reason)
    after = replace(_stamped(after, at), result=said.result or before.result)
    return replace(after, ended_at=at) if said.status in FINAL else after


def _stamped(after: Execution, at: datetime) -> Execution:
    return replace(after, sent_at=after.sent_at or after.tried_at, delivered_at=after.delivered_at or at)


def _told(before: Execution, said: Answer, at: datetime) -> Execution:
    """Progress within IN_PROGRESS: the last word counts, and the history keeps the move alone."""
    return replace(
        before,
        reason_code=said.reason_code,
        reason=said.reason,
        result=said.result or before.result,
        updated_at=at,
        version=before.version + 1,
    )


def _late(before: Execution, said: Answer, at: datetime) -> Execution:
    if said.status is before.state and before.history[-1].by == "device":
        return before
    if said.status in ANSWERS and said.status in MOVES[before.state] and before.history[-1].by != "device":
        after = _moved(before, said.status, at, "device", said.reason_code, said.reason)
        return replace(_stamped(after, at), is_late=True, result=said.result or before.result)
    if said.status in _WAY and before.history[-1].by != "device":
        if any(step.by == "device" and step.state is said.status for step in before.history):
            return before
        step = Step(at, said.status, "device", "LATE", said.reason)
        # Before the last line, which goes on saying how it stands.
        history = (*before.history[:-1], step, before.history[-1])
        return replace(
            before, delivered_at=before.delivered_at or at, history=history, updated_at=at, version=before.version + 1
        )
    raise TerminalStateReached(f"execution {before.id} is {before.state} already")


def _last(execution: Execution) -> Answer:
    return Answer(execution.state, execution.reason_code, execution.reason, execution.result)


# --- time ---------------------------------------------------------------------------------------------------------


def lapse(before: Execution, at: datetime) -> Execution:
    """What becomes of it when its time is over; the same execution when it is not."""
    if not before.is_open or at < before.lapses_at:
        return before
    if before.attempts:
        return _ended(before, State.TIMED_OUT, at, "milkrun", "NO_ANSWER_IN_TIME")
    code = "NOT_APPROVED_IN_TIME" if before.state is State.AWAITING_APPROVAL else "NOT_SENT_IN_TIME"
    return _ended(before, State.EXPIRED, at, "milkrun", code, before.reason)


def _ended(before: Execution, state: State, at: datetime, by: str, code: str = "", reason: str = "") -> Execution:
    return replace(_moved(before, state, at, by, code, reason), ended_at=at)


def _moved(before: Execution, state: State, at: datetime, by: str, code: str = "", reason: str = "") -> Execution:
    assert state in MOVES[before.state], f"{before.state} does not become {state}"
    return replace(
        before,
        state=state,
        reason_code=code,
        reason=reason,
        updated_at=at,
        version=before.version + 1,
        history=(*before.history, Step(at, state, by, code, reason))[-_MOST_STEPS:],
    )
