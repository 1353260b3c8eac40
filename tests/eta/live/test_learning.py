"""What finished trips teach: each once, whichever process comes to it; the same for all; bounded."""

import asyncio

import pytest

from core.settings import EtaSettings
from eta.engine.fleet import Fleet
from eta.engine.history import History
from eta.engine.track import Track
from eta.live import knowledge
from eta.live.known import Known
from eta.trips.model import TripState
from tests.eta.live.morning import ACME
from tests.eta.live.test_states import fixes
from tests.eta.roads import ROAD, STARTS_AT, STOPS, drive

DAY_S = 86_400.0


async def driven(morning, day: int, **more):
    """A trip of that day, driven to its end."""
    trip = await morning.round(start=STARTS_AT + day * DAY_S)
    await morning.hear([fix._replace(at=fix.at + day * DAY_S) for fix in fixes(**more)])
    morning.later(2000.0)
    await morning.follower.watch.look()
    await morning.follower.pass_time()
    assert (await morning.trip(trip)).state is TripState.DONE
    return trip


@pytest.mark.db
@pytest.mark.redis
async def test_a_finished_trip_teaches_the_next_one(morning):
    await driven(morning, 0)
    assert await morning.learner().learn_once() == 1
    assert await morning.learner().learn_once() == 0
    morning.follower = morning.worker()
    await morning.round(start=STARTS_AT + DAY_S)
    await morning.hear([fixes()[0]._replace(at=STARTS_AT + DAY_S - 100.0)])
    said = morning.estimates[-1]
    assert said.method == "history"
    assert morning.follower._following["acme:truck-1"].track.route.source == "learned"


@pytest.mark.db
@pytest.mark.redis
async def test_of_processes_that_all_look_for_it_one_learns_from_a_trip(morning):
    await driven(morning, 0)
    await driven(morning, 1, speed_mps=8.0)
    await asyncio.gather(*(morning.learner().learn_once() for _ in range(3)))
    while await morning.learner().learn_once():
        pass
    assert morning.rows("SELECT count(*), count(DISTINCT trip_id) FROM trip_lesson") == [(2, 2)]


@pytest.mark.db
@pytest.mark.redis
async def test_every_process_comes_to_know_the_same(morning):
    before = Known(morning.app)
    await before.of(ACME)
    for day in range(2):
        await driven(morning, day, speed_mps=10.0 - day)
        await morning.learner().learn_once()
        async with morning.app.tenant(ACME) as tx:
            await before.catch_up(tx)
    one, two = await before.of(ACME), await Known(morning.app).of(ACME)
    assert one.history._cells == two.history._cells
    assert one.history._whens == two.history._whens
    assert one.bands.steps == two.bands.steps
    assert one.paths._paths == two.paths._paths
    assert one.history._cells


@pytest.mark.db
@pytest.mark.redis
async def test_only_the_newest_lessons_of_a_route_are_kept(morning):
    morning.settings = EtaSettings(lessons_of_route=5)
    for day in range(4):
        await driven(morning, day)
    learner = morning.learner()
    learner._settings = EtaSettings.model_construct(**{**EtaSettings().model_dump(), "lessons_of_route": 2})
    while await learner.learn_once():
        pass
    kept = [lesson != b"" for (lesson,) in morning.rows("SELECT lesson FROM trip_lesson ORDER BY lesson_id")]
    assert kept == [False, False, True, True]
    assert await learner.learn_once() == 0, "a trip whose lesson is forgotten teaches no second time"


@pytest.mark.db
@pytest.mark.redis
async def test_a_trip_that_nobody_was_heard_on_teaches_nothing_and_is_looked_at_once(morning):
    trip = await morning.round()
    await morning.trips.start(ACME, trip.id)
    await morning.trips.finish(ACME, trip.id)
    learner = morning.learner()
    assert await learner.learn_once() == 1
    assert await learner.learn_once() == 0


def test_a_lesson_comes_back_from_its_bytes_as_it_was_taught():
    fleet, other = Fleet(), Fleet()
    for each in (fleet, other):
        each.add_route("r", STOPS, ROAD)
    track = Track(fleet.route("r"))
    track.absorb(drive())
    lesson, roads = knowledge.drawn_from(fleet, "t", track, STARTS_AT)
    body = knowledge.encode(lesson)
    assert len(body) < 20_000
    knowledge.take(other, "t", "r", knowledge.decode(body))
    knowledge.take_roads(other, roads)
    plain = History()
    plain.learn("t", track, STARTS_AT)
    for history in (fleet.history, other.history):
        assert history._cells.keys() == plain._cells.keys()
        for key, samples in plain._cells.items():
            assert [s.seconds for s in history._cells[key]] == pytest.approx([s.seconds for s in samples], abs=0.01)
    mine = fleet.history.profile(fleet.route("r"), STARTS_AT + DAY_S)
    theirs = other.history.profile(other.route("r"), STARTS_AT + DAY_S)
    assert theirs.seconds == pytest.approx(mine.seconds, abs=0.01)
    assert theirs.starts == pytest.approx(mine.starts)
