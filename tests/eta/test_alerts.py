from hypothesis import given, settings
from hypothesis import strategies as st

from eta.alerts import AlertState, Facts, Kind, evaluate


def facts(now, left, **other):
    eta = now + left
    known = {
        "p10": eta - 60.0, "p90": eta + 60.0, "fix_age_s": 0.0, "is_on_route": True, "is_under_way": True,
        "is_there": False,
    }  # fmt: skip
    return Facts(**({"now": now, "eta": eta} | known | other))


def played(series):
    """The alerts over a series of facts: (kind, when)."""
    state, fired = AlertState(), []
    for fact in series:
        state, alert = evaluate(state, fact)
        if alert:
            fired.append((alert.kind, alert.fired_at))
    return fired


def approach(left=1200.0, step=15.0, **other):
    """A vehicle that comes nearer second by second."""
    return [facts(n * step, left - n * step, **other) for n in range(int(left / step))]


def test_a_plain_approach_gives_one_alert_at_ten_minutes_and_one_at_five():
    assert played(approach()) == [(Kind.TEN_MINUTES, 600.0), (Kind.FIVE_MINUTES, 900.0)]


def test_with_a_minute_between_fixes_alerts_are_within_half_a_minute_of_their_promise():
    for first in range(1200, 1260, 7):
        for kind, at in played(approach(left=float(first), step=60.0)):
            promised = 600.0 if kind is Kind.TEN_MINUTES else 300.0
            assert abs(first - at - promised) <= 30.0


def test_an_estimate_that_swings_across_the_threshold_fires_once():
    swing = [facts(20.0 * n, 600.0 + (40.0 if n % 2 else -40.0)) for n in range(100)]
    assert [kind for kind, _ in played(swing)] == [Kind.TEN_MINUTES]


def test_one_estimate_alone_fires_nothing():
    jump = [facts(0.0, 1800.0), facts(20.0, 1780.0), facts(40.0, 580.0), facts(60.0, 1740.0), facts(80.0, 1720.0)]
    assert played(jump) == []


def test_a_jump_that_the_next_estimate_confirms_fires():
    assert played([facts(0.0, 1800.0), facts(20.0, 580.0), facts(40.0, 560.0)]) == [(Kind.TEN_MINUTES, 40.0)]


def test_stale_positions_fire_nothing():
    assert played(approach(fix_age_s=91.0)) == []


def test_a_truck_off_its_route_fires_nothing():
    assert played(approach(is_on_route=False)) == []


def test_whoever_lies_right_behind_the_start_is_not_told_ten_minutes():
    assert [kind for kind, _ in played(approach(left=420.0))] == [Kind.FIVE_MINUTES]
    assert played(approach(left=150.0)) == []


def test_before_the_start_only_a_narrow_band_is_worth_a_warning():
    waiting = [facts(20.0 * n, 590.0, is_under_way=False, p10=0.0, p90=5000.0) for n in range(20)]
    assert played(waiting) == []
    sure = [facts(20.0 * n, 590.0, is_under_way=False) for n in range(20)]
    assert [kind for kind, _ in played(sure)] == [Kind.TEN_MINUTES]


def test_after_a_late_start_an_alert_that_was_given_up_for_the_near_stops_is_not_given_up_for_the_far_ones():
    waiting = [facts(20.0 * n, 900.0, is_under_way=False, p90=5000.0) for n in range(20)]
    rolling = [facts(400.0 + 20.0 * n, 900.0 - 20.0 * n) for n in range(45)]
    assert [kind for kind, _ in played(waiting + rolling)] == [Kind.TEN_MINUTES, Kind.FIVE_MINUTES]


def test_a_much_later_arrival_is_told_once_and_the_alert_is_not_repeated():
    late = [facts(700.0 + 20.0 * n, 1500.0) for n in range(30)]
    again = [facts(1300.0 + 20.0 * n, 1500.0 - 20.0 * n) for n in range(70)]
    fired = [kind for kind, _ in played(approach(left=700.0)[:20] + late + again)]
    assert fired == [Kind.TEN_MINUTES, Kind.DELAYED, Kind.FIVE_MINUTES]


def test_a_short_delay_is_not_worth_a_word():
    late = [facts(300.0 + 20.0 * n, 1500.0) for n in range(8)]
    assert [kind for kind, _ in played(approach(left=700.0)[:15] + late)] == [Kind.TEN_MINUTES]


def test_nothing_is_fired_once_the_truck_is_there():
    assert played([facts(0.0, 1200.0, is_there=True), *approach()]) == []


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.0, 400.0), st.floats(0.0, 4000.0), st.floats(0.0, 200.0), st.booleans(), st.booleans()),
        max_size=80,
    )
)
def test_each_alert_is_fired_at_most_once_whatever_happens(steps):
    now, series = 0.0, []
    for step, left, age, on_route, under_way in steps:
        now += step
        series.append(facts(now, left, fix_age_s=age, is_on_route=on_route, is_under_way=under_way))
    kinds = [kind for kind, _ in played(series)]
    assert len(kinds) == len(set(kinds))
