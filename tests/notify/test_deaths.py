"""`python -m notify` killed before each single thing it says to PostgreSQL, Redis, FCM, APNs and a webhook."""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from core import events
from core.bus import Bus, Entry, stream_key
from core.clock import epoch_ms, utc_now
from core.events import NoticePosted, StopChanged
from core.settings import BusSettings, RedisSettings
from tests.dying import Cradle, Mortal, Point, die_everywhere, end_leases, has_read_all
from tests.notify.outlets import APPLE_KEY, apns_takes, fcm_takes, google_key
from tests.notify.receivers import Answer, Receiver, http1, http2
from tests.notify.world import ACME, FARM, STOP, World, alert

pytestmark = [pytest.mark.db, pytest.mark.redis]

_WITHIN_S = 60.0


class Outside(NamedTuple):
    """Servers of others."""

    fcm: Receiver
    apns: Receiver
    hook: Receiver


@asynccontextmanager
async def outside() -> AsyncIterator[Outside]:
    async with http1(fcm_takes) as fcm, http2(apns_takes) as apns, http1(lambda _: Answer(204)) as hook:
        yield Outside(fcm, apns, hook)


def settings(world: World, redis_url: str, servers: Outside, folder: Path) -> dict[str, str]:
    apple = folder / "AuthKey.p8"
    apple.write_bytes(APPLE_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return {
        "MILKRUN_DATABASE_APP_URL": world.urls.app,
        "MILKRUN_DATABASE_OPERATOR_URL": world.urls.operator,
        "MILKRUN_REDIS_URL": redis_url,
        "MILKRUN_BUS_PARTITIONS": "1",
        "MILKRUN_NOTIFY_FCM_CREDENTIALS_FILE": str(google_key(folder, servers.fcm)),
        "MILKRUN_NOTIFY_FCM_URL": servers.fcm.url,
        "MILKRUN_NOTIFY_APNS_KEY_FILE": str(apple),
        "MILKRUN_NOTIFY_APNS_KEY_ID": "KEY1234567",
        "MILKRUN_NOTIFY_APNS_TEAM_ID": "TEAM123456",
        "MILKRUN_NOTIFY_APNS_TOPIC": "app.milkrun",
        "MILKRUN_NOTIFY_APNS_URL": servers.apns.url,
        "MILKRUN_NOTIFY_SECRET_KEY_FILE": str(world.settings.secret_key_file),
        "MILKRUN_NOTIFY_WEBHOOK_HTTP": "true",
        "MILKRUN_NOTIFY_WEBHOOK_NETWORKS": '["127.0.0.0/8"]',
    }


class Night:
    """Trip after trip: of each an alert and a stop, told by a process that dies, and by one that takes over."""

    def __init__(self, world: World, bus: Bus, cradle: Cradle, servers: Outside, watching: psycopg.Connection) -> None:
        self._world = world
        self._bus = bus
        self._cradle = cradle
        self._servers = servers
        self._watching = watching
        self._trips = itertools.count()

    async def run(self, point: Point | None) -> Mortal:
        trip = f"trip_night{next(self._trips):08}"
        for server in self._servers:
            server.asked.clear()
        at = utc_now()
        left = StopChanged(tenant=ACME, trip=trip, stop=STOP, site=FARM, state="skipped", at=epoch_ms(at))
        told = [alert(trip=trip, at=at), left]
        await self._bus.publish([Entry(each.stream, each.key, events.encode(each)) for each in told])
        mortal = await self._cradle.start("notify", point)
        heir = None
        async with asyncio.timeout(_WITHIN_S):
            while not await self._is_over(trip):
                if heir is None and not mortal.is_alive:
                    assert mortal.was_killed, mortal.errors
                    await self._leases_end()
                    heir = await self._cradle.start("notify", is_watched=False)
                await asyncio.sleep(0.005)
        for each in (mortal, heir):
            if each is not None:
                each.kill()
        await self._leases_end()
        await self._check(trip, has_died=heir is not None)
        return mortal

    async def _is_over(self, trip: str) -> bool:
        """What was on the bus has been handled, what came of it sent, and the news of it told."""
        if not await has_read_all(self._bus, "trip", "notify"):
            return False
        row = self._watching.execute(
            "SELECT NOT EXISTS (SELECT FROM delivery WHERE next_at IS NOT NULL) AND NOT EXISTS (SELECT FROM outbox)"
        ).fetchone()
        return row is not None and row[0]

    async def _leases_end(self) -> None:
        """As time would do."""
        await end_leases(self._bus)
        self._watching.execute("UPDATE delivery SET next_at = now() WHERE next_at > now()")

    async def _check(self, trip: str, *, has_died: bool) -> None:
        world, servers = self._world, self._servers
        notices = world.rows("SELECT recipient_id, kind, notice_id FROM notice WHERE trip_id = %(trip)s", trip=trip)
        assert [row["kind"] for row in notices] == ["10min", "10min"]
        assert len({row["recipient_id"] for row in notices}) == 2
        # Who listens live hears of each, by its own name when he hears it again.
        posted = [each for each in await self._posted() if each.trip == trip]
        assert {each.notice for each in posted} == {row["notice_id"] for row in notices}
        states = world.rows(
            "SELECT state FROM delivery d LEFT JOIN notice n USING (tenant_id, notice_id)"
            " WHERE n.trip_id = %(trip)s OR d.payload LIKE '%%' || %(trip)s || '%%'",
            trip=trip,
        )
        assert Counter(row["state"] for row in states) == {"sent": 4}
        pushed = Counter(
            (each.json["message"]["token"], each.json["message"]["data"]["notice"])
            for each in servers.fcm.asked
            if each.path != "/token"
        )
        to_apple = Counter((each.path, each.headers["apns-id"]) for each in servers.apns.asked)
        hooked = Counter(each.headers["webhook-id"] for each in servers.hook.asked)
        assert len(pushed) == 1
        assert {json.loads(each.body)["notice"] for each in servers.apns.asked} <= {n["notice_id"] for n in notices}
        assert len(to_apple) == 1
        assert len(hooked) == 2
        # An attempt whose answer nobody lived to write down is made once more, as itself; no other is.
        most = 2 if has_died else 1
        for sent in (pushed, to_apple, hooked):
            assert max(sent.values()) <= most, sent

    async def _posted(self) -> list[NoticePosted]:
        rows = await self._bus._redis.xrange(stream_key("notice", 0))
        found = [events.decode(fields[b"e"]) for _, fields in rows]
        return [each for each in found if isinstance(each, NoticePosted)]


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    made = Bus(RedisSettings(url=redis_url), BusSettings(partitions=1))
    yield made
    await made.close()


async def test_killed_before_any_step_nothing_is_lost_and_nobody_is_told_twice(
    world: World, redis_url: str, bus: Bus, tmp_path: Path
):
    world.now.at = utc_now()
    await world.farmer(tokens=[("fcm", "a-phone-token"), ("apns", "a-tablet-token")], daily_cap=1000)
    await world.farmer()
    async with outside() as servers:
        await world.webhooks.add(
            ACME, url=f"{servers.hook.url}/hook", kinds=["alert.10min", "alert.skipped", "stop.changed"]
        )
        with psycopg.connect(world.urls.operator, autocommit=True) as watching:
            async with Cradle(tmp_path, settings(world, redis_url, servers, tmp_path)) as cradle:
                night = Night(world, bus, cradle, servers, watching)
                died_at = await die_everywhere(night.run)

    assert len(died_at) > 40
    # The moments that matter are among them: both sides of each commit, of each attempt, and of the acknowledgement.
    names = {point.name for point in died_at}
    for start in (
        "XREADGROUP",
        "-- Those that were there already were told before",
        "-- One for each target and event",
        "WITH added AS (INSERT INTO outbox",
        "COMMIT after -- One for each target and event",
        "XACK",
        "-- The due ones that nobody else is taking",
        "COMMIT after -- The due ones that nobody else is taking",
        "POST http /v1/projects",
        "POST http /3/device",
        "POST http /hook",
        "-- Only by whoever made the attempt",
        "COMMIT after -- Only by whoever made the attempt",
        "XADD",
        "DELETE FROM outbox",
        "COMMIT after DELETE FROM outbox",
    ):
        assert any(name.startswith(start) for name in names), (start, sorted(names))
