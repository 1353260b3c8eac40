"""When people are warned: one alert at ten minutes and one at five for each stop, one word of delay, never a repeat.

A pure state machine. The caller keeps the state, and in its store a unique key (trip, stop, recipient, kind) stands
behind the promise when two workers race.
"""

import enum
from dataclasses import dataclass, replace
from typing import NamedTuple


class Kind(enum.StrEnum):
    TEN_MINUTES = "10min"
    FIVE_MINUTES = "5min"
    DELAYED = "delayed"


THRESHOLD_S = {Kind.TEN_MINUTES: 600.0, Kind.FIVE_MINUTES: 300.0}

_CONFIRM_S = 15.0  # one estimate alone warns nobody
_STEP_S = 60.0  # estimates further apart than this are not each other's confirmation ...
_STALE_S = 90.0  # ... and one from an older fix is no ground to call somebody to the gate
_ALTERED_S = 45.0
_ABOUT_S = 120.0  # what people take "ten minutes" to mean, either way
_DELAY_S = 300.0
_DELAY_SHARE = 0.5
_DELAY_HOLDS_S = 180.0


class Facts(NamedTuple):
    """What is known of one stop at one evaluation. Epoch seconds."""

    now: float
    """device time of the newest fix, or later: an evaluation never goes back"""
    eta: float
    """the middle estimate"""
    p10: float
    p90: float
    fix_age_s: float
    is_on_route: bool
    is_under_way: bool
    """it has left the start"""
    is_there: bool


class Alert(NamedTuple):
    kind: Kind
    fired_at: float
    eta: float


@dataclass(frozen=True, slots=True)
class AlertState:
    """The alerts of one (trip, stop)."""

    sent: frozenset[Kind] = frozenset()
    forgone: frozenset[Kind] = frozenset()
    """kinds that came too late to be of use"""
    was_under_way: bool = False
    seen_at: float | None = None
    seen_left_s: float = 0.0
    late_since: float | None = None
    """since when the arrival has been much further off than the last alert said"""
    is_over: bool = False


def evaluate(state: AlertState, facts: Facts) -> tuple[AlertState, Alert | None]:
    """The new state and the alert that is due, at most one. Facts that are stale, off route or old change nothing."""
    if facts.is_there and not state.is_over:
        return replace(state, is_over=True), None
    is_soon = state.seen_at is not None and facts.now - state.seen_at < _CONFIRM_S
    if state.is_over or is_soon or facts.fix_age_s > _STALE_S or not facts.is_on_route:
        return state, None
    left, step = facts.eta - facts.now, _STEP_S
    before = None
    if state.seen_at is not None:
        step = facts.now - state.seen_at
        before = state.seen_left_s
    if facts.is_under_way and not state.was_under_way:
        state = replace(state, was_under_way=True, forgone=_too_late(left))
    state = replace(state, seen_at=facts.now, seen_left_s=left)
    if before is None or step > 5.0 * _STEP_S:
        return state, None
    for kind in (Kind.FIVE_MINUTES, Kind.TEN_MINUTES):
        if kind not in state.sent | state.forgone and _is_due(kind, left, before, step, facts):
            # Having sent the later warning, the earlier one has nothing left to say.
            forgone = state.forgone | {Kind.TEN_MINUTES} if kind is Kind.FIVE_MINUTES else state.forgone
            sent = replace(state, sent=state.sent | {kind}, forgone=forgone, late_since=None)
            return sent, Alert(kind, facts.now, facts.eta)
    return _delayed(state, facts)


def _too_late(left: float) -> frozenset[Kind]:
    """Who lies right behind the start cannot be warned in time: "ten minutes" is not said when eight are left."""
    return frozenset(kind for kind, threshold in THRESHOLD_S.items() if left < threshold - _ABOUT_S)


def _is_due(kind: Kind, left: float, before: float, step: float, facts: Facts) -> bool:
    threshold = THRESHOLD_S[kind]
    # Evaluations come `step` apart: firing within half a step of the threshold is nearest to it on average.
    if left > threshold + 0.5 * min(step, _STEP_S):
        return False
    if before - step > threshold + min(step, _STEP_S) + _ALTERED_S:
        return False  # it has just jumped here; the next estimate confirms it or not
    # Before it has left, the start is the great unknown: only a narrow band is worth a warning.
    return facts.is_under_way or (left > threshold - _ABOUT_S and facts.p90 - facts.p10 <= 0.8 * threshold)


def _delayed(state: AlertState, facts: Facts) -> tuple[AlertState, Alert | None]:
    """One word of delay, once what was told has been wrong by much for a while."""
    if not state.sent or Kind.DELAYED in state.sent:
        return state, None
    threshold = min(THRESHOLD_S[kind] for kind in state.sent)
    if facts.eta - facts.now <= threshold + max(_DELAY_S, _DELAY_SHARE * threshold):
        return (replace(state, late_since=None) if state.late_since is not None else state), None
    if state.late_since is None:
        return replace(state, late_since=facts.now), None
    if facts.now - state.late_since < _DELAY_HOLDS_S:
        return state, None
    told = replace(state, sent=state.sent | {Kind.DELAYED})
    return told, Alert(Kind.DELAYED, facts.now, facts.eta)
