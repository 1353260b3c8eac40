"""A device's queue by itself: order, time and presence, whatever the queue looks like."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from commands import model
from commands.model import Answer, Execution, State
from commands.sending import planning
from commands.sending.planning import Lane
from tests.commands.test_model import START, made
from tests.commands.world import BEN
from tests.desk import thing

ONLINE = Lane(thing("acme:t1"), is_in_service=True, online_since=START - timedelta(hours=1))
AWAY = replace(ONLINE, online_since=None)
BARRED = replace(ONLINE, is_in_service=False)


def at(place: int, state: State = State.CREATED, **terms: object) -> Execution:
    """One of the queue, in a state it came to at the start."""
    execution = replace(made(approval=state is State.AWAITING_APPROVAL, **terms), id=f"cmd_{place}", place=place)
    if state in {State.CREATED, State.AWAITING_APPROVAL}:
        return execution
    tried = model.confirm(model.attempt(execution, START), START)
    return tried if state is State.SENT else model.answer(tried, Answer(state), START)


ORDERS = st.sampled_from(["after_end", "after_delivery", "any"])
STATES = st.sampled_from([State.CREATED, State.SENT, State.DELIVERED, State.IN_PROGRESS])
QUEUES = st.lists(st.tuples(STATES, ORDERS), max_size=8).map(
    lambda of: [at(n + 1, state, order=order, retries=0) for n, (state, order) in enumerate(of)]
)


@settings(max_examples=300, deadline=None)
@given(queue=QUEUES, seed=st.randoms())
def test_order_holds_whatever_the_queue_looks_like(queue, seed):
    seed.shuffle(queue)
    plan = planning.plan(queue, ONLINE, START)
    for sent in plan.send:
        before = [e for e in queue if e.place < sent.place and e.terms.order != "any"]
        if sent.terms.order == "after_end":
            assert before == []
        elif sent.terms.order == "after_delivery":
            assert all(e.state in {State.DELIVERED, State.IN_PROGRESS} for e in before)
    strict = [e for e in plan.send if e.terms.order == "after_end"]
    assert len(strict) <= 1
    assert [e.place for e in plan.send] == sorted(e.place for e in plan.send)


@settings(max_examples=200, deadline=None)
@given(queue=QUEUES, seconds=st.integers(0, 400), lane=st.sampled_from([ONLINE, AWAY, BARRED]))
def test_nothing_is_sent_to_who_is_not_there_or_after_its_expiry(queue, seconds, lane):
    now = START + timedelta(seconds=seconds)
    plan = planning.plan(queue, lane, now)
    if lane is not ONLINE:
        assert plan.send == []
    for sent in plan.send:
        assert sent.expires_at - now >= model.LAST_MOMENT
        assert 1 <= planning.expiry_s(sent, now) < (sent.expires_at - now).total_seconds()
    assert all(e.id not in {s.id for s in plan.send} for e in queue if e.lapses_at <= now)
    left = [e for e in queue if e.lapses_at > now]
    if left:
        assert plan.look_at is not None
        assert plan.look_at <= min(e.lapses_at for e in left)


@settings(max_examples=100, deadline=None)
@given(count=st.integers(1, 12), answers=st.data())
def test_a_queue_of_a_device_that_answers_is_worked_off_in_order_each_once(count, answers):
    queue = {f"cmd_{n}": at(n) for n in range(1, count + 1)}
    now, sent = START, []
    while any(e.is_open for e in queue.values()):
        now += timedelta(seconds=answers.draw(st.integers(0, 3)))
        plan = planning.plan([e for e in queue.values() if e.is_open], ONLINE, now)
        queue |= plan.changed
        for each in plan.send:
            sent.append(each.id)
            status = answers.draw(st.sampled_from([State.SUCCEEDED, State.FAILED, State.REJECTED]))
            queue[each.id] = model.answer(queue[each.id], Answer(status), now)
    assert sent == [f"cmd_{n}" for n in range(1, count + 1)]


def test_a_lost_confirmation_has_it_handed_over_again_under_its_id():
    [first] = planning.plan([at(1)], ONLINE, START).send
    assert planning.plan([first], ONLINE, START + timedelta(seconds=4)).send == []
    [again] = planning.plan([first], ONLINE, START + timedelta(seconds=5)).send
    assert (again.id, again.attempts, again.retried) == (first.id, 2, 0)


def test_a_reconnect_has_it_sent_again_without_using_up_a_retry_and_not_for_ever():
    sent, now = at(1, State.SENT, retries=0, timeout_s=3600, expires_s=3600), START
    waiting = planning.plan([sent], ONLINE, now)
    assert (waiting.send, waiting.waits) == ([], True)
    for times in range(2, model.MOST_ATTEMPTS + 1):
        now += timedelta(seconds=10)
        back = replace(ONLINE, online_since=now - timedelta(seconds=1))
        [sent] = planning.plan([sent], back, now).send
        assert (sent.attempts, sent.retried) == (times, 0)
    assert planning.plan([sent], replace(ONLINE, online_since=now + timedelta(seconds=1)), now).send == []


def test_what_awaits_approval_stands_in_nobodys_way():
    plan = planning.plan([at(0, State.AWAITING_APPROVAL), at(1)], ONLINE, START)
    assert [e.id for e in plan.send] == ["cmd_1"]


def test_what_is_cancelled_makes_way_for_the_next():
    first, second = at(1, State.IN_PROGRESS), at(2)
    assert planning.plan([first, second], ONLINE, START).send == []
    assert not model.cancel(first, BEN, START).is_open
    assert [e.id for e in planning.plan([second], ONLINE, START).send] == ["cmd_2"]
