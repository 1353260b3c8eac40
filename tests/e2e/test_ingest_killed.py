"""The ingest process killed hard at any moment, and stopped politely: nothing lost, nothing twice."""

import asyncio
import random
from collections import Counter

import pytest

from tests.e2e.convoy import Spoiler, driving
from tests.e2e.platform import assert_once
from tests.faults import frozen, until

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis, pytest.mark.mosquitto]

_DUPLICATES = 'milkrun_ingest_samples_total{result="duplicate"}'
KILLS = 20


async def test_killed_at_twenty_random_moments_every_message_is_stored_announced_and_confirmed_once(
    platform, fleet, tenant, boot, record_property
):
    """No device sends anything twice, so what is there came by the broker's redelivery alone, and what ingest calls a
    duplicate was killed between its COMMIT and its acknowledgement.
    """
    rng = random.Random(20)
    devices = fleet(9)
    spoiler = Spoiler(platform, devices.pop(), rate=40)
    killed_after_commit = repeats = 0
    async with driving(platform, devices, boot=boot, rate=800, resends=False) as convoy:
        spoiling = asyncio.create_task(spoiler.run())
        for _ in range(KILLS):
            await asyncio.sleep(rng.uniform(0.05, 0.5))
            if rng.random() < 0.5:
                # A broker that stands still for a moment does not read the acknowledgements of what was committed.
                with frozen(platform.broker.child.pid):
                    await asyncio.sleep(rng.uniform(0.01, 0.15))
                    platform.ingest.child.kill()
            else:
                platform.ingest.child.kill()
            await platform.start_ingest()
            before = platform.metric("milkrun_ingest_messages_total")
            await until(lambda before=before: platform.metric("milkrun_ingest_messages_total") > before + 20)
            found = platform.metric(_DUPLICATES)
            killed_after_commit += found > 0
            repeats += found
        spoiling.cancel()
        await asyncio.gather(spoiling, return_exceptions=True)
        await convoy.arrived()
        assert convoy.resent == 0
        sent = convoy.sent
    assert_once(platform, boot, sent)
    await until(lambda: Counter(spoiler.taken) <= Counter(payload for *_, payload in platform.letters(tenant)))
    kept = Counter(payload for _, _, payload in platform.letters(tenant))
    assert {payload: kept[payload] for payload in spoiler.taken} == dict.fromkeys(spoiler.taken, 1)
    await until(lambda: platform.outbox_rows() == 0)
    assert sent <= platform.announced(boot)
    assert killed_after_commit > 0
    record_property("messages", len(sent))
    record_property("letters", len(spoiler.taken))
    record_property("kills after commit", killed_after_commit)
    record_property("repeats recognised", repeats)


async def test_told_to_stop_it_settles_what_it_holds_so_that_nothing_comes_again(platform, fleet, boot):
    async with driving(platform, fleet(8), boot=boot, rate=1000, resends=False) as convoy:
        for _ in range(3):
            await asyncio.sleep(0.5)
            assert await platform.stop_ingest() == 0
            await platform.start_ingest()
            before = platform.metric("milkrun_ingest_messages_total")
            await until(lambda before=before: platform.metric("milkrun_ingest_messages_total") > before + 20)
            assert platform.metric(_DUPLICATES) == 0
        await convoy.arrived()
        assert convoy.resent == 0
    assert_once(platform, boot, convoy.sent)
