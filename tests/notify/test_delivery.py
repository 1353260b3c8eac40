"""Receivers as real HTTP servers that answer well and badly: nothing is lost, nothing is told twice, dead tokens go."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from core.clock import epoch_ms
from notify.delivery.sender import Sender
from notify.push.apns import collapse_id
from notify.service import Wishes
from tests.notify.outlets import (
    APPLE_KEY,
    OUTLETS,
    apns,
    apns_refuses,
    fcm,
    fcm_refuses,
    send_all,
    send_what_is_due,
    waits,
    webhook,
)
from tests.notify.receivers import CLOSES, GARBAGE, HANGS, Answer
from tests.notify.world import ACME, NOON, STOP, TRIP, ZETA, World, alert

pytestmark = pytest.mark.db


def trouble(channel: str) -> list[Answer]:
    """One of everything that can go wrong and pass."""
    wait = {"retry-after": "7"}
    if channel == "fcm":
        return [HANGS, GARBAGE, CLOSES, fcm_refuses(500, "INTERNAL"), fcm_refuses(503, "UNAVAILABLE", retry_after="7"),
                fcm_refuses(429, "QUOTA_EXCEEDED", retry_after="7"), Answer(200, "<html>welcome</html>"),
                Answer(502, "<html>bad gateway</html>")]  # fmt: skip
    if channel == "apns":
        return [HANGS, GARBAGE, CLOSES, apns_refuses(500, "InternalServerError"),
                apns_refuses(503, "ServiceUnavailable", retry_after="7"),
                apns_refuses(429, "TooManyRequests", retry_after="7"),
                Answer(502, "<html>bad gateway</html>")]  # fmt: skip
    return [HANGS, GARBAGE, CLOSES, Answer(500, "oops"), Answer(429, "slow down", wait), Answer(404, ""),
            Answer(302, "", {"location": "http://127.0.0.1:1/"})]  # fmt: skip


@pytest.mark.parametrize("channel", OUTLETS)
async def test_through_all_trouble_each_message_is_taken_once(world: World, tmp_path: Path, channel: str):
    phones = [f"phone-number-{n}" for n in range(4)]
    await waits(world, channel, phones)
    async with OUTLETS[channel](world, tmp_path) as (sender, receiver):
        for n in range(4):
            await world.raise_(alert(trip=f"trip_number00000{n}", minutes=110))
        receiver.script.extend(trouble(channel) * 2)
        await send_all(world, sender)
    rows = world.deliveries()
    assert {row["state"] for row in rows} == {"sent"}
    assert len(rows) == (4 if channel == "webhook" else 16)
    taken = [asked for asked in receiver.accepted if asked.path != "/token"]
    if channel == "fcm":
        taken = [asked for asked in taken if b"token" in asked.body]
        names = [(a.json["message"]["token"], a.json["message"]["data"]["notice"]) for a in taken]
        names = names[-len(set(names)) :]  # what was answered with a page of somebody else's is not taken
    elif channel == "apns":
        names = [(a.path, a.headers["apns-id"]) for a in taken]
    else:
        names = [("", a.headers["webhook-id"]) for a in taken]
    assert sorted(names) == sorted(set(names))
    assert len(set(names)) == len(rows)
    assert receiver.script == type(receiver.script)()
    assert max(row["attempts"] for row in rows) > 1


async def test_an_fcm_message_collapses_by_trip_and_lives_until_the_truck_is_there(world: World, tmp_path: Path):
    await waits(world, "fcm")
    async with fcm(world, tmp_path) as (sender, receiver):
        await world.raise_(alert(minutes=10))
        world.now.pass_(seconds=90)
        await send_what_is_due(sender)
    [token, sent] = receiver.asked
    assert token.path == "/token"
    assert b"urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer" in token.body
    assert (sent.path, sent.headers["authorization"]) == (
        "/v1/projects/milkrun-test/messages:send",
        "Bearer ya29.token",
    )
    message = sent.json["message"]
    assert message["token"] == "a-phone-token"
    assert message["android"] == {
        "collapse_key": TRIP, "priority": "HIGH", "ttl": "510s", "notification": {"tag": STOP},
    }  # fmt: skip
    assert message["data"]["eta"] == str(epoch_ms(NOON + timedelta(minutes=10)))
    assert message["notification"]["title"] == "Farm of acme"


async def test_an_apns_message_carries_its_proof_its_end_and_its_collapse_id(world: World, tmp_path: Path):
    await waits(world, "apns", ["0a" * 32])
    async with apns(world, tmp_path) as (sender, receiver):
        for kind in ("10min", "5min"):
            await world.raise_(alert(kind, minutes=10))
        await send_what_is_due(sender)
        assert receiver.connections == 1
    first, second = receiver.asked
    assert first.path == f"/3/device/{'0a' * 32}"
    scheme, _, proof = first.headers["authorization"].partition(" ")
    read = jwt.decode(proof, ECKey.import_key(APPLE_KEY.public_key()), algorithms=["ES256"])
    assert (scheme, read.header["kid"], read.claims["iss"]) == ("bearer", "KEY1234567", "TEAM123456")
    assert second.headers["authorization"] == first.headers["authorization"]
    assert first.headers["apns-expiration"] == str(epoch_ms(NOON + timedelta(minutes=10)) // 1000)
    assert (first.headers["apns-topic"], first.headers["apns-push-type"]) == ("app.milkrun", "alert")
    assert first.headers["apns-collapse-id"] == TRIP
    assert first.headers["apns-id"] != second.headers["apns-id"]
    assert first.json["aps"]["alert"]["title"] == "Farm of acme"


def test_a_collapse_id_is_never_longer_than_apple_takes():
    assert collapse_id("trip_x") == "trip_x"
    assert len(collapse_id("ä" * 40).encode()) == 64


@pytest.mark.parametrize(
    ("channel", "answer", "is_dead"),
    [
        ("fcm", fcm_refuses(404, "UNREGISTERED"), True),
        ("fcm", fcm_refuses(400, "INVALID_ARGUMENT", field="message.token"), True),
        ("fcm", fcm_refuses(400, "INVALID_ARGUMENT", message="The registration token is not a valid one"), True),
        ("fcm", fcm_refuses(403, "SENDER_ID_MISMATCH"), True),
        ("fcm", fcm_refuses(400, "INVALID_ARGUMENT", field="message.android.ttl"), False),
        ("apns", apns_refuses(410, "Unregistered", timestamp=epoch_ms(NOON) + 1), True),
        ("apns", apns_refuses(400, "BadDeviceToken"), True),
        ("apns", apns_refuses(400, "DeviceTokenNotForTopic"), True),
        ("apns", apns_refuses(400, "BadTopic"), False),
        ("apns", apns_refuses(413, "PayloadTooLarge"), False),
    ],
)
async def test_a_token_that_is_known_no_more_goes_and_no_other_does(
    world: World, tmp_path: Path, channel: str, answer: Answer, is_dead: bool
):
    """A mistake of ours in a message must not cost people their tokens."""
    await waits(world, channel, ["first-phone", "other-phone"])
    async with OUTLETS[channel](world, tmp_path) as (sender, receiver):
        if channel == "fcm":
            receiver.script.append(Answer(body={"access_token": "t", "expires_in": 3600}))
        receiver.script.append(answer)
        for kind in ("10min", "5min"):
            await world.raise_(alert(kind))
        await send_all(world, sender)
        rows = world.deliveries()
        tokens = world.rows("SELECT token_id FROM push_token")
        assert len(tokens) == (1 if is_dead else 2)
        states = sorted(row["state"] for row in rows)
        assert "dead" in states
        assert sum(state == "sent" for state in states) >= 2
        if is_dead:
            assert all(row["state"] == "sent" for row in rows if row["target_id"] == tokens[0]["token_id"])
        asked = len(receiver.asked)
        await world.raise_(alert("arrived", minutes=None))
        await send_all(world, sender)
        assert len(receiver.asked) - asked == len(tokens)


async def test_apple_speaks_of_an_installation_that_is_no_more_and_the_new_one_stays(world: World, tmp_path: Path):
    await waits(world, "apns")
    async with apns(world, tmp_path) as (sender, receiver):
        receiver.script.append(apns_refuses(410, "Unregistered", timestamp=epoch_ms(NOON) - 60_000))
        await world.raise_(alert())
        await send_all(world, sender)
    assert [row["state"] for row in world.deliveries()] == ["sent"]
    assert len(world.rows("SELECT 1 FROM push_token")) == 1


async def test_a_proof_that_has_run_out_is_made_anew(world: World, tmp_path: Path):
    await waits(world, "apns")
    async with apns(world, tmp_path) as (sender, receiver):
        receiver.script.append(apns_refuses(403, "ExpiredProviderToken"))
        await world.raise_(alert())
        await send_all(world, sender)
        first, second = (asked.headers["authorization"] for asked in receiver.asked)
    assert first != second
    assert [row["state"] for row in world.deliveries()] == ["sent"]


async def test_an_access_token_that_is_refused_is_asked_for_again(world: World, tmp_path: Path):
    await waits(world, "fcm")
    async with fcm(world, tmp_path) as (sender, receiver):
        receiver.script.append(Answer(body={"access_token": "old", "expires_in": 3600}))
        receiver.script.append(fcm_refuses(401, "UNAUTHENTICATED"))
        await world.raise_(alert())
        await send_all(world, sender)
    used = [asked.headers["authorization"] for asked in receiver.asked if asked.path != "/token"]
    assert used == ["Bearer old", "Bearer ya29.token"]


async def test_retry_after_is_heeded_and_pauses_grow(world: World, tmp_path: Path):
    async with webhook(world, tmp_path) as (sender, receiver):
        await world.raise_(alert())
        receiver.script.extend([Answer(500)] * 2 + [Answer(429, headers={"retry-after": "3600"})] + [Answer(500)] * 9)
        pauses = []
        while True:
            await send_what_is_due(sender)
            [row] = world.deliveries()
            if row["next_at"] is None:
                break
            pauses.append((row["next_at"] - world.now()).total_seconds())
            world.now.at = row["next_at"]
    assert pauses == [5, 300, 3600, 7200, 18_000, 36_000, 36_000]
    assert (row["state"], row["attempts"], row["status"]) == ("dead", 8, 500)
    assert len({asked.headers["webhook-id"] for asked in receiver.asked}) == 1
    assert [each["status"] for each in row["history"]] == [500, 500, 429, 500, 500, 500, 500, 500]


@pytest.mark.parametrize("channel", ["fcm", "apns"])
async def test_what_is_of_no_use_any_more_is_not_sent(world: World, tmp_path: Path, channel: str):
    await waits(world, channel)
    async with OUTLETS[channel](world, tmp_path) as (sender, receiver):
        await world.raise_(alert(minutes=10))
        world.now.pass_(minutes=11)
        await send_what_is_due(sender)
        assert receiver.asked == []
        [row] = world.deliveries()
        assert (row["state"], row["error"], row["history"]) == ("expired", "expired", [])


async def test_a_push_that_cannot_be_tried_again_in_time_is_given_up_at_once(world: World, tmp_path: Path):
    await waits(world, "fcm")
    async with fcm(world, tmp_path) as (sender, receiver):
        receiver.script.append(Answer(body={"access_token": "t", "expires_in": 3600}))
        receiver.script.append(fcm_refuses(429, "QUOTA_EXCEEDED", retry_after="900"))
        await world.raise_(alert(minutes=10))
        await send_what_is_due(sender)
    assert [row["state"] for row in world.deliveries()] == ["expired"]


async def test_senders_that_race_send_each_message_once(world: World, tmp_path: Path):
    async with webhook(world, tmp_path) as (sender, receiver), webhook(world, tmp_path) as (other, elsewhere):
        for n in range(12):
            await world.raise_(alert(trip=f"trip_number0000{n:02}"))
        senders: list[Sender] = [sender, other]
        while sum(await asyncio.gather(*(each.take() for each in senders * 2))):
            for each in senders:
                await each.idle()
    told = [asked.headers["webhook-id"] for asked in (*receiver.asked, *elsewhere.asked)]
    assert len(told) == 24  # twelve alerts, two webhooks
    assert {told.count(each) for each in told} == {2}
    assert {row["state"] for row in world.deliveries()} == {"sent"}


async def test_what_a_killed_sender_held_is_sent_when_its_lease_is_over_under_the_same_id(world: World, tmp_path: Path):
    """Killed after the receiver has taken the message and before that was written down: the worst moment."""
    async with webhook(world, tmp_path) as (doomed, receiver):
        await world.raise_(alert())

        async def dies(*_: object) -> None:
            raise asyncio.CancelledError

        doomed._settle = dies
        await doomed.take()
        await asyncio.gather(*doomed._work, return_exceptions=True)
        [row] = world.deliveries()
        assert (row["state"], row["attempts"]) == ("pending", 1)
    async with webhook(world, tmp_path) as (heir, _):
        await send_what_is_due(heir)
        assert world.deliveries()[0]["state"] == "pending"
        receiver_url = receiver.url
        world.now.pass_(seconds=6)
        world.change("UPDATE webhook SET url = %(u)s WHERE url LIKE %(o)s", u=f"{_.url}/hook", o=f"{receiver_url}%")
        await send_all(world, heir)
        assert _.asked[-1].headers["webhook-id"] == receiver.asked[0].headers["webhook-id"]


async def test_who_comes_back_after_his_lease_changes_nothing(world: World, tmp_path: Path):
    async with webhook(world, tmp_path) as (sender, receiver):
        await world.raise_(alert())
        late = []
        real = sender._settle

        async def slow(message, outcome, took_ms):
            late.append((message, outcome, took_ms))

        sender._settle = slow
        await sender.take()
        await sender.idle()
        sender._settle = real
        world.now.pass_(seconds=6)
        receiver.script.append(Answer(500))
        await send_what_is_due(sender)
        before = world.deliveries()
        await sender._settle(*late[0])
        assert world.deliveries() == before
        assert before[0]["state"] == "failed"


async def test_a_slow_receiver_holds_up_nobody_else(world: World, tmp_path: Path):
    async with webhook(world, tmp_path) as (sender, slow), webhook(world, tmp_path) as (_, quick):
        slow.usually = lambda _: HANGS
        for n in range(10):
            await world.raise_(alert(trip=f"trip_number0000{n:02}"))
        await sender.take()
        await asyncio.sleep(0.2)
        await sender.take()
        await asyncio.sleep(0.2)
        assert len(slow.asked) == 4
        assert len(quick.accepted) >= 8
        await sender.idle()


async def test_a_webhook_that_fails_for_days_is_disabled_and_one_success_forgets(world: World, tmp_path: Path):
    async with webhook(world, tmp_path) as (sender, receiver):
        receiver.script.extend([Answer(500)] * 3)
        for n in range(3):
            await world.raise_(alert(trip=f"trip_number00000{n}"))
            await send_what_is_due(sender)
            world.now.pass_(days=2)
            if n == 1:
                receiver.script.appendleft(Answer(200))
                await send_what_is_due(sender)
                [hook] = world.rows("SELECT failing_since, status FROM webhook")
                assert (hook["failing_since"], hook["status"]) == (None, "active")
        receiver.usually = lambda _: Answer(500)
        await world.raise_(alert("5min"))
        for _ in range(8):
            await send_what_is_due(sender)
            world.now.pass_(days=1)
        [hook] = world.rows("SELECT status, disabled_reason FROM webhook")
        assert (hook["status"], hook["disabled_reason"]) == ("disabled", "failing")
        asked = len(receiver.asked)
        await world.raise_(alert("arrived", minutes=None))
        await send_what_is_due(sender)
        assert len(receiver.asked) == asked


async def test_a_receiver_that_says_410_is_told_no_more_and_nothing_is_lost(world: World, tmp_path: Path):
    async with webhook(world, tmp_path) as (sender, receiver):
        receiver.script.append(Answer(410))
        for kind in ("10min", "5min"):
            await world.raise_(alert(kind))
        sender._of_target = 1
        await send_what_is_due(sender)
        [hook] = world.rows("SELECT webhook_id, status, disabled_reason FROM webhook")
        assert (hook["status"], hook["disabled_reason"]) == ("disabled", "gone")
        assert {row["state"] for row in world.deliveries()} == {"dead"}
        await world.webhooks.change(ACME, hook["webhook_id"], status="active")
        for row in world.deliveries():
            await world.webhooks.redeliver(ACME, hook["webhook_id"], row["delivery_id"])
        await send_all(world, sender)
        assert {row["state"] for row in world.deliveries()} == {"sent"}
    ids = [asked.headers["webhook-id"] for asked in receiver.asked]
    assert len(set(ids)) == 2


async def test_a_tenants_admins_find_in_their_inbox_which_webhook_was_switched_off_and_why(
    world: World, tmp_path: Path
):
    for tenant, user, role, status in (
        (ACME, "usr_admin00001", "tenant_admin", "active"),
        (ACME, "usr_admin00002", "tenant_admin", "active"),
        (ACME, "usr_gone000001", "tenant_admin", "disabled"),
        (ACME, "usr_viewer0001", "viewer", "active"),
        (ZETA, "usr_foreign001", "tenant_admin", "active"),
    ):
        world.change(
            "INSERT INTO user_account (tenant_id, user_id, email, name, role, status, password_hash, created_at,"
            " updated_at) VALUES (%(t)s, %(u)s, %(u)s || '@acme.example', '', %(r)s, %(s)s, 'h', now(), now())",
            t=tenant,
            u=user,
            r=role,
            s=status,
        )
    await world.people.set_wishes(ACME, "usr_admin00002", Wishes(language="de", daily_cap=0))
    async with webhook(world, tmp_path) as (sender, receiver):
        for twice in range(2):
            receiver.script.extend([Answer(410)] * 2)
            for kind in ("10min", "5min"):  # both attempts end with it: it is switched off once
                await world.raise_(alert(kind, trip=f"trip_number00000{twice}"))
            await send_what_is_due(sender)
            [hook] = world.rows("SELECT webhook_id, status FROM webhook")
            assert hook["status"] == "disabled"
            await world.webhooks.change(ACME, hook["webhook_id"], status="active")
            receiver.script.clear()
    told = world.rows("SELECT tenant_id, recipient_id, kind, title, body, trip_id FROM notice ORDER BY recipient_id")
    assert [(n["tenant_id"], n["recipient_id"], n["kind"], n["title"]) for n in told] == [
        ("acme", "usr_admin00001", "webhook.disabled", "Webhook disabled"),
        ("acme", "usr_admin00001", "webhook.disabled", "Webhook disabled"),
        ("acme", "usr_admin00002", "webhook.disabled", "Webhook abgeschaltet"),
        ("acme", "usr_admin00002", "webhook.disabled", "Webhook abgeschaltet"),
    ]
    assert told[0]["body"].startswith(f"{receiver.url}/hook answered 410")
    assert [each.recipient for each in world.posted()] == ["usr_admin00001", "usr_admin00002"] * 2
    [found, _] = await world.people.inbox(ACME, "usr_admin00001", is_unread=True, before=None, limit=10)
    assert (found.trip, found.stop, found.held) == ("", "", None)
