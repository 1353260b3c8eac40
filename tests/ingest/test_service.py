"""What the writer promises, on a real database: once, in any order, whatever is repeated, refused or interrupted."""

import asyncio
import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core import events, topics
from core.outbox import _decoder
from ingest import batch, service
from ingest.gate import LETTERS_PER_MINUTE
from ingest.model import MAX_RANGES
from tests.faults import commit_cutter, until
from tests.ingest.feed import minutes_ago, register, sample
from tests.ingest.writer import Writer, digests, execute, letters, names, query

pytestmark = pytest.mark.db

TRUCK, VAN = "acme:truck-1", "acme:van-1"


def news(urls) -> list[tuple[str, str, int | None]]:
    """Thing, boot and seq of every sample in the outbox."""
    found = []
    for (packed,) in query(urls, "SELECT entries FROM outbox ORDER BY id"):
        for entry in _decoder.decode(packed):
            event = events.decode(entry.body)
            if isinstance(event, events.TelemetryReceived):
                found += [(r.thing, r.sample.boot, r.sample.seq) for r in event.samples]
    return found


def reported(urls) -> list[str]:
    """Types of the events in the outbox."""
    rows = query(urls, "SELECT entries FROM outbox ORDER BY id")
    found = [events.decode(entry.body) for (packed,) in rows for entry in _decoder.decode(packed)]
    return [event.type for event in found if isinstance(event, events.DeviceReported)]


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


class TestQuarantine:
    async def test_an_exact_repeat_is_no_reuse_and_another_content_is(self, database):
        register(database, TRUCK)
        at = minutes_ago(10)
        async with Writer(database) as writer:
            for _ in range(3):
                writer.offer(TRUCK, sample(at, 1))
                await writer.settled()
            assert letters(database) == []
            writer.offer(TRUCK, sample(at + timedelta(seconds=5), 1))
            await writer.settled()
            writer.offer(TRUCK, sample(at - timedelta(seconds=5), 1))
            await writer.settled()
        assert [reason for _, reason, _ in letters(database)] == ["seq_reused", "seq_reused"]
        assert names(database) == [("truck-1", "b1", 1)]

    @pytest.mark.parametrize("is_one_batch", [True, False])
    async def test_another_place_under_the_very_same_name_and_time_is_a_reuse_too(self, database, is_one_batch):
        register(database, TRUCK)
        at = minutes_ago(10)
        async with Writer(database) as writer:
            writer.offer(TRUCK, sample(at, 1, lat=47.0))
            if not is_one_batch:
                await writer.settled()
            writer.offer(TRUCK, sample(at, 1, lat=47.1))
            await writer.settled()
        assert [reason for _, reason, _ in letters(database)] == ["seq_reused"]
        assert query(database, "SELECT lat FROM telemetry.position") == [(47.0,)]

    async def test_a_recording_under_another_name_is_a_replay(self, database):
        register(database, TRUCK)
        track = [sample(minutes_ago(30) + timedelta(seconds=n), n, lat=47.0 + n * 1e-4) for n in range(20)]
        async with Writer(database) as writer:
            for each in track:
                writer.offer(TRUCK, each)
            await writer.settled()
            for each in track:
                writer.offer(TRUCK, each | {"boot": "forged"})
            await writer.settled()
        assert {reason for _, reason, _ in letters(database)} == {"identical_replay"}
        assert len(letters(database)) == 20
        assert len(names(database)) == 20

    async def test_a_quarantined_sample_sent_again_makes_no_second_letter(self, database):
        register(database, TRUCK)
        jump = sample(minutes_ago(9), 2, lat=50.0)
        async with Writer(database) as writer:
            writer.offer(TRUCK, sample(minutes_ago(9.1), 1))
            await writer.settled()
            writer.offer(TRUCK, jump)
            writer.offer(TRUCK, jump)  # in the same batch
            await writer.settled()
            writer.offer(TRUCK, jump)
            writer.offer(TRUCK, jump, is_redelivery=True)
            await writer.settled()
        assert [reason for _, reason, _ in letters(database)] == ["implied_speed"]
        assert names(database) == [("truck-1", "b1", 1)]

    async def test_a_refused_message_and_its_redelivery_in_one_batch_make_one_letter(self, database):
        register(database, TRUCK)
        async with Writer(database) as writer:
            writer.offer(TRUCK, b"{broken")
            writer.offer(TRUCK, b"{broken", is_redelivery=True)
            await writer.settled()
        assert [payload for _, _, payload in letters(database)] == [b"{broken"]


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


