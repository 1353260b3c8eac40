"""What is said of a running trip is written down; the traffic is asked of a real server, and nothing of it is kept."""

from itertools import pairwise

import pytest

from core.settings import MapsSettings
from eta.accuracy.record import Recorder
from eta.live.beside import Beside
from eta.live.handlers import Follower
from eta.routing.engines.google import GoogleRoutes
from eta.routing.ladder import Ladder
from tests.eta.live.test_states import fixes
from tests.eta.roads import ROAD, Fix, drive
from tests.eta.routing.engines import Pretender

pytestmark = [pytest.mark.db, pytest.mark.redis]


@pytest.fixture
async def google():
    pretender = await Pretender().start()
    yield pretender
    await pretender.stop()


@pytest.fixture
async def watched(morning, google):
    """A worker of that morning that asks Google for the traffic."""
    settings = MapsSettings(timeout_s=20.0, paid_trip_calls=2)
    router = GoogleRoutes("key", google.url, timeout_s=20.0)
    recorder = Recorder(morning.operator)
    beside = Beside(Ladder([router], morning.operator, settings, morning.clock), recorder)
    worker = Follower(
        database=morning.app,
        everyone=morning.operator,
        bus=morning.bus,
        drawer=None,
        settings=morning.settings,
        clock=morning.clock,
        beside=beside,
    )
    worker.test_beside, worker.test_recorder = beside, recorder
    yield worker
    await router.close()


async def asked(worker):
    while worker.test_beside._asking:
        await next(iter(worker.test_beside._asking))


async def test_a_sample_of_what_is_said_is_kept_and_no_more(morning, watched):
    trip = await morning.round(shape=ROAD)
    await morning.drive(fixes()[:60], by=watched)
    await watched.test_recorder.flush()
    rows = morning.rows(
        "SELECT trip_id, extract(epoch FROM made_at)::float8, cardinality(stops) FROM eta_said ORDER BY 2"
    )
    assert {row[0] for row in rows} == {trip.id}
    assert all(b[1] - a[1] >= 30.0 for a, b in pairwise(rows))
    assert len(rows) >= 15
    assert all(count > 0 for *_, count in rows)


async def test_a_trip_that_keeps_its_word_costs_no_call(morning, watched, google):
    await morning.round(shape=ROAD)
    await morning.drive(fixes()[:80], by=watched)
    await asked(watched)
    assert google.asked == []


def slow(after=20):
    """A day on which the truck crawls from some point on."""
    way = drive()
    turn = way[after].at
    return [Fix(f.at if f.at <= turn else turn + 4.0 * (f.at - turn), f.lat, f.lon) for f in way]


async def test_a_trip_that_drifts_rests_on_the_traffic_and_leaves_nothing_of_it_behind(morning, watched, google):
    await morning.round(shape=ROAD)
    google.traffic = 2.0
    for fix in slow()[:70]:
        await morning.hear([fix], by=watched)
        await asked(watched)
    assert 1 <= len(google.asked) <= 2
    assert "traffic" in {each.method for each in morning.estimates}
    assert "the traffic of" in next(e.reason for e in morning.estimates if e.method == "traffic")
    await watched.test_recorder.flush()
    assert morning.rows("SELECT count(*) FROM eta_said WHERE method = 'traffic'") == [(0,)]
    assert morning.rows("SELECT count(*) FROM map_leg") == [(0,)]
    # The paid account of the trip shows each call.
    ((spent,),) = morning.rows("SELECT calls FROM map_spend WHERE account LIKE 'trip:%' AND is_paid")
    assert spent == len(google.asked)


@pytest.mark.parametrize("mood", ["garbage", "quota", "hang_up", "negative"])
async def test_without_an_answer_the_arrival_times_go_on(morning, watched, google, mood):
    await morning.round(shape=ROAD)
    google.mood = mood
    way = slow()[:70]
    for fix in way:
        await morning.hear([fix], by=watched)
        await asked(watched)
    assert google.asked
    assert len(morning.estimates) == len(way)
    assert "traffic" not in {each.method for each in morning.estimates}
