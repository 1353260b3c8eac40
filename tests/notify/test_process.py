"""`python -m notify` as processes on a real bus: two of them race, are killed in the middle of things, told to stop."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from core import events
from core.bus import Bus, Entry
from core.clock import utc_now
from core.settings import BusSettings, RedisSettings
from tests.notify.receivers import Answer, http1
from tests.notify.world import ACME, World, alert

pytestmark = [pytest.mark.db, pytest.mark.redis]

_READY_S = 60.0
_DONE_S = 90.0


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    made = Bus(RedisSettings(url=redis_url), BusSettings(partitions=2))
    yield made
    await made.close()


async def start(world: World, redis_url: str) -> asyncio.subprocess.Process:
    """As `milkrun up` starts it, with less patience."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MILKRUN_")}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "notify",
        env=clean | {
            "MILKRUN_DATABASE_APP_URL": world.urls.app,
            "MILKRUN_DATABASE_OPERATOR_URL": world.urls.operator,
            "MILKRUN_REDIS_URL": redis_url,
            "MILKRUN_BUS_PARTITIONS": "2",
            "MILKRUN_BUS_RECLAIM_AFTER_S": "1",
            "MILKRUN_NOTIFY_SECRET_KEY_FILE": str(world.settings.secret_key_file),
            "MILKRUN_NOTIFY_WEBHOOK_HTTP": "true",
            "MILKRUN_NOTIFY_WEBHOOK_NETWORKS": '["127.0.0.0/8"]',
            "MILKRUN_NOTIFY_WEBHOOK_TIMEOUT_S": "1",
        },
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip


@asynccontextmanager
async def processes(world: World, redis_url: str, count: int) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    running = [await start(world, redis_url) for _ in range(count)]
    try:
        yield running
    finally:
        for each in running:
            if each.returncode is None:
                each.kill()
            await each.wait()


async def eventually(holds: Callable[[], bool], within_s: float) -> bool:
    until = asyncio.get_running_loop().time() + within_s
    while not holds():
        if asyncio.get_running_loop().time() > until:
            return False
        await asyncio.sleep(0.1)
    return True


async def publish(bus: Bus, *raised: events.AlertRaised) -> None:
    await bus.publish([Entry(each.stream, each.key, events.encode(each)) for each in raised])


async def test_killed_again_and_again_two_processes_tell_everybody_once(world: World, redis_url: str, bus: Bus):
    world.now.at = utc_now()
    for _ in range(3):
        await world.farmer()
    async with http1(lambda _: Answer(204)) as receiver:
        await world.webhooks.add(ACME, url=f"{receiver.url}/hook", kinds=["alert.10min"])
        raised = [alert(trip=f"trip_number0000{n:02}", at=utc_now()) for n in range(40)]
        async with processes(world, redis_url, 2) as running:
            for kills in range(4):
                batch = raised[kills * 10 : kills * 10 + 10]
                await publish(bus, *batch, *batch[:3])  # the relay may say a thing twice
                await eventually(lambda: len(receiver.asked) > 0, _READY_S)
                await asyncio.sleep(0.05 * kills)  # at another moment each time
                running[kills % 2].kill()
                await running[kills % 2].wait()
                running[kills % 2] = await start(world, redis_url)

            def is_done() -> bool:
                rows = world.deliveries()
                return len(rows) == 40 and all(row["state"] == "sent" for row in rows)

            assert await eventually(is_done, _DONE_S), world.deliveries()
            for each in running:
                each.send_signal(signal.SIGTERM)
            assert [await asyncio.wait_for(each.wait(), 40) for each in running] == [0, 0]
    notices = world.rows("SELECT recipient_id, trip_id, kind FROM notice")
    assert len(notices) == len({tuple(row.values()) for row in notices}) == 120
    assert len(world.posted()) == 120
    ids = [asked.headers["webhook-id"] for asked in receiver.asked]
    assert len(set(ids)) == 40
    # Killed between an answer and its note, an attempt is made once more, under its own id; nothing else repeats.
    assert len(ids) - 40 <= 4 * 4


async def test_a_push_service_that_is_not_set_up_says_so_and_nothing_waits_for_it(
    world: World, redis_url: str, bus: Bus
):
    world.now.at = utc_now()
    await world.farmer(tokens=[("fcm", "a-phone-token"), ("apns", "another-phone")])
    async with processes(world, redis_url, 1):
        await publish(bus, alert(at=utc_now() + timedelta(seconds=1)))
        assert await eventually(lambda: [row["state"] for row in world.deliveries()] == ["dead", "dead"], _DONE_S)
    assert {row["error"] for row in world.deliveries()} == {
        "fcm is not set up: see MILKRUN_NOTIFY_*",
        "apns is not set up: see MILKRUN_NOTIFY_*",
    }
    assert len(world.rows("SELECT 1 FROM notice")) == 1
