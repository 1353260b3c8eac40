"""The machine by itself: whatever happens in whatever order, it moves as the table says and promises what docs say."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commands import model
from commands.errors import (
    AnswerRefused,
    CommandEnded,
    NotAwaitingApproval,
    OwnApproval,
    TerminalStateReached,
    UnknownExecution,
)
from commands.model import ANSWERS, FINAL, MOVES, OPEN, Actor, Answer, Execution, State, Terms
from tests.commands.world import ANN, BEN
from tests.desk import thing

START = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
SAID = (State.DELIVERED, State.IN_PROGRESS, State.SUCCEEDED, State.FAILED, State.REJECTED, State.TIMED_OUT)


def made(*, approval: bool = False, **terms) -> Execution:
    plain = {"dangerous": approval, "order": "after_end", "timeout_s": 60, "expires_s": 300, "retries": 2}
    return model.begin(
        thing=thing("acme:t1"),
        id_="cmd_1",
        template="lock",
        terms=Terms(format="json", parameters={}, **{**plain, **terms}),
        sender=ANN,
        at=START,
        approval_within=timedelta(hours=1) if approval else None,
    )


def step(execution: Execution, what: str, at: datetime) -> Execution:  # noqa: PLR0911
    """One thing that can happen; what is refused changes nothing."""
    kind, _, detail = what.partition(":")
    try:
        match kind:
            case "attempt" if execution.state in {State.CREATED, State.SENT} and at < execution.expires_at:
                return model.attempt(execution, at, is_retry=execution.state is State.SENT)
            case "confirm":
                return model.confirm(execution, at)
            case "miss" if execution.is_queued:
                return model.miss(execution, at, "NOT_SUBSCRIBED", "nobody")
            case "say":
                return model.answer(execution, Answer(State(detail), result={"at": {"s": str(at)}}), at)
            case "cancel":
                return model.cancel(execution, BEN, at)
            case "approve":
                return model.approve(execution, BEN, at)
            case "deny":
                return model.deny(execution, BEN, at)
            case "lapse":
                return model.lapse(execution, at)
    except (AnswerRefused, CommandEnded, NotAwaitingApproval):
        pass
    return execution


HAPPENS = st.lists(
    st.tuples(
        st.sampled_from(
            ["attempt", "confirm", "miss", "cancel", "approve", "deny", "lapse", *(f"say:{state}" for state in SAID)]
        ),
        st.integers(0, 200),
    ),
    max_size=25,
)


@settings(max_examples=400, deadline=None)
@given(approval=st.booleans(), happens=HAPPENS)
def test_every_move_is_one_of_the_table_and_the_history_tells_them_all(approval, happens):
    execution, at = made(approval=approval), START
    for what, seconds in happens:
        at += timedelta(seconds=seconds)
        before, execution = execution, step(execution, what, at)
        if execution is before:
            continue
        assert execution.version > before.version or what == "miss"
        passed = [each.state for each in execution.history[len(before.history) - (before.state in FINAL) :]]
        if execution.state is not before.state:
            way = [before.state, *(s for s in passed if s is not before.state)]
            assert all(after in MOVES[one] for one, after in itertools.pairwise(way)), way
        assert (execution.ended_at is not None) == (execution.state in FINAL)
        assert execution.history[-1].state is execution.state


@settings(max_examples=400, deadline=None)
@given(approval=st.booleans(), happens=HAPPENS)
def test_what_the_final_states_promise_is_so(approval, happens):
    execution, at, was_handed_over, words = made(approval=approval), START, False, set()
    for what, seconds in happens:
        at += timedelta(seconds=seconds)
        before, execution = execution, step(execution, what, at)
        if what == "attempt" and execution is not before:
            was_handed_over = True
            assert at < execution.expires_at
        if what == "miss" and execution.attempts == 0:
            was_handed_over = False
        if what.startswith("say") and execution is not before:
            words.add(State(what.partition(":")[2]))
    if execution.state is State.EXPIRED:
        assert (execution.attempts, was_handed_over) == (0, False), "EXPIRED means never sent"
    if execution.state in ANSWERS:
        assert execution.state in words
        assert execution.delivered_at is not None
    if execution.state is State.DELIVERED:
        assert State.DELIVERED in words, "DELIVERED is the device's own word"
    if execution.delivered_at is not None:
        assert words
    if approval and execution.attempts:
        assert execution.approver == BEN


@settings(max_examples=200, deadline=None)
@given(happens=HAPPENS, state=st.sampled_from(sorted(ANSWERS)))
def test_once_the_device_has_said_the_last_word_nothing_changes_it(happens, state):
    execution = model.answer(model.attempt(made(), START), Answer(State(state)), START)
    at = START
    for what, seconds in happens:
        at += timedelta(seconds=seconds)
        assert step(execution, what, at) is execution


def test_the_table_knows_every_state_and_nothing_leaves_the_devices_word():
    assert MOVES.keys() == set(State)
    assert all(not MOVES[state] for state in (*ANSWERS, State.EXPIRED))
    assert set(State) == OPEN | FINAL
    reachable = set().union(*MOVES.values()) | {State.AWAITING_APPROVAL, State.CREATED}
    assert reachable == set(State)


def test_an_answer_before_anything_was_sent_is_to_nothing():
    for execution in (made(), made(approval=True), model.lapse(made(), START + timedelta(hours=1))):
        with pytest.raises(UnknownExecution):
            model.answer(execution, Answer(State.SUCCEEDED), START)


def test_an_early_answer_passes_through_what_it_proves():
    done = model.answer(model.attempt(made(), START), Answer(State.IN_PROGRESS, "OK"), START)
    assert [each.state for each in done.history] == [State.CREATED, State.SENT, State.DELIVERED, State.IN_PROGRESS]
    assert (done.sent_at, done.delivered_at) == (START, START)
    assert model.confirm(done, START) is done


def test_progress_counts_by_its_last_word_and_delivered_does_not_go_back():
    working = model.answer(model.attempt(made(), START), Answer(State.IN_PROGRESS), START)
    further = model.answer(working, Answer(State.IN_PROGRESS, "HALF", "50 %", {"pct": {"s": "50"}}), START)
    assert (further.reason, len(further.history)) == ("50 %", len(working.history))
    assert model.answer(further, Answer(State.IN_PROGRESS, "HALF", "50 %", {"pct": {"s": "50"}}), START) is further
    assert model.answer(further, Answer(State.DELIVERED), START) is further


def test_late_progress_stands_in_the_history_once_and_the_state_stays():
    over = model.lapse(model.attempt(made(timeout_s=10), START), START + timedelta(seconds=10))
    assert over.state is State.TIMED_OUT
    told = model.answer(over, Answer(State.IN_PROGRESS), START + timedelta(seconds=11))
    assert (told.state, [each.state for each in told.history][-2:]) == (
        over.state,
        [State.IN_PROGRESS, State.TIMED_OUT],
    )
    assert model.answer(told, Answer(State.IN_PROGRESS), START + timedelta(seconds=12)) is told
    done = model.answer(told, Answer(State.FAILED), START + timedelta(seconds=13))
    assert (done.state, done.is_late) == (State.FAILED, True)
    with pytest.raises(TerminalStateReached):
        model.answer(done, Answer(State.SUCCEEDED), START)


def test_the_sender_does_not_approve_whatever_his_name_is_now():
    with pytest.raises(OwnApproval):
        model.approve(made(approval=True), Actor(ANN.kind, ANN.id, "another name"), START)
    assert model.deny(made(approval=True), ANN, START).state is State.CANCELLED


def test_an_approval_starts_the_expiry_and_comes_in_time_or_never():
    at = START + timedelta(minutes=50)
    approved = model.approve(made(approval=True), BEN, at)
    assert (approved.state, approved.expires_at) == (State.CREATED, at + timedelta(seconds=300))
    assert model.lapse(made(approval=True), START + timedelta(hours=1)).state is State.EXPIRED


def test_called_back_after_sending_says_so_and_a_late_answer_still_counts():
    sent = model.confirm(model.attempt(made(), START), START)
    back = model.cancel(sent, BEN, START)
    assert (back.state, back.reason_code) == (State.CANCELLED, "CANCELLED_AFTER_SENDING")
    assert model.answer(back, Answer(State.SUCCEEDED), START).state is State.SUCCEEDED
    assert model.cancel(made(), BEN, START).reason_code == "CANCELLED"