class TestPoison:
    def poisons(self, ts: int) -> list[tuple[str, bytes, str]]:
        """Topic, payload and the reason it is to be refused for; no two payloads are alike."""
        to = topics.telemetry(TRUCK)

        def one(**fields: Any) -> bytes:
            return json.dumps({"ts": ts, **fields}).encode()

        return [
            (to, b'{"ts":', "malformed"),
            (to, b"\xff\xfe{}", "malformed"),
            (to, b'{"ts":%d,"pos":{"lat":NaN,"lon":9}}' % ts, "malformed"),
            (to, b"", "empty"),
            (to, b"[]", "empty"),
            (to, b"[" * 100_000, "too_deep"),
            (to, one(m={"big": "x" * 140_000}), "too_large"),
            (to, json.dumps([{"ts": ts + n} for n in range(1001)]).encode(), "too_many_samples"),
            (to, one(m={"text": "a\0b"}), "bad_text"),
            (to, b'{"ts":%d,"m":{"a\0b":1}}' % ts, "malformed"),
            (to, one(pos={"lat": "47", "lon": 9}), "bad_type"),
            (to, one(pos=[47, 9]), "bad_type"),
            (to, one(pos={"lat": 1e999, "lon": 9}).replace(b"Infinity", b"1e999"), "out_of_range"),
            (to, one(seq=-1), "out_of_range"),
            (to, one(pos={"lat": 0, "lon": 0}), "null_island"),
            (to, one(pos={"lat": 47}), "missing_field"),
            (to, b'{"pos":{"lat":47,"lon":9}}', "missing_ts"),
            (to, one(m={"1x": 1}), "bad_name"),
            (to, one(m={f"n{n}": n for n in range(65)}), "too_many_metrics"),
            (to, one(nested={"a": 1}), "unknown_field"),
            (to, json.dumps({"ts": ts - 8 * 86_400_000}).encode(), "too_old"),
            (to, json.dumps({"ts": ts + 3_600_000}).encode(), "in_future"),
            ("dt/milkrun/acme:truck-1/telemetry/parquet", one(m={"a": 1}), "bad_topic"),
            ("dt/milkrun/acme/telemetry", one(m={"a": 2}), "bad_topic"),
            ("dt/milkrun/ACME:truck/telemetry", one(m={"a": 3}), "bad_topic"),
            (topics.telemetry("acme:nobody"), one(m={"a": 4}), "unknown_thing"),
            (topics.telemetry("nowhere:truck-1"), one(m={"a": 5}), "unknown_thing"),
            (topics.telemetry("acme:suspended"), one(m={"a": 6}), "inactive_thing"),
            (topics.event(TRUCK), one(type=""), "bad_text"),
            (topics.event(TRUCK), one(type="x", data={"a": "b\0c"}), "bad_text"),
            (topics.event(TRUCK), one(), "bad_type"),
            # Only the database refuses these, by a rule this test gives one of its partitions.
            (to, one(pos={"lat": 66.6, "lon": 9.0}, boot="row", seq=1), "poison_row"),
            (to, one(m={"poison": -666}, boot="row", seq=2), "poison_row"),
        ]

    async def test_the_clean_rest_lands_and_each_poison_is_one_letter_byte_for_byte(self, database):
        register(database, TRUCK, VAN, "acme:suspended")
        execute(database, "UPDATE device SET status = 'suspended' WHERE device_id = 'suspended'")
        at = minutes_ago(30)
        day = f"{at:%Y%m%d}"
        execute(database, f"ALTER TABLE telemetry.position_{day} ADD CHECK (lat <> 66.6)")
        execute(database, f"ALTER TABLE telemetry.metric_{day} ADD CHECK (value <> -666)")
        poisons = self.poisons(int(at.timestamp() * 1000))
        clean = [(VAN, sample(at + timedelta(milliseconds=100 * n), n, m={"n": n})) for n in range(99 * len(poisons))]
        mixed: list[tuple[str, Any]] = [*clean, *((to, payload) for to, payload, _ in poisons)]
        random.Random(1).shuffle(mixed)
        before = counted()
        async with Writer(database, batch_rows=500) as writer:
            for to, payload in mixed:
                writer.offer(to, payload)
            await writer.settled()
        assert writer.acknowledged == list(range(1, len(mixed) + 1))
        assert names(database) == [("van-1", "b1", n) for n in range(len(clean))]
        assert query(database, "SELECT count(*) FROM telemetry.metric") == [(len(clean),)]
        kept = sorted((payload, reason) for _, reason, payload in letters(database))
        assert kept == sorted((payload, reason) for _, payload, reason in poisons)
        assert {to for to, _, _ in letters(database)} == {to for to, _, _ in poisons}
        gained = {name: value - before.get(name, 0) for name, value in counted().items()}
        expected: dict[str, int] = {}
        for _, _, reason in poisons:
            expected[reason] = expected.get(reason, 0) + 1
        assert {name: count for name, count in gained.items() if count and not name.startswith("retry")} == {
            **expected,
            "messages": len(mixed),
            "stored": len(clean),
            "metric_row": len(clean),
        }

    async def test_letters_say_whose_they_are(self, database):
        register(database, TRUCK)
        async with Writer(database) as writer:
            for thing in (TRUCK, "acme:nobody", "nowhere:truck-1"):
                writer.offer(thing, b"{")
            writer.offer("dt/milkrun/nonsense", b"{")
            await writer.settled()
        found = query(database, "SELECT tenant_id, thing, reason FROM dead_letter ORDER BY id")
        assert found == [
            ("acme", TRUCK, "malformed"),
            ("acme", "acme:nobody", "unknown_thing"),
            ("!", "nowhere:truck-1", "unknown_thing"),
            ("!", None, "bad_topic"),
        ]

    async def test_in_an_array_a_bad_sample_costs_itself_alone(self, database):
        register(database, TRUCK)
        array = [sample(minutes_ago(20) + timedelta(seconds=n), n, lat=91.0 if n == 3 else 47.0) for n in range(10)]
        async with Writer(database) as writer:
            writer.offer(TRUCK, array)
            await writer.settled()
        assert [seq for _, _, seq in names(database)] == [0, 1, 2, 4, 5, 6, 7, 8, 9]
        [(_, reason, payload)] = letters(database)
        kept = json.loads(payload)
        kept["pos"] = {name: value for name, value in kept["pos"].items() if value is not None}
        assert reason == "out_of_range"
        assert {name: value for name, value in kept.items() if value is not None} == array[3]
        assert writer.told[TRUCK] == [{"boot": "b1", "seq": 9, "from": 0}]

    async def test_a_day_without_a_partition_is_made_on_the_way(self, database):
        register(database, TRUCK)
        at = minutes_ago(3 * 24 * 60)
        for table in ("position", "metric"):
            execute(database, f"DROP TABLE telemetry.{table}_{at:%Y%m%d}")
        async with Writer(database) as writer:
            writer.offer(TRUCK, sample(at, 1, m={"x": 1}))
            writer.offer(TRUCK, sample(minutes_ago(1), 2))
            await writer.settled()
        assert len(names(database)) == 2
        assert letters(database) == []


