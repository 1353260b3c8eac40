"""Presence with AWS IoT Core as the broker, which a Mosquitto stands in for: it gets the events as documented."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import psycopg
import pytest

from broker import policy
from broker.presence.aws import LifecycleWatch
from broker.service import Link
from core.clock import epoch_ms, utc_now
from core.db import Database
from core.settings import MqttSettings
from tests.broker.brokers import Fleet, MosquittoRunner
from tests.broker.test_service import THING, Watched, until, watched

__all__ = ["watched"]

pytestmark = [pytest.mark.db, pytest.mark.mosquitto]
GRACE_S = 0.5
MINUTE_MS = 60_000


class Account:
    """An AWS account with our watch, and the hand that publishes what AWS IoT Core would."""

    def __init__(self, watched: Watched, fleet: Fleet, operator_url: str) -> None:
        service = fleet.credentials(policy.BROKER, fleet.services)
        self._link = Link(
            MqttSettings(
                host="localhost",
                port=fleet.service_port,
                ca_file=fleet.services.ca_file,
                cert_file=service.cert_file,
                key_file=service.key_file,
            )
        )
        self._fleet = fleet
        self._url = operator_url
        self.watched = watched
        self.cut: list[str] = []

    @contextlib.asynccontextmanager
    async def running(self, grace_s: float = GRACE_S) -> AsyncIterator[None]:
        async with Database(self._url) as database:
            watch = LifecycleWatch(
                resume=self._link.resume, grace_s=grace_s, database=database, cut=self.cut.append, clock=utc_now
            )
            task = asyncio.create_task(watch.run())
            try:
                await asyncio.sleep(0.3)
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def say(self, *events: tuple[str, int, int], thing: str = THING) -> None:
        """(kind, version, epoch ms), in the order in which they are to arrive."""

        def publish() -> None:
            with self._fleet.service(policy.BROKER) as aws:
                aws.connect("aws")
                for kind, version, at_ms in events:
                    payload = {
                        "clientId": thing,
                        "timestamp": at_ms,
                        "eventType": kind,
                        "sessionIdentifier": f"session-{version}",
                        "principalIdentifier": "12345678901234567890123456789012",
                        "versionNumber": version,
                    }
                    more = (
                        {"ipAddress": "192.0.2.7"}
                        if kind == "connected"
                        else {"clientInitiatedDisconnect": False, "disconnectReason": "CONNECTION_LOST"}
                    )
                    aws.publish(f"$aws/events/presence/{kind}/{thing}", json.dumps(payload | more).encode())

        await asyncio.to_thread(publish)

    def state(self, thing: str = THING) -> tuple[bool, int, str | None] | None:
        return self.watched.rows().get(thing)


@pytest.fixture
def account(watched: Watched, fleet: Fleet, mosquitto: MosquittoRunner, database) -> Account:
    del mosquitto
    return Account(watched, fleet, database.operator)


async def test_events_become_presence_news_and_timeline_under_numbers_of_our_own(account: Account) -> None:
    now = epoch_ms(utc_now())
    async with account.running():
        await account.say(("connected", 41, now - 10_000))
        await until(lambda: account.state() == (True, 1, None))
        await account.say(("disconnected", 41, now))
        await until(lambda: account.state() == (False, 2, "CONNECTION_LOST"))
    assert account.watched.timeline() == [(1, True, None), (2, False, "CONNECTION_LOST")]
    assert [type(event).__name__ for event in account.watched.news()] == ["DeviceConnected", "DeviceDisconnected"]


async def test_duplicates_and_disorder_end_where_the_newest_event_says(account: Account) -> None:
    now = epoch_ms(utc_now())
    came, went, back = ("connected", 5, now - 9000), ("disconnected", 5, now - 6000), ("connected", 6, now - 5000)
    async with account.running():
        await account.say(came, back, went, came, went)
        await account.say(("connected", 1, now), thing="acme:t2")
        await until(lambda: account.state("acme:t2") is not None)
        await asyncio.sleep(GRACE_S * 2)
        assert account.state() == (True, 1, None)
        assert account.watched.timeline() == [(1, True, None)]


async def test_a_disconnect_waits_its_grace_and_a_return_within_it_is_no_news(account: Account) -> None:
    now = epoch_ms(utc_now())
    async with account.running(grace_s=1.5):
        await account.say(("connected", 0, now - 3000), ("disconnected", 0, now - 1000))
        await until(lambda: account.state() == (True, 1, None))
        await account.say(("connected", 1, now))
        await asyncio.sleep(2.0)
        assert account.watched.timeline() == [(1, True, None)]


async def test_what_came_while_we_were_away_is_taken_in_and_our_restart_takes_nobody_offline(account: Account) -> None:
    now = epoch_ms(utc_now())
    async with account.running(grace_s=20.0):
        for thing in (THING, "acme:t2", "acme:t3"):
            await account.say(("connected", 3, now - 20_000), thing=thing)
        await until(lambda: len(account.watched.rows()) == 3)
        # Its grace runs when we stop.
        await account.say(("disconnected", 3, now - 1000), thing="acme:t3")
        await until(lambda: account_leaving(account, "acme:t3"))
        _wait_no_longer(account)
    await account.say(("disconnected", 3, now), thing="acme:t2")
    await asyncio.sleep(GRACE_S)
    async with account.running():
        await until(lambda: account.state("acme:t2") == (False, 2, "CONNECTION_LOST"))
        await until(lambda: account.state("acme:t3") == (False, 2, "CONNECTION_LOST"))
        await asyncio.sleep(GRACE_S * 2)
        assert account.state() == (True, 1, None)


async def test_numbers_that_begin_again_are_followed_over_our_restart(account: Account) -> None:
    now = epoch_ms(utc_now())
    async with account.running():
        await account.say(("connected", 12, now - 90 * MINUTE_MS), ("disconnected", 12, now - 80 * MINUTE_MS))
        await until(lambda: account.state() == (False, 2, "CONNECTION_LOST"))
    async with account.running():
        await account.say(("connected", 0, now), ("disconnected", 12, now - 80 * MINUTE_MS))
        await until(lambda: account.state() == (True, 3, None))
        await asyncio.sleep(GRACE_S * 2)
        assert account.state() == (True, 3, None)


async def test_strangers_and_nonsense_are_passed_over(account: Account) -> None:
    now = epoch_ms(utc_now())
    async with account.running():
        await account.say(("connected", 0, now), thing="iotconsole-4b0d04fe")
        await account.say(("connected", 0, now), thing="acme:not-registered")
        await asyncio.to_thread(_publish_nonsense, account)
        await account.say(("connected", 0, now))
        await until(lambda: account.state() == (True, 1, None))
    assert set(account.watched.rows()) == {THING}


async def test_a_thing_that_is_barred_is_cut(account: Account, database) -> None:
    with psycopg.connect(database.owner) as conn:
        conn.execute("UPDATE device SET status = 'suspended' WHERE device_id = 't1'")
    async with account.running():
        await account.say(("connected", 0, epoch_ms(utc_now())))
        await until(lambda: account.cut == [THING])


def account_leaving(account: Account, thing: str) -> bool:
    with psycopg.connect(account._url) as conn:
        row = conn.execute(
            "SELECT leaving_at FROM presence WHERE tenant_id || ':' || device_id = %s", (thing,)
        ).fetchone()
    return row is not None and row[0] is not None


def _wait_no_longer(account: Account) -> None:
    """As if the grace had passed while we were down."""
    with psycopg.connect(account._url) as conn:
        conn.execute("UPDATE presence SET leaving_due = now() WHERE leaving_at IS NOT NULL")


def _publish_nonsense(account: Account) -> None:
    with account._fleet.service(policy.BROKER) as aws:
        aws.connect("aws")
        for payload in (b"", b"{}", b"\xff"):
            aws.publish(f"$aws/events/presence/connected/{THING}", payload)
