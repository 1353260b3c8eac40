"""Alerts: once for each stop and kind, whoever finds them due, whatever is repeated; and none from what is old."""

import asyncio
from collections import Counter

import pytest

from core.events import AlertRaised
from eta.trips.model import StopState
from tests.eta.live.morning import ACME
from tests.eta.live.test_states import fixes
from tests.eta.roads import STARTS_AT

pytestmark = [pytest.mark.db, pytest.mark.redis]


def raised(news):
    return Counter((each.stop, each.kind) for each in news if isinstance(each, AlertRaised))


async def test_people_are_told_when_it_starts_ten_and_five_minutes_before_and_when_it_is_there(morning):
    trip = await morning.round()
    news = []
    for fix in fixes():
        await morning.hear([fix])
        news += await morning.announce()
    told = raised(news)
    assert set(told.values()) == {1}
    kinds = {stop.name: {kind for (name, kind) in morning.alerts() if name == stop.name} for stop in trip.stops}
    assert kinds["farm-4"] >= {"started", "5min", "arrived"}
    assert kinds["farm-8"] == {"started", "10min", "5min", "arrived"}
    assert kinds["farm-10"] == {"started", "10min", "5min", "arrived"}
    row = morning.rows("SELECT count(*), count(DISTINCT (trip_id, stop_id, kind)) FROM trip_alert")[0]
    assert row == (sum(told.values()), sum(told.values()))


async def test_two_workers_that_both_follow_a_trip_tell_everything_once(morning):
    """As when one was held up longer than its lease and the other took over."""
    await morning.round()
    other = morning.worker()
    news = []
    for fix in fixes():
        await asyncio.gather(morning.hear([fix]), morning.hear([fix], by=other))
        news += await morning.announce()
    told = raised(news)
    assert set(told.values()) == {1}
    assert {kind for _, kind in told} == {"started", "10min", "5min", "arrived"}


async def test_a_worker_that_dies_after_any_fix_leaves_no_alert_untold_and_tells_none_again(morning):
    """Each fix is heard by a fresh process, and by another one again: what a crash before the acknowledgement does."""
    await morning.round()
    news = []
    for n, fix in enumerate(fixes()):
        worker = morning.worker() if n % 3 == 0 else worker  # noqa: F821
        await morning.hear([fix], by=worker)
        if n % 5 == 0:
            await morning.hear([fix], by=morning.worker())
        news += await morning.announce()
    told = raised(news)
    assert set(told.values()) == {1}
    assert len([kind for _, kind in told if kind == "10min"]) >= 2
    assert len([kind for _, kind in told if kind == "5min"]) >= 3


@pytest.mark.parametrize("late_s", [120.0, 900.0])
async def test_old_fixes_warn_nobody(morning, late_s):
    await morning.round()
    for fix in fixes():
        await morning.hear([fix], live=False, late_s=late_s)
    news = await morning.announce()
    assert {kind for _, kind in raised(news)} <= {"started", "arrived", "missed", "skipped"}
    assert not {kind for _, kind in raised(news)} & {"10min", "5min", "delayed"}
    if late_s > 300.0:
        assert "arrived" not in {kind for _, kind in raised(news)}


async def test_a_late_fix_beside_a_live_one_changes_the_past_and_warns_nobody(morning):
    await morning.round()
    way = fixes()
    held = way[40:50]
    for fix in [*way[:40], *way[50:70]]:
        await morning.hear([fix])
    await morning.announce()
    before = morning.alerts()
    await morning.hear(held, live=False)
    await morning.announce()
    assert [each for each in morning.alerts() if each[1] in {"10min", "5min", "delayed"}] == [
        each for each in before if each[1] in {"10min", "5min", "delayed"}
    ]


async def test_when_the_trip_ends_without_them_people_hear_that_it_never_came(morning):
    trip = await morning.round()
    way = fixes()
    await morning.drive(way[:60])
    await morning.announce()
    await morning.trips.abandon(ACME, trip.id, "flat tyre")
    news = await morning.announce()
    kinds = {kind for _, kind in raised(news)}
    assert kinds == {"missed"}
    assert len(raised(news)) == len([stop for stop in (await morning.trip(trip)).stops if stop.state == "skipped"])


async def test_a_person_who_skips_a_stop_lets_its_people_know_and_no_estimate_warns_them_after(morning):
    trip = await morning.round()
    way = fixes()
    await morning.drive(way[:33])
    await morning.announce()
    last = (await morning.trip(trip)).stops[-1]
    await morning.trips.change_stop(ACME, trip.id, last.id, state=StopState.SKIPPED)
    await morning.announce()
    await morning.drive(way[33:])
    await morning.announce()
    assert [kind for name, kind in morning.alerts() if name == last.name] == ["started", "skipped"]


async def test_a_truck_that_falls_behind_after_the_warning_is_said_to_be_late_once(morning):
    await morning.round()
    way = fixes()
    n = next(i for i, fix in enumerate(way) if fix.at > STARTS_AT + 800.0)
    await morning.drive(way[:n])
    stuck = way[n]
    for step in range(1, 200):
        await morning.hear([stuck._replace(at=stuck.at + step * 20.0)])
    await morning.announce()
    kinds = Counter(morning.alerts())
    assert max(kinds.values()) == 1
    assert any(kind == "delayed" for _, kind in kinds)
