"""The ledger against a plain set, and what is believed of a position."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.telemetry import Position, Sample
from ingest import model
from ingest.model import MAX_BOOTS, MAX_RANGES, DeviceState, load_ledger
from ingest.reasons import Reason

MAX_SPEED = 70.0
# As many numbers as can make at most MAX_RANGES runs, so that the ledger is to be exact.
seqs = st.lists(st.integers(0, 2 * MAX_RANGES - 1), max_size=300)


def runs(numbers: set[int]) -> list[int]:
    """`numbers` as a flat list of inclusive ranges."""
    flat: list[int] = []
    for number in sorted(numbers):
        if flat and flat[-1] == number - 1:
            flat[-1] = number
        else:
            flat += (number, number)
    return flat


@given(seqs)
def test_marks_in_any_order_give_exactly_that_set(order):
    state = DeviceState()
    for at, seq in enumerate(order):
        assert state.has("b", seq) == (seq in order[:at])
        state.mark("b", seq)
    assert state.boots.get("b", []) == runs(set(order))
    assert [seq for seq in range(-1, 2 * MAX_RANGES + 1) if state.has("b", seq)] == sorted(set(order))
    assert load_ledger(state.ledger()) == state.boots
    assert state.abandoned_gaps == 0


@given(st.lists(st.tuples(st.integers(0, MAX_BOOTS - 1), st.integers(0, 100)), max_size=200))
def test_boots_do_not_mix(order):
    state = DeviceState()
    for boot, seq in order:
        state.mark(f"b{boot}", seq)
    for boot in range(MAX_BOOTS):
        assert {seq for seq in range(101) if state.has(f"b{boot}", seq)} == {s for b, s in order if b == boot}


@pytest.mark.parametrize("seed", range(5))
def test_however_many_gaps_there_are_the_ledger_stays_small_and_claims_nothing_that_never_came(seed):
    rng = random.Random(seed)
    state, came, confirmed = DeviceState(), set(), set()
    for seq in rng.sample(range(5000), 2000):
        state.mark("b", seq)
        came.add(seq)
        assert len(state.boots["b"]) <= 2 * MAX_RANGES
        assert state.has("b", max(came))
        if rng.random() < 0.2:
            confirmed |= {n for _, first, last in state.take_news() for n in range(first, last + 1)}
            assert confirmed <= came
    assert state.abandoned_gaps > 0
    assert {seq for seq in range(5001) if state.has("b", seq)} <= came
    assert len(state.ledger()) < 2 * MAX_RANGES * 9 + 16


def test_a_device_with_more_gaps_than_are_kept_still_learns_of_everything_it_fills_in():
    state, confirmed = DeviceState(), set()

    def mark(seq: int) -> None:
        state.mark("b", seq)
        for _, first, last in state.take_news():
            confirmed.update(range(first, last + 1))

    for seq in range(1, 1000, 2):
        mark(seq)
    for seq in range(2, 1000, 2):
        assert seq not in confirmed
        mark(seq)
    for seq in range(1, 1000):
        # Whatever was not told yet is sent again by the device.
        if seq not in confirmed:
            mark(seq)
    assert confirmed == set(range(1, 1000))


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60, unique=True), st.randoms(use_true_random=False))
def test_news_is_the_oldest_unbroken_run_and_told_once(order, rng):
    state, marked = DeviceState(), set()
    for seq in order:
        state.mark("b", seq)
        marked.add(seq)
        if rng.random() < 0.5:
            first, last = runs(marked)[:2]
            assert state.take_news() == [("b", first, last)]
            assert state.take_news() == []
            state.mark("b", seq)  # sent again: told again, with the run it is in
            *beside, oldest = state.take_news()
            assert oldest == ("b", first, last)
            assert any(low <= seq <= high for _, low, high in (*beside, oldest))
            assert all({*range(low, high + 1)} <= marked for _, low, high in beside)


def test_the_oldest_boot_gives_way():
    state = DeviceState()
    for number in range(MAX_BOOTS + 1):
        state.mark(f"b{number}", 1)
    assert not state.has("b0", 1)
    assert all(state.has(f"b{number}", 1) for number in range(1, MAX_BOOTS + 1))
    assert len(state.boots) == MAX_BOOTS


def fix(ts_s: float, north_m: float, seq: int | None = None, acc: float | None = None) -> Sample:
    pos = Position(lat=47.0 + north_m / 111_195.0, lon=9.0, acc=acc)
    return Sample(ts=int(ts_s * 1000), boot="b", seq=seq, pos=pos)


def at_home() -> DeviceState:
    state = DeviceState()
    assert model.accept(state, fix(1000, 0, 1))
    return state


def test_a_jump_is_quarantined_and_told_in_figures():
    verdict = model.judge(at_home(), fix(1010, 50_000, 2), MAX_SPEED)
    assert verdict is not None
    assert verdict.reason is Reason.IMPLIED_SPEED
    assert verdict.detail == "4997 m/s from the last position 10.0 s before; at most 70 m/s is believed"


def test_stated_accuracy_explains_a_jump():
    assert model.judge(at_home(), fix(1010, 5000, 2), MAX_SPEED) is not None
    assert model.judge(at_home(), fix(1010, 5000, 2, acc=5000), MAX_SPEED) is None


def test_three_jumps_that_agree_are_believed():
    state = at_home()
    verdicts = [model.judge(state, fix(1010 + n, 50_000 + n, 2 + n), MAX_SPEED) for n in range(3)]
    assert [verdict and verdict.reason for verdict in verdicts] == [Reason.IMPLIED_SPEED, Reason.IMPLIED_SPEED, None]
    assert model.accept(state, fix(1012, 50_002, 4))
    assert model.judge(state, fix(1013, 50_010, 5), MAX_SPEED) is None


def test_jumps_that_do_not_agree_are_never_believed():
    state = at_home()
    for n in range(20):
        place = 50_000 if n % 2 else -50_000
        assert model.judge(state, fix(1010 + n, place, 2 + n), MAX_SPEED) is not None


def test_a_believed_position_between_two_jumps_starts_the_count_anew():
    state = at_home()
    for n in range(10):
        assert model.judge(state, fix(1010 + 2 * n, 50_000, 2 * n), MAX_SPEED) is not None
        home = fix(1011 + 2 * n, 0, 2 * n + 1)
        assert model.judge(state, home, MAX_SPEED) is None
        model.accept(state, home)


@given(st.lists(st.tuples(st.integers(0, 50), st.none() | st.integers(0, 50)), min_size=1, max_size=60))
def test_the_live_position_is_that_of_the_highest_time_and_seq_whatever_the_order(arrivals):
    state = DeviceState()
    best: tuple[int, int] | None = None
    for ts_s, seq in arrivals:
        name = (ts_s * 1000, -1 if seq is None else seq)
        assert model.accept(state, fix(ts_s, ts_s, seq)) == (best is None or name > best)
        best = name if best is None else max(best, name)
        assert (state.ts, state.seq) == best
        assert state.pos == fix(best[0] / 1000, best[0] / 1000).pos


def test_late_positions_are_not_compared():
    assert model.judge(at_home(), fix(999, 5_000_000, 2), MAX_SPEED) is None
    assert model.judge(at_home(), fix(1000, 5_000_000, 2), MAX_SPEED) is None


@given(
    *(st.floats(-89, 89), st.floats(-180, 180), st.floats(-89, 89), st.floats(-180, 180)),
    st.floats(0.001, 100_000),
)
def test_the_bound_without_trigonometry_never_clears_what_the_exact_speed_refuses(lat1, lon1, lat2, lon2, seconds):
    state = DeviceState()
    model.accept(state, Sample(ts=0, boot="b", seq=1, pos=Position(lat=lat1, lon=lon1)))
    later = Sample(ts=max(1, int(seconds * 1000)), boot="b", seq=2, pos=Position(lat=lat2, lon=lon2))
    believed = model.judge(state, later, MAX_SPEED) is None
    speed = model.implied_speed_mps(Position(lat=lat1, lon=lon1), 0, Position(lat=lat2, lon=lon2), later.ts)
    assert believed == (speed <= MAX_SPEED)


def test_the_date_line_is_no_jump():
    assert model.distance_m(0.0, 179.9999, 0.0, -179.9999) < 30
    assert abs(model.distance_m(47.0, 9.0, 48.0, 9.0) - 111_195) < 10