class TestThrottle:
    async def test_over_the_limit_is_counted_lettered_up_to_a_bound_and_never_confirmed_beyond_it(self, database):
        register(database, TRUCK, VAN)
        before = counted()
        burst, flood = 100, LETTERS_PER_MINUTE + 500
        async with Writer(database, device_rate=0.001, device_burst=burst) as writer:
            for n in range(burst + flood):
                writer.offer(TRUCK, sample(minutes_ago(100) + timedelta(seconds=n), n))
            writer.offer(VAN, sample(minutes_ago(1), 1))
            await writer.settled()
        gained = {name: value - before.get(name, 0) for name, value in counted().items()}
        kept = [payload for _, reason, payload in letters(database) if reason == "throttled_device"]
        stored = [seq for device, _, seq in names(database) if device == "truck-1"]
        assert stored == list(range(burst))
        assert LETTERS_PER_MINUTE <= len(kept) <= LETTERS_PER_MINUTE + 100  # more with each tenth of a second
        assert gained["throttled_device"] == len(kept)
        assert gained["shed throttled_device"] == flood - len(kept)
        assert len(writer.acknowledged) == burst + flood + 1
        settled = {json.loads(payload)["seq"] for payload in kept} | set(stored)
        for each in writer.told[TRUCK]:
            assert set(range(each["from"], each["seq"] + 1)) <= settled
        assert names(database)[-1] == ("van-1", "b1", 1)

    async def test_a_tenants_limit_holds_over_all_its_devices_and_for_nobody_else(self, database):
        register(database, TRUCK, VAN, "beta:truck-1")
        async with Writer(database, tenant_rate=0.001, tenant_burst=50) as writer:
            for n in range(40):
                for thing in (TRUCK, VAN):
                    writer.offer(thing, sample(minutes_ago(100) + timedelta(seconds=n), n))
            for n in range(40):
                writer.offer("beta:truck-1", sample(minutes_ago(100) + timedelta(seconds=n), n))
            await writer.settled()
        rows = query(database, "SELECT tenant_id, count(*) FROM telemetry.position GROUP BY 1 ORDER BY 1")
        assert rows == [("acme", 50), ("beta", 40)]
        assert [reason for _, reason, _ in letters(database)] == ["throttled_tenant"] * 30


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


