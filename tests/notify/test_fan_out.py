"""An alert becomes one notice for each who asked, and one delivery for each way there, however often it is raised."""

import asyncio
from datetime import time, timedelta

import psycopg
import pytest

from core.db import Database
from core.events import StopChanged, TripChanged
from tests.notify.world import ACME, FARM, NOON, OTHER, STOP, TRIP, ZETA, World, alert, read

pytestmark = pytest.mark.db


async def test_everybody_at_the_site_is_told_once_and_nobody_else(world: World):
    anna = await world.farmer(tokens=[("fcm", "anna-phone"), ("apns", "anna-tablet")])
    ben = await world.farmer()
    foreign = await world.farmer(tenant=ZETA, tokens=[("fcm", "foreign-phone")])
    await world.raise_(alert())
    notices = world.rows("SELECT tenant_id, recipient_id, kind, title, body, held FROM notice ORDER BY recipient_id")
    assert {(n["tenant_id"], n["recipient_id"], n["kind"]) for n in notices} == {
        ("acme", anna, "10min"),
        ("acme", ben, "10min"),
    }
    assert notices[0]["title"] == "Farm of acme"
    assert notices[0]["body"] == "The truck arrives in about 10 minutes, at 12:10."  # Vaduz, an hour ahead of UTC
    sent_to = world.rows(
        "SELECT d.channel, t.recipient_id FROM delivery d JOIN push_token t ON t.token_id = d.target_id"
    )
    assert sorted((d["channel"], d["recipient_id"]) for d in sent_to) == [("apns", anna), ("fcm", anna)]
    assert {(posted.tenant, posted.recipient) for posted in world.posted()} == {("acme", anna), ("acme", ben)}
    assert foreign not in {n["recipient_id"] for n in notices}


async def test_an_alert_that_comes_again_adds_nothing(world: World):
    await world.farmer(tokens=[("fcm", "a-phone-token")])
    await world.webhooks.add(ACME, url="https://erp.example/hook", kinds=["alert.10min"])
    for _ in range(3):
        await world.raise_(alert())
        world.now.pass_(minutes=1)
    assert len(world.rows("SELECT * FROM notice")) == 1
    assert sorted(d["channel"] for d in world.deliveries()) == ["fcm", "webhook"]
    assert len(world.posted()) == 1


async def test_workers_that_race_tell_once(world: World):
    for n in range(5):
        await world.farmer(tokens=[("fcm", f"phone-number-{n}")])
    await world.webhooks.add(ACME, url="https://erp.example/hook", kinds=["alert.10min", "alert.5min"])
    await asyncio.gather(*(world.raise_(alert(kind)) for kind in ("10min", "5min") for _ in range(6)))
    assert len(world.rows("SELECT * FROM notice")) == 10
    assert len(world.deliveries()) == 12
    assert len(world.posted()) == 10


async def test_a_kind_nobody_asked_for_is_not_told(world: World):
    person = await world.farmer()
    [subscription] = await world.people.subscriptions(ACME, recipient=person, limit=10)
    await world.people.change_subscription(ACME, subscription.id, ["5min"])
    await world.raise_(alert("10min"))
    await world.raise_(alert("5min"))
    assert [n["kind"] for n in world.rows("SELECT kind FROM notice")] == ["5min"]


async def test_in_quiet_hours_it_stands_in_the_inbox_and_is_not_pushed(world: World):
    # 12:00 in Vaduz; the recipient's own clock says otherwise where he names a zone.
    await world.farmer(tokens=[("fcm", "quiet-phone")], quiet_from=time(11, 30), quiet_to=time(12, 30))
    await world.farmer(
        tokens=[("fcm", "loud-phone")], quiet_from=time(11, 30), quiet_to=time(12, 30), timezone="America/New_York"
    )
    await world.raise_(alert())
    assert sorted(n["held"] or "" for n in world.rows("SELECT held FROM notice")) == ["", "quiet"]
    [delivery] = world.deliveries()
    [token] = world.rows("SELECT token FROM push_token WHERE token_id = %(id)s", id=delivery["target_id"])
    assert token["token"] == "loud-phone"
    assert len(world.posted()) == 2


async def test_the_days_cap_counts_what_was_pushed_and_begins_anew_at_midnight(world: World):
    await world.farmer(tokens=[("fcm", "capped-phone")], daily_cap=2, timezone="UTC")
    for n in range(4):
        await world.raise_(alert(trip=f"trip_number00000{n}"))
    assert [n["held"] for n in world.rows("SELECT held FROM notice ORDER BY trip_id")] == [None, None, "cap", "cap"]
    world.now.pass_(hours=13)
    await world.raise_(alert(trip="trip_number000009"))
    assert len(world.deliveries()) == 3


async def test_a_cap_holds_although_two_alerts_come_at_once(world: World):
    await world.farmer(tokens=[("fcm", "capped-phone")], daily_cap=1)
    await asyncio.gather(*(world.raise_(alert(trip=f"trip_number00000{n}")) for n in range(4)))
    assert len(world.deliveries()) == 1


