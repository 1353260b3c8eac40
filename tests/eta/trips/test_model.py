import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import epoch_ms
from core.events import StopChanged, TripChanged
from core.tenancy import DeviceId
from eta.trips import model
from eta.trips.errors import InvalidTrip, MoveNotAllowed, StopNotFound, VersionMoved
from eta.trips.model import MAX_STOPS, STOP_MOVES, Seen, StopState, TripState
from tests.eta.trips.rounds import at, trip, under_way


def states(found):
    return [stop.state.value for stop in found.stops]


def ids(found):
    return [stop.id for stop in found.stops]


def test_a_planned_trip_that_begins_tells_of_its_device():
    after, [news] = model.start(trip(), at(2))
    assert (after.state, after.started_at, after.version) == (TripState.UNDER_WAY, at(2), 2)
    assert news == TripChanged(
        tenant="acme", trip="trip_00000001", state="under_way", device="truck-1", at=epoch_ms(at(2))
    )


def test_a_trip_without_a_device_does_not_begin():
    with pytest.raises(MoveNotAllowed, match="assign one"):
        model.start(trip(device=None), at(0))
    assert model.begin(trip(device=None), at(0)) == (trip(device=None), [])


def test_positions_begin_a_trip_once():
    after, _ = model.begin(trip(), at(0))
    assert after.started_at == at(0)
    assert model.begin(after, at(1)) == (after, [])


@pytest.mark.parametrize(
    ("state", "move"),
    [
        (TripState.PLANNED, model.finish),
        (TripState.UNDER_WAY, model.start),
        (TripState.DONE, model.start),
        (TripState.DONE, model.finish),
        (TripState.ABANDONED, model.finish),
    ],
)
def test_what_the_machine_does_not_allow_is_refused(state, move):
    with pytest.raises(MoveNotAllowed):
        move(trip(state=state), at(0))


@pytest.mark.parametrize("state", [TripState.DONE, TripState.ABANDONED])
def test_a_trip_that_is_over_changes_no_more(state):
    over = trip(state=state)
    for change in (
        lambda: model.abandon(over, "", at(0)),
        lambda: model.assign(over, None, at(0)),
        lambda: model.reschedule(over, over.day, at(9), at(0)),
        lambda: model.move_stop(over, "s1", StopState.SKIPPED, at(0)),
        lambda: model.describe_stop(over, "s1", 60.0, None, at(0)),
        lambda: model.add_stop(over, replace(over.stops[0], id="s9"), None, at(0)),
        lambda: model.reorder(over, ["s4", "s3", "s2", "s1"], at(0)),
    ):
        with pytest.raises(MoveNotAllowed):
            change()
    assert model.observe(over, {"s1": Seen(StopState.SERVED)}, at(0)) == (over, [])


def test_at_the_end_no_stop_is_left_open():
    running, _ = model.observe(under_way(), {"s1": Seen(StopState.ARRIVED, at(5))}, at(5))
    after, news = model.finish(running, at(30))
    assert states(after) == ["served", "skipped", "skipped", "skipped"]
    assert after.stops[0].departed_at == at(30)
    assert [(type(each).__name__, each.state) for each in news] == [
        ("StopChanged", "served"),
        *[("StopChanged", "skipped")] * 3,
        ("TripChanged", "done"),
    ]


def test_a_trip_that_is_given_up_before_its_start_says_why():
    after, news = model.abandon(trip(2), "no driver", at(0))
    assert (after.state, after.reason, states(after)) == (TripState.ABANDONED, "no driver", ["skipped", "skipped"])
    assert news[-1].state == "abandoned"


def test_a_stop_that_was_skipped_by_a_person_stays_so_though_positions_see_the_truck_there():
    skipped, [news] = model.move_stop(under_way(), "s2", StopState.SKIPPED, at(1))
    assert isinstance(news, StopChanged)
    assert (news.stop, news.site, news.state) == ("s2", "f2", "skipped")
    assert model.observe(skipped, {"s2": Seen(StopState.ARRIVED, at(4))}, at(4)) == (skipped, [])
    back, [news] = model.move_stop(skipped, "s2", StopState.PLANNED, at(5))
    assert news.state == "planned"
    arrived, _ = model.observe(back, {"s2": Seen(StopState.ARRIVED, at(6))}, at(6))
    assert arrived.stop("s2").state is StopState.ARRIVED