class TestRegistry:
    async def test_a_device_suspended_while_known_is_refused_and_taken_again_when_resumed(self, database):
        register(database, TRUCK)
        async with Writer(database, registry_refresh_s=0.05) as writer:
            following = asyncio.create_task(writer.service.follow_registry())
            seq = 0

            async def send() -> str:
                nonlocal seq
                seq += 1
                stored = len(names(database))
                writer.offer(TRUCK, sample(minutes_ago(5) + timedelta(seconds=seq), seq))
                await writer.settled()
                return "stored" if len(names(database)) > stored else letters(database)[-1][1]

            async def becomes(answer: str) -> bool:
                return await send() == answer

            assert await send() == "stored"
            # No third answer: a change between receipt and commit must not lose what is on its way.
            for status, answer in (("suspended", "inactive_thing"), ("active", "stored")) * 5:
                execute(database, f"UPDATE device SET status = '{status}', updated_at = now()")
                await until(lambda answer=answer: becomes(answer))
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


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


def counted() -> dict[str, int]:
    """The counters of this process, by label."""
    found: dict[str, int] = {}
    for counter, prefix in (
        (batch.REJECTED, ""),
        (batch.SHED, "shed "),
        (batch.SAMPLES, ""),
        (service.RETRIES, "retry "),
        (service.MESSAGES, "messages"),
    ):
        for metric in counter.collect():
            for each in metric.samples:
                if each.name.endswith("_total"):
                    found[prefix + "".join(each.labels.values())] = int(each.value)
    return found