async def test_who_wants_no_push_gets_none_and_who_wants_nothing_in_app_is_not_called(world: World):
    await world.farmer(tokens=[("fcm", "first-phone")], channels=frozenset({"in_app"}))
    await world.farmer(tokens=[("fcm", "second-phone")], channels=frozenset({"push"}))
    await world.raise_(alert())
    assert len(world.deliveries()) == 1
    assert len(world.posted()) == 1
    assert sorted(n["read_at"] is None for n in world.rows("SELECT read_at FROM notice")) == [False, True]


async def test_a_user_who_is_disabled_or_lost_the_site_is_told_nothing(world: World):
    ids = {name: f"usr_{name}0000000" for name in ("keeps", "loses", "gone")}
    for name, id_ in ids.items():
        world.change(
            "INSERT INTO user_account (tenant_id, user_id, email, name, role, sites, password_hash, created_at,"
            " updated_at) VALUES ('acme', %(id)s, %(mail)s, '', 'site', %(sites)s, 'h', now(), now())",
            id=id_,
            mail=f"{name}@farm.example",
            sites=[FARM],
        )
        await world.people.subscribe(ACME, recipient=id_, site=FARM)
    world.change("UPDATE user_account SET sites = %(s)s WHERE user_id = %(id)s", s=[OTHER], id=ids["loses"])
    world.change("UPDATE user_account SET status = 'disabled' WHERE user_id = %(id)s", id=ids["gone"])
    await world.raise_(alert())
    assert [n["recipient_id"] for n in world.rows("SELECT recipient_id FROM notice")] == [ids["keeps"]]


async def test_a_crash_anywhere_before_the_commit_leaves_nothing_behind_and_the_next_try_all(world: World):
    """The fan-out is one transaction: whatever statement it dies at, the bus delivers the alert again."""
    await world.farmer(tokens=[("fcm", "a-phone-token")])
    await world.webhooks.add(ACME, url="https://erp.example/hook", kinds=["alert.10min"])
    for table in ("notice", "delivery", "outbox"):
        with psycopg.connect(world.urls.owner, autocommit=True) as conn:
            conn.execute(
                "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$"
            )
            conn.execute("GRANT EXECUTE ON FUNCTION die TO PUBLIC")
            conn.execute(f"CREATE TRIGGER die AFTER INSERT ON {table} EXECUTE FUNCTION die()")
        async with Database(world.urls.app, pool_size=1) as app:
            doomed = World(world.urls, app, world.operator, world.settings, world.now)
            with pytest.raises(Exception, match="terminat"):
                await doomed.raise_(alert())
        with psycopg.connect(world.urls.owner, autocommit=True) as conn:
            conn.execute(f"DROP TRIGGER die ON {table}")
            conn.execute("DROP FUNCTION die")
        assert (world.rows("SELECT 1 FROM notice"), world.deliveries(), world.posted()) == ([], [], [])
    await world.raise_(alert())
    assert (len(world.rows("SELECT 1 FROM notice")), len(world.deliveries()), len(world.posted())) == (1, 2, 1)


async def test_webhooks_are_told_of_alerts_trips_and_stops_each_once(world: World):
    kinds = ["alert.10min", "trip.changed", "stop.changed"]
    webhook, _ = await world.webhooks.add(ACME, url="https://erp.example/hook", kinds=kinds)
    await world.webhooks.add(ZETA, url="https://other.example/hook", kinds=kinds)
    at = alert().at
    trip = TripChanged(tenant=ACME, trip=TRIP, state="under_way", device="truck-1", at=at)
    stop = StopChanged(tenant=ACME, trip=TRIP, stop=STOP, site=FARM, state="arrived", at=at)
    for event in (alert(), trip, stop, trip, stop, alert()):
        await world.raise_(event)
    found = world.deliveries()
    assert {d["webhook_id"] for d in found} == {webhook.id}
    told = {d["kind"]: read(d["payload"]) for d in found}
    assert set(told) == set(kinds)
    assert len(found) == 3
    assert told["alert.10min"]["timestamp"] == "2026-11-23T11:00:00.000Z"
    assert told["alert.10min"]["data"]["site"] == {"id": FARM, "name": "Farm of acme"}
    assert told["trip.changed"]["data"]["state"] == "under_way"
    assert told["stop.changed"]["data"]["stop"] == STOP
    assert len({d["event_id"] for d in found}) == 3


async def test_an_alert_for_a_site_that_is_not_there_is_let_go(world: World):
    await world.raise_(alert(site="site_nowhere00001"))
    assert world.rows("SELECT 1 FROM notice") == []


async def test_a_notice_is_of_use_until_the_truck_is_there(world: World):
    await world.farmer()
    for kind, minutes in (("10min", 10), ("arrived", None)):
        await world.raise_(alert(kind, minutes=minutes))
    ends = {n["kind"]: n["expires_at"] - NOON for n in world.rows("SELECT kind, expires_at FROM notice")}
    assert ends == {"10min": timedelta(minutes=10), "arrived": timedelta(minutes=30)}