def test_a_stop_that_positions_saw_left_out_is_reached_by_a_later_visit():
    left_out, _ = model.observe(
        under_way(), {"s1": Seen(StopState.SKIPPED), "s2": Seen(StopState.ARRIVED, at(5))}, at(5)
    )
    later, news = model.observe(left_out, {"s1": Seen(StopState.SERVED, at(9), at(12))}, at(13))
    assert states(later)[:2] == ["served", "arrived"]
    assert [(each.stop, each.state, each.at) for each in news] == [("s1", "served", epoch_ms(at(12)))]


def test_what_positions_said_a_late_fix_can_take_back():
    arrived, _ = model.observe(under_way(), {"s1": Seen(StopState.ARRIVED, at(5))}, at(5))
    after, news = model.observe(arrived, {"s1": Seen(StopState.PLANNED)}, at(6))
    assert (after.stop("s1").arrived_at, [each.state for each in news]) == (None, ["planned"])


def test_another_time_of_the_same_arrival_is_kept_without_news():
    arrived, _ = model.observe(under_way(), {"s1": Seen(StopState.ARRIVED, at(5))}, at(5))
    after, news = model.observe(arrived, {"s1": Seen(StopState.ARRIVED, at(4))}, at(6))
    assert (after.stop("s1").arrived_at, news, after.version) == (at(4), [], arrived.version + 1)


def test_a_stop_is_reached_only_while_the_trip_runs_but_skipped_before():
    for state in (StopState.ARRIVED, StopState.SERVED):
        with pytest.raises(MoveNotAllowed, match="under way"):
            model.move_stop(trip(), "s1", state, at(0))
    after, _ = model.move_stop(trip(), "s1", StopState.SKIPPED, at(0))
    assert states(after)[0] == "skipped"


def test_people_move_stops_as_the_table_allows_and_not_otherwise():
    for before, wanted in itertools.product(StopState, StopState):
        found = under_way()
        found = replace(found, stops=(replace(found.stops[0], state=before, is_settled=True), *found.stops[1:]))
        if wanted is before or wanted in STOP_MOVES[before]:
            after, _ = model.move_stop(found, "s1", wanted, at(1))
            assert after.stop("s1").state is wanted
        else:
            with pytest.raises(MoveNotAllowed):
                model.move_stop(found, "s1", wanted, at(1))


def test_a_person_who_says_what_positions_said_already_settles_it():
    seen, _ = model.observe(under_way(), {"s1": Seen(StopState.SKIPPED)}, at(5))
    settled, news = model.move_stop(seen, "s1", StopState.SKIPPED, at(6))
    assert (settled.stop("s1").is_settled, news) == (True, [])
    assert model.observe(settled, {"s1": Seen(StopState.ARRIVED, at(7))}, at(7)) == (settled, [])


def test_a_trip_that_is_handed_over_keeps_what_was_reached():
    running, _ = model.observe(
        under_way(),
        {
            "s1": Seen(StopState.SERVED, at(1), at(2)),
            "s2": Seen(StopState.SKIPPED),
            "s3": Seen(StopState.ARRIVED, at(8)),
        },
        at(8),
    )
    after, news = model.assign(running, DeviceId("truck-2"), at(10))
    assert states(after) == ["served", "planned", "served", "planned"]
    assert after.handed_over_at == at(10)
    assert [(type(each).__name__, each.state) for each in news] == [
        ("StopChanged", "planned"), ("StopChanged", "served"), ("TripChanged", "under_way"),
    ]  # fmt: skip
    unseen = {stop.id: Seen(StopState.PLANNED) for stop in after.stops}
    assert states(model.observe(after, unseen, at(11))[0]) == states(after)


def test_a_running_trip_is_given_to_another_device_and_not_to_none():
    with pytest.raises(MoveNotAllowed, match="not to none"):
        model.assign(under_way(), None, at(0))
    after, [news] = model.assign(trip(), None, at(0))
    assert (after.device, news.device) == (None, None)
    assert model.assign(trip(), DeviceId("truck-1"), at(0)) == (trip(), [])


