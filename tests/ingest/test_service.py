"""What the writer promises, on a real database: once, in any order, whatever is repeated, refused or interrupted."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core import events, topics
from core.outbox import _decoder
from ingest.model import MAX_RANGES
from tests.faults import commit_cutter
from tests.ingest.feed import minutes_ago, register, sample
from tests.ingest.writer import Writer, counted, digests, letters, names, news, query, reported

pytestmark = pytest.mark.db

TRUCK, VAN = "acme:truck-1", "acme:van-1"


class TestInterrupted:
    async def test_death_between_commit_and_acknowledgement_doubles_nothing(self, database):
        register(database, TRUCK)
        sent = [sample(minutes_ago(10 - n / 60), n) for n in range(1, 51)]
        async with Writer(database, dies_before_ack=True) as dying:
            for each in sent:
                dying.offer(TRUCK, each)
            dying.offer(TRUCK, b"{broken")
            await asyncio.wait({dying.loop})
        assert len(names(database)) == 50
        assert len(news(database)) == 50
        assert dying.told == {}
        async with Writer(database) as next_one:
            for each in sent:
                next_one.offer(TRUCK, each, is_redelivery=True)
            next_one.offer(TRUCK, b"{broken", is_redelivery=True)
            await next_one.settled()
        assert next_one.acknowledged == list(range(1, 52))
        assert next_one.told == {TRUCK: [{"boot": "b1", "seq": 50, "from": 1}]}
        assert names(database) == [("truck-1", "b1", n) for n in range(1, 51)]
        assert len(news(database)) == 50
        assert [reason for _, reason, _ in letters(database)] == ["malformed"]

    async def test_a_commit_whose_answer_is_lost_happened_once(self, database):
        """The database committed and the connection broke before it could say so, several times in a row."""
        register(database, TRUCK)
        event = {"ts": int(minutes_ago(1).timestamp() * 1000), "boot": "b1", "seq": 99, "type": "panic"}
        async with commit_cutter(database.ingest) as (cutter, url), Writer(database, ingest_url=url) as writer:
            for turn in range(5):
                cutter.cut = 1 + turn % 2
                for n in range(10):
                    seq = 10 * turn + n
                    writer.offer(TRUCK, sample(minutes_ago(9) + timedelta(seconds=seq), seq, m={"x": seq}))
                writer.offer(TRUCK, b"{broken %d" % turn)
                if turn == 2:
                    writer.offer(topics.event(TRUCK), event)
                await writer.settled()
            assert cutter.cuts == 7
        assert writer.acknowledged == list(range(1, 57))
        assert names(database) == [("truck-1", "b1", n) for n in range(50)]
        assert query(database, "SELECT count(*) FROM telemetry.metric") == [(50,)]
        assert sorted(news(database)) == [(TRUCK, "b1", n) for n in range(50)]
        assert reported(database) == ["panic"]
        assert [payload for _, _, payload in letters(database)] == [b"{broken %d" % turn for turn in range(5)]
        assert writer.told[TRUCK][-1] == {"boot": "b1", "seq": 49, "from": 0}

    async def test_what_is_told_to_stop_in_the_middle_of_a_commit_is_judged_anew(self, database):
        register(database, TRUCK)
        rng = random.Random(7)
        sent = [sample(minutes_ago(10) + timedelta(seconds=n), n) for n in range(300)]
        for _ in range(12):
            async with Writer(database, batch_rows=20, batch_wait_ms=1) as cancelled:
                for each in rng.sample(sent, 100):
                    cancelled.offer(TRUCK, each, is_redelivery=True)
                await asyncio.sleep(rng.uniform(0.0, 0.03))
        async with Writer(database) as last:
            for each in sent:
                last.offer(TRUCK, each, is_redelivery=True)
            await last.settled()
        assert names(database) == [("truck-1", "b1", n) for n in range(300)]
        assert sorted(news(database)) == [(TRUCK, "b1", n) for n in range(300)]
        assert letters(database) == []


def journey(rng: random.Random, tenant: str, now: datetime) -> list[tuple[str, Any]]:
    """Everything clean that devices send, in order: (topic, payload)."""
    messages: list[tuple[str, Any]] = []
    for number in range(3):
        thing = f"{tenant}:truck-{number}"
        boot, seq, at = "b1", 0, now - timedelta(hours=20)
        for step in range(150 if number == 0 else 40):
            if rng.random() < 0.02:
                boot, seq = f"b{step}", 0
            taken = []
            for _ in range(rng.choice((1, 1, 1, 4))):
                at += timedelta(milliseconds=rng.randrange(1000, 60_000))
                seq += 1
                one = sample(at, seq, boot, lat=47.0 + step * 1e-4)
                one["pos"]["speed"] = round(rng.uniform(0, 30), 2)
                kind = rng.random()
                if kind < 0.2:
                    one["m"] = {"fuel_pct": round(rng.uniform(0, 100), 1), "ignition": True, "driver": "Ana"}
                elif kind < 0.3:
                    one = {"ts": one["ts"], "boot": boot, "seq": seq, "m": {"door": step}}
                elif kind < 0.4:
                    one = {"ts": one["ts"], "pos": one["pos"], "m": {"fuel_pct": 50}}
                    seq -= 1
                elif kind < 0.43:
                    one = {"ts": one["ts"], "m": {"door": step}}
                    seq -= 1
                taken.append(one)
            messages.append((topics.telemetry(thing), taken[0] if len(taken) == 1 else taken))
            if rng.random() < 0.1:
                seq += 1
                at += timedelta(seconds=1)
                ts = int(at.timestamp() * 1000)
                event = {"ts": ts, "boot": boot, "seq": seq, "type": "door", "data": {"n": step}}
                messages.append((topics.event(thing), event))
    return messages


class TestRepeatedAndShuffled:
    async def deliver(self, database, tenant, messages, now, *, rng=None) -> dict[str, str]:
        """The digest after delivery; with `rng` repeated, shuffled, in batches of any size and by several workers."""
        register(database, *(f"{tenant}:truck-{n}" for n in range(3)))
        if rng is None:
            async with Writer(database, clock=now, batch_wait_ms=1) as writer:
                for to, payload in messages:
                    writer.offer(to, payload)
                    await writer.settled()
            return digests(database, tenant)
        packets = [packet for packet in messages for _ in range(rng.randint(1, 5))]
        rng.shuffle(packets)
        for part in range(3):
            async with Writer(
                database, clock=now, batch_rows=rng.choice((2, 7, 30, 500)), batch_wait_ms=1, receive_maximum=60_000
            ) as writer:
                for to, payload in packets[part::3]:
                    writer.offer(to, payload, is_redelivery=rng.random() < 0.5)
                    if rng.random() < 0.05:
                        await asyncio.sleep(0)
                await writer.settled()
                assert sorted(writer.acknowledged) == list(range(1, len(packets[part::3]) + 1))
        return digests(database, tenant)

    @pytest.mark.parametrize("seed", range(3))
    async def test_the_tables_are_those_of_one_clean_delivery(self, database, seed):
        now = datetime.now(UTC)
        clean = await self.deliver(database, "clean", journey(random.Random(seed), "clean", now), now)
        rough = await self.deliver(
            database, "rough", journey(random.Random(seed), "rough", now), now, rng=random.Random(100 + seed)
        )
        assert letters(database) == []
        assert rough == clean

    async def test_with_more_gaps_than_the_ledger_holds_every_message_is_still_stored_once(self, database):
        register(database, TRUCK)
        sent = [sample(minutes_ago(100) + timedelta(seconds=n), n) for n in range(8 * MAX_RANGES)]
        random.Random(3).shuffle(sent)
        confirmed: set[int] = set()
        async with Writer(database, batch_rows=50) as writer:
            for each in sent:
                writer.offer(TRUCK, each)
            await writer.settled()
            # As a device does, in order: what nobody has confirmed goes again.
            sent.sort(key=lambda each: each["seq"])
            for _ in range(3):
                for said in writer.told[TRUCK]:
                    confirmed |= {*range(said["from"], said["seq"] + 1)}
                for each in sent:
                    if each["seq"] not in confirmed:
                        writer.offer(TRUCK, each)
                await writer.settled()
        assert letters(database) == []
        assert names(database) == [("truck-1", "b1", n) for n in range(len(sent))]
        assert confirmed == set(range(len(sent)))


class TestOrder:
    async def test_late_data_fills_history_and_leaves_the_live_position_alone(self, database):
        register(database, TRUCK)
        newest = sample(minutes_ago(1), 10, lat=47.5)
        newest["pos"] |= {"alt": 400.0, "speed": 20.0, "heading": 90.0, "acc": 5.0}
        live = "SELECT ts, boot, seq, lat, lon, alt, speed, heading, acc FROM device_state"
        async with Writer(database) as writer:
            writer.offer(TRUCK, newest)
            await writer.settled()
        before = query(database, live)
        # Another worker, which knows of the device only what the first one wrote down.
        async with Writer(database) as writer:
            for n in range(1, 10):
                writer.offer(TRUCK, sample(minutes_ago(60 - n), n, lat=47.0))
            await writer.settled()
        assert query(database, live) == before
        assert len(names(database)) == 10
        live_flags = []
        for (packed,) in query(database, "SELECT entries FROM outbox ORDER BY id"):
            for entry in _decoder.decode(packed):
                live_flags += [(r.sample.seq, r.live) for r in events.decode(entry.body).samples]
        assert sorted(live_flags) == [(n, False) for n in range(1, 11)]  # even the newest is over a minute old

    async def test_the_device_is_told_up_to_the_first_gap_and_past_it_once_it_is_filled(self, database):
        register(database, TRUCK)
        async with Writer(database) as writer:
            told = []
            for seq in (1, 2, 4, 6, 5, 9, 3, 9, 7, 8):
                writer.offer(TRUCK, sample(minutes_ago(60) + timedelta(seconds=seq), seq))
                await writer.settled()
                told.append((writer.told[TRUCK][-1]["from"], writer.told[TRUCK][-1]["seq"]))
            assert told == [(1, 1), (1, 2), (1, 2), (1, 2), (1, 2), (1, 2), (1, 6), (1, 6), (1, 7), (1, 9)]
            # The 9 that was sent again behind a gap is confirmed as well, besides.
            assert {"boot": "b1", "seq": 9, "from": 9} in writer.told[TRUCK]
            assert [set(each) for each in writer.told[TRUCK]] == [{"boot", "seq", "from"}] * 11

    async def test_two_boots_are_told_of_apart_and_one_batch_tells_each_once(self, database):
        register(database, TRUCK, VAN)
        async with Writer(database) as writer:
            for seq in range(5):
                writer.offer(TRUCK, sample(minutes_ago(60) + timedelta(seconds=seq), seq, "old"))
                writer.offer(TRUCK, sample(minutes_ago(50) + timedelta(seconds=seq), seq, "new"))
                writer.offer(VAN, sample(minutes_ago(50) + timedelta(seconds=seq), seq))
            writer.offer(VAN, sample(minutes_ago(40)))
            await writer.settled()
        assert sorted(writer.told[TRUCK], key=lambda each: each["boot"]) == [
            {"boot": boot, "seq": 4, "from": 0} for boot in ("new", "old")
        ]
        assert writer.told[VAN] == [{"boot": "b1", "seq": 4, "from": 0}]

    async def test_a_refused_sample_that_is_kept_counts_as_durable(self, database):
        register(database, TRUCK)
        async with Writer(database) as writer:
            for seq in range(5):
                lat = 91.0 if seq == 2 else 47.0
                writer.offer(TRUCK, sample(minutes_ago(60) + timedelta(seconds=seq), seq, lat=lat))
            await writer.settled()
        assert writer.told[TRUCK] == [{"boot": "b1", "seq": 4, "from": 0}]
        assert len(names(database)) == 4
        assert [reason for _, reason, _ in letters(database)] == ["out_of_range"]


class TestEvents:
    async def test_two_events_of_one_instant_are_two_with_and_without_a_seq(self, database):
        register(database, TRUCK)
        ts = int(minutes_ago(5).timestamp() * 1000)
        sent = [
            {"ts": ts, "type": "panic", "boot": "b1", "seq": 1},
            {"ts": ts, "type": "door", "boot": "b1", "seq": 2},
            {"ts": ts, "type": "panic"},
            {"ts": ts, "type": "door", "data": {"open": True}},
            {"ts": ts, "type": "door", "data": {"open": False}},
        ]
        async with Writer(database) as writer:
            for each in sent:
                writer.offer(topics.event(TRUCK), each)
            await writer.settled()
            for each in sent:
                writer.offer(topics.event(TRUCK), each, is_redelivery=True)
            await writer.settled()
        stored = query(database, "SELECT type, data FROM device_event")
        expected = [("door", {}), ("door", {"open": False}), ("door", {"open": True}), ("panic", {}), ("panic", {})]
        assert sorted(stored, key=repr) == sorted(expected, key=repr)

    async def test_an_event_delivered_again_is_announced_once(self, database):
        register(database, TRUCK)
        event = {"ts": int(minutes_ago(5).timestamp() * 1000), "type": "panic", "boot": "b1", "seq": 1}
        for _ in range(2):
            async with Writer(database) as writer:
                for _ in range(3):
                    writer.offer(topics.event(TRUCK), event, is_redelivery=True)
                await writer.settled()
        assert reported(database) == ["panic"]


class TestTwoWorkers:
    async def test_the_same_device_on_both_loses_and_doubles_nothing(self, database):
        """Overlapping halves of one stream, in small batches at the same time: each meets states the other moved."""
        things = [f"acme:truck-{n}" for n in range(4)]
        register(database, *things)
        rng = random.Random(11)
        start = minutes_ago(60)
        sent = [(thing, sample(start + timedelta(seconds=n), n, m={"n": n})) for n in range(250) for thing in things]
        before = counted()
        async with (
            Writer(database, batch_rows=25, batch_wait_ms=1) as one,
            Writer(database, batch_rows=25, batch_wait_ms=1) as two,
        ):
            for at in range(0, len(sent), 40):
                part = sent[at : at + 40]
                for writer in (one, two):
                    for thing, payload in rng.sample(part, 30) if writer is one else part:
                        writer.offer(thing, payload)
                await asyncio.sleep(0.002)
            await one.settled()
            await two.settled()
        gained = {name: value - before.get(name, 0) for name, value in counted().items()}
        assert gained["retry state_moved"] > 0
        assert names(database) == sorted((f"truck-{n}", "b1", seq) for n in range(4) for seq in range(250))
        assert query(database, "SELECT count(*) FROM telemetry.metric") == [(1000,)]
        assert sorted(news(database)) == sorted((thing, "b1", seq) for thing in things for seq in range(250))
        assert letters(database) == []
        for thing in things:
            # Whoever wrote last knows it all.
            best = max(writer.told.get(thing, [{"seq": -1}])[-1]["seq"] for writer in (one, two))
            assert best == 249


class TestPressure:
    async def test_the_source_is_paused_at_receive_maximum_and_resumed_when_half_is_through(self, database):
        register(database, TRUCK)
        async with Writer(database, receive_maximum=100, batch_rows=20, batch_wait_ms=1) as writer:
            for n in range(150):
                writer.offer(TRUCK, sample(minutes_ago(60) + timedelta(seconds=n), n))
                assert (writer.pauses > 0) == (n >= 99)
            await writer.settled()
            assert writer.resumes == 1
        assert len(names(database)) == 150