@pytest.mark.parametrize(
    ("position", "order"),
    [(None, ["s1", "s2", "s3", "s4", "x"]), (0, ["s1", "x", "s2", "s3", "s4"]), (1, ["s1", "s2", "x", "s3", "s4"])],
)
def test_a_stop_is_added_among_those_still_ahead(position, order):
    running, _ = model.observe(under_way(), {"s1": Seen(StopState.SERVED, at(1), at(2))}, at(2))
    after, [news] = model.add_stop(running, replace(running.stops[0], id="x", state=StopState.PLANNED), position, at(3))
    assert (ids(after), type(news)) == (order, TripChanged)


def test_a_trip_has_no_more_stops_than_it_may():
    full = trip(MAX_STOPS)
    with pytest.raises(InvalidTrip, match="300"):
        model.add_stop(full, replace(full.stops[0], id="x"), None, at(0))
    with pytest.raises(InvalidTrip):
        model.new_trip(trip(MAX_STOPS + 1))
    with pytest.raises(InvalidTrip):
        model.new_trip(trip(0))


def test_another_order_moves_the_stops_ahead_around_those_behind():
    running, _ = model.observe(under_way(5), {"s2": Seen(StopState.ARRIVED, at(1))}, at(1))
    after, _ = model.reorder(running, ["s5", "s1", "s4", "s3"], at(2))
    assert ids(after) == ["s5", "s2", "s1", "s4", "s3"]


@pytest.mark.parametrize("order", [[], ["s1"], ["s1", "s2", "s3", "s3"], ["s1", "s2", "s3", "s9"]])
def test_an_order_that_does_not_name_each_stop_ahead_once_is_refused(order):
    with pytest.raises(InvalidTrip, match="once"):
        model.reorder(trip(), order, at(0))


def test_another_start_moves_the_plan_of_every_stop():
    planned = trip(2)
    planned = replace(planned, stops=tuple(replace(stop, planned_at=at(10)) for stop in planned.stops))
    after, _ = model.reschedule(planned, planned.day, at(15), at(0))
    assert [stop.planned_at for stop in after.stops] == [at(25), at(25)]
    with pytest.raises(MoveNotAllowed):
        model.reschedule(under_way(), planned.day, at(15), at(0))


def test_an_unknown_stop_and_an_old_version_are_refused():
    with pytest.raises(StopNotFound):
        model.move_stop(trip(), "s9", StopState.SKIPPED, at(0))
    with pytest.raises(VersionMoved):
        model.require_version(3, 4)
    model.require_version(None, 4)


_SEEN = st.builds(
    Seen, st.sampled_from(StopState), st.sampled_from([None, at(1), at(2)]), st.sampled_from([None, at(3)])
)
_LOOKS = st.lists(st.dictionaries(st.sampled_from(["s1", "s2", "s3", "s4"]), _SEEN), max_size=8)
_BY_HAND = st.lists(st.tuples(st.sampled_from(["s1", "s2", "s3", "s4"]), st.sampled_from(StopState)), max_size=6)


@given(_LOOKS, _BY_HAND)
def test_whatever_came_before_the_last_look_at_all_stops_decides_but_for_what_people_said(looks, by_hand):
    found = under_way()
    last = {stop.id: Seen(StopState.SERVED, at(1), at(2)) for stop in found.stops}
    said = {}
    for look, (stop, state) in itertools.zip_longest(looks, by_hand, fillvalue=("s1", None)):
        if isinstance(look, dict):
            found, _ = model.observe(found, look, at(4))
        if state is not None:
            try:
                found, _ = model.move_stop(found, stop, state, at(4))
            except MoveNotAllowed:
                continue
            said[stop] = state
    found, _ = model.observe(found, last, at(5))
    for stop in found.stops:
        wanted = said.get(stop.id, StopState.PLANNED)
        assert stop.state is (StopState.SERVED if wanted is StopState.PLANNED else wanted)


@given(_LOOKS)
def test_each_change_of_a_stop_is_told_once_and_the_version_counts_changes(looks):
    found, told = under_way(), {}
    for look in looks:
        after, news = model.observe(found, look, at(4))
        assert after.version == found.version + (after.stops != found.stops)
        assert {each.stop for each in news} == {
            stop.id for stop, was in zip(after.stops, found.stops, strict=True) if stop.state is not was.state
        }
        told |= {each.stop: each.state for each in news}
        found = after
    assert {stop.id: stop.state.value for stop in found.stops if stop.id in told} == told
